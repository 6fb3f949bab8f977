/* Records made of good and bad pieces against a reader that descends into groups, and against the rules that
 * hold between a record, its content and its neighbours. */
#include "fuzz.h"
#include "varint.h"
#include "wire_reader.h"

static const char *const PIECES[] = {
    "\x08\x05",
    "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    "\x10\x80",
    "\x0d\x01\x02\x03\x04",
    "\x09\x01\x02\x03\x04\x05\x06\x07\x08",
    "\x0a\x03\x61\x62\x63",
    "\x0a\x7f",
    "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    "\x0b",
    "\x0c",
    "\x13",
    "\x14",
    "\xfb\xff\xff\xff\x0f",
    "\xfc\xff\xff\xff\x0f",
    "\x88\x80\x80\x80\x10",
    "\x88\x80\x80\x80\x80\x01",
    "\x06",
    "\x0f",
    "\x07",
    "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    "\xff",
};
enum { PIECES_SIZE = sizeof PIECES / sizeof *PIECES, MOST = 4096, TAG_MOST = 5 };

/* Number and wire type of the tag there, and where it ends; NULL where there is none. */
static const uint8_t *tag_simply(const uint8_t *at, const uint8_t *end, uint64_t *number, unsigned *type)
{
    uint64_t tag;
    const uint8_t *next = ps_varint_read(at, end, &tag);
    if (next == NULL || next - at > TAG_MOST || tag > UINT32_MAX) return NULL;
    *number = tag >> 3;
    *type = tag & 7;
    return *number == 0 || *type > PS_RECORD_FIXED32 ? NULL : next;
}

/* Where the record there ends, by recursion; NULL where it breaks a rule. It lies at level `depth`. */
static const uint8_t *skip_simply(const uint8_t *at, const uint8_t *end, uint32_t depth, uint32_t max_depth)
{
    uint64_t number, value, last;
    unsigned type;
    at = tag_simply(at, end, &number, &type);
    if (at == NULL || type == PS_RECORD_END) return NULL;
    if (type == PS_RECORD_VARINT) return ps_varint_read(at, end, &value);
    if (type == PS_RECORD_FIXED64) return end - at >= 8 ? at + 8 : NULL;
    if (type == PS_RECORD_FIXED32) return end - at >= 4 ? at + 4 : NULL;
    if (type == PS_RECORD_LENGTH) {
        at = ps_varint_read(at, end, &value);
        return at != NULL && value <= (uint64_t)(end - at) ? at + value : NULL;
    }
    if (depth == max_depth) return NULL;
    while (at != NULL && at < end) {
        const uint8_t *behind = tag_simply(at, end, &last, &type);
        if (behind != NULL && type == PS_RECORD_END) return last == number ? behind : NULL;
        at = skip_simply(at, end, depth + 1, max_depth);
    }
    return NULL;
}

static void require_sound(const ps_record *record, const uint8_t *begin, const uint8_t *next)
{
    FUZZ_REQUIRE(record->number >= 1 && record->number < UINT32_C(1) << 29);
    FUZZ_REQUIRE(begin < next);
    if (record->type == PS_RECORD_FIXED32) FUZZ_REQUIRE(record->value <= UINT32_MAX);
    if (record->type == PS_RECORD_LENGTH) FUZZ_REQUIRE(record->content + record->size == next);
    if (record->type == PS_RECORD_GROUP) {
        FUZZ_REQUIRE(record->content > begin && record->content + record->size < next);
        const uint8_t *at = record->content, *end = at + record->size; /* a message of its own */
        ps_record inner;
        ps_reader_error error;
        while (at < end)
            FUZZ_REQUIRE(ps_record_read(&at, end, PS_READER_DEEPEST, &inner, &error) == PS_READER_FINE);
    }
}

static void require_placed(ps_reader_fault fault, const ps_reader_error *error, const uint8_t *at,
                           const uint8_t *end)
{
    FUZZ_REQUIRE(at <= error->tag && error->tag < end);
    if (fault == PS_READER_NO_SUCH_TYPE) FUZZ_REQUIRE(error->detail[0] == 6 || error->detail[0] == 7);
    if (fault == PS_READER_LENGTH_PAST_END) FUZZ_REQUIRE(error->detail[0] > error->detail[1]);
    if (fault == PS_READER_GROUP_MISMATCH) FUZZ_REQUIRE(error->detail[0] != error->detail[1]);
    if (fault == PS_READER_STRAY_END) FUZZ_REQUIRE(error->tag == at);
}

static size_t compose(fuzz_input *input, uint8_t *bytes)
{
    size_t size = 0, pieces = fuzz_take(input, 2) % 400;
    bool sound = fuzz_take(input, 1) % 2;
    for (size_t i = 0; i < pieces && size + 16 < MOST; i++) {
        const char *piece = PIECES[fuzz_take(input, 1) % (sound ? 12 : PIECES_SIZE)];
        size_t length = strlen(piece);
        memcpy(bytes + size, piece, length);
        size += length;
    }
    if (size > 0 && fuzz_take(input, 1) % 2) bytes[fuzz_take(input, 2) % size] = (uint8_t)fuzz_take(input, 1);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t composed[MOST];
    fuzz_input input = {data, size};
    uint32_t max_depth = (uint32_t)fuzz_between(&input, 1, fuzz_take(&input, 1) % 2 ? PS_READER_DEEPEST : 4);
    size_t composed_size = compose(&input, composed);
    uint8_t *bytes = malloc(composed_size); /* of exactly that size, for the sanitizer */
    FUZZ_REQUIRE(bytes != NULL || composed_size == 0);
    if (composed_size > 0) memcpy(bytes, composed, composed_size);

    const uint8_t *at = bytes, *end = bytes + composed_size;
    while (at < end) {
        ps_record record;
        ps_reader_error error;
        const uint8_t *begin = at, *expected = skip_simply(at, end, 1, max_depth);
        ps_reader_fault fault = ps_record_read(&at, end, max_depth, &record, &error);
        FUZZ_REQUIRE((fault == PS_READER_FINE) == (expected != NULL));
        if (fault != PS_READER_FINE) {
            FUZZ_REQUIRE(at == begin);
            require_placed(fault, &error, begin, end);
            at++; /* anything may begin anywhere */
            continue;
        }
        FUZZ_REQUIRE(at == expected);
        require_sound(&record, begin, at);
    }
    free(bytes);
    return 0;
}
