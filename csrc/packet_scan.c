#include "packet_scan.h"

#include <string.h>

#include "json_scan.h"

#define LITERAL_SIZE(text) (sizeof(text) - 1)

/* ---- messages ---- */

static bool are(const uint8_t *at, const char *kinds)
{
    for (; *kinds; kinds++, at++)
        if (*kinds == '0' ? !ps_json_is_digit(*at) : *at != (uint8_t)*kinds) return false;
    return true;
}

static int two_digits(const uint8_t *at) { return (at[0] - '0') * 10 + at[1] - '0'; }

/* Whether text[size], behind which there is a quote, is a time with its offset. */
static bool is_rfc_3339(const uint8_t *text, size_t size)
{
    const uint8_t *at = text + 19, *end = text + size;
    if (size < 20 || !are(text, "0000-00-00")) return false;
    if ((text[10] != ' ' && (text[10] | 0x20) != 't') || !are(text + 11, "00:00:00")) return false;
    int month = two_digits(text + 5), day = two_digits(text + 8);
    if (month < 1 || month > 12 || day < 1 || day > 31) return false;
    if (two_digits(text + 11) > 23 || two_digits(text + 14) > 59 || two_digits(text + 17) > 60) return false;
    if (*at == '.') {
        const uint8_t *fraction = at + 1;
        at = ps_json_past_digits(fraction);
        if (at == NULL || at - fraction > 9) return false;
    }
    if ((*at | 0x20) == 'z') return at + 1 == end;
    if ((*at != '+' && *at != '-') || end - at != 6 || !are(at + 1, "00:00")) return false;
    return two_digits(at + 1) <= 23 && two_digits(at + 4) <= 59;
}

/* Whether a string has at most so many characters; false also where that is not plain to see. */
static bool has_at_most(const ps_json_string *string, size_t most)
{
    size_t size = (size_t)(string->end - string->text), characters = 0;
    if (size <= most) return true;
    if (string->escapes || size > 4 * most) return false;
    for (const uint8_t *at = string->text; at < string->end; at++) characters += (*at & 0xc0) != 0x80;
    return characters <= most;
}

#define NAME_OF_TEXT "{\"message\":"
#define DEFAULT_LEVEL "\"INFO\""
#define DEFAULT_SOURCE "\"\""

static const struct {
    const char *name;
    size_t size;
} NAMES[PS_MESSAGE_FIELDS] = {
    {NAME_OF_TEXT, LITERAL_SIZE(NAME_OF_TEXT)},     {",\"level\":", LITERAL_SIZE(",\"level\":")},
    {",\"source\":", LITERAL_SIZE(",\"source\":")}, {",\"timestamp\":", LITERAL_SIZE(",\"timestamp\":")},
    {",\"id\":", LITERAL_SIZE(",\"id\":")},         {",\"metadata\":", LITERAL_SIZE(",\"metadata\":")},
};

static ps_message_field field_named(const ps_json_string *name)
{
    static const uint8_t of_size[] = {
        [2] = PS_MESSAGE_ID,     [5] = PS_MESSAGE_LEVEL,    [6] = PS_MESSAGE_SOURCE, [7] = PS_MESSAGE_TEXT,
        [9] = PS_MESSAGE_TIME,   [8] = PS_MESSAGE_METADATA, [0] = PS_MESSAGE_FIELDS, [1] = PS_MESSAGE_FIELDS,
        [3] = PS_MESSAGE_FIELDS, [4] = PS_MESSAGE_FIELDS,
    };
    size_t size = (size_t)(name->end - name->text);
    ps_message_field field = size < sizeof of_size ? of_size[size] : PS_MESSAGE_FIELDS;
    if (field == PS_MESSAGE_FIELDS) return field;
    return memcmp(name->text, NAMES[field].name + LITERAL_SIZE(",\""), size) ? PS_MESSAGE_FIELDS : field;
}

