/* syslog_lines -- syslog as it comes, made into records: one line of JSON for each message.
 *
 *     ps_syslog_begin(&lines, data, size, cut);
 *     while (ps_syslog_next(&lines, &record)) ...          write record.size bytes with ps_syslog_write
 *     lines.at                                              bytes of data that are done with
 *
 * A record is {"message":TEXT,"level":...,"source":...,"timestamp":...,"metadata":{...}}. What stands behind
 * the text, the suffix, is made of the header: by RFC 5424, or RFC 3164, or of the priority alone. Whatever
 * cannot be read stays in the text, which is never empty. Bytes that are no UTF-8 become U+FFFD, one for each
 * maximal part of a character (The Unicode Standard, 3.9, U+FFFD Substitution of Maximal Subparts).
 *
 * In a stream a frame is counted (LENGTH SP MESSAGE, where the message begins with <) or ended by a line feed
 * or a NUL; which one is told apart for each. A frame longer than `most_frame`, and a text longer than
 * `most_text` or for which `most_record` has no room, comes out as several records with the same suffix.
 * Where frames are taken apart depends on the bytes of the stream only, not on how they come, unless `cut`.
 *
 * Nothing here allocates; a struct takes 16 KiB, of which most is touched by long headers only. Data is the
 * caller's, and must stay until the last record of it is written. O(size), but for names of structured data,
 * of which at most 64 are compared with each other.
 * Source: RFC 5424; RFC 3164; RFC 6587, 3.4. */
#ifndef PS_SYSLOG_LINES_H
#define PS_SYSLOG_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PS_SYSLOG_EXTRA 16384   /* bytes of a frame beside the longest text */
#define PS_SYSLOG_SUFFIX 16384  /* most bytes of a suffix */
#define PS_SYSLOG_LINE SIZE_MAX /* left of a frame that a line feed or a NUL ends */
#define PS_SYSLOG_ELEMENTS 32   /* of structured data; more of them stay text */
#define PS_SYSLOG_PARAMETERS 64 /* of an element */

typedef struct {
    size_t most_text, most_record, most_frame;
    int year, month, offset; /* of times by RFC 3164: of today, and minutes ahead of UTC */

    const uint8_t *data;
    size_t size;
    size_t at;     /* bytes that are done with */
    bool cut;      /* what is there of an unfinished frame comes out now */
    size_t wanted; /* bytes that are needed behind `at` to get any further; 0: until a frame ends */

    size_t left;        /* of the frame: bytes, or PS_SYSLOG_LINE; 0 between two frames */
    bool first;         /* nothing of the frame came out yet */
    size_t text, ends;  /* what is left to come out of the piece at hand: places in data */
    uint64_t continued; /* records that continue the one before */

    size_t suffix_size;
    uint8_t suffix[PS_SYSLOG_SUFFIX];
} ps_syslog;

typedef struct {
    const uint8_t *text;
    size_t text_size;
    size_t json_size; /* of the text, without quotes */
    const uint8_t *suffix;
    size_t suffix_size;
    size_t size; /* of the whole record */
} ps_syslog_record;

/* most_text and most_record are 1 to 2^30. */
void ps_syslog_init(ps_syslog *lines, size_t most_text, size_t most_record);

/* Data of the stream: what the last reading left over, and what came since. */
void ps_syslog_begin(ps_syslog *lines, const uint8_t *data, size_t size, bool cut);

/* The next record of the stream; false where nothing more can come out. */
bool ps_syslog_next(ps_syslog *lines, ps_syslog_record *record);

/* Data that is one frame, for a struct that has no stream. */
void ps_syslog_begin_datagram(ps_syslog *lines, const uint8_t *data, size_t size);

/* The next record of the datagram; false behind the last. */
bool ps_syslog_next_part(ps_syslog *lines, ps_syslog_record *record);

/* Writes record->size bytes. */
void ps_syslog_write(const ps_syslog_record *record, uint8_t *to);

/* Whether what the struct holds between two calls can be true. */
bool ps_syslog_check(const ps_syslog *lines);

#endif
