#include "http_response.h"

#include <string.h>

#define FIRST_ROOM 512 /* bytes: most heads need no more */
#define MAX_DIGITS 16  /* of the size of a chunk, leading zeros included */

static const char START[] = "HTTP/1.";
#define START_SIZE (sizeof START - 1)

static ps_status fail(ps_http *answer, ps_http_problem problem)
{
    answer->problem = problem;
    answer->state = PS_HTTP_FAILED;
    return PS_REFUSED;
}

static ps_status finish(ps_http *answer)
{
    answer->state = PS_HTTP_DONE;
    answer->keep_alive = answer->to_be_kept;
    return PS_OK;
}

/* The answer ends here, and the connection with it. */
static ps_status leave(ps_http *answer)
{
    answer->to_be_kept = false;
    return finish(answer);
}

/* --- buffers --- */

static size_t smaller(uint64_t a, uint64_t b) { return (size_t)(a < b ? a : b); }

/* Makes room for `size` more bytes in a buffer that never has to hold more than `most`. */
static ps_status reserve(ps_http *answer, ps_http_buffer *buffer, size_t size, uint64_t most)
{
    size_t needed = buffer->size + size;
    if (needed <= buffer->room) return PS_OK;
    size_t room = buffer->room ? buffer->room * 2 : FIRST_ROOM;
    while (room < needed) room *= 2;
    room = smaller(room, most);
    uint8_t *grown = answer->allocator.resize(buffer->bytes, room);
    if (grown == NULL) return PS_NO_MEMORY;
    buffer->bytes = grown;
    buffer->room = room;
    return PS_OK;
}

static void append(ps_http_buffer *buffer, const uint8_t *bytes, size_t size)
{
    if (size == 0) return;
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
}

/* --- characters --- */

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static bool is_space(uint8_t c) { return c == ' ' || c == '\t'; }
static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

static int hex_digit(uint8_t c)
{
    if (is_digit(c)) return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Letters, digits and !#$%&'*+-.^_`|~ (RFC 9110, 5.6.2): a bit for each character. */
static const uint32_t TOKEN[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff, 0, 0, 0, 0};

static bool is_token(uint8_t c) { return TOKEN[c / 32] >> c % 32 & 1; }

/* Whether there is no control character but tab. No early way out, so that it compiles to vectors. */
static bool is_text(const uint8_t *bytes, size_t size)
{
    uint8_t bad = 0;
    for (size_t i = 0; i < size; i++)
        bad |= (uint8_t)(((bytes[i] < 0x20) & (bytes[i] != '\t')) | (bytes[i] == 0x7f));
    return !bad;
}

typedef struct {
    const uint8_t *bytes;
    size_t size;
} span;

static span trimmed(span text)
{
    while (text.size > 0 && is_space(text.bytes[0])) text.bytes++, text.size--;
    while (text.size > 0 && is_space(text.bytes[text.size - 1])) text.size--;
    return text;
}

/* Whether it is `word`, which is in lower case, in any case. */
static bool is_word(span text, const char *word)
{
    if (text.size != strlen(word)) return false;
    for (size_t i = 0; i < text.size; i++)
        if (lower(text.bytes[i]) != (uint8_t)word[i]) return false;
    return true;
}

/* --- the head --- */

static void begin_head(ps_http *answer)
{
    answer->state = PS_HTTP_HEAD;
    answer->status = 0;
    answer->minor = false;
    answer->head.size = answer->head_size = answer->line_at = 0;
    answer->reason_at = answer->reason_size = 0;
    answer->fields = 0;
    answer->closes = answer->stays = answer->has_length = answer->chunked = false;
    answer->left = 0;
}

static ps_status take_status(ps_http *answer, span line)
{
    const uint8_t *at = line.bytes + START_SIZE; /* take_line has looked at what is before */
    if (line.size < START_SIZE + 5 || (at[0] != '0' && at[0] != '1') || at[1] != ' ' || at[2] == '0')
        return fail(answer, PS_HTTP_BAD_STATUS);
    if (!is_digit(at[2]) || !is_digit(at[3]) || !is_digit(at[4])) return fail(answer, PS_HTTP_BAD_STATUS);
    if (line.size > START_SIZE + 5 && (at[5] != ' ' || !is_text(at + 6, line.size - START_SIZE - 6)))
        return fail(answer, PS_HTTP_BAD_STATUS);
    answer->minor = at[0] == '1';
    answer->status = (uint16_t)((at[2] - '0') * 100 + (at[3] - '0') * 10 + (at[4] - '0'));
    answer->reason_at = smaller(START_SIZE + 6, line.size);
    answer->reason_size = line.size - answer->reason_at;
    return PS_OK;
}

static ps_status take_length(ps_http *answer, span value)
{
    if (answer->has_length) return fail(answer, PS_HTTP_TWO_LENGTHS);
    if (value.size == 0) return fail(answer, PS_HTTP_BAD_LENGTH);
    uint64_t length = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (!is_digit(value.bytes[i])) return fail(answer, PS_HTTP_BAD_LENGTH);
        unsigned digit = value.bytes[i] - (unsigned)'0';
        if (length > ((uint64_t)INT64_MAX - digit) / 10) return fail(answer, PS_HTTP_BAD_LENGTH);
        length = length * 10 + digit;
    }
    answer->has_length = true;
    answer->left = length;
    return PS_OK;
}

