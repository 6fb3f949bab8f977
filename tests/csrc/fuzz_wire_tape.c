/* Messages of random schemas, sound and spoilt, under wide and narrow limits: the tape holds, record for
 * record, what a slow reader says of them, or both name the same fault, its offset and the way to it; also
 * when memory runs out in between. */
#include "fuzz.h"
#include "utf8.h"
#include "wire_tape.h"
#include "wire_writer.h"

enum {
    MOST_MESSAGES = 5,
    MOST_FIELDS = 7,
    MOST_ENTRIES = MOST_MESSAGES * MOST_FIELDS,
    MOST_DENSE = 24,
    INPUT_ROOM = 8192,
    DEEPEST_COMPOSED = 8,
    LEAST_ROOM = 256, /* for one record and for the lengths around it, in what is composed */
};

static long allowed; /* allocations until one fails; below 0: none does */

static void *resize(void *memory, size_t size)
{
    FUZZ_REQUIRE(size > 0);
    if (allowed == 0) return NULL;
    if (allowed > 0) allowed--;
    return realloc(memory, size);
}

/* ---- schemas ---- */

typedef struct {
    ps_wire_message messages[MOST_MESSAGES + MOST_ENTRIES];
    ps_wire_field fields[MOST_MESSAGES + MOST_ENTRIES][MOST_FIELDS];
    uint16_t dense[MOST_MESSAGES + MOST_ENTRIES][MOST_DENSE];
    uint32_t n_messages, n_entries;
} schema;

static const int32_t GAPLESS[] = {0, 1, 2}, GAPS[] = {INT32_MIN, -5, 0, 3, 1000, INT32_MAX};

static ps_kind any_kind(fuzz_input *input) { return (ps_kind)(1 + fuzz_take(input, 1) % 18); }

static void choose_kind(fuzz_input *input, schema *s, ps_wire_field *field, ps_kind kind)
{
    field->kind = (uint8_t)kind;
    field->child = NULL;
    field->values = NULL;
    field->n_values = 0;
    if (kind == PS_KIND_MESSAGE || kind == PS_KIND_GROUP)
        field->child = &s->messages[fuzz_take(input, 1) % s->n_messages];
    if (kind != PS_KIND_ENUM) return;
    switch (fuzz_take(input, 1) % 4) {
    case 0:
        field->values = GAPLESS, field->n_values = 3;
        break;
    case 1:
        field->values = GAPS, field->n_values = 6;
        break;
    case 2:
        field->values = GAPS;
        break; /* closed, and no number has a name */
    default:
        break;
    }
}

static void finish_message(fuzz_input *input, schema *s, uint32_t which, uint32_t n_fields)
{
    ps_wire_field *fields = s->fields[which];
    uint32_t n_dense = (uint32_t)fuzz_take(input, 1) % (MOST_DENSE + 1);
    memset(s->dense[which], 0, sizeof s->dense[which]);
    for (uint16_t i = 0; i < n_fields; i++)
        if (fields[i].number < n_dense) s->dense[which][fields[i].number] = (uint16_t)(i + 1);
    s->messages[which] = (ps_wire_message){fields, n_fields, 100 + 8 * n_fields, n_dense, s->dense[which]};
}

static void make_map(fuzz_input *input, schema *s, ps_wire_field *field)
{
    static const ps_kind keys[] = {PS_KIND_STRING, PS_KIND_INT32, PS_KIND_BOOL, PS_KIND_FIXED64};
    uint32_t which = MOST_MESSAGES + s->n_entries++;
    ps_wire_field *entry = s->fields[which];
    entry[0] = (ps_wire_field){.number = 1, .flags = PS_FIELD_UTF8};
    entry[1] = (ps_wire_field){.number = 2, .flags = (uint8_t)fuzz_take(input, 1) & PS_FIELD_UTF8};
    choose_kind(input, s, &entry[0], keys[fuzz_take(input, 1) % 4]);
    ps_kind kind = any_kind(input);
    choose_kind(input, s, &entry[1], kind == PS_KIND_GROUP ? PS_KIND_ENUM : kind);
    finish_message(input, s, which, 2);
    field->shape = PS_MAP;
    field->kind = PS_KIND_MESSAGE;
    field->child = &s->messages[which];
}

