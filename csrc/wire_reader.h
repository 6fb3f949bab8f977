/* wire_reader -- the records of one protobuf message, one after the other, without a schema.
 *
 * A record is a tag and a value. The reader skips from one to the next, checks that each is whole, and says
 * where its content lies. A group is one record, from its start tag to its end tag, and all that lies in it
 * is checked the same way, without recursion. The caller owns the bytes. Nothing here allocates.
 *
 * Source: protobuf.dev, Encoding. */
#ifndef PS_WIRE_READER_H
#define PS_WIRE_READER_H

#include <stddef.h>
#include <stdint.h>

#define PS_READER_DEEPEST 1000 /* levels of groups within each other, the message itself being the first */

typedef enum {
    PS_RECORD_VARINT,
    PS_RECORD_FIXED64,
    PS_RECORD_LENGTH, /* length-delimited */
    PS_RECORD_GROUP,
    PS_RECORD_END, /* of a group; no record of its own */
    PS_RECORD_FIXED32,
} ps_record_type;

typedef struct {
    uint32_t number; /* of the field, 1 to 2^29 - 1 */
    ps_record_type type;
    uint64_t value;         /* of varints, all 64 bits of it, and of fixed ones */
    const uint8_t *content; /* of length-delimited ones and groups: the bytes, without length or tags */
    size_t size;            /* of the content */
} ps_record;

/* What can be wrong, and what `detail` says of it. */
typedef enum {
    PS_READER_FINE,
    PS_READER_TAG_TRUNCATED,
    PS_READER_TAG_TOO_LARGE, /* above 2^32 - 1, or of more than five bytes */
    PS_READER_FIELD_ZERO,
    PS_READER_NO_SUCH_TYPE, /* the wire type, 6 or 7 */
    PS_READER_VALUE_TRUNCATED,
    PS_READER_VARINT_TOO_LONG, /* of a value or a length */
    PS_READER_LENGTH_PAST_END, /* the length, and bytes that are left */
    PS_READER_GROUP_OPEN,      /* the group's number */
    PS_READER_GROUP_MISMATCH,  /* the group's number, and the one of the end tag */
    PS_READER_STRAY_END,       /* the end tag's number */
    PS_READER_TOO_DEEP,
} ps_reader_fault;

typedef struct {
    const uint8_t *tag; /* of the record at fault, which may lie in a group: of GROUP_OPEN the start tag,
                           of GROUP_MISMATCH the end tag */
    uint64_t detail[2];
} ps_reader_error;

/* Reads the record at `at`, which is before `end`, and moves `at` behind it. What lies in groups may be
 * nested `max_depth` levels deep, 1 to PS_READER_DEEPEST. A fault leaves `at` as it was, and anything in
 * `record`. */
ps_reader_fault ps_record_read(const uint8_t **at, const uint8_t *end, uint32_t max_depth, ps_record *record,
                               ps_reader_error *error);

#endif