static ps_status take_coding(ps_http *answer, span value)
{
    if (answer->chunked || !is_word(value, "chunked")) return fail(answer, PS_HTTP_BAD_CODING);
    answer->chunked = true;
    return PS_OK;
}

static void take_connection(ps_http *answer, span list)
{
    while (list.size > 0) {
        const uint8_t *comma = memchr(list.bytes, ',', list.size);
        size_t size = comma ? (size_t)(comma - list.bytes) : list.size;
        span option = trimmed((span){list.bytes, size});
        answer->closes |= is_word(option, "close");
        answer->stays |= is_word(option, "keep-alive");
        size += comma != NULL;
        list = (span){list.bytes + size, list.size - size};
    }
}

static ps_status take_field(ps_http *answer, span line)
{
    if (++answer->fields > PS_HTTP_FIELDS) return fail(answer, PS_HTTP_MANY_FIELDS);
    if (is_space(line.bytes[0])) return fail(answer, PS_HTTP_FOLDED);
    span name = {line.bytes, 0};
    while (name.size < line.size && is_token(name.bytes[name.size])) name.size++;
    if (name.size == 0 || name.size == line.size || line.bytes[name.size] != ':')
        return fail(answer, PS_HTTP_BAD_FIELD);
    span value = {line.bytes + name.size + 1, line.size - name.size - 1};
    if (!is_text(value.bytes, value.size)) return fail(answer, PS_HTTP_BAD_FIELD);
    if (answer->state == PS_HTTP_TRAILERS) return PS_OK; /* they may not change how the answer is framed */
    switch (name.size) {
    case 10:
        if (is_word(name, "connection")) take_connection(answer, value);
        break;
    case 14:
        if (is_word(name, "content-length")) return take_length(answer, trimmed(value));
        break;
    case 17:
        if (is_word(name, "transfer-encoding")) return take_coding(answer, trimmed(value));
        break;
    }
    return PS_OK;
}

static ps_status end_head(ps_http *answer)
{
    if (answer->chunked && answer->has_length) return fail(answer, PS_HTTP_TWO_FRAMINGS);
    if (answer->status < 200 && answer->status != 101) {
        if (++answer->interim > PS_HTTP_INTERIM) return fail(answer, PS_HTTP_MANY_INTERIM);
        begin_head(answer);
        return PS_OK;
    }
    answer->head_size = answer->head.size;
    answer->fields = 0;
    answer->to_be_kept = !answer->closes && (answer->minor || (answer->stays && !answer->chunked));
    if (answer->status == 101) return leave(answer);
    if (answer->status == 204 && (answer->chunked || answer->left > 0)) return leave(answer);
    if (answer->head_request || answer->status == 204 || answer->status == 304) return finish(answer);
    if (answer->chunked) {
        answer->state = PS_HTTP_CHUNK_SIZE;
        answer->digits = 0;
        answer->left = 0;
        return PS_OK;
    }
    if (!answer->has_length) {
        answer->to_be_kept = false;
        answer->state = PS_HTTP_UNTIL_CLOSE;
        return PS_OK;
    }
    if (answer->left == 0) return finish(answer);
    answer->state = PS_HTTP_COUNTED;
    return PS_OK;
}

