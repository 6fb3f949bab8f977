#include "wire_tape.h"

#include <string.h>

#include "bytes.h"
#include "utf8.h"
#include "varint.h"

#define MOST_BYTES UINT64_C(0x7fffffff) /* offsets of packed values, and places on the tape, have 32 bits */
#define FIRST_CAPACITY 64
#define MOST_PRESIZED 16384 /* records, before any has shown that there are so many */

enum { NO_FIELD = UINT16_MAX }; /* no position in the fields of a message */

enum { VARINT, FIXED64, DELIMITED, START_GROUP, END_GROUP, FIXED32 };

/* Wire types of one value, three bits for each kind: a shift takes less than a load. */
#define OF_KIND(kind, wire_type) ((uint64_t)(wire_type) << 3 * (kind))
static const uint64_t WIRE_TYPES = /* of other kinds: VARINT, which is 0 */
    OF_KIND(PS_KIND_DOUBLE, FIXED64) | OF_KIND(PS_KIND_FIXED64, FIXED64) |
    OF_KIND(PS_KIND_SFIXED64, FIXED64) | OF_KIND(PS_KIND_FLOAT, FIXED32) | OF_KIND(PS_KIND_FIXED32, FIXED32) |
    OF_KIND(PS_KIND_SFIXED32, FIXED32) | OF_KIND(PS_KIND_STRING, DELIMITED) |
    OF_KIND(PS_KIND_BYTES, DELIMITED) | OF_KIND(PS_KIND_MESSAGE, DELIMITED) |
    OF_KIND(PS_KIND_GROUP, START_GROUP);

static inline uint32_t wire_type_of(uint8_t kind) { return WIRE_TYPES >> 3 * kind & 7; }

/* Bytes of a value in an array; 0: values of that kind cannot be packed. */
static const uint8_t ARRAY_WIDTHS[] = {
    [PS_KIND_DOUBLE] = 8, [PS_KIND_FLOAT] = 4,   [PS_KIND_INT64] = 8,    [PS_KIND_UINT64] = 8,
    [PS_KIND_INT32] = 4,  [PS_KIND_FIXED64] = 8, [PS_KIND_FIXED32] = 4,  [PS_KIND_BOOL] = 1,
    [PS_KIND_UINT32] = 4, [PS_KIND_ENUM] = 4,    [PS_KIND_SFIXED32] = 4, [PS_KIND_SFIXED64] = 8,
    [PS_KIND_SINT32] = 4, [PS_KIND_SINT64] = 8,
};

/* Bytes of a value on the wire; 0: they differ. */
static uint8_t fixed_size(uint8_t kind) { return wire_type_of(kind) == VARINT ? 0 : ARRAY_WIDTHS[kind]; }

/* What an unknown group holds: all in it is unknown too. */
static const ps_wire_message UNKNOWN_GROUP = {0};

/* A message, group, map entry or unknown group that is being read. */
typedef struct {
    const ps_wire_message *message;
    const uint8_t *tag; /* that began it */
    const uint8_t *end; /* that it must not reach beyond; with a length, where it ends */
    uint32_t group;     /* its number; 0: it has a length instead */
    uint32_t record;    /* its BEGIN on the tape */
    uint32_t run;       /* the record that counts the run which `last` may go on with */
    uint16_t field;     /* in the message around it */
    uint16_t last;      /* of the record before in this message; NO_FIELD: no run goes on from there */
    uint8_t traits;
} frame;

enum { /* traits of a frame */
       IS_ROOT = 1,
       IS_ENTRY = PS_MAP, /* as the shape of its field says */
       IS_GROUP = 4,
       IS_UNKNOWN = 8,  /* and a group */
       IS_UNNAMED = 16, /* an entry whose value is a number without a name */
};

/* What changes together does not lie together: gcc would load and store both as one vector, and wait each
 * time for the halves that were stored one by one. */
typedef struct {
    const uint8_t *bytes;
    const uint8_t *end; /* of what `top` may take */
    const ps_wire_limits *limits;
    frame *top;
    const frame *deepest; /* that the limits allow */
    ps_tape_record *next; /* free; there is one at least when a record of the input is read */
    int64_t memory;       /* that the limits still allow; below 0 when it is too much */
    ps_tape_record *room; /* where the free ones end */
    int64_t elements;     /* as memory */
    ps_tape *tape;
    int64_t unknown; /* as memory */
    ps_wire_error *error;
    frame frames[PS_WIRE_DEEPEST];
} reader;

/* One record of the input. */
typedef struct {
    const uint8_t *tag;         /* where it begins */
    const ps_wire_field *field; /* NULL: unknown */
    uint16_t position;          /* of the field; NO_FIELD: unknown */
} input_record;