static void make_schema(fuzz_input *input, schema *s)
{
    s->n_messages = 1 + (uint32_t)fuzz_take(input, 1) % MOST_MESSAGES;
    s->n_entries = 0;
    for (uint32_t which = 0; which < s->n_messages; which++) {
        uint32_t n_fields = (uint32_t)fuzz_take(input, 1) % (MOST_FIELDS + 1), number = 0;
        for (uint32_t i = 0; i < n_fields; i++) {
            ps_wire_field *field = &s->fields[which][i];
            uint64_t step = fuzz_take(input, 1);
            number += step < 240 ? 1 + (uint32_t)step % 4 : 1 + (uint32_t)fuzz_take(input, 4) % (1U << 26);
            *field = (ps_wire_field){.number = number, .flags = (uint8_t)(fuzz_take(input, 1) & 3)};
            uint64_t shape = fuzz_take(input, 1) % 8;
            choose_kind(input, s, field, any_kind(input));
            field->shape = shape < 4 ? PS_SINGULAR : PS_REPEATED;
            if (shape == 7) make_map(input, s, field);
        }
        finish_message(input, s, which, n_fields);
    }
}

/* ---- messages ---- */

typedef struct {
    uint8_t bytes[INPUT_ROOM + LEAST_ROOM];
    uint8_t *at;
} composed;

static bool has_room(const composed *c) { return c->bytes + INPUT_ROOM - c->at > LEAST_ROOM; }

static uint32_t wire_type_of(uint8_t kind)
{
    switch (kind) {
    case PS_KIND_DOUBLE:
    case PS_KIND_FIXED64:
    case PS_KIND_SFIXED64:
        return 1;
    case PS_KIND_STRING:
    case PS_KIND_MESSAGE:
    case PS_KIND_BYTES:
        return 2;
    case PS_KIND_GROUP:
        return 3;
    case PS_KIND_FLOAT:
    case PS_KIND_FIXED32:
    case PS_KIND_SFIXED32:
        return 5;
    default:
        return 0;
    }
}

static uint64_t any_number(fuzz_input *input)
{
    uint64_t size = fuzz_take(input, 1) % 16;
    return size > 8 ? size - 8 : fuzz_take(input, size);
}

/* A varint, sometimes longer than it need be. */
static void put_number(fuzz_input *input, composed *c)
{
    uint8_t *begin = c->at;
    c->at = ps_varint_write(c->at, any_number(input));
    uint64_t more = fuzz_take(input, 1);
    if (more > 8) return;
    for (; more > 0 && c->at - begin < 11; more--) {
        c->at[-1] |= 0x80;
        *c->at++ = 0;
    }
}

static void put_text(fuzz_input *input, composed *c)
{
    static const char *const pieces[] = {
        "",
        "a",
        "a text of more than thirty-two bytes, all of them ASCII",
        "\xc3\xa4",
        "1234567\xc3\xa4",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "\xed\xa0\x80",
        "\xc0\x80",
        "\xf4\x90\x80\x80",
        "\xff",
        "\xe2\x82",
    };
    const char *piece = pieces[fuzz_take(input, 1) % (fuzz_take(input, 1) % 8 ? 7 : 12)];
    c->at = ps_wire_put_bytes(c->at, piece, strlen(piece));
}

static void compose(fuzz_input *input, composed *c, const ps_wire_message *message, unsigned depth);

static void put_content(fuzz_input *input, composed *c, const ps_wire_field *field, unsigned depth)
{
    uint8_t kind = field ? field->kind : (uint8_t)any_kind(input);
    unsigned reserved = 1 + (unsigned)fuzz_take(input, 1) % 3;
    uint8_t *content = c->at += reserved;
    if (field && field->child) {
        compose(input, c, field->child, depth + 1);
    } else {
        uint64_t n = fuzz_take(input, 1) % 12;
        for (uint64_t i = 0; i < n; i++) switch (wire_type_of(kind)) {
            case 1:
                c->at = ps_wire_put_fixed64(c->at, any_number(input));
                break;
            case 5:
                c->at = ps_wire_put_fixed32(c->at, (uint32_t)any_number(input));
                break;
            default:
                put_number(input, c);
                break;
            }
        if (fuzz_take(input, 1) % 16 == 0) *c->at++ = 0x80;
    }
    c->at = ps_wire_close(content, reserved, c->at);
}