/* Whether the answer can begin like this, as far as it has arrived. */
static bool begins_well(const ps_http *answer, const uint8_t *more, size_t size)
{
    size_t have = answer->head.size;
    if (have >= START_SIZE) return true; /* looked at before */
    return memcmp(more, START + have, smaller(size, START_SIZE - have)) == 0;
}

static ps_status take_whole_line(ps_http *answer)
{
    span line = {answer->head.bytes + answer->line_at, answer->head.size - answer->line_at - 1};
    if (line.size > 0 && line.bytes[line.size - 1] == '\r') line.size--;
    if (answer->state == PS_HTTP_TRAILERS) {
        if (line.size == 0) {
            answer->head.size = answer->head_size;
            return finish(answer);
        }
        ps_status status = take_field(answer, line);
        if (status == PS_OK) answer->head.size = answer->head_size;
        return status;
    }
    ps_status status = answer->line_at == 0 ? take_status(answer, line)
                       : line.size == 0     ? end_head(answer)
                                            : take_field(answer, line);
    if (status == PS_OK) answer->line_at = answer->head.size; /* 0 behind an answer 1xx */
    return status;
}

/* Whether the line that ends before `stop` ends with LF alone. */
static bool lacks_return(const ps_http *answer, const uint8_t *at, const uint8_t *stop)
{
    if (stop - at >= 2) return stop[-2] != '\r';
    return answer->head.size == 0 || answer->head.bytes[answer->head.size - 1] != '\r';
}

/* Refuses what has arrived, for no answer begins like that; a few bytes of it are kept, to be shown. */
static ps_status refuse_start(ps_http *answer, const uint8_t *at, size_t size)
{
    size_t shown = smaller(size, START_SIZE - answer->head.size);
    ps_status status = reserve(answer, &answer->head, shown, answer->limits.max_head);
    if (status != PS_OK) return status;
    append(&answer->head, at, shown);
    return fail(answer, PS_HTTP_BAD_START);
}

static ps_status take_trailer_line(ps_http *answer, const uint8_t **at, const uint8_t *stop, bool whole)
{
    size_t size = (size_t)(stop - *at);
    if (size > answer->spare) return fail(answer, PS_HTTP_LONG_CHUNKING);
    ps_status status = reserve(answer, &answer->head, size, 2 * (uint64_t)answer->limits.max_head);
    if (status != PS_OK) return status;
    append(&answer->head, *at, size);
    answer->spare -= size;
    *at = stop;
    return whole ? take_whole_line(answer) : PS_OK;
}

static ps_status take_head_line(ps_http *answer, const uint8_t **at, const uint8_t *stop, bool whole)
{
    size_t size = (size_t)(stop - *at), most = answer->limits.max_head;
    if (!begins_well(answer, *at, size)) return refuse_start(answer, *at, size);
    bool inserts = whole && lacks_return(answer, *at, stop);
    if (size + inserts > most - answer->head.size) return fail(answer, PS_HTTP_LONG_HEAD);
    ps_status status = reserve(answer, &answer->head, size + inserts, 2 * (uint64_t)most);
    if (status != PS_OK) return status;
    append(&answer->head, *at, size - inserts);
    if (inserts) append(&answer->head, (const uint8_t *)"\r\n", 2);
    *at = stop;
    return whole ? take_whole_line(answer) : PS_OK;
}

