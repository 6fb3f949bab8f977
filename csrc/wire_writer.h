/* wire_writer -- the pieces of a protobuf message, put one behind another into memory that the caller owns.
 *
 * Each function writes at a place and returns the one behind what it wrote. None asks how much room there
 * is: before a record the caller makes sure of PS_WIRE_ROOM bytes, and of the content of text and bytes
 * besides. Source: https://protobuf.dev/programming-guides/encoding */
#ifndef PS_WIRE_WRITER_H
#define PS_WIRE_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "varint.h"

enum {
    PS_WIRE_TAG_ROOM = 8,                             /* that a tag may write into, however short it is */
    PS_WIRE_ROOM = PS_WIRE_TAG_ROOM + PS_VARINT_MOST, /* a tag, and a number or a length */
    PS_WIRE_LENGTH_GROWTH = 4, /* that closing a message of up to 4 GiB may need beyond its content */
};

typedef struct {
    uint8_t bytes[7];
    uint8_t size;
} ps_wire_tag; /* as it stands on the wire */

static inline ps_wire_tag ps_wire_tag_of(uint32_t number, uint32_t wire_type)
{
    ps_wire_tag tag = {.size = 0};
    tag.size = (uint8_t)(ps_varint_write(tag.bytes, number << 3 | wire_type) - tag.bytes);
    return tag;
}

/* One store, whatever its size: what lies behind the tag is written next. */
static inline uint8_t *ps_wire_put_tag(uint8_t *at, const ps_wire_tag *tag)
{
    memcpy(at, tag, PS_WIRE_TAG_ROOM);
    return at + tag->size;
}

static inline uint8_t *ps_wire_put_fixed32(uint8_t *at, uint32_t value)
{
    ps_write_little32(at, value);
    return at + 4;
}

static inline uint8_t *ps_wire_put_fixed64(uint8_t *at, uint64_t value)
{
    ps_write_little64(at, value);
    return at + 8;
}

/* A length and the bytes that it tells of. */
static inline uint8_t *ps_wire_put_bytes(uint8_t *at, const void *bytes, size_t size)
{
    at = ps_varint_write(at, size);
    if (size > 0) memcpy(at, bytes, size);
    return at + size;
}

/* Content whose length is not known before it is written: `reserved` bytes (1 to 5, a guess) stay free before
 * it, and closing it writes the length into them.
 *
 *     content = at + reserved; ... end = what the content's last piece returned
 *     at = ps_wire_close(content, reserved, end)
 *
 * A wrong guess moves the content, so nested messages that are all guessed wrong are moved once for each
 * level: guess what the last message of the field took. Up to PS_WIRE_LENGTH_GROWTH bytes behind `end` are
 * written. */
static inline uint8_t *ps_wire_close(uint8_t *content, unsigned reserved, uint8_t *end)
{
    size_t size = (size_t)(end - content);
    uint8_t *length = content - reserved;
    unsigned needed = (unsigned)ps_varint_size(size);
    if (needed != reserved) memmove(length + needed, content, size);
    ps_varint_write(length, size);
    return length + needed + size;
}

#endif