/* Whether the rules of a field hold for a string. */
static bool is_right(const ps_packet_scan *scan, ps_message_field field, const ps_json_string *string)
{
    size_t size = (size_t)(string->end - string->text);
    switch (field) {
    case PS_MESSAGE_TEXT:
        return size > 0 && size <= scan->most_text;
    case PS_MESSAGE_LEVEL:
        return size > 0 && has_at_most(string, 32);
    case PS_MESSAGE_SOURCE:
        return has_at_most(string, 256);
    case PS_MESSAGE_TIME:
        return !string->escapes && is_rfc_3339(string->text, size);
    case PS_MESSAGE_ID:
        return size > 0 && has_at_most(string, 128);
    default:
        return false;
    }
}

/* The place behind the name of a member and its colon; NULL: there is none, or it is no plain name. */
static const uint8_t *past_plain_name(const uint8_t *at, const uint8_t *end, ps_json_string *name)
{
    at = ps_json_past_string(at, end, name);
    if (at == NULL || name->escapes) return NULL;
    at = ps_json_past_space(at);
    return *at == ':' ? ps_json_past_space(at + 1) : NULL;
}

/* The place behind the value of a field, which is noted in `message`; NULL: it may be wrong.
 * `size` grows by what it takes in a line. */
static const uint8_t *past_field(const ps_packet_scan *scan, const uint8_t *at, ps_message_field field,
                                 ps_scanned_message *message, size_t *size)
{
    const uint8_t *start = at, *end = scan->body + scan->size;
    size_t changed = 0;
    if (message->size[field] > 0) return NULL; /* twice */
    if (field == PS_MESSAGE_METADATA) {
        if (*at != '{' || (at = ps_json_past_value(at, end, &changed)) == NULL) return NULL;
        message->space = (uint32_t)changed;
        *size += (size_t)(at - start) - changed;
    } else if (*at == 'n' && (field == PS_MESSAGE_TIME || field == PS_MESSAGE_ID)) {
        if ((at = ps_json_past_literal(at, "null")) == NULL) return NULL;
        *size += LITERAL_SIZE("null");
    } else {
        ps_json_string string;
        at = ps_json_past_string(at, end, &string);
        if (at == NULL || !is_right(scan, field, &string)) return NULL;
        if (string.rewritten) {
            message->rewritten |= (uint8_t)(1u << field);
            *size += ps_json_written_size(start, (size_t)(at - start));
        } else {
            *size += (size_t)(at - start);
        }
    }
    message->at[field] = (uint32_t)(start - scan->body);
    message->size[field] = (uint32_t)(at - start);
    return at;
}

/* The place behind a message; NULL: it may be wrong. `size` grows by what it takes in a line. */
static const uint8_t *past_message(const ps_packet_scan *scan, const uint8_t *at, ps_scanned_message *message,
                                   size_t *size)
{
    const uint8_t *end = scan->body + scan->size;
    ps_json_string name;
    if (*at != '{') return NULL;
    memset(message, 0, sizeof *message);
    do {
        at = past_plain_name(ps_json_past_space(at + 1), end, &name);
        if (at == NULL) return NULL;
        ps_message_field field = field_named(&name);
        if (field == PS_MESSAGE_FIELDS) return NULL;
        at = past_field(scan, at, field, message, size);
        if (at == NULL) return NULL;
        *size += NAMES[field].size;
        at = ps_json_past_space(at);
    } while (*at == ',');
    if (*at != '}' || message->size[PS_MESSAGE_TEXT] == 0) return NULL;
    if (message->size[PS_MESSAGE_LEVEL] == 0)
        *size += NAMES[PS_MESSAGE_LEVEL].size + LITERAL_SIZE(DEFAULT_LEVEL);
    if (message->size[PS_MESSAGE_SOURCE] == 0)
        *size += NAMES[PS_MESSAGE_SOURCE].size + LITERAL_SIZE(DEFAULT_SOURCE);
    *size += LITERAL_SIZE("}");
    return at + 1;
}

/* ---- packets ---- */

static bool make_room(ps_packet_scan *scan, uint32_t messages)
{
    if (messages < scan->room) return true;
    uint32_t room = scan->room ? scan->room * 2 : 8;
    void *grown = scan->allocator.resize(scan->messages, room * sizeof *scan->messages);
    if (grown == NULL) return false;
    scan->messages = grown;
    scan->room = room;
    return true;
}

