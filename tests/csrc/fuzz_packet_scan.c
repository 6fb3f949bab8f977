#include "packet_scan.h"

#include "fuzz.h"
#include "json_model.h"

/* What the scan says of any bytes, against the model, and what it writes against itself: a line is read as
 * itself. */

/* ---- bodies: pieces of requests in a mostly right order ---- */

typedef struct {
    uint8_t bytes[1 << 15];
    size_t size;
} text;

static void add(text *t, const void *bytes, size_t size)
{
    if (size > sizeof t->bytes - t->size) size = sizeof t->bytes - t->size;
    memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
}

static void put(text *t, const char *piece) { add(t, piece, strlen(piece)); }

static void put_space(fuzz_input *input, text *t)
{
    static const char *spaces[] = {"", "", "", "", " ", "\n", "\t \r\n", ""};
    put(t, spaces[fuzz_take(input, 1) % 8]);
}

static const char *one_of(fuzz_input *input, const char *const *choices, size_t n)
{
    return choices[fuzz_take(input, 1) % n];
}

#define ONE_OF(input, choices) one_of(input, choices, sizeof(choices) / sizeof *(choices))

static const char *const STRINGS[] = {
    "\"x\"",
    "\"\"",
    "\"INFO\"",
    "\"a longer text than sixteen bytes\"",
    "\"\\n\\t\\\"\\\\\\b\\f\\r\"",
    "\"\\u0041\\u000a\\u001F\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\\/\"",
    "\"\xc3\xa9\xe2\x82\xac\"",
    "\"\xf0\x9f\x98\x80 0123456789\"",
    "\"\xed\xa0\x80\"",
    "\"\xc0\x80\"",
    "\"\\x\"",
    "\"a\nb\"",
    "\"[{\"",
};
static const char *const VALUES[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "12.5e+3",
    "01",
    "1.",
    "-",
    "1e",
    "{}",
    "[]",
    "[1,{\"a\":[ ]}]",
    "{\"a\" : 1 , \"b\":[\"c d\"]}",
    "{\"a\":}",
    "[,]",
    "nul",
    "{\"a\\u00e9\":\"\\/\"}",
};
static const char *const TIMES[] = {
    "\"2025-01-25T20:30:45Z\"",
    "\"2025-01-25 20:30:60.123456789-23:59\"",
    "null",
    "\"2025-13-25T20:30:45Z\"",
    "\"2025-01-25T20:30:45\"",
    "\"2025-01-25T20:30:45.Z\"",
};

static void put_deep(fuzz_input *input, text *t)
{
    unsigned depth = (unsigned)fuzz_take(input, 1) % 80;
    put(t, "{\"d\":");
    for (unsigned i = 0; i < depth; i++) put(t, i % 3 ? "[" : "{\"e\": ");
    put(t, "1");
    while (depth-- > 0) put(t, depth % 3 ? "]" : "}");
    put(t, "}");
}

static void put_message(fuzz_input *input, text *t)
{
    static const char *const names[] = {
        "\"message\"", "\"level\"", "\"source\"", "\"timestamp\"", "\"id\"", "\"metadata\"", "\"colour\"",
    };
    unsigned first = (unsigned)fuzz_take(input, 1) % 6, members = 1 + (unsigned)fuzz_take(input, 1) % 6;
    put(t, "{");
    for (unsigned i = 0; i < members; i++) {
        unsigned name = fuzz_take(input, 1) % 32 == 0 ? 6 : (first + i) % 6;
        put_space(input, t);
        put(t, names[name]);
        put_space(input, t);
        put(t, ":");
        put_space(input, t);
        if (fuzz_take(input, 1) % 32 == 0)
            put(t, ONE_OF(input, VALUES));
        else if (name == 3)
            put(t, TIMES[fuzz_take(input, 1) % 3 * (fuzz_take(input, 1) % 8 == 0 ? 2 : 1)]);
        else if (name == 5 && fuzz_take(input, 1) % 2)
            put_deep(input, t);
        else if (name == 5)
            put(t, VALUES[fuzz_take(input, 1) % 2 ? 10 : 13]);
        else
            put(t, STRINGS[fuzz_take(input, 1) % (fuzz_take(input, 1) % 8 ? 7 : 16)]);
        put_space(input, t);
        if (i + 1 < members) put(t, ",");
    }
    put(t, "}");
}

static void put_packet(fuzz_input *input, text *t)
{
    static const char *const ids[] = {
        "\"id\":\"a\",",      "\"id\":\"\xc3\xa9\" ,", "", "\"id\":null,",
        "\"retry_count\":7,", "\"retry_count\" : -0,", "", "\"id\":\"\\u0041\","};
    unsigned messages = 1 + (unsigned)fuzz_take(input, 1) % 4;
    put(t, "{");
    put(t, ONE_OF(input, ids));
    put(t, "\"messages\":");
    put_space(input, t);
    put(t, "[");
    for (unsigned i = 0; i < messages; i++) {
        put_space(input, t);
        put_message(input, t);
        put_space(input, t);
        if (i + 1 < messages) put(t, ",");
    }
    put(t, "]");
    put_space(input, t);
    put(t, "}");
}