static void put_record(fuzz_input *input, composed *c, const ps_wire_field *field, unsigned depth)
{
    uint32_t number = field ? field->number : (uint32_t)fuzz_take(input, 1);
    uint32_t wire_type = field ? wire_type_of(field->kind) : (uint32_t)fuzz_take(input, 1) % 6;
    if (fuzz_take(input, 1) % 16 == 0) wire_type = (uint32_t)fuzz_take(input, 1) % 8;
    if (field && field->shape == PS_REPEATED && fuzz_take(input, 1) % 2) wire_type = 2;
    ps_wire_tag tag = ps_wire_tag_of(number, wire_type), end = ps_wire_tag_of(number, 4);
    c->at = ps_wire_put_tag(c->at, &tag);
    if (tag.size < 5 && fuzz_take(input, 1) % 32 == 0) { /* one more byte than need be */
        c->at[-1] |= 0x80;
        *c->at++ = 0;
    }
    switch (wire_type) {
    case 0:
        put_number(input, c);
        break;
    case 1:
        c->at = ps_wire_put_fixed64(c->at, any_number(input));
        break;
    case 2:
        if (field && (field->kind == PS_KIND_STRING || field->kind == PS_KIND_BYTES))
            put_text(input, c);
        else
            put_content(input, c, field, depth);
        break;
    case 3:
        if (field && field->child)
            compose(input, c, field->child, depth + 1);
        else if (depth < DEEPEST_COMPOSED && has_room(c))
            put_record(input, c, NULL, depth + 1);
        c->at = ps_wire_put_tag(c->at, &end);
        break;
    case 5:
        c->at = ps_wire_put_fixed32(c->at, (uint32_t)any_number(input));
        break;
    default:
        break;
    }
}

static void compose(fuzz_input *input, composed *c, const ps_wire_message *message, unsigned depth)
{
    if (depth > DEEPEST_COMPOSED) return;
    uint64_t n = fuzz_take(input, 1) % 12;
    const ps_wire_field *field = NULL;
    for (uint64_t i = 0; i < n && has_room(c) && input->left > 0; i++) {
        uint64_t choice = fuzz_take(input, 1);
        if (choice < 16 || message->n_fields == 0)
            field = NULL;
        else if (field == NULL || choice < 192)
            field = &message->fields[choice % message->n_fields];
        put_record(input, c, field, depth);
    }
}

/* Start tags within each other, of a field that may be known, and perhaps their ends. */
static void compose_deep(fuzz_input *input, composed *c)
{
    uint32_t number = 1 + (uint32_t)fuzz_take(input, 1) % 8;
    uint64_t starts = fuzz_take(input, 2) % 1100, ends = fuzz_take(input, 1) % 2 ? starts : starts / 2;
    ps_wire_tag start = ps_wire_tag_of(number, 3), end = ps_wire_tag_of(number, 4);
    for (uint64_t i = 0; i < starts; i++) c->at = ps_wire_put_tag(c->at, &start);
    for (uint64_t i = 0; i < ends; i++) c->at = ps_wire_put_tag(c->at, &end);
}

static void spoil(fuzz_input *input, composed *c)
{
    size_t size = (size_t)(c->at - c->bytes);
    if (size == 0) return;
    uint64_t places = fuzz_take(input, 1) % 4;
    for (uint64_t i = 0; i < places; i++) c->bytes[fuzz_take(input, 2) % size] = (uint8_t)fuzz_take(input, 1);
    if (fuzz_take(input, 1) % 4 == 0) c->at = c->bytes + fuzz_take(input, 2) % size;
}