static ps_status take_line(ps_http *answer, const uint8_t **at, const uint8_t *end)
{
    const uint8_t *newline = memchr(*at, '\n', (size_t)(end - *at));
    const uint8_t *stop = newline ? newline + 1 : end;
    if (answer->state == PS_HTTP_TRAILERS) return take_trailer_line(answer, at, stop, newline != NULL);
    return take_head_line(answer, at, stop, newline != NULL);
}

/* --- the body --- */

/* Takes up to `left` bytes, or all, of the body; past max_body the answer is over. */
static ps_status take_body(ps_http *answer, const uint8_t **at, const uint8_t *end, uint64_t left)
{
    size_t size = smaller((uint64_t)(end - *at), left);
    size_t taken = smaller(size, answer->limits.max_body - answer->size);
    uint64_t keep = answer->limits.keep_body;
    size_t kept = answer->size < keep ? smaller(taken, keep - answer->size) : 0;
    ps_status status = reserve(answer, &answer->body, kept, keep);
    if (status != PS_OK) return status;
    append(&answer->body, *at, kept);
    *at += taken;
    answer->size += taken;
    if (taken == size) return PS_OK;
    answer->truncated = true;
    return leave(answer);
}

static ps_status take_counted(ps_http *answer, const uint8_t **at, const uint8_t *end)
{
    const uint8_t *before = *at;
    ps_status status = take_body(answer, at, end, answer->left);
    answer->left -= (uint64_t)(*at - before);
    if (status != PS_OK || answer->left > 0 || answer->state == PS_HTTP_DONE) return status;
    if (answer->state == PS_HTTP_COUNTED) return finish(answer);
    answer->state = PS_HTTP_CHUNK_RETURN;
    return PS_OK;
}

static ps_status bad_chunk(ps_http *answer, uint8_t c)
{
    answer->culprit = c;
    return fail(answer, PS_HTTP_BAD_CHUNK);
}

static ps_status take_size(ps_http *answer, uint8_t c)
{
    int digit = hex_digit(c);
    if (digit < 0) {
        if (answer->digits == 0) return bad_chunk(answer, c);
        answer->state = PS_HTTP_CHUNK_SPACE; /* where the same byte is looked at again */
        return PS_OK;
    }
    if (answer->digits == MAX_DIGITS || answer->left >> 59) return bad_chunk(answer, c); /* 2^63 and more */
    answer->digits++;
    answer->left = answer->left << 4 | (unsigned)digit;
    return PS_OK;
}

/* A byte between the size of a chunk and its data. */
static ps_status take_extra(ps_http *answer, uint8_t c)
{
    if (c == '\r') {
        answer->state = PS_HTTP_CHUNK_BEGIN;
        return PS_OK;
    }
    bool extension = answer->state == PS_HTTP_CHUNK_EXTRA;
    if (extension ? !is_text(&c, 1) : c != ';' && !is_space(c)) return bad_chunk(answer, c);
    if (answer->spare == 0) return fail(answer, PS_HTTP_LONG_CHUNKING);
    answer->spare--;
    if (c == ';') answer->state = PS_HTTP_CHUNK_EXTRA;
    return PS_OK;
}

static ps_status begin_chunk(ps_http *answer, uint8_t c)
{
    if (c != '\n') return bad_chunk(answer, c);
    answer->state = answer->left > 0 ? PS_HTTP_CHUNK_DATA : PS_HTTP_TRAILERS;
    return PS_OK;
}

static ps_status end_chunk(ps_http *answer, uint8_t c)
{
    if (c != '\n') return bad_chunk(answer, c);
    answer->state = PS_HTTP_CHUNK_SIZE;
    answer->digits = 0;
    return PS_OK;
}

static ps_status take_return(ps_http *answer, uint8_t c)
{
    if (c != '\r') return bad_chunk(answer, c);
    answer->state = PS_HTTP_CHUNK_END;
    return PS_OK;
}

/* --- all of it --- */

void ps_http_init(ps_http *answer, ps_http_limits limits, ps_allocator allocator)
{
    memset(answer, 0, sizeof *answer);
    answer->limits = limits;
    answer->allocator = allocator;
    ps_http_reset(answer, false);
}

