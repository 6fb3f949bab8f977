/* http_response -- an HTTP/1.1 answer, taken as it arrives in pieces of any size.
 *
 *     ps_http_init(&answer, limits, allocator);
 *     for each request: ps_http_reset(&answer, is_head);
 *         for each piece received: ps_http_feed(&answer, bytes, size, &consumed);
 *             until ps_http_done(&answer); at the end of the connection: ps_http_eof(&answer);
 *     ps_http_free(&answer);
 *
 * Strict where a mistake changes where the answer ends, and bounded everywhere:
 *
 *   - the first line is HTTP/1.0 or HTTP/1.1, a space, a status from 100 to 999, and either nothing or a
 *     space and a reason. Nothing may come before it, not even an empty line.
 *   - lines of the head and trailers end with CR LF, or with LF alone, as RFC 9112, 2.2 allows for just
 *     these: curl, Go and browsers take them, so refusing would call servers broken that work. In the head
 *     that is kept each ends with CR LF, so that who reads it need not know. CR elsewhere is refused.
 *   - a field is a name of token characters, a colon without space before it, and a value without control
 *     characters other than tab. A line that continues the one before (obs-fold) is refused.
 *   - answers 100 to 199 are skipped, at most PS_HTTP_INTERIM of them, but 101, which ends what can be read
 *     as HTTP. 101, 204, 304 and the answer to HEAD have no body. A 204 that says it has one (RFC 9110, 8.6
 *     forbids it) ends the connection: if it has, that must not be taken for the next answer.
 *   - Content-Length is digits, below 2^63, and comes once. Transfer-Encoding is `chunked`, and comes once.
 *     Both together are refused (RFC 9112, 6.3: "ought to be handled as an error"). Without either the body
 *     ends with the connection.
 *   - sizes of chunks are 1 to 16 hex digits, below 2^63, then spaces or tabs, an extension, CR LF. Here LF
 *     alone is refused, as after the data of a chunk: RFC 9112 does not allow it there, and who takes it can
 *     be made to see another end of the answer than others do. Extensions, padding and trailers take no more
 *     than max_head bytes in all, and are dropped.
 *   - the connection can be used again when the answer's end is told by itself, no `Connection: close` came,
 *     and it is HTTP/1.1, or 1.0 with `Connection: keep-alive`. Not after chunks in HTTP/1.0 (RFC 9112, 6.1).
 *
 * The head is copied into a buffer that grows to max_head and is kept from answer to answer, as is the one
 * for the first bytes of bodies; so once they have grown, nothing allocates. The caller owns the struct.
 * Sources: RFC 9112; RFC 9110, sections 5.5, 5.6, 8.6 and 15. */
#ifndef PS_HTTP_RESPONSE_H
#define PS_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

#define PS_HTTP_MIN_HEAD 64                /* the least max_head: any status line fits */
#define PS_HTTP_MAX_HEAD ((size_t)1 << 24) /* the largest */
#define PS_HTTP_FIELDS 256                 /* of one head, and of the trailers */
#define PS_HTTP_INTERIM 16                 /* answers 1xx before the final one */

typedef enum { /* why an answer was refused; _response_parser_py.py has the words, in this order */
               PS_HTTP_FINE = 0,
               PS_HTTP_BAD_START,     /* does not begin with HTTP/1. */
               PS_HTTP_BAD_STATUS,    /* the status line is no such line */
               PS_HTTP_BAD_FIELD,     /* a line of the head or of the trailers is no field */
               PS_HTTP_FOLDED,        /* a line continues the one before */
               PS_HTTP_LONG_HEAD,     /* more than max_head bytes */
               PS_HTTP_MANY_FIELDS,   /* more than PS_HTTP_FIELDS */
               PS_HTTP_MANY_INTERIM,  /* more than PS_HTTP_INTERIM answers 1xx */
               PS_HTTP_BAD_LENGTH,    /* Content-Length is no number below 2^63 */
               PS_HTTP_TWO_LENGTHS,   /* Content-Length comes twice */
               PS_HTTP_BAD_CODING,    /* Transfer-Encoding is not `chunked`, once */
               PS_HTTP_TWO_FRAMINGS,  /* Transfer-Encoding and Content-Length */
               PS_HTTP_BAD_CHUNK,     /* the line before a chunk, or the CR LF behind it */
               PS_HTTP_LONG_CHUNKING, /* more than max_head bytes of extensions and trailers */
               PS_HTTP_EARLY_END,     /* the connection has ended before the answer */
} ps_http_problem;