/* The place behind the messages of a packet; NULL: they may be wrong, or, with `status`, there is no memory.
 */
static const uint8_t *past_messages(ps_packet_scan *scan, const uint8_t *at, ps_scanned_packet *packet,
                                    ps_status *status)
{
    if (*at != '[' || packet->messages > 0) return NULL;
    do {
        if (packet->messages >= scan->most_messages) return NULL;
        if (!make_room(scan, packet->messages)) {
            *status = PS_NO_MEMORY;
            return NULL;
        }
        at = past_message(scan, ps_json_past_space(at + 1), &scan->messages[packet->messages], &packet->size);
        if (at == NULL) return NULL;
        packet->messages++;
        packet->size++; /* a comma, or the bracket behind the last one */
        at = ps_json_past_space(at);
    } while (*at == ',');
    return *at == ']' ? at + 1 : NULL;
}

static const uint8_t *past_packet_id(const ps_packet_scan *scan, const uint8_t *at, ps_scanned_packet *packet)
{
    ps_json_string id;
    if (*at == 'n') return ps_json_past_literal(at, "null");
    at = ps_json_past_string(at, scan->body + scan->size, &id);
    if (at == NULL || id.escapes || id.text == id.end || !has_at_most(&id, 128)) return NULL;
    packet->id_at = (uint32_t)(id.text - scan->body);
    packet->id_size = (uint32_t)(id.end - id.text);
    packet->size += ps_packet_id_size(packet->id_size);
    return at;
}

static const uint8_t *past_retry_count(const uint8_t *at)
{
    if (*at == 'n') return ps_json_past_literal(at, "null");
    const uint8_t *behind = ps_json_past_number(at);
    if (behind == NULL || behind - at > 18) return NULL; /* Python has a bound of digits */
    for (at += *at == '-'; at < behind; at++)
        if (!ps_json_is_digit(*at)) return NULL;
    return at;
}

static bool is_named(const ps_json_string *name, const char *wanted, size_t size)
{
    return (size_t)(name->end - name->text) == size && memcmp(name->text, wanted, size) == 0;
}

/* The place behind a packet; NULL: it may be wrong, or, with `status`, there is no memory. */
static const uint8_t *past_packet(ps_packet_scan *scan, const uint8_t *at, ps_scanned_packet *packet,
                                  ps_status *status)
{
    bool seen_id = false, seen_retries = false;
    if (*at != '{') return NULL;
    packet->size = LITERAL_SIZE("{\"messages\":[}");
    do {
        ps_json_string name;
        at = past_plain_name(ps_json_past_space(at + 1), scan->body + scan->size, &name);
        if (at == NULL) return NULL;
        if (is_named(&name, "messages", 8)) {
            at = past_messages(scan, at, packet, status);
        } else if (is_named(&name, "id", 2) && !seen_id) {
            seen_id = true;
            at = past_packet_id(scan, at, packet);
        } else if (is_named(&name, "retry_count", 11) && !seen_retries) {
            seen_retries = true;
            at = past_retry_count(at);
        } else {
            return NULL;
        }
        if (at == NULL) return NULL;
        at = ps_json_past_space(at);
    } while (*at == ',');
    return *at == '}' && packet->messages > 0 ? at + 1 : NULL;
}

void ps_packet_scan_init(ps_packet_scan *scan, const uint8_t *body, size_t size, uint64_t most_messages,
                         uint64_t most_text, ps_allocator allocator)
{
    *scan = (ps_packet_scan){.body = body,
                             .at = body,
                             .size = size,
                             .most_messages = most_messages,
                             .most_text = most_text,
                             .allocator = allocator};
}

void ps_packet_scan_free(ps_packet_scan *scan)
{
    scan->allocator.release(scan->messages);
    scan->messages = NULL;
    scan->room = 0;
}