static inline input_record unknown_record(const uint8_t *tag) { return (input_record){tag, NULL, NO_FIELD}; }

/* Functions that read return the place behind what they took; NULL: r->error says what was wrong. */

/* ---- where a fault lies; never run while all is well ---- */

static inline uint64_t offset(const reader *r, const uint8_t *at) { return (uint64_t)(at - r->bytes); }

static inline const uint8_t *input_end(const reader *r) { return r->frames[0].end; }

/* Behind the value of a record that was read before; of a group, behind its start or end tag only. */
static const uint8_t *skip_known(const reader *r, const uint8_t *at, uint32_t wire_type)
{
    uint64_t word = 0;
    switch (wire_type) {
    case FIXED64:
        return at + 8;
    case FIXED32:
        return at + 4;
    case VARINT:
        return ps_varint_read(at, input_end(r), &word);
    case DELIMITED:
        at = ps_varint_read(at, input_end(r), &word);
        return at + word;
    default:
        return at;
    }
}

static bool can_be_packed(const ps_wire_field *field)
{
    return field->shape == PS_REPEATED && ARRAY_WIDTHS[field->kind] > 0;
}

/* Elements of `field` in one record of it that was read before. */
static uint64_t known_elements(const reader *r, const ps_wire_field *field, uint32_t wire_type,
                               const uint8_t *value)
{
    if (wire_type == wire_type_of(field->kind)) return 1;
    if (wire_type != DELIMITED || !can_be_packed(field)) return 0;
    uint64_t size = 0;
    value = ps_varint_read(value, input_end(r), &size);
    if (fixed_size(field->kind) > 0) return size / fixed_size(field->kind);
    size_t count = 0, bad = 0;
    ps_varints_count(value, size, &count, &bad);
    return count;
}

/* Elements of `field` between the beginning of `parent` and its record at `until`. */
static uint64_t elements_before(const reader *r, const frame *parent, const ps_wire_field *field,
                                const uint8_t *until)
{
    const uint8_t *at = parent->tag;
    uint64_t word = 0, elements = 0;
    if (parent != r->frames) {
        at = ps_varint_read(at, until, &word);
        if (!(parent->traits & IS_GROUP)) at = ps_varint_read(at, until, &word);
    }
    size_t groups = 0; /* open ones, within `parent` */
    while (at < until) {
        at = ps_varint_read(at, until, &word);
        uint32_t wire_type = word & 7;
        if (wire_type == END_GROUP) groups--;
        if (groups == 0 && word >> 3 == field->number) elements += known_elements(r, field, wire_type, at);
        if (wire_type == START_GROUP) groups++;
        at = skip_known(r, at, wire_type);
    }
    return elements;
}

static void add_step(const reader *r, const frame *parent, uint16_t position, const uint8_t *tag)
{
    const ps_wire_field *field = &parent->message->fields[position];
    bool indexed = field->shape != PS_SINGULAR;
    r->error->steps[r->error->n_steps++] =
        (ps_wire_step){position, indexed, indexed ? elements_before(r, parent, field, tag) : 0};
}

/* The way to `top`, or to the innermost message that is known around it. */
static void add_steps_to_top(const reader *r)
{
    for (const frame *each = r->frames + 1; each <= r->top && !(each->traits & IS_UNKNOWN); each++)
        add_step(r, each - 1, each->field, each->tag);
}

/* `record` is at fault. */
static __attribute__((noinline, cold)) const uint8_t *
fail(const reader *r, ps_wire_fault fault, input_record record, uint64_t detail, uint64_t other_detail)
{
    ps_wire_error *error = r->error;
    error->fault = fault;
    error->offset = (size_t)(record.tag - r->bytes);
    error->detail[0] = detail;
    error->detail[1] = other_detail;
    error->n_steps = 0;
    add_steps_to_top(r);
    if (record.position != NO_FIELD) add_step(r, r->top, record.position, record.tag);
    return NULL;
}

static const uint8_t *fail_plainly(const reader *r, ps_wire_fault fault, input_record record)
{
    return fail(r, fault, record, 0, 0);
}

/* `top` is a group, and the input or the message around it ends before it does. */
static __attribute__((noinline, cold)) const uint8_t *fail_open_group(reader *r)
{
    frame *group = r->top--;
    input_record start = {group->tag, NULL, group->field};
    return fail(r, PS_WIRE_GROUP_OPEN, start, group->group, 0);
}

/* ---- limits ---- */

static inline bool is_repeated(const ps_wire_field *field) { return field->shape & PS_REPEATED; }