static void make_message(fuzz_input *input, composed *c, const ps_wire_message *message)
{
    c->at = c->bytes;
    uint64_t way = fuzz_take(input, 1) % 16;
    if (way == 0) {
        compose_deep(input, c);
    } else if (way == 1) { /* any bytes */
        for (uint64_t left = fuzz_take(input, 1); left > 0; left--) *c->at++ = (uint8_t)fuzz_take(input, 1);
    } else {
        while (has_room(c) && fuzz_take(input, 1) % 4) compose(input, c, message, 1);
    }
    if (way % 2) spoil(input, c);
}

static ps_wire_limits any_limits(fuzz_input *input)
{
    ps_wire_limits limits = {UINT64_MAX, 1 << 22, 1 << 28, 1 << 20, 100, false, true};
    switch (fuzz_take(input, 1) % 16) {
    case 0:
        limits.max_size = fuzz_take(input, 1);
        break;
    case 1:
        limits.max_elements = fuzz_take(input, 1) % 32;
        break;
    case 2:
        limits.max_memory = fuzz_take(input, 2) % 8192;
        break;
    case 3:
        limits.max_unknown = fuzz_take(input, 1) % 8;
        break;
    case 4:
        limits.max_depth = 1 + (uint32_t)fuzz_take(input, 1) % 8;
        break;
    case 5:
        limits.max_depth = PS_WIRE_DEEPEST;
        break;
    case 6:
        limits.refuse_unknown = true;
        break;
    case 7:
        limits.keep_unknown = false;
        break;
    default:
        break;
    }
    return limits;
}

/* ---- the slow reader ---- */

typedef struct {
    const uint8_t *bytes, *at;
    const ps_wire_limits *limits;
    uint64_t elements, memory, unknown; /* so far */
    ps_tape_record *tape;
    size_t n;
    ps_wire_error error; /* its steps are those to the record that is read */
} slow;

static bool fault(slow *s, ps_wire_fault what, const uint8_t *tag)
{
    s->error.fault = what;
    s->error.offset = (size_t)(tag - s->bytes);
    return false;
}

static void note(slow *s, ps_tape_op op, uint16_t field, size_t size, uint64_t value)
{
    s->tape[s->n++] = (ps_tape_record){(uint8_t)op, 0, field, (uint32_t)size, value};
}

static bool slow_varint(slow *s, const uint8_t *end, const uint8_t *tag, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < 10; i++) {
        if (s->at == end) return fault(s, PS_WIRE_VALUE_TRUNCATED, tag);
        uint8_t byte = *s->at++;
        *value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte < 0x80) return true;
    }
    return fault(s, PS_WIRE_VARINT_TOO_LONG, tag);
}

static bool slow_tag(slow *s, const uint8_t *end, uint32_t *tag)
{
    const uint8_t *start = s->at;
    uint64_t value = 0;
    for (unsigned i = 0; i < 5; i++) {
        if (s->at == end) return fault(s, PS_WIRE_TAG_TRUNCATED, start);
        uint8_t byte = *s->at++;
        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte >= 0x80) continue;
        *tag = (uint32_t)value;
        if (value > UINT32_MAX) break;
        if (value < 8) return fault(s, PS_WIRE_FIELD_ZERO, start);
        return (value & 7) < 6 || fault(s, PS_WIRE_NO_SUCH_TYPE, start);
    }
    return fault(s, PS_WIRE_TAG_TOO_LARGE, start);
}

static bool slow_span(slow *s, const uint8_t *end, const uint8_t *tag, uint64_t *size)
{
    if (!slow_varint(s, end, tag, size)) return false;
    return *size <= (uint64_t)(end - s->at) || fault(s, PS_WIRE_LENGTH_PAST_END, tag);
}

static bool slow_fixed(slow *s, const uint8_t *end, const uint8_t *tag, ptrdiff_t size, uint64_t *value)
{
    if (end - s->at < size) return fault(s, PS_WIRE_VALUE_TRUNCATED, tag);
    *value = 0;
    for (ptrdiff_t i = 0; i < size; i++) *value |= (uint64_t)*s->at++ << 8 * i;
    return true;
}