/* Moves to where the next packet begins; PS_EMPTY: there is none more. */
static ps_status find_packet(ps_packet_scan *scan)
{
    if (scan->at == NULL) return PS_EMPTY;
    if (scan->size > UINT32_MAX) return PS_BROKEN; /* places are noted in 32 bits */
    const uint8_t *at = ps_json_past_space(scan->at);
    bool first = scan->at == scan->body;
    if (first && *at != '[') return PS_BROKEN;
    if (first || *at == ',') {
        at = ps_json_past_space(at + 1);
        if (!first || *at != ']') {
            scan->at = at;
            return PS_OK;
        }
    }
    if (*at != ']' || ps_json_past_space(at + 1) != scan->body + scan->size) return PS_BROKEN;
    scan->at = NULL;
    return PS_EMPTY;
}

ps_status ps_packet_scan_next(ps_packet_scan *scan, ps_scanned_packet *packet)
{
    ps_status status = find_packet(scan);
    if (status != PS_OK) return status;
    const uint8_t *start = scan->at;
    *packet = (ps_scanned_packet){.start = (uint32_t)(start - scan->body)};
    const uint8_t *behind = past_packet(scan, start, packet, &status);
    if (status != PS_OK) return status;
    if (behind == NULL) {
        size_t space = 0;
        behind = ps_json_past_value(start, scan->body + scan->size, &space);
        status = PS_REFUSED;
    }
    if (behind == NULL) return PS_BROKEN;
    packet->end = (uint32_t)(behind - scan->body);
    scan->at = ps_json_past_space(behind);
    return *scan->at == ',' || *scan->at == ']' ? status : PS_BROKEN;
}

/* ---- writing ---- */

static uint8_t *write_bytes(uint8_t *to, const void *bytes, size_t size)
{
    memcpy(to, bytes, size);
    return to + size;
}

static uint8_t *write_field(uint8_t *to, const uint8_t *body, const ps_scanned_message *message,
                            ps_message_field field)
{
    const uint8_t *value = body + message->at[field];
    size_t size = message->size[field];
    if (message->rewritten >> field & 1) return ps_json_write_string(to, value, size);
    if (field == PS_MESSAGE_METADATA && message->space > 0) return ps_json_write_value(to, value, size);
    return write_bytes(to, value, size);
}

static uint8_t *write_message(uint8_t *to, const uint8_t *body, const ps_scanned_message *message)
{
    static const ps_scanned_message defaults = {.size = {[PS_MESSAGE_LEVEL] = LITERAL_SIZE(DEFAULT_LEVEL),
                                                         [PS_MESSAGE_SOURCE] = LITERAL_SIZE(DEFAULT_SOURCE)}};
    for (ps_message_field field = 0; field < PS_MESSAGE_FIELDS; field++) {
        if (message->size[field] == 0 && defaults.size[field] == 0) continue;
        to = write_bytes(to, NAMES[field].name, NAMES[field].size);
        if (message->size[field] > 0)
            to = write_field(to, body, message, field);
        else if (field == PS_MESSAGE_LEVEL)
            to = write_bytes(to, DEFAULT_LEVEL, LITERAL_SIZE(DEFAULT_LEVEL));
        else
            to = write_bytes(to, DEFAULT_SOURCE, LITERAL_SIZE(DEFAULT_SOURCE));
    }
    *to++ = '}';
    return to;
}

void ps_packet_scan_write(const ps_packet_scan *scan, const ps_scanned_packet *packet, const uint8_t *id,
                          size_t id_size, uint8_t *line)
{
    line = write_bytes(line, "{\"messages\":[", LITERAL_SIZE("{\"messages\":["));
    for (uint32_t i = 0; i < packet->messages; i++) {
        line = write_message(line, scan->body, &scan->messages[i]);
        *line++ = i + 1 < packet->messages ? ',' : ']';
    }
    if (id == NULL && packet->id_size > 0) {
        id = scan->body + packet->id_at;
        id_size = packet->id_size;
    }
    if (id != NULL) {
        line = write_bytes(line, ",\"id\":\"", LITERAL_SIZE(",\"id\":\""));
        line = write_bytes(line, id, id_size);
        *line++ = '"';
    }
    *line = '}';
}