/* What text, bytes and messages cost besides when they stand in a list. */
static inline uint64_t list_cost(const ps_wire_field *field)
{
    return (uint64_t)is_repeated(field) * PS_COST_REPEATED;
}

/* Counts the elements and the memory that a record takes. */
static inline bool charge(reader *r, input_record record, uint64_t elements, uint64_t cost)
{
    r->elements -= (int64_t)elements;
    r->memory -= (int64_t)cost;
    if ((r->elements | r->memory) >= 0) return true;
    fail_plainly(r, r->elements < 0 ? PS_WIRE_TOO_MANY : PS_WIRE_TOO_MUCH_MEMORY, record);
    return false;
}

/* Counts unknown fields, `number` being that of the first of them. */
static bool count_unknown(reader *r, input_record record, uint64_t n, uint32_t number)
{
    input_record unknown = unknown_record(record.tag);
    r->unknown -= (int64_t)n;
    if (r->unknown < 0) {
        fail_plainly(r, PS_WIRE_TOO_MANY_UNKNOWN, unknown);
        return false;
    }
    if (n > 0 && r->limits->refuse_unknown) {
        fail(r, PS_WIRE_UNKNOWN, unknown, number, 0);
        return false;
    }
    return true;
}

/* ---- the tape ---- */

void ps_tape_init(ps_tape *tape, ps_allocator allocator, ps_tape_record *records, size_t capacity)
{
    *tape = (ps_tape){.records = records, .capacity = records ? capacity : 0, .allocator = allocator};
}

void ps_tape_free(ps_tape *tape)
{
    if (tape->owned) tape->allocator.release(tape->records);
    *tape = (ps_tape){.allocator = tape->allocator};
}

/* Records that an input has in all, if it goes on as it did up to `at`. */
static size_t likely_records(const reader *r, const uint8_t *at)
{
    uint64_t used = r->tape->capacity, done = offset(r, at), size = offset(r, input_end(r));
    uint64_t likely = done > 0 ? used * size / done * 9 / 8 : size / 6;
    return likely < MOST_PRESIZED ? (size_t)likely : MOST_PRESIZED;
}

static bool grow(reader *r, const uint8_t *at)
{
    ps_tape *tape = r->tape;
    size_t used = tape->capacity, capacity = used + used / 2, likely = likely_records(r, at);
    if (capacity < likely) capacity = likely;
    if (capacity < FIRST_CAPACITY) capacity = FIRST_CAPACITY;
    ps_tape_record *records =
        tape->allocator.resize(tape->owned ? tape->records : NULL, capacity * sizeof *records);
    if (records == NULL) return false;
    if (!tape->owned && used > 0) memcpy(records, tape->records, used * sizeof *records);
    tape->records = records;
    tape->capacity = capacity;
    tape->owned = true;
    r->next = records + used;
    r->room = records + capacity;
    return true;
}

static inline void put(reader *r, ps_tape_op op, uint16_t position, uint32_t size_or_run, uint64_t value)
{
    *r->next++ = (ps_tape_record){(uint8_t)op, 0, position, size_or_run, value};
}

static inline uint32_t next_record(const reader *r) { return (uint32_t)(r->next - r->tape->records); }

/* The run of a record of a repeated field or a map that is put next. */
static inline uint32_t run_with(reader *r, uint16_t position)
{
    frame *top = r->top;
    if (top->last == position) {
        r->tape->records[top->run].size_or_run++;
        return 0;
    }
    top->last = position;
    top->run = next_record(r);
    return 1;
}

static inline uint32_t run_of(reader *r, input_record record)
{
    if (record.field->shape != PS_SINGULAR) return run_with(r, record.position);
    r->top->last = record.position;
    return 0;
}

/* Keeps what lies between `from` and `to`. */
static void put_unknown(reader *r, const uint8_t *from, const uint8_t *to)
{
    r->top->last = NO_FIELD;
    if (!r->limits->keep_unknown || r->top->traits & (IS_ENTRY | IS_UNKNOWN)) return;
    uint64_t begin = offset(r, from);
    uint32_t size = (uint32_t)(to - from);
    ps_tape_record *before = next_record(r) > 0 ? r->next - 1 : NULL;
    if (before && before->op == PS_TAPE_UNKNOWN && before->value + before->size_or_run == begin)
        before->size_or_run += size;
    else
        put(r, PS_TAPE_UNKNOWN, 0, size, begin);
}

/* ---- messages, groups and map entries ---- */

/* Begins what ends at `end`, or, as a group of that number, at its end tag. */
static inline void push(reader *r, const ps_wire_message *message, input_record record, const uint8_t *end,
                        uint32_t group, uint8_t traits)
{
    frame *top = ++r->top;
    top->message = message;
    top->tag = record.tag;
    top->end = r->end = end;
    top->group = group;
    top->field = record.position;
    top->last = NO_FIELD;
    top->traits = traits;
}