static bool spend(slow *s, const uint8_t *tag, uint64_t elements, uint64_t memory)
{
    s->elements += elements;
    if (s->elements > s->limits->max_elements) return fault(s, PS_WIRE_TOO_MANY, tag);
    s->memory += memory;
    return s->memory <= s->limits->max_memory || fault(s, PS_WIRE_TOO_MUCH_MEMORY, tag);
}

static bool spend_unknown(slow *s, const uint8_t *tag, uint64_t n)
{
    s->unknown += n;
    if (s->unknown > s->limits->max_unknown) return fault(s, PS_WIRE_TOO_MANY_UNKNOWN, tag);
    return n == 0 || !s->limits->refuse_unknown || fault(s, PS_WIRE_UNKNOWN, tag);
}

static bool slow_unknown(slow *s, const uint8_t *end, const uint8_t *tag_at, uint32_t tag, uint32_t depth)
{
    uint64_t value;
    if (!spend_unknown(s, tag_at, 1)) return false;
    switch (tag & 7) {
    case 0:
        return slow_varint(s, end, tag_at, &value);
    case 1:
        return slow_fixed(s, end, tag_at, 8, &value);
    case 5:
        return slow_fixed(s, end, tag_at, 4, &value);
    case 2:
        if (!slow_span(s, end, tag_at, &value)) return false;
        s->at += value;
        return true;
    default:
        break;
    }
    if (depth == s->limits->max_depth) return fault(s, PS_WIRE_TOO_DEEP, tag_at);
    while (s->at < end) {
        const uint8_t *inner_at = s->at;
        uint32_t inner;
        if (!slow_tag(s, end, &inner)) return false;
        if ((inner & 7) == 4) return inner == tag + 1 || fault(s, PS_WIRE_GROUP_MISMATCH, inner_at);
        if (!slow_unknown(s, end, inner_at, inner, depth + 1)) return false;
    }
    return fault(s, PS_WIRE_GROUP_OPEN, tag_at);
}

/* Pays for what lies between `from` and s->at and notes it as unknown, beside what is noted already. */
static bool note_unknown(slow *s, const uint8_t *from, bool kept)
{
    size_t size = (size_t)(s->at - from);
    uint64_t offset = (uint64_t)(from - s->bytes);
    if (!spend(s, from, 0, PS_COST_UNKNOWN + size)) return false;
    if (!kept || !s->limits->keep_unknown) return true;
    if (s->n > 0 && s->tape[s->n - 1].op == PS_TAPE_UNKNOWN &&
        s->tape[s->n - 1].value + s->tape[s->n - 1].size_or_run == offset)
        s->tape[s->n - 1].size_or_run += (uint32_t)size;
    else
        note(s, PS_TAPE_UNKNOWN, 0, size, offset);
    return true;
}

static uint64_t slow_value(uint8_t kind, uint64_t raw)
{
    uint32_t low = (uint32_t)raw;
    switch (kind) {
    case PS_KIND_INT32:
    case PS_KIND_ENUM:
    case PS_KIND_SFIXED32:
        return (uint64_t)(int64_t)(int32_t)low;
    case PS_KIND_UINT32:
        return low;
    case PS_KIND_BOOL:
        return raw != 0;
    case PS_KIND_SINT32:
        return (uint64_t)(int64_t)(int32_t)(low / 2 ^ (low % 2 ? UINT32_MAX : 0));
    case PS_KIND_SINT64:
        return raw / 2 ^ (raw % 2 ? UINT64_MAX : 0);
    default:
        return raw;
    }
}

static bool slow_named(const ps_wire_field *field, uint64_t raw)
{
    if (field->values == NULL) return true;
    for (uint32_t i = 0; i < field->n_values; i++)
        if (field->values[i] == (int32_t)(uint32_t)raw) return true;
    return false;
}

static bool is_scalar(uint8_t kind) { return wire_type_of(kind) != 2 && kind != PS_KIND_GROUP; }

