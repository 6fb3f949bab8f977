#include "wire_reader.h"

#include "varint.h"

#define TAG_MOST 5 /* bytes of the longest tag */

static ps_reader_fault read_tag(const uint8_t **at, const uint8_t *end, ps_record *record,
                                ps_reader_error *error)
{
    uint64_t tag;
    error->tag = *at;
    const uint8_t *next = ps_varint_read(*at, end, &tag);
    if (next == NULL && end - *at < TAG_MOST) return PS_READER_TAG_TRUNCATED;
    if (next == NULL || next - *at > TAG_MOST || tag > UINT32_MAX) return PS_READER_TAG_TOO_LARGE;
    record->number = (uint32_t)tag >> 3;
    record->type = tag & 7;
    error->detail[0] = tag & 7;
    if (record->number == 0) return PS_READER_FIELD_ZERO;
    if ((tag & 7) > PS_RECORD_FIXED32) return PS_READER_NO_SUCH_TYPE;
    *at = next;
    return PS_READER_FINE;
}

static ps_reader_fault read_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    const uint8_t *next = ps_varint_read(*at, end, value);
    if (next == NULL)
        return end - *at < PS_VARINT_MOST ? PS_READER_VALUE_TRUNCATED : PS_READER_VARINT_TOO_LONG;
    *at = next;
    return PS_READER_FINE;
}

static ps_reader_fault read_content(const uint8_t **at, const uint8_t *end, ps_record *record,
                                    ps_reader_error *error)
{
    uint64_t length;
    ps_reader_fault fault = read_varint(at, end, &length);
    if (fault != PS_READER_FINE) return fault;
    if (length > (size_t)(end - *at)) {
        error->detail[0] = length;
        error->detail[1] = (uint64_t)(end - *at);
        return PS_READER_LENGTH_PAST_END;
    }
    record->content = *at;
    record->size = (size_t)length;
    *at += record->size;
    return PS_READER_FINE;
}

/* Reads a tag and the value behind it; groups begin and end as if they had none. */
static ps_reader_fault read_flat(const uint8_t **at, const uint8_t *end, ps_record *record,
                                 ps_reader_error *error)
{
    ps_reader_fault fault = read_tag(at, end, record, error);
    if (fault != PS_READER_FINE) return fault;
    switch (record->type) {
    case PS_RECORD_VARINT:
        return read_varint(at, end, &record->value);
    case PS_RECORD_FIXED64:
        if (end - *at < 8) return PS_READER_VALUE_TRUNCATED;
        record->value = ps_read_little64(*at);
        *at += 8;
        return PS_READER_FINE;
    case PS_RECORD_FIXED32:
        if (end - *at < 4) return PS_READER_VALUE_TRUNCATED;
        record->value = ps_read_little32(*at);
        *at += 4;
        return PS_READER_FINE;
    case PS_RECORD_LENGTH:
        return read_content(at, end, record, error);
    default:
        return PS_READER_FINE;
    }
}

typedef struct {
    const uint8_t *tag;
    uint32_t number;
} open_group;

/* Skips what lies in the group that `record` has begun, and its end tag; the content ends before that. */
static ps_reader_fault skip_group(const uint8_t **at, const uint8_t *end, uint32_t max_depth,
                                  ps_record *record, ps_reader_error *error)
{
    open_group open[PS_READER_DEEPEST];
    uint32_t n = 0; /* of them; the message itself is one level more */
    ps_record inner = *record;
    record->content = *at;
    for (;;) {
        if (inner.type == PS_RECORD_GROUP) {
            if (n + 1 == max_depth) return PS_READER_TOO_DEEP;
            open[n++] = (open_group){error->tag, inner.number};
        } else if (inner.type == PS_RECORD_END) {
            n--;
            error->detail[0] = open[n].number;
            error->detail[1] = inner.number;
            if (inner.number != open[n].number) return PS_READER_GROUP_MISMATCH;
            if (n == 0) break;
        }
        if (*at == end) {
            error->tag = open[n - 1].tag;
            error->detail[0] = open[n - 1].number;
            return PS_READER_GROUP_OPEN;
        }
        ps_reader_fault fault = read_flat(at, end, &inner, error);
        if (fault != PS_READER_FINE) return fault;
    }
    record->size = (size_t)(error->tag - record->content);
    return PS_READER_FINE;
}

ps_reader_fault ps_record_read(const uint8_t **at, const uint8_t *end, uint32_t max_depth, ps_record *record,
                               ps_reader_error *error)
{
    const uint8_t *next = *at;
    ps_reader_fault fault = read_flat(&next, end, record, error);
    if (fault != PS_READER_FINE) return fault;
    if (record->type == PS_RECORD_END) {
        error->detail[0] = record->number;
        return PS_READER_STRAY_END;
    }
    if (record->type == PS_RECORD_GROUP) fault = skip_group(&next, end, max_depth, record, error);
    if (fault == PS_READER_FINE) *at = next;
    return fault;
}