static inline const uint8_t *enter(reader *r, const uint8_t *at, const uint8_t *end, input_record record,
                                   uint32_t group, uint8_t traits)
{
    const ps_wire_message *child = record.field->child;
    if (r->top == r->deepest) return fail_plainly(r, PS_WIRE_TOO_DEEP, record);
    if (!charge(r, record, 1, child->cost + list_cost(record.field))) return NULL;
    uint32_t begin = next_record(r);
    put(r, PS_TAPE_BEGIN, record.position, run_of(r, record), 0);
    push(r, child, record, end, group, traits);
    r->top->record = begin;
    return at;
}

static const uint8_t *enter_unknown(reader *r, const uint8_t *at, input_record record, uint32_t group)
{
    if (r->top == r->deepest) return fail_plainly(r, PS_WIRE_TOO_DEEP, record);
    push(r, &UNKNOWN_GROUP, record, r->end, group, IS_GROUP | IS_UNKNOWN);
    return at;
}

/* Takes the entry of a map off the tape again, whose value has a number without a name. */
static bool forget_entry(reader *r, const frame *entry)
{
    uint32_t number = r->top->message->fields[entry->field].number;
    if (!count_unknown(r, unknown_record(entry->tag), 1, number)) return false;
    ps_tape_record *begin = r->tape->records + entry->record;
    if (begin->size_or_run == 0) r->tape->records[r->top->run].size_or_run--;
    r->next = begin;
    return true;
}

/* Pays for an unknown field that ends at `at`. */
static const uint8_t *finish_unknown(reader *r, const uint8_t *tag, const uint8_t *at)
{
    if (!charge(r, unknown_record(tag), 0, PS_COST_UNKNOWN + (uint64_t)(at - tag))) return NULL;
    put_unknown(r, tag, at);
    return at;
}

/* Ends `top`, which is not the root. */
static inline const uint8_t *leave(reader *r, const uint8_t *at)
{
    const frame *left = r->top--;
    r->end = r->top->end;
    if (!(left->traits & (IS_UNKNOWN | IS_UNNAMED))) {
        put(r, PS_TAPE_END, 0, 0, 0);
        return at;
    }
    if (r->top->traits & IS_UNKNOWN) return at;
    if (left->traits & IS_UNNAMED && !forget_entry(r, left)) return NULL;
    return finish_unknown(r, left->tag, at);
}

/* ---- values ---- */

/* A varint and the place behind it, NULL when it is none. It is returned: what a pointer points to is kept in
 * memory, and where the next record begins would come from there. */
typedef struct {
    const uint8_t *behind;
    uint64_t value;
} varint;

static __attribute__((noinline)) varint read_long_varint(const reader *r, const uint8_t *at,
                                                         input_record record)
{
    uint64_t value = 0;
    const uint8_t *behind = ps_varint_read(at, r->end, &value);
    if (behind == NULL) {
        bool cut_off = r->end - at < PS_VARINT_MOST;
        fail_plainly(r, cut_off ? PS_WIRE_VALUE_TRUNCATED : PS_WIRE_VARINT_TOO_LONG, record);
    }
    return (varint){behind, value};
}

static inline varint read_varint(const reader *r, const uint8_t *at, input_record record)
{
    if (at < r->end && at[0] < 0x80) return (varint){at + 1, at[0]};
    return read_long_varint(r, at, record);
}

static inline varint read_length(const reader *r, const uint8_t *at, input_record record)
{
    varint length = read_varint(r, at, record);
    if (length.behind == NULL) return length;
    uint64_t left = (uint64_t)(r->end - length.behind);
    if (length.value <= left) return length;
    return (varint){fail(r, PS_WIRE_LENGTH_PAST_END, record, length.value, left), 0};
}

static inline bool has_fixed(const reader *r, const uint8_t *at, input_record record, ptrdiff_t size)
{
    if (r->end - at >= size) return true;
    fail_plainly(r, PS_WIRE_VALUE_TRUNCATED, record);
    return false;
}

static inline uint64_t extended(int32_t value) { return (uint64_t)(int64_t)value; }

static inline const uint8_t *put_scalar(reader *r, const uint8_t *behind, input_record record, uint64_t value)
{
    bool repeated = is_repeated(record.field);
    if (!charge(r, record, repeated, repeated ? PS_COST_ELEMENT : PS_COST_SCALAR)) return NULL;
    put(r, PS_TAPE_SCALAR, record.position, run_of(r, record), value);
    return behind;
}