static bool slow_one(slow *s, const uint8_t *end, const uint8_t *tag, uint8_t kind, uint64_t *raw)
{
    switch (wire_type_of(kind)) {
    case 1:
        return slow_fixed(s, end, tag, 8, raw);
    case 5:
        return slow_fixed(s, end, tag, 4, raw);
    default:
        return slow_varint(s, end, tag, raw);
    }
}

static uint64_t width_in_array(uint8_t kind)
{
    switch (kind) {
    case PS_KIND_BOOL:
        return 1;
    case PS_KIND_DOUBLE:
    case PS_KIND_INT64:
    case PS_KIND_UINT64:
    case PS_KIND_FIXED64:
    case PS_KIND_SFIXED64:
    case PS_KIND_SINT64:
        return 8;
    default:
        return 4;
    }
}

static bool slow_packed(slow *s, const uint8_t *end, const uint8_t *tag, const ps_wire_field *field,
                        uint16_t position, uint64_t *n)
{
    uint64_t size, raw, unnamed = 0;
    if (!slow_span(s, end, tag, &size)) return false;
    const uint8_t *packed = s->at, *behind = packed + size;
    while (s->at < behind) {
        if (!slow_one(s, behind, tag, field->kind, &raw)) {
            if (wire_type_of(field->kind)) s->error.fault = PS_WIRE_PACKED_PARTIAL;
            return false;
        }
        unnamed += field->kind == PS_KIND_ENUM && !slow_named(field, raw);
        ++*n;
    }
    bool array = field->flags & PS_FIELD_ARRAY;
    uint64_t cost = array ? 160 + *n * width_in_array(field->kind) : 48 + *n * 56;
    if (!spend(s, tag, *n, cost)) return false;
    note(s, PS_TAPE_PACKED, position, size, (uint64_t)(packed - s->bytes) | *n << 32);
    s->error.n_steps--; /* unknown numbers are the message's affair */
    if (!spend_unknown(s, tag, unnamed)) return false;
    s->error.n_steps++;
    return spend(s, tag, 0, unnamed * 48);
}

static bool slow_text(slow *s, const uint8_t *end, const uint8_t *tag, const ps_wire_field *field,
                      uint16_t position)
{
    uint64_t size, cost;
    bool repeated = field->shape == PS_REPEATED, ascii = true;
    if (!slow_span(s, end, tag, &size) || !spend(s, tag, repeated, 0)) return false;
    for (uint64_t i = 0; i < size; i++) ascii = ascii && s->at[i] < 0x80;
    ps_text_shape shape = {size, 4};
    ps_tape_op op = ascii ? PS_TAPE_ASCII : PS_TAPE_TEXT;
    if (field->kind == PS_KIND_BYTES) {
        op = PS_TAPE_BYTES;
        cost = 80 + size;
    } else if (ascii) {
        cost = 96 + size;
    } else {
        if (field->flags & PS_FIELD_UTF8 && !ps_utf8_measure(s->at, size, &shape))
            return fault(s, PS_WIRE_NOT_UTF8, tag);
        cost = 128 + shape.n * shape.width;
    }
    if (!spend(s, tag, 0, cost + (repeated ? 16 : 0))) return false;
    note(s, op, position, size, (uint64_t)(s->at - s->bytes));
    s->at += size;
    return true;
}

static bool slow_message(slow *s, const ps_wire_message *message, const uint8_t *end, uint32_t group,
                         uint32_t depth, bool is_entry, bool *unnamed);

static bool slow_child(slow *s, const uint8_t *end, const uint8_t *tag, const ps_wire_field *field,
                       uint16_t position, uint32_t depth, bool is_kept)
{
    uint64_t size;
    const uint8_t *inner_end = end;
    if (field->kind == PS_KIND_MESSAGE) {
        if (!slow_span(s, end, tag, &size)) return false;
        inner_end = s->at + size;
    }
    if (depth == s->limits->max_depth) return fault(s, PS_WIRE_TOO_DEEP, tag);
    if (!spend(s, tag, 1, field->child->cost + (field->shape == PS_REPEATED ? 16 : 0))) return false;
    size_t begin = s->n;
    bool unnamed = false;
    note(s, PS_TAPE_BEGIN, position, 0, 0);
    uint32_t group = field->kind == PS_KIND_GROUP ? field->number : 0;
    if (!slow_message(s, field->child, inner_end, group, depth + 1, field->shape == PS_MAP, &unnamed)) {
        if (s->error.fault == PS_WIRE_GROUP_OPEN && s->error.offset == SIZE_MAX)
            fault(s, PS_WIRE_GROUP_OPEN, tag);
        return false;
    }
    if (!unnamed) return true;
    s->n = begin;
    s->error.n_steps--;
    if (!spend_unknown(s, tag, 1) || !note_unknown(s, tag, is_kept)) return false;
    s->error.n_steps++;
    return true;
}