typedef enum {
    PS_HTTP_HEAD,         /* within a line of the head */
    PS_HTTP_COUNTED,      /* `left` bytes of body are to come */
    PS_HTTP_UNTIL_CLOSE,  /* the body ends with the connection */
    PS_HTTP_CHUNK_SIZE,   /* at the size of a chunk, `digits` read */
    PS_HTTP_CHUNK_SPACE,  /* behind the size */
    PS_HTTP_CHUNK_EXTRA,  /* in an extension */
    PS_HTTP_CHUNK_BEGIN,  /* at the LF before the data */
    PS_HTTP_CHUNK_DATA,   /* `left` bytes of a chunk are to come */
    PS_HTTP_CHUNK_RETURN, /* at the CR behind the data */
    PS_HTTP_CHUNK_END,    /* at the LF behind it */
    PS_HTTP_TRAILERS,     /* within a line of the trailers */
    PS_HTTP_DONE,
    PS_HTTP_FAILED,
} ps_http_state;

typedef struct {
    size_t max_head;    /* bytes of one head, PS_HTTP_MIN_HEAD to PS_HTTP_MAX_HEAD */
    uint64_t max_body;  /* bytes of body that are read, then the answer is done and `truncated`; < 2^63 */
    uint64_t keep_body; /* of which the first so many are kept */
} ps_http_limits;

typedef struct {
    uint8_t *bytes;
    size_t size;
    size_t room;
} ps_http_buffer;

typedef struct {
    /* what the answer says; complete once `state` is past PS_HTTP_HEAD */
    uint16_t status;  /* 0 until the status line is read */
    bool minor;       /* HTTP/1.1 and not 1.0 */
    bool keep_alive;  /* whether the connection may be used again; true only once the answer is done */
    bool truncated;   /* the body is longer than max_body; the rest was not read */
    size_t head_size; /* bytes of `head` that are the final head, its empty line included; 0 until then */
    size_t reason_at; /* the reason is head.bytes[reason_at] and further */
    size_t reason_size;
    uint64_t size;       /* bytes of body read, framing not counted */
    ps_http_buffer head; /* lines of the head; behind head_size a line of the trailers */
    ps_http_buffer body; /* the first keep_body bytes of the body */

    /* how it goes on */
    ps_http_state state;
    ps_http_problem problem; /* when FAILED */
    bool begun;              /* a byte has arrived since the reset */
    uint8_t culprit;         /* the byte that made BAD_CHUNK */
    bool head_request;
    bool to_be_kept; /* keep_alive, once it is done */
    bool closes;     /* `Connection: close` came */
    bool stays;      /* `Connection: keep-alive` came */
    bool has_length;
    bool chunked;
    uint8_t digits;   /* of the size of a chunk */
    uint16_t interim; /* answers 1xx skipped */
    uint32_t fields;  /* of this head, or of the trailers */
    size_t line_at;   /* where in `head` the line begins that is being read */
    size_t spare;     /* bytes that extensions and trailers may still take */
    uint64_t left;    /* of the body or of the chunk */
    ps_http_limits limits;
    ps_allocator allocator;
} ps_http;

/* Makes a parser that is ready for the answer to a request other than HEAD. Allocates nothing. */
void ps_http_init(ps_http *answer, ps_http_limits limits, ps_allocator allocator);

/* Gives the memory back; only ps_http_init may follow. */
void ps_http_free(ps_http *answer);

/* Makes it ready for another answer; the buffers stay. */
void ps_http_reset(ps_http *answer, bool head_request);

/* Takes bytes of the answer, up to its end; *consumed says how many. What lies behind is not the answer's:
 * when nothing else was asked for on that connection, it had better not be used again.
 * PS_REFUSED: `problem` says why; only ps_http_reset helps. A line that is to blame is head.bytes[line_at] to
 * head.size. PS_NO_MEMORY: the bytes that were consumed are taken, the others may be given again. */
ps_status ps_http_feed(ps_http *answer, const uint8_t *bytes, size_t size, size_t *consumed);

/* The connection has ended. PS_OK: the answer is done. PS_REFUSED (PS_HTTP_EARLY_END): it is not whole; what
 * has arrived can still be read. An answer that is done or has failed stays as it is. */
ps_status ps_http_eof(ps_http *answer);

/* Whether all invariants hold, for tests. */
bool ps_http_check(const ps_http *answer);

static inline bool ps_http_done(const ps_http *answer) { return answer->state == PS_HTTP_DONE; }

/* Whether status, reason and head are those of the final answer. */
static inline bool ps_http_head_done(const ps_http *answer) { return answer->head_size > 0; }

#endif
