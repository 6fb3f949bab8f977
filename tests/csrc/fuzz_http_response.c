/* Answers made of good and bad pieces, whole and cut anywhere: the same comes of them, within all bounds,
 * and also when memory runs out in between. */
#include "fuzz.h"
#include "http_response.h"

static const char *const PIECES[] = {
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.1 304 Not Modified\n",
    "HTTP/1.1 101 Switching Protocols\r\n",
    "HTTP/1.1 999 \r\n",
    "HTTP/1.1 099 no\r\n",
    "HTTP/2.0 200 OK\r\n",
    "HTT",
    "Content-Length: 5\r\n",
    "content-length:0\r\n",
    "Content-Length: 9223372036854775807\r\n",
    "Content-Length: 9223372036854775808\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5, 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: \t CHUNKED \r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    "Connection: upgrade, Keep-Alive\r\n",
    "X: a value\twith\x80\xff bytes\r\n",
    "X: line feed\n",
    "X : space\r\n",
    " folded\r\n",
    "X: nul\x01\r\n",
    "X: carriage\rreturn\r\n",
    "\r\n",
    "\n",
    "\r",
    "hello",
    "5\r\nhello\r\n",
    "5;name=\"value\"\r\nhello\r\n",
    "5 \t\r\nhello\r\n",
    "5\nhello\r\n",
    "5\r\nhello\n",
    "00000000000000005\r\nhello\r\n",
    "7fffffffffffffff\r\n",
    "8000000000000000\r\n",
    "0\r\n\r\n",
    "0\r\n",
    "g\r\n",
    "Trailer: x\r\n",
};
enum { PIECES_SIZE = sizeof PIECES / sizeof *PIECES };

static long allowed; /* allocations until one fails; below 0: none does */

static void *resize(void *memory, size_t size)
{
    FUZZ_REQUIRE(size > 0);
    if (allowed == 0) return NULL;
    if (allowed > 0) allowed--;
    return realloc(memory, size);
}

typedef struct {
    uint8_t bytes[16384];
    size_t size;
} text;

/* Sometimes like an answer, sometimes any pieces, with a byte changed here and there. */
static void compose(fuzz_input *input, text *answer)
{
    answer->size = 0;
    size_t pieces = fuzz_take(input, 1) % 48;
    bool sound = fuzz_take(input, 1) % 4 != 0;
    for (size_t i = 0; i < pieces; i++) {
        size_t piece = fuzz_take(input, 1) % PIECES_SIZE;
        if (sound && i == 0) piece = piece % 3;
        const char *chosen = PIECES[piece];
        memcpy(answer->bytes + answer->size, chosen, strlen(chosen));
        answer->size += strlen(chosen);
    }
    if (answer->size > 0 && fuzz_take(input, 1) % 4 == 0)
        answer->bytes[fuzz_take(input, 2) % answer->size] = (uint8_t)fuzz_take(input, 1);
}

/* Feeds all of it in pieces of 1 to `most` bytes; how many it took. A piece for which memory is missing is
 * fed again with more. */
static size_t feed(ps_http *parser, const text *answer, fuzz_input *input, size_t most)
{
    size_t at = 0, consumed = 0;
    while (at < answer->size) {
        size_t size = 1 + fuzz_take(input, 2) % most;
        if (size > answer->size - at) size = answer->size - at;
        uint8_t *piece = malloc(size); /* of its own, so that the sanitizer sees reads beyond it */
        FUZZ_REQUIRE(piece != NULL);
        memcpy(piece, answer->bytes + at, size);
        ps_status status = ps_http_feed(parser, piece, size, &consumed);
        free(piece);
        FUZZ_REQUIRE(ps_http_check(parser));
        FUZZ_REQUIRE(consumed <= size);
        FUZZ_REQUIRE(parser->begun);
        at += consumed;
        if (status == PS_NO_MEMORY) {
            FUZZ_REQUIRE(allowed == 0);
            allowed = (long)fuzz_take(input, 1) % 3 + 1;
            continue;
        }
        FUZZ_REQUIRE((status == PS_REFUSED) == (parser->state == PS_HTTP_FAILED));
        if (status == PS_REFUSED || ps_http_done(parser)) break;
        FUZZ_REQUIRE(consumed == size);
    }
    return at;
}

static void require_same(const ps_http *one, const ps_http *other)
{
    FUZZ_REQUIRE(one->state == other->state && one->problem == other->problem);
    FUZZ_REQUIRE(one->status == other->status && one->minor == other->minor);
    FUZZ_REQUIRE(one->keep_alive == other->keep_alive && one->truncated == other->truncated);
    FUZZ_REQUIRE(one->size == other->size && one->left == other->left && one->spare == other->spare);
    FUZZ_REQUIRE(one->head_size == other->head_size && one->reason_size == other->reason_size);
    FUZZ_REQUIRE(one->body.size == other->body.size);
    if (one->head_size) FUZZ_REQUIRE(memcmp(one->head.bytes, other->head.bytes, one->head_size) == 0);
    if (one->body.size) FUZZ_REQUIRE(memcmp(one->body.bytes, other->body.bytes, one->body.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_http_limits limits = {(size_t)fuzz_between(&input, PS_HTTP_MIN_HEAD, 400),
                             (uint64_t)fuzz_between(&input, 0, 20), (uint64_t)fuzz_between(&input, 0, 20)};
    if (fuzz_take(&input, 1) % 4) limits = (ps_http_limits){PS_HTTP_MAX_HEAD, INT64_MAX, 8};
    ps_allocator allocator = {resize, free};
    ps_http whole, cut;
    allowed = -1;
    ps_http_init(&whole, limits, allocator);
    ps_http_init(&cut, limits, allocator);
    FUZZ_REQUIRE(ps_http_check(&whole));

    text answer;
    while (input.left > 0) { /* the buffers are used again */
        compose(&input, &answer);
        bool head_request = fuzz_take(&input, 1) % 8 == 0;
        ps_http_reset(&whole, head_request);
        ps_http_reset(&cut, head_request);
        allowed = -1;
        size_t taken = feed(&whole, &answer, &(fuzz_input){0}, 1); /* byte by byte */
        allowed = fuzz_take(&input, 1) % 4 ? -1 : (long)fuzz_take(&input, 1) % 4;
        size_t most = fuzz_take(&input, 1) % 2 ? sizeof answer.bytes : 16;
        size_t also = feed(&cut, &answer, &input, most);
        if (whole.state != PS_HTTP_FAILED) FUZZ_REQUIRE(taken == also);
        require_same(&whole, &cut);
        bool done = ps_http_done(&whole), endless = whole.state == PS_HTTP_UNTIL_CLOSE;
        FUZZ_REQUIRE((ps_http_eof(&whole) == PS_OK) == (done || endless));
        FUZZ_REQUIRE((ps_http_eof(&cut) == PS_OK) == (done || endless));
        FUZZ_REQUIRE(ps_http_check(&whole) && ps_http_check(&cut));
        require_same(&whole, &cut);
    }
    ps_http_free(&whole);
    ps_http_free(&cut);
    return 0;
}