static void put_request(fuzz_input *input, text *t)
{
    unsigned packets = (unsigned)fuzz_take(input, 1) % 4;
    t->size = 0;
    put_space(input, t);
    put(t, "[");
    for (unsigned i = 0; i < packets; i++) {
        put_space(input, t);
        if (fuzz_take(input, 1) % 16)
            put_packet(input, t);
        else
            put(t, ONE_OF(input, VALUES));
        put_space(input, t);
        if (i + 1 < packets) put(t, ",");
    }
    put(t, "]");
    put_space(input, t);
    for (unsigned hurts = (unsigned)fuzz_take(input, 1) % 4; hurts > 1 && t->size > 0; hurts--) {
        size_t at = (size_t)fuzz_take(input, 2) % t->size;
        t->bytes[at] = (uint8_t)fuzz_take(input, 1);
    }
}

/* ---- the rules ---- */

static bool memory_ends;

static void *resize(void *memory, size_t size) { return memory_ends ? NULL : realloc(memory, size); }

static const ps_allocator ALLOCATOR = {resize, free};
static const uint8_t OWN_ID[] = "0123456789abcdef-1";

/* The line of a packet; *size is its size. */
static uint8_t *line_of(const ps_packet_scan *scan, const ps_scanned_packet *packet, size_t *size)
{
    bool nameless = packet->id_size == 0;
    size_t id_size = nameless ? sizeof OWN_ID - 1 : 0;
    *size = packet->size + (nameless ? ps_packet_id_size(id_size) : 0);
    uint8_t *line = malloc(*size);
    FUZZ_REQUIRE(line != NULL);
    memset(line, 0xa5, *size);
    ps_packet_scan_write(scan, packet, nameless ? OWN_ID : NULL, id_size, line);
    return line;
}

static void check_line(const uint8_t *line, size_t size, uint32_t messages)
{
    FUZZ_REQUIRE(skip_value(line, line + size, 0) == line + size);
    FUZZ_REQUIRE(!has_space(line, line + size) && memchr(line, '\n', size) == NULL);
    uint8_t *array = malloc(size + 3);
    FUZZ_REQUIRE(array != NULL);
    array[0] = '[';
    memcpy(array + 1, line, size);
    memcpy(array + 1 + size, "]", 2);
    ps_packet_scan scan;
    ps_scanned_packet packet;
    ps_packet_scan_init(&scan, array, size + 2, 1000, 1 << 20, ALLOCATOR);
    FUZZ_REQUIRE(ps_packet_scan_next(&scan, &packet) == PS_OK);
    FUZZ_REQUIRE(packet.messages == messages && packet.size == size && packet.id_size > 0);
    size_t again_size;
    uint8_t *again = line_of(&scan, &packet, &again_size);
    FUZZ_REQUIRE(again_size == size && memcmp(again, line, size) == 0);
    FUZZ_REQUIRE(ps_packet_scan_next(&scan, &packet) == PS_EMPTY);
    ps_packet_scan_free(&scan);
    free(again);
    free(array);
}

static void try_body(const uint8_t *bytes, size_t size, uint64_t most_messages, uint64_t most_text)
{
    uint8_t *body = copied(bytes, size);
    const uint8_t *end = body + size, *at = skip_space(body, end);
    ps_packet_scan scan;
    ps_scanned_packet packet;
    ps_status status;
    ps_packet_scan_init(&scan, body, size, most_messages, most_text, ALLOCATOR);
    while ((status = ps_packet_scan_next(&scan, &packet)) == PS_OK || status == PS_REFUSED) {
        FUZZ_REQUIRE(at < end && (*at == '[' || *at == ','));
        at = skip_space(at + 1, end);
        FUZZ_REQUIRE(packet.start == at - body && packet.end > packet.start && packet.end <= size);
        FUZZ_REQUIRE(skip_value(at, end, 0) == body + packet.end);
        at = skip_space(body + packet.end, end);
        if (status == PS_REFUSED) continue;
        FUZZ_REQUIRE(packet.messages > 0 && packet.messages <= most_messages);
        size_t line_size;
        bool memory_ended = memory_ends;
        memory_ends = false;
        uint8_t *line = line_of(&scan, &packet, &line_size);
        check_line(line, line_size, packet.messages);
        memory_ends = memory_ended;
        free(line);
    }
    if (status == PS_EMPTY) {
        const uint8_t *behind = skip_value(skip_space(body, end), end, 0);
        FUZZ_REQUIRE(behind != NULL && skip_space(behind, end) == end);
        FUZZ_REQUIRE(ps_packet_scan_next(&scan, &packet) == PS_EMPTY);
    } else {
        FUZZ_REQUIRE(status == PS_BROKEN || (status == PS_NO_MEMORY && memory_ends));
    }
    ps_packet_scan_free(&scan);
    ps_packet_scan_free(&scan);
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static text request;
    fuzz_input input = {data, size};
    memory_ends = false;
    try_body(data, size, 3, 30);
    for (unsigned i = 0; i < 4 && input.left > 0; i++) {
        uint64_t most_messages = 1 + fuzz_take(&input, 1) % 4, most_text = fuzz_take(&input, 1) % 64;
        memory_ends = fuzz_take(&input, 1) % 16 == 0;
        put_request(&input, &request);
        try_body(request.bytes, request.size, most_messages, most_text);
    }
    return 0;
}
