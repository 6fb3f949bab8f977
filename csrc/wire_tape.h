/* wire_tape -- protobuf bytes, checked against a schema and every limit, as a flat tape of records.
 *
 * Reading a message from outside has two parts. This one reads the bytes, which nobody can trust: it
 * finds tags, lengths and values, holds them to the schema, to UTF-8 and to the limits, and writes what
 * it found as records of 16 bytes. Whoever makes objects of the tape then meets no byte that could be
 * wrong, and has made nothing when the last byte turns out to be.
 *
 * The caller owns schema and bytes, and keeps both alive and unchanged while they are read; the tape owns
 * its records and can be used again. Nothing here reads a clock, locks or prints.
 * Source: https://protobuf.dev/programming-guides/encoding */
#ifndef PS_WIRE_TAPE_H
#define PS_WIRE_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

/* The numbers are those of FieldDescriptorProto.Type. */
typedef enum {
    PS_KIND_DOUBLE = 1,
    PS_KIND_FLOAT,
    PS_KIND_INT64,
    PS_KIND_UINT64,
    PS_KIND_INT32,
    PS_KIND_FIXED64,
    PS_KIND_FIXED32,
    PS_KIND_BOOL,
    PS_KIND_STRING,
    PS_KIND_GROUP,
    PS_KIND_MESSAGE,
    PS_KIND_BYTES,
    PS_KIND_UINT32,
    PS_KIND_ENUM,
    PS_KIND_SFIXED32,
    PS_KIND_SFIXED64,
    PS_KIND_SINT32,
    PS_KIND_SINT64,
} ps_kind;

typedef enum { PS_SINGULAR = 0, PS_REPEATED = 1, PS_MAP = 2 } ps_shape;

/* Flags of a field. */
enum {
    PS_FIELD_UTF8 = 1,  /* text must be UTF-8 */
    PS_FIELD_ARRAY = 2, /* repeated scalars become an array: packed ones cost their width each */
};

/* What things take as Python objects, in bytes, no less than CPython does on a 64-bit machine. */
enum {
    PS_COST_SCALAR = 48,  /* of a singular field */
    PS_COST_ELEMENT = 80, /* a scalar of a repeated field, unpacked; an int above 60 bits takes 48 */
    PS_COST_PACKED = 48,
    PS_COST_PACKED_VALUE = 56,
    PS_COST_ARRAY = 160,   /* and the width of each value */
    PS_COST_ASCII = 96,    /* and 1 for each character */
    PS_COST_TEXT = 128,    /* and what the greatest needs, 1, 2 or 4, for each; not UTF8: 4 for each byte */
    PS_COST_BYTES = 80,    /* and 1 for each byte */
    PS_COST_REPEATED = 16, /* in addition: text, bytes and messages of a repeated field */
    PS_COST_UNKNOWN = 32,  /* and 1 for each byte, tag included */
    PS_COST_UNNAMED = 48,  /* in addition: a number without a name among packed values of a closed enum */
};

enum { PS_WIRE_MOST_FIELDS = UINT16_MAX };

typedef struct ps_wire_message ps_wire_message;

typedef struct {
    uint32_t number;
    uint8_t kind;  /* ps_kind; PS_MAP: PS_KIND_MESSAGE, of its entries */
    uint8_t shape; /* ps_shape */
    uint8_t flags;
    const ps_wire_message *child; /* MESSAGE, GROUP and maps: their fields; a map's entry has 1 and 2 */
    const int32_t *values;        /* closed enums: the numbers with a name, ascending; else NULL */
    uint32_t n_values;
} ps_wire_field;

struct ps_wire_message {
    const ps_wire_field *fields; /* ascending by number */
    uint32_t n_fields;           /* up to PS_WIRE_MOST_FIELDS */
    uint32_t cost;         /* bytes that one takes as an object; a map's entry: without key and value, but
                            * with the message that is its value when it has none */
    uint32_t n_dense;      /* numbers below are looked up in `dense`, others by halving */
    const uint16_t *dense; /* number -> position in `fields` + 1, or 0 */
};

typedef struct {
    uint64_t max_size, max_elements, max_memory, max_unknown;
    uint32_t max_depth; /* 1 to PS_WIRE_DEEPEST; the root is at 1 */
    bool refuse_unknown;
    bool keep_unknown; /* write PS_TAPE_UNKNOWN records */
} ps_wire_limits;