static bool is_named(const ps_wire_field *field, int32_t number)
{
    const int32_t *values = field->values;
    uint32_t low = 0, high = field->n_values;
    if (high == 0 || number < values[0] || number > values[high - 1]) return false;
    uint32_t without_gaps = (uint32_t)number - (uint32_t)values[0];
    if (without_gaps < high && values[without_gaps] == number) return true;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (values[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return values[low] == number;
}

static const uint8_t *take_unnamed(reader *r, const uint8_t *behind, input_record record)
{
    if (r->top->traits & IS_ENTRY) {
        r->top->traits |= IS_UNNAMED;
        r->top->last = NO_FIELD;
        return behind;
    }
    if (!count_unknown(r, record, 1, record.field->number)) return NULL;
    return finish_unknown(r, record.tag, behind);
}

static inline const uint8_t *take_enum(reader *r, const uint8_t *behind, input_record record, uint64_t word)
{
    if (record.field->values != NULL && !is_named(record.field, (int32_t)(uint32_t)word))
        return take_unnamed(r, behind, record);
    return put_scalar(r, behind, record, extended((int32_t)(uint32_t)word));
}

static inline const uint8_t *put_span(reader *r, const uint8_t *at, uint64_t size, ps_tape_op op,
                                      input_record record)
{
    r->top->last = record.position;
    put(r, op, record.position, (uint32_t)size, offset(r, at));
    return at + size;
}

/* Text with bytes above 127; its element is counted already. */
static const uint8_t *take_other_text(reader *r, const uint8_t *at, uint64_t size, input_record record)
{
    ps_text_shape shape = {size, 4}; /* of what may be no UTF-8, the most */
    if (record.field->flags & PS_FIELD_UTF8 && !ps_utf8_measure(at, size, &shape))
        return fail_plainly(r, PS_WIRE_NOT_UTF8, record);
    uint64_t cost = PS_COST_TEXT + list_cost(record.field) + (uint64_t)shape.n * shape.width;
    if (!charge(r, record, 0, cost)) return NULL;
    return put_span(r, at, size, PS_TAPE_TEXT, record);
}

static inline const uint8_t *take_text(reader *r, const uint8_t *at, input_record record)
{
    varint length = read_length(r, at, record);
    uint64_t size = length.value;
    at = length.behind;
    if (at == NULL) return NULL;
    bool repeated = is_repeated(record.field);
    if (!ps_is_ascii(at, size, (size_t)(input_end(r) - at)))
        return charge(r, record, repeated, 0) ? take_other_text(r, at, size, record) : NULL;
    if (!charge(r, record, repeated, PS_COST_ASCII + list_cost(record.field) + size)) return NULL;
    return put_span(r, at, size, PS_TAPE_ASCII, record);
}

static inline const uint8_t *take_bytes(reader *r, const uint8_t *at, input_record record)
{
    varint length = read_length(r, at, record);
    uint64_t size = length.value;
    at = length.behind;
    if (at == NULL) return NULL;
    bool repeated = is_repeated(record.field);
    if (!charge(r, record, repeated, PS_COST_BYTES + list_cost(record.field) + size)) return NULL;
    return put_span(r, at, size, PS_TAPE_BYTES, record);
}

/* How many of packed[size], which is whole, have a number that the closed enum `field` does not name. */
static uint64_t count_unnamed(const ps_wire_field *field, const uint8_t *packed, uint64_t size)
{
    const uint8_t *end = packed + size;
    uint64_t unnamed = 0, word = 0;
    while (packed < end) {
        packed = ps_varint_read(packed, end, &word);
        unnamed += !is_named(field, (int32_t)(uint32_t)word);
    }
    return unnamed;
}

/* Counts the values of packed[size]; false when they are not whole. */
static bool count_packed(const reader *r, input_record record, const uint8_t *packed, uint64_t size,
                         size_t *values)
{
    uint8_t width = fixed_size(record.field->kind);
    size_t bad;
    if (width > 0) {
        *values = size / width;
        if (size % width != 0) fail_plainly(r, PS_WIRE_PACKED_PARTIAL, record);
        return size % width == 0;
    }
    if (ps_varints_count(packed, size, values, &bad)) return true;
    bool cut_off = size - bad < PS_VARINT_MOST;
    fail_plainly(r, cut_off ? PS_WIRE_VALUE_TRUNCATED : PS_WIRE_VARINT_TOO_LONG, record);
    return false;
}

static const uint8_t *take_packed(reader *r, const uint8_t *at, input_record record)
{
    const ps_wire_field *field = record.field;
    varint length = read_length(r, at, record);
    uint64_t size = length.value;
    at = length.behind;
    if (at == NULL) return NULL;
    size_t n = 0;
    if (!count_packed(r, record, at, size, &n)) return NULL;
    uint64_t cost = field->flags & PS_FIELD_ARRAY ? PS_COST_ARRAY + n * ARRAY_WIDTHS[field->kind]
                                                  : PS_COST_PACKED + n * PS_COST_PACKED_VALUE;
    if (!charge(r, record, n, cost)) return NULL;
    if (field->kind == PS_KIND_ENUM && field->values != NULL) {
        uint64_t unnamed = count_unnamed(field, at, size);
        if (!count_unknown(r, record, unnamed, field->number)) return NULL;
        if (!charge(r, record, 0, unnamed * PS_COST_UNNAMED)) return NULL;
    }
    r->top->last = NO_FIELD;
    put(r, PS_TAPE_PACKED, record.position, (uint32_t)size, offset(r, at) | (uint64_t)n << 32);
    return at + size;
}

static inline const uint8_t *take_message(reader *r, const uint8_t *at, input_record record)
{
    varint length = read_length(r, at, record);
    at = length.behind;
    return at == NULL ? NULL : enter(r, at, at + length.value, record, 0, record.field->shape & IS_ENTRY);
}

/* ---- records ---- */

static const uint8_t *end_group(reader *r, const uint8_t *at, input_record record, uint32_t number)
{
    const frame *top = r->top;
    if (!(top->traits & IS_GROUP)) return fail(r, PS_WIRE_STRAY_END, record, number, 0);
    if (top->group != number) return fail(r, PS_WIRE_GROUP_MISMATCH, record, top->group, number);
    return leave(r, at);
}

/* A record whose field, or whose wire type for that field, the schema does not know. */
static const uint8_t *take_unknown(reader *r, const uint8_t *at, input_record record, uint32_t tag)
{
    uint32_t number = tag >> 3, wire_type = tag & 7;
    record = unknown_record(record.tag);
    if (number == 0) return fail_plainly(r, PS_WIRE_FIELD_ZERO, record);
    if (wire_type > FIXED32) return fail(r, PS_WIRE_NO_SUCH_TYPE, record, wire_type, 0);
    if (wire_type == END_GROUP) return end_group(r, at, record, number);
    if (!count_unknown(r, record, 1, number)) return NULL;
    if (wire_type == START_GROUP) return enter_unknown(r, at, record, number);
    if (wire_type == VARINT) {
        at = read_varint(r, at, record).behind;
    } else if (wire_type == DELIMITED) {
        varint length = read_length(r, at, record);
        at = length.behind == NULL ? NULL : length.behind + length.value;
    } else {
        ptrdiff_t size = wire_type == FIXED64 ? 8 : 4;
        at = has_fixed(r, at, record, size) ? at + size : NULL;
    }
    if (at == NULL || r->top->traits & IS_UNKNOWN) return at; /* a group is charged as a whole */
    return finish_unknown(r, record.tag, at);
}

/* The tag that begins at `start` with a byte above 127. */
static __attribute__((noinline)) varint read_long_tag(const reader *r, const uint8_t *start)
{
    enum { MOST = 5 };
    uint64_t tag = 0;
    for (int i = 0; i < MOST; i++) {
        if (start + i == r->end)
            return (varint){fail_plainly(r, PS_WIRE_TAG_TRUNCATED, unknown_record(start)), 0};
        tag |= (uint64_t)(start[i] & 0x7f) << 7 * i;
        if (start[i] < 0x80 && tag <= UINT32_MAX) return (varint){start + i + 1, tag};
    }
    return (varint){fail_plainly(r, PS_WIRE_TAG_TOO_LARGE, unknown_record(start)), 0};
}

static inline varint read_tag(const reader *r, const uint8_t *start)
{
    if (start[0] < 0x80) return (varint){start + 1, start[0]};
    if (r->end - start >= 2 && start[1] < 0x80)
        return (varint){start + 2, (uint64_t)(start[0] & 0x7f) | (uint64_t)start[1] << 7};
    return read_long_tag(r, start);
}

/* The position of a number that is not in the dense table. Likely is that of the record before, or the next.
 */
static uint16_t search(const ps_wire_message *message, uint32_t number, uint16_t last)
{
    const ps_wire_field *fields = message->fields;
    uint16_t next = (uint16_t)(last + 1); /* after NO_FIELD: 0 */
    if (last < message->n_fields && fields[last].number == number) return last;
    if (next < message->n_fields && fields[next].number == number) return next;
    uint32_t low = 0, high = message->n_fields;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (fields[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < message->n_fields && fields[low].number == number ? (uint16_t)low : NO_FIELD;
}

static inline uint16_t find(const frame *top, uint32_t number)
{
    const ps_wire_message *message = top->message;
    if (number < message->n_dense) return (uint16_t)(message->dense[number] - 1); /* 0 becomes NO_FIELD */
    return search(message, number, top->last);
}

static inline const uint8_t *take_varint(reader *r, const uint8_t *at, input_record record)
{
    varint read = read_varint(r, at, record);
    uint64_t word = read.value;
    if (read.behind == NULL) return NULL;
    switch (record.field->kind) {
    case PS_KIND_ENUM:
        return take_enum(r, read.behind, record, word);
    case PS_KIND_INT32:
        return put_scalar(r, read.behind, record, extended((int32_t)(uint32_t)word));
    case PS_KIND_UINT32:
        return put_scalar(r, read.behind, record, (uint32_t)word);
    case PS_KIND_BOOL:
        return put_scalar(r, read.behind, record, word != 0);
    case PS_KIND_SINT32:
        return put_scalar(r, read.behind, record, extended(ps_unzigzag32((uint32_t)word)));
    case PS_KIND_SINT64:
        return put_scalar(r, read.behind, record, (uint64_t)ps_unzigzag64(word));
    default:
        return put_scalar(r, read.behind, record, word);
    }
}

static inline const uint8_t *take_fixed32(reader *r, const uint8_t *at, input_record record)
{
    if (!has_fixed(r, at, record, 4)) return NULL;
    uint32_t word = ps_read_little32(at);
    bool is_signed = record.field->kind == PS_KIND_SFIXED32;
    return put_scalar(r, at + 4, record, is_signed ? extended((int32_t)word) : word);
}

static inline const uint8_t *take_fixed64(reader *r, const uint8_t *at, input_record record)
{
    return has_fixed(r, at, record, 8) ? put_scalar(r, at + 8, record, ps_read_little64(at)) : NULL;
}

/* Takes the record that begins at `start`. */
static inline const uint8_t *take(reader *r, const uint8_t *start)
{
    varint read = read_tag(r, start);
    const uint8_t *at = read.behind;
    if (at == NULL) return NULL;
    uint32_t tag = (uint32_t)read.value, wire_type = tag & 7;
    input_record record = {start, NULL, find(r->top, tag >> 3)};
    if (record.position == NO_FIELD) return take_unknown(r, at, record, tag);
    const ps_wire_field *field = record.field = &r->top->message->fields[record.position];
    if (wire_type_of(field->kind) != wire_type) {
        bool is_packed = wire_type == DELIMITED && can_be_packed(field);
        return is_packed ? take_packed(r, at, record) : take_unknown(r, at, record, tag);
    }
    switch (field->kind) {
    case PS_KIND_STRING:
        return take_text(r, at, record);
    case PS_KIND_MESSAGE:
        return take_message(r, at, record);
    case PS_KIND_BYTES:
        return take_bytes(r, at, record);
    case PS_KIND_GROUP:
        return enter(r, at, r->end, record, tag >> 3, IS_GROUP);
    case PS_KIND_DOUBLE:
    case PS_KIND_FIXED64:
    case PS_KIND_SFIXED64:
        return take_fixed64(r, at, record);
    case PS_KIND_FLOAT:
    case PS_KIND_FIXED32:
    case PS_KIND_SFIXED32:
        return take_fixed32(r, at, record);
    default:
        return take_varint(r, at, record);
    }
}

/* ---- the whole ---- */

static ps_status refuse_root(ps_wire_error *error, ps_wire_fault fault, uint64_t detail,
                             uint64_t other_detail)
{
    error->fault = fault;
    error->offset = SIZE_MAX;
    error->detail[0] = detail;
    error->detail[1] = other_detail;
    error->n_steps = 0;
    return fault == PS_WIRE_NO_MEMORY ? PS_NO_MEMORY : PS_REFUSED;
}

/* A limit as what is left of it. None so large is ever reached, and below 0 there is room for one more
 * record. */
static int64_t allowance(uint64_t limit) { return limit < INT64_MAX / 2 ? (int64_t)limit : INT64_MAX / 2; }

static void begin(reader *r, const ps_wire_message *schema, size_t size)
{
    uint32_t max_depth = r->limits->max_depth;
    r->top = r->frames;
    r->deepest =
        r->frames + (max_depth > 0 && max_depth <= PS_WIRE_DEEPEST ? max_depth : PS_WIRE_DEEPEST) - 1;
    r->end = r->bytes + size;
    *r->top = (frame){.message = schema, .tag = r->bytes, .end = r->end, .last = NO_FIELD, .traits = IS_ROOT};
    r->next = r->tape->records;
    r->room = r->next == NULL ? NULL : r->next + r->tape->capacity;
    r->elements = allowance(r->limits->max_elements);
    r->memory = allowance(r->limits->max_memory) - schema->cost;
    r->unknown = allowance(r->limits->max_unknown);
}

ps_status ps_tape_read(ps_tape *tape, const ps_wire_message *schema, const uint8_t *bytes, size_t size,
                       const ps_wire_limits *limits, ps_wire_error *error)
{
    uint64_t most = limits->max_size < MOST_BYTES ? limits->max_size : MOST_BYTES;
    tape->n = 0;
    if (size > most) return refuse_root(error, PS_WIRE_TOO_LARGE, size, most);
    if (schema->cost > limits->max_memory) return refuse_root(error, PS_WIRE_TOO_MUCH_MEMORY, 0, 0);

    static const uint8_t nothing[1] = {0};
    reader r; /* not cleared: a frame is written when it is entered */
    r.bytes = size == 0 ? nothing : bytes;
    r.limits = limits;
    r.tape = tape;
    r.error = error;
    begin(&r, schema, size);
    for (const uint8_t *at = r.bytes;;) {
        if (r.next == r.room && !grow(&r, at)) return refuse_root(error, PS_WIRE_NO_MEMORY, 0, 0);
        if (at < r.end)
            at = take(&r, at);
        else if (!(r.top->traits & (IS_ROOT | IS_GROUP)))
            at = leave(&r, at);
        else if (r.top->traits & IS_GROUP)
            at = fail_open_group(&r);
        else
            break;
        if (at == NULL) return PS_REFUSED;
    }
    put(&r, PS_TAPE_END, 0, 0, 0);
    tape->n = next_record(&r);
    error->fault = PS_WIRE_FINE;
    return PS_OK;
}

/* ---- for tests ---- */

typedef struct {
    const ps_wire_message *message;
    uint32_t run_left; /* records that the run begun last still has */
    uint16_t last;
} checked_frame;

static bool check_run(checked_frame *top, const ps_wire_field *field, const ps_tape_record *record)
{
    if (field->shape == PS_SINGULAR) return top->run_left == 0 && record->size_or_run == 0;
    if (top->run_left > 0) {
        top->run_left--;
        return record->field == top->last && record->size_or_run == 0;
    }
    if (record->size_or_run == 0) return false;
    top->run_left = record->size_or_run - 1;
    top->last = record->field;
    return true;
}

static bool is_span_of(const ps_wire_field *field, const ps_tape_record *record)
{
    switch (record->op) {
    case PS_TAPE_ASCII:
    case PS_TAPE_TEXT:
        return field->kind == PS_KIND_STRING;
    case PS_TAPE_BYTES:
        return field->kind == PS_KIND_BYTES;
    default:
        return can_be_packed(field) && record->value >> 32 <= record->size_or_run;
    }
}

static bool check_span(const ps_tape_record *record, uint64_t *behind, size_t size)
{
    uint64_t offset = record->op == PS_TAPE_PACKED ? (uint32_t)record->value : record->value;
    if (offset < *behind || offset > size || record->size_or_run > size - offset) return false;
    *behind = offset + record->size_or_run;
    return true;
}

bool ps_tape_check(const ps_tape *tape, const ps_wire_message *schema, size_t size)
{
    checked_frame frames[PS_WIRE_DEEPEST] = {{schema, 0, 0}}, *top = frames;
    uint64_t behind = 0; /* of the spans before */
    if (tape->n > tape->capacity) return false;
    for (size_t i = 0; i < tape->n; i++) {
        const ps_tape_record *record = &tape->records[i];
        if (record->op == PS_TAPE_END) {
            if (top->run_left > 0) return false;
            if (top-- == frames) return i + 1 == tape->n;
            continue;
        }
        if (record->op == PS_TAPE_UNKNOWN) {
            if (top->run_left > 0 || record->size_or_run < 2 || !check_span(record, &behind, size))
                return false;
            continue;
        }
        if (record->op > PS_TAPE_UNKNOWN || record->field >= top->message->n_fields) return false;
        const ps_wire_field *field = &top->message->fields[record->field];
        if (record->op == PS_TAPE_SCALAR) {
            if (ARRAY_WIDTHS[field->kind] == 0 || !check_run(top, field, record)) return false;
        } else if (record->op == PS_TAPE_BEGIN) {
            if (field->child == NULL || !check_run(top, field, record)) return false;
            if (top == frames + PS_WIRE_DEEPEST - 1) return false;
            *++top = (checked_frame){field->child, 0, 0};
        } else if (top->run_left > 0 || !is_span_of(field, record) || !check_span(record, &behind, size)) {
            return false;
        }
    }
    return false;
}