/* A record of a field that is known. */
static bool slow_record(slow *s, const uint8_t *end, const uint8_t *tag_at, const ps_wire_field *field,
                        uint16_t position, bool packed, uint32_t depth, bool is_entry, bool *unnamed,
                        uint64_t *n)
{
    uint64_t raw;
    bool repeated = field->shape == PS_REPEATED;
    if (packed) return slow_packed(s, end, tag_at, field, position, n);
    *n = 1;
    if (field->child) return slow_child(s, end, tag_at, field, position, depth, !is_entry);
    if (!is_scalar(field->kind)) return slow_text(s, end, tag_at, field, position);
    if (!slow_one(s, end, tag_at, field->kind, &raw)) return false;
    if (field->kind == PS_KIND_ENUM && !slow_named(field, raw)) {
        if (is_entry) return *unnamed = true;
        s->error.n_steps--;
        if (!spend_unknown(s, tag_at, 1) || !note_unknown(s, tag_at, true)) return false;
        s->error.n_steps++;
        return true;
    }
    if (!spend(s, tag_at, repeated, repeated ? 80 : 48)) return false;
    note(s, PS_TAPE_SCALAR, position, 0, slow_value(field->kind, raw));
    return true;
}

static bool slow_message(slow *s, const ps_wire_message *message, const uint8_t *end, uint32_t group,
                         uint32_t depth, bool is_entry, bool *unnamed)
{
    uint64_t seen[MOST_FIELDS] = {0};
    while (s->at < end) {
        const uint8_t *tag_at = s->at;
        uint32_t tag;
        if (!slow_tag(s, end, &tag)) return false;
        uint32_t wire_type = tag & 7;
        if (wire_type == 4) {
            if (group == 0) return fault(s, PS_WIRE_STRAY_END, tag_at);
            if (group != tag >> 3) return fault(s, PS_WIRE_GROUP_MISMATCH, tag_at);
            note(s, PS_TAPE_END, 0, 0, 0);
            return true;
        }
        uint16_t position = 0;
        while (position < message->n_fields && message->fields[position].number != tag >> 3) position++;
        const ps_wire_field *field = position < message->n_fields ? &message->fields[position] : NULL;
        bool fits = field && wire_type == wire_type_of(field->kind);
        bool packed =
            field && !fits && wire_type == 2 && field->shape == PS_REPEATED && is_scalar(field->kind);
        if (!fits && !packed) {
            if (!slow_unknown(s, end, tag_at, tag, depth) || !note_unknown(s, tag_at, !is_entry))
                return false;
            continue;
        }
        uint64_t n = 0;
        bool indexed = field->shape != PS_SINGULAR;
        s->error.steps[s->error.n_steps++] = (ps_wire_step){position, indexed, indexed ? seen[position] : 0};
        if (!slow_record(s, end, tag_at, field, position, packed, depth, is_entry, unnamed, &n)) return false;
        s->error.n_steps--;
        seen[position] += n;
    }
    if (group != 0) {
        s->error.fault = PS_WIRE_GROUP_OPEN;
        s->error.offset = SIZE_MAX; /* its start is known one level up */
        return false;
    }
    note(s, PS_TAPE_END, 0, 0, 0);
    return true;
}