typedef enum {
    PS_TAPE_SCALAR, /* value: the bits, sign-extended, zigzag undone, a bool 0 or 1; of a float its 32 bits */
    PS_TAPE_ASCII,  /* `size` bytes at offset `value`, each below 128 */
    PS_TAPE_TEXT,   /* the same, UTF-8 with others; or unchecked where the field has no PS_FIELD_UTF8 */
    PS_TAPE_BYTES,
    PS_TAPE_PACKED, /* `size` bytes at offset (uint32_t)value hold value >> 32 values, all whole; closed
                     * enums: numbers without a name among them */
    PS_TAPE_BEGIN,  /* a sub-message, group or map entry, up to its PS_TAPE_END; `value` unused */
    PS_TAPE_END,
    PS_TAPE_UNKNOWN, /* `size` bytes at offset `value`: tags and contents, as they came, of neighbours */
} ps_tape_op;

/* Fields that the schema lacks, that come with another wire type, or that hold a number which a closed enum
 * does not name, are unknown; a map's entry with such a number as its value is, whole. What is unknown within
 * a map's entry is not kept.
 *
 * `run`: on the first record of a run of elements of one repeated field or map, within one message and
 * without other records between: how many the run has; on the others and on singular fields 0. */
typedef struct {
    uint8_t op; /* ps_tape_op */
    uint8_t unused;
    uint16_t field;       /* position in `fields` of the message that the record lies in; else 0 */
    uint32_t size_or_run; /* ASCII, TEXT, BYTES, PACKED, UNKNOWN: bytes; BEGIN and SCALAR: the run */
    uint64_t value;
} ps_tape_record;

typedef struct {
    ps_tape_record *records;
    size_t n, capacity;
    ps_allocator allocator;
    bool owned; /* whether `records` came from the allocator */
} ps_tape;

typedef enum {
    PS_WIRE_FINE,
    PS_WIRE_TAG_TRUNCATED,
    PS_WIRE_TAG_TOO_LARGE,
    PS_WIRE_FIELD_ZERO,
    PS_WIRE_NO_SUCH_TYPE,
    PS_WIRE_VALUE_TRUNCATED,
    PS_WIRE_VARINT_TOO_LONG,
    PS_WIRE_LENGTH_PAST_END,
    PS_WIRE_NOT_UTF8,
    PS_WIRE_GROUP_OPEN,
    PS_WIRE_GROUP_MISMATCH,
    PS_WIRE_STRAY_END,
    PS_WIRE_PACKED_PARTIAL,
    PS_WIRE_TOO_DEEP,
    PS_WIRE_TOO_LARGE,
    PS_WIRE_TOO_MANY,
    PS_WIRE_TOO_MUCH_MEMORY,
    PS_WIRE_TOO_MANY_UNKNOWN,
    PS_WIRE_UNKNOWN,
    PS_WIRE_NO_MEMORY,
} ps_wire_fault;

enum { PS_WIRE_DEEPEST = 1000 };

typedef struct {    /* one step of the way to a fault */
    uint16_t field; /* position in the `fields` of the message that the step leads from */
    bool indexed;   /* a repeated field or a map */
    uint64_t index; /* how many elements of the field stand before it in the bytes of that message */
} ps_wire_step;

typedef struct {
    ps_wire_fault fault;
    size_t offset; /* of the tag of the record at fault; of a group without an end: its start tag; SIZE_MAX:
                    * the input is too large, or the root alone takes too much memory */
    uint64_t detail[2]; /* LENGTH_PAST_END: length, bytes left; GROUP_MISMATCH: its number, the one it is
                         * ended by; GROUP_OPEN, STRAY_END, UNKNOWN: the number; NO_SUCH_TYPE: the type;
                         * TOO_LARGE: size, limit */
    uint32_t n_steps;   /* from the root to the field at fault; to the message around what is unknown */
    ps_wire_step steps[PS_WIRE_DEEPEST + 1];
} ps_wire_error;

/* An empty tape; `records` may lie in memory of the caller's (a stack, say) of `capacity` records, which is
 * left behind, not released, when it does not suffice. */
void ps_tape_init(ps_tape *tape, ps_allocator allocator, ps_tape_record *records, size_t capacity);
void ps_tape_free(ps_tape *tape);

/* Reads `size` bytes as one message of `schema`. PS_OK: the tape holds it, root's END included.
 * PS_REFUSED: `error` says why. PS_NO_MEMORY: the tape could not grow. The tape's earlier content is lost.
 *
 * There is no more than one record for each byte of input, besides the last. Time is linear in the input, and
 * more than 2^31 - 1 bytes are refused, whatever the limits are. */
ps_status ps_tape_read(ps_tape *tape, const ps_wire_message *schema, const uint8_t *bytes, size_t size,
                       const ps_wire_limits *limits, ps_wire_error *error);

/* Whether all records nest rightly and lie within `size` bytes. For tests. */
bool ps_tape_check(const ps_tape *tape, const ps_wire_message *schema, size_t size);

#endif
