/* packet_scan -- a JSON array of packets taken apart in one pass, each checked and made one compact line.
 *
 *     [{"id": "a", "messages": [{"level": "INFO", "message": "x", "metadata": {"k": 1}}]}, ...]
 *  -> {"messages":[{"message":"x","level":"INFO","source":"","metadata":{"k":1}}],"id":"a"}
 *
 * Members come out in one order, with the defaults of `level` and `source`, without white space and without
 * `retry_count`. Strings, but for those in metadata, have only the escapes that they need: \" \\ \b \f \n \r
 * \t and \u00.. of other control characters. Everything in metadata is passed on as it was written.
 *
 * The scan says yes only to what it is sure of. What may break a rule, and what is right but rare (an escape
 * in an id, a member twice), is left to who asks, with where it begins and ends; and so is the whole body
 * when it may not be JSON. Who asks has the last word then, and the words for it.
 *
 * The caller owns the body, which stays as it is until the scan is freed; the scan owns what it allocates.
 * Source: RFC 8259; RFC 3339, section 5.6; RFC 3629. */
#ifndef PS_PACKET_SCAN_H
#define PS_PACKET_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

typedef enum {
    PS_MESSAGE_TEXT,
    PS_MESSAGE_LEVEL,
    PS_MESSAGE_SOURCE,
    PS_MESSAGE_TIME,
    PS_MESSAGE_ID,
    PS_MESSAGE_METADATA,
    PS_MESSAGE_FIELDS,
} ps_message_field;

/* Where the values of a message stand in the body; a size of 0: absent. */
typedef struct {
    uint32_t at[PS_MESSAGE_FIELDS];
    uint32_t size[PS_MESSAGE_FIELDS];
    uint32_t space;    /* bytes of white space in the metadata */
    uint8_t rewritten; /* bit of each field whose escapes change */
} ps_scanned_message;

typedef struct {
    uint32_t start, end; /* of its JSON in the body */
    uint32_t messages;
    uint32_t id_at, id_size; /* what is between the quotes of its id; a size of 0: it has none */
    size_t size;             /* bytes as a line, without those of an id that it has not */
} ps_scanned_packet;

typedef struct {
    const uint8_t *body, *at; /* NULL: it has ended */
    size_t size;
    uint64_t most_messages, most_text; /* in a packet; bytes of a message as UTF-8 */
    ps_scanned_message *messages;      /* of the last packet */
    uint32_t room;
    ps_allocator allocator;
} ps_packet_scan;

/* Begins with body[size], behind which a 0 can be read. Never fails; allocates nothing. */
void ps_packet_scan_init(ps_packet_scan *scan, const uint8_t *body, size_t size, uint64_t most_messages,
                         uint64_t most_text, ps_allocator allocator);

void ps_packet_scan_free(ps_packet_scan *scan);

/* The next packet.
 *
 * PS_OK: it is right, as far as its size is, which the caller compares: that depends on the id. PS_REFUSED:
 * it is JSON, but perhaps no packet; only `start` and `end` are set. PS_EMPTY: the array, and with it the
 * body, has ended. PS_BROKEN: the body may be no JSON array, or metadata lies too deep. After PS_BROKEN and
 * PS_NO_MEMORY the scan is good for nothing but to be freed. */
ps_status ps_packet_scan_next(ps_packet_scan *scan, ps_scanned_packet *packet);

/* Bytes that an id adds to a packet that has none. */
static inline size_t ps_packet_id_size(size_t id_size) { return sizeof ",\"id\":\"\"" - 1 + id_size; }

/* Writes the last packet, for which the answer was PS_OK, as a line.
 *
 * `id` (ASCII without quotes, backslashes and control characters) is for a packet that has none; else NULL.
 * `line` has packet->size bytes, and ps_packet_id_size(id_size) more when there is an `id`. */
void ps_packet_scan_write(const ps_packet_scan *scan, const ps_scanned_packet *packet, const uint8_t *id,
                          size_t id_size, uint8_t *line);

#endif