static bool slow_read(slow *s, const ps_wire_message *root, size_t size)
{
    bool unnamed;
    s->error.offset = SIZE_MAX;
    s->error.fault = PS_WIRE_TOO_LARGE;
    if (size > s->limits->max_size) return false;
    s->memory = root->cost;
    s->error.fault = PS_WIRE_TOO_MUCH_MEMORY;
    if (s->memory > s->limits->max_memory) return false;
    return slow_message(s, root, s->bytes + size, 0, 1, false, &unnamed);
}

/* ---- both ---- */

static bool is_same_record(const ps_tape_record *one, const ps_tape_record *other)
{
    bool has_run = one->op == PS_TAPE_BEGIN || one->op == PS_TAPE_SCALAR; /* ps_tape_check looks at runs */
    return one->op == other->op && one->field == other->field && one->value == other->value &&
           (has_run || one->size_or_run == other->size_or_run);
}

static void require_same_error(const ps_wire_error *one, const ps_wire_error *other)
{
    FUZZ_REQUIRE(one->fault == other->fault);
    FUZZ_REQUIRE(one->offset == other->offset);
    FUZZ_REQUIRE(one->n_steps == other->n_steps);
    for (uint32_t i = 0; i < one->n_steps; i++) {
        FUZZ_REQUIRE(one->steps[i].field == other->steps[i].field);
        FUZZ_REQUIRE(one->steps[i].indexed == other->steps[i].indexed);
        FUZZ_REQUIRE(one->steps[i].index == other->steps[i].index);
    }
}

static void read_both(ps_tape *tape, const ps_wire_message *message, const composed *c,
                      const ps_wire_limits *limits)
{
    static ps_wire_error error;
    static slow s;
    size_t size = (size_t)(c->at - c->bytes);
    uint8_t *bytes = malloc(size ? size : 1); /* no byte more, so that the sanitizer sees reads beyond it */
    FUZZ_REQUIRE(bytes != NULL);
    memcpy(bytes, c->bytes, size);
    s.bytes = s.at = bytes;
    s.limits = limits;
    s.elements = s.memory = s.unknown = s.n = s.error.n_steps = 0;
    s.tape = malloc((size + 2) * sizeof *s.tape);
    FUZZ_REQUIRE(s.tape != NULL);

    ps_status status = ps_tape_read(tape, message, bytes, size, limits, &error);
    if (status == PS_NO_MEMORY) {
        FUZZ_REQUIRE(allowed == 0 && error.fault == PS_WIRE_NO_MEMORY && tape->n == 0);
        allowed = -1;
        status = ps_tape_read(tape, message, bytes, size, limits, &error);
    }
    bool accepted = slow_read(&s, message, size);
    FUZZ_REQUIRE(status == (accepted ? PS_OK : PS_REFUSED));
    if (accepted) {
        FUZZ_REQUIRE(error.fault == PS_WIRE_FINE);
        FUZZ_REQUIRE(ps_tape_check(tape, message, size));
        FUZZ_REQUIRE(tape->n == s.n);
        for (size_t i = 0; i < s.n; i++) FUZZ_REQUIRE(is_same_record(&tape->records[i], &s.tape[i]));
    } else {
        FUZZ_REQUIRE(tape->n == 0);
        require_same_error(&error, &s.error);
    }
    free(s.tape);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static schema s;
    static composed c;
    fuzz_input input = {data, size};
    ps_tape_record first[8];
    ps_tape tape;
    ps_tape_init(&tape, (ps_allocator){resize, free}, first, fuzz_take(&input, 1) % 9);
    make_schema(&input, &s);
    if (size <= INPUT_ROOM) { /* as it is: real messages are good seeds */
        ps_wire_limits wide = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, PS_WIRE_DEEPEST, false, true};
        allowed = -1;
        memcpy(c.bytes, data, size);
        c.at = c.bytes + size;
        read_both(&tape, s.messages, &c, &wide);
    }
    while (input.left > 0) { /* the tape is used again */
        make_message(&input, &c, s.messages);
        ps_wire_limits limits = any_limits(&input);
        allowed = fuzz_take(&input, 1) % 8 ? -1 : (long)fuzz_take(&input, 1) % 3;
        read_both(&tape, s.messages, &c, &limits);
    }
    ps_tape_free(&tape);
    return 0;
}