void ps_http_free(ps_http *answer)
{
    answer->allocator.release(answer->head.bytes);
    answer->allocator.release(answer->body.bytes);
}

void ps_http_reset(ps_http *answer, bool head_request)
{
    begin_head(answer);
    answer->head_request = head_request;
    answer->keep_alive = answer->to_be_kept = answer->truncated = answer->begun = false;
    answer->size = answer->body.size = 0;
    answer->problem = PS_HTTP_FINE;
    answer->culprit = 0;
    answer->digits = 0;
    answer->interim = 0;
    answer->spare = answer->limits.max_head;
}

ps_status ps_http_feed(ps_http *answer, const uint8_t *bytes, size_t size, size_t *consumed)
{
    const uint8_t *at = bytes, *end = bytes + size;
    ps_status status = answer->state == PS_HTTP_FAILED ? PS_REFUSED : PS_OK;
    answer->begun |= size > 0;
    while (status == PS_OK && at < end && answer->state != PS_HTTP_DONE) {
        switch (answer->state) {
        case PS_HTTP_HEAD:
        case PS_HTTP_TRAILERS:
            status = take_line(answer, &at, end);
            break;
        case PS_HTTP_COUNTED:
        case PS_HTTP_CHUNK_DATA:
            status = take_counted(answer, &at, end);
            break;
        case PS_HTTP_UNTIL_CLOSE:
            status = take_body(answer, &at, end, UINT64_MAX);
            break;
        case PS_HTTP_CHUNK_SIZE:
            status = take_size(answer, *at);
            at += answer->state == PS_HTTP_CHUNK_SIZE;
            break;
        case PS_HTTP_CHUNK_SPACE:
        case PS_HTTP_CHUNK_EXTRA:
            status = take_extra(answer, *at++);
            break;
        case PS_HTTP_CHUNK_BEGIN:
            status = begin_chunk(answer, *at++);
            break;
        case PS_HTTP_CHUNK_RETURN:
            status = take_return(answer, *at++);
            break;
        case PS_HTTP_CHUNK_END:
            status = end_chunk(answer, *at++);
            break;
        case PS_HTTP_DONE:
        case PS_HTTP_FAILED:
            break;
        }
    }
    *consumed = (size_t)(at - bytes);
    return status;
}

ps_status ps_http_eof(ps_http *answer)
{
    if (answer->state == PS_HTTP_UNTIL_CLOSE) finish(answer);
    if (answer->state == PS_HTTP_DONE) return PS_OK;
    return answer->state == PS_HTTP_FAILED ? PS_REFUSED : fail(answer, PS_HTTP_EARLY_END);
}

static bool buffer_check(const ps_http_buffer *buffer)
{
    return buffer->size <= buffer->room && (buffer->room == 0) == (buffer->bytes == NULL);
}

bool ps_http_check(const ps_http *answer)
{
    const ps_http_limits *limits = &answer->limits;
    bool sizes = buffer_check(&answer->head) && buffer_check(&answer->body) &&
                 answer->size <= limits->max_body &&
                 answer->body.size == smaller(answer->size, limits->keep_body) &&
                 answer->head_size <= answer->head.size && answer->head_size <= limits->max_head &&
                 answer->line_at <= answer->head.size && answer->spare <= limits->max_head &&
                 answer->left <= INT64_MAX && answer->digits <= MAX_DIGITS;
    bool reason = answer->reason_at + answer->reason_size <= answer->head.size;
    bool said = answer->status == 0 || (answer->status >= 100 && answer->status <= 999);
    bool body = answer->state <= PS_HTTP_HEAD || answer->state >= PS_HTTP_DONE || answer->head_size > 0;
    bool ended = answer->state == PS_HTTP_DONE ? answer->head_size > 0 && answer->status >= 101
                                               : !answer->keep_alive && !answer->truncated;
    bool failed = (answer->state == PS_HTTP_FAILED) == (answer->problem != PS_HTTP_FINE);
    return sizes && reason && said && body && ended && failed;
}
