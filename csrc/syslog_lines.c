#include "syslog_lines.h"

#include <string.h>

#if defined(__SSE2__) && !defined(PS_NO_SIMD)
#include <emmintrin.h>
#define HAS_SSE2 1
#else
#define HAS_SSE2 0
#endif

enum { UNKNOWN = 13, MOST_FIELD = 255, MOST_PROCESS = 128, MOST_NAME = 64, MOST_DIGITS = 9 };

static const char *const LEVELS[8] = {"EMERGENCY", "ALERT",  "CRITICAL", "ERROR",
                                      "WARNING",   "NOTICE", "INFO",     "DEBUG"};
static const char *const FACILITIES[24] = {
    "kern",   "user",   "mail",     "daemon", "auth",   "syslog", "lpr",    "news",
    "uucp",   "cron",   "authpriv", "ftp",    "ntp",    "audit",  "alert",  "clock",
    "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7",
};
static const char MONTHS[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

typedef struct {
    const uint8_t *at;
    size_t size;
} slice;

static inline bool is_digit(uint8_t byte) { return (uint8_t)(byte - '0') < 10; }

/* ---- characters, as strings of JSON ---- */

static inline bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* How many bytes from `from` on go into a string of JSON as they are. */
static inline size_t plain_run(const uint8_t *from, size_t size)
{
    size_t i = 0;
#if HAS_SSE2
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    for (; size - i >= 16; i += 16) {
        __m128i some = _mm_loadu_si128((const __m128i *)(const void *)(from + i));
        __m128i odd = _mm_or_si128(_mm_cmpeq_epi8(some, quote), _mm_cmpeq_epi8(some, slash));
        odd = _mm_or_si128(odd, _mm_cmplt_epi8(some, space)); /* as signed: 0x80 and more are less, too */
        unsigned bits = (unsigned)_mm_movemask_epi8(odd);
        if (bits != 0) return i + (size_t)__builtin_ctz(bits);
    }
#endif
    while (i < size && is_plain(from[i])) i++;
    return i;
}

static inline bool continues(uint8_t byte) { return (byte & 0xc0) == 0x80; }

/* Bytes of the character beyond ASCII at `from`, or, where there is none, of the part that U+FFFD stands for.
 */
static inline size_t character(const uint8_t *from, size_t size, bool *valid)
{
    uint8_t lead = from[0], low = 0x80, high = 0xbf;
    size_t more;
    *valid = false;
    if (lead < 0xc2 || lead > 0xf4) return 1;
    if (lead < 0xe0) {
        more = 1;
    } else if (lead < 0xf0) {
        more = 2;
        if (lead == 0xe0) low = 0xa0;
        if (lead == 0xed) high = 0x9f;
    } else {
        more = 3;
        if (lead == 0xf0) low = 0x90;
        if (lead == 0xf4) high = 0x8f;
    }
    if (size < 2 || from[1] < low || from[1] > high) return 1;
    for (size_t i = 2; i <= more; i++)
        if (i >= size || !continues(from[i])) return i;
    *valid = true;
    return more + 1;
}

/* The letter of a short escape; 0 if there is none. */
static inline char short_escape(uint8_t byte)
{
    switch (byte) {
    case '"':
        return '"';
    case '\\':
        return '\\';
    case '\b':
        return 'b';
    case '\t':
        return 't';
    case '\n':
        return 'n';
    case '\f':
        return 'f';
    case '\r':
        return 'r';
    default:
        return 0;
    }
}

/* One that is not plain: the bytes that it takes, in the text as UTF-8 and in JSON. */
typedef struct {
    size_t taken, text, json;
    bool valid;
} odd_one;

static inline odd_one look_at(const uint8_t *from, size_t size)
{
    odd_one odd = {1, 1, 6, true};
    if (from[0] >= 0x80) {
        odd.taken = character(from, size, &odd.valid);
        odd.text = odd.json = odd.valid ? odd.taken : 3;
    } else if (short_escape(from[0])) {
        odd.json = 2;
    }
    return odd;
}

static uint8_t *write_odd(uint8_t *to, const uint8_t *from, const odd_one *odd)
{
    static const char digits[] = "0123456789abcdef";
    if (from[0] >= 0x80) {
        memcpy(to, odd->valid ? (const char *)from : "\xef\xbf\xbd", odd->text);
    } else if (odd->json == 2) {
        to[0] = '\\';
        to[1] = (uint8_t)short_escape(from[0]);
    } else {
        memcpy(to, "\\u00", 4);
        to[4] = (uint8_t)digits[from[0] >> 4];
        to[5] = (uint8_t)digits[from[0] & 15];
    }
    return to + odd->json;
}

/* Writes text as JSON; there is room for all of it. */
static uint8_t *write_text(uint8_t *to, const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t run = plain_run(text + i, size - i);
        memcpy(to, text + i, run);
        to += run;
        i += run;
        if (i == size) break;
        odd_one odd = look_at(text + i, size - i);
        to = write_odd(to, text + i, &odd);
        i += odd.taken;
    }
    return to;
}

/* How much of `text` fits: at least one character. */
static void measure(const uint8_t *text, size_t size, size_t most_text, size_t most_json,
                    ps_syslog_record *record)
{
    size_t i = 0, text_size = 0, json = 0;
    while (i < size) {
        size_t run = plain_run(text + i, size - i);
        size_t room_text = most_text > text_size ? most_text - text_size : 0;
        size_t room_json = most_json > json ? most_json - json : 0;
        size_t room = room_text < room_json ? room_text : room_json;
        if (run > room) {
            if (i == 0 && room == 0) room = 1;
            i += room;
            json += room;
            break;
        }
        i += run;
        text_size += run;
        json += run;
        if (i == size) break;
        odd_one odd = look_at(text + i, size - i);
        if (i > 0 && (text_size + odd.text > most_text || json + odd.json > most_json)) break;
        i += odd.taken;
        text_size += odd.text;
        json += odd.json;
    }
    record->text = text;
    record->text_size = i;
    record->json_size = json;
}

/* ---- the suffix ---- */

typedef struct {
    uint8_t *at, *end;
    bool full; /* there was no room; `at` means nothing any more */
} pen;

static void put(pen *to, const void *bytes, size_t size)
{
    if ((size_t)(to->end - to->at) < size) {
        to->full = true;
        return;
    }
    memcpy(to->at, bytes, size);
    to->at += size;
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static void put_word(pen *to, const char *word) { put(to, word, strlen(word)); }

/* The inside of a string. */
static void put_inside(pen *to, slice text)
{
    for (size_t i = 0; i < text.size && !to->full;) {
        size_t run = plain_run(text.at + i, text.size - i);
        put(to, text.at + i, run);
        i += run;
        if (i == text.size) break;
        odd_one odd = look_at(text.at + i, text.size - i);
        uint8_t written[6];
        put(to, written, (size_t)(write_odd(written, text.at + i, &odd) - written));
        i += odd.taken;
    }
}

static void put_quoted(pen *to, slice text)
{
    PUT(to, "\"");
    put_inside(to, text);
    PUT(to, "\"");
}

/* A value of structured data: without the backslash before a quote, a backslash and a bracket. */
static void put_value(pen *to, slice value)
{
    size_t from = 0;
    PUT(to, "\"");
    for (size_t i = 0; i + 1 < value.size && !to->full; i++) {
        uint8_t next = value.at[i + 1];
        if (value.at[i] != '\\' || (next != '"' && next != '\\' && next != ']')) continue;
        put_inside(to, (slice){value.at + from, i - from});
        from = ++i; /* the escaped one begins what comes next, and begins no escape */
    }
    put_inside(to, (slice){value.at + from, value.size - from});
    PUT(to, "\"");
}

static void put_head(pen *to, unsigned number, slice source, slice time)
{
    PUT(to, ",\"level\":\"");
    put_word(to, LEVELS[number & 7]);
    PUT(to, "\",\"source\":");
    put_quoted(to, source);
    if (time.size > 0) {
        PUT(to, ",\"timestamp\":\"");
        put(to, time.at, time.size);
        PUT(to, "\"");
    }
    PUT(to, ",\"metadata\":{\"facility\":\"");
    put_word(to, FACILITIES[number >> 3]);
    PUT(to, "\"");
}

static pen begin_suffix(ps_syslog *lines)
{
    return (pen){lines->suffix, lines->suffix + PS_SYSLOG_SUFFIX, false};
}

static bool end_suffix(ps_syslog *lines, pen *to)
{
    PUT(to, "}}");
    lines->suffix_size = to->full ? 0 : (size_t)(to->at - lines->suffix);
    return !to->full;
}

static void plain_suffix(ps_syslog *lines, unsigned number)
{
    pen to = begin_suffix(lines);
    put_head(&to, number, (slice){0}, (slice){0});
    end_suffix(lines, &to);
}

/* ---- headers ---- */

static bool is_nil(slice field) { return field.size == 1 && field.at[0] == '-'; }

/* What may stand in a field: no space and no control. */
static inline bool is_printed(uint8_t byte) { return byte > 0x20 && byte != 0x7f; }

/* A field of 1 to 255 bytes and the space behind it. */
static bool take_field(slice *rest, slice *field)
{
    size_t n = 0;
    while (n < rest->size && n <= MOST_FIELD && is_printed(rest->at[n])) n++;
    if (n == 0 || n > MOST_FIELD || n == rest->size || rest->at[n] != ' ') return false;
    *field = (slice){rest->at, n};
    *rest = (slice){rest->at + n + 1, rest->size - n - 1};
    return true;
}

/* Two digits, as a number from `low` to `high`. */
static bool two_digits(const uint8_t *at, unsigned low, unsigned high)
{
    if (!is_digit(at[0]) || !is_digit(at[1])) return false;
    unsigned value = (unsigned)(at[0] - '0') * 10 + (unsigned)(at[1] - '0');
    return value >= low && value <= high;
}

/* hh:mm:ss, where 8 bytes are there. */
static bool is_clock(const uint8_t *at)
{
    return two_digits(at, 0, 23) && at[2] == ':' && two_digits(at + 3, 0, 59) && at[5] == ':' &&
           two_digits(at + 6, 0, 60);
}

/* Bytes of a point and up to 9 digits at `at`; 0 if there are none. */
static size_t fraction(const uint8_t *at, size_t size)
{
    size_t n = 1;
    if (size < 2 || at[0] != '.') return 0;
    while (n < size && n <= MOST_DIGITS && is_digit(at[n])) n++;
    return n > 1 ? n : 0;
}

/* A time by RFC 3339, the whole of it. */
static bool is_time(slice time)
{
    const uint8_t *at = time.at;
    if (time.size < 20) return false;
    if (!two_digits(at, 0, 99) || !two_digits(at + 2, 0, 99) || at[4] != '-' || !two_digits(at + 5, 1, 12) ||
        at[7] != '-' || !two_digits(at + 8, 1, 31) || (at[10] | 0x20) != 't' || !is_clock(at + 11))
        return false;
    size_t n = 19 + fraction(at + 19, time.size - 19);
    if (time.size - n == 1) return (at[n] | 0x20) == 'z';
    return time.size - n == 6 && (at[n] == '+' || at[n] == '-') && two_digits(at + n + 1, 0, 23) &&
           at[n + 3] == ':' && two_digits(at + n + 4, 0, 59);
}

/* ---- structured data ---- */

static inline bool is_named(uint8_t byte)
{
    return byte > 0x20 && byte < 0x7f && byte != '=' && byte != '"' && byte != ']';
}

static bool take_name(slice *rest, slice *name)
{
    size_t n = 0;
    while (n < rest->size && n <= MOST_NAME && is_named(rest->at[n])) n++;
    if (n == 0 || n > MOST_NAME) return false;
    *name = (slice){rest->at, n};
    *rest = (slice){rest->at + n, rest->size - n};
    return true;
}

/* NAME="VALUE"; the value as it is written. */
static bool take_parameter(slice *rest, slice *name, slice *value)
{
    if (!take_name(rest, name) || rest->size < 2 || rest->at[0] != '=' || rest->at[1] != '"') return false;
    size_t n = 2;
    while (n < rest->size && rest->at[n] != '"') n += rest->at[n] == '\\' ? 2 : 1;
    if (n >= rest->size) return false;
    *value = (slice){rest->at + 2, n - 2};
    *rest = (slice){rest->at + n + 1, rest->size - n - 1};
    return true;
}

static bool take_byte(slice *rest, uint8_t byte)
{
    if (rest->size == 0 || rest->at[0] != byte) return false;
    *rest = (slice){rest->at + 1, rest->size - 1};
    return true;
}

static bool has(const slice *names, size_t n, slice name)
{
    for (size_t i = 0; i < n; i++)
        if (names[i].size == name.size && memcmp(names[i].at, name.at, name.size) == 0) return true;
    return false;
}

/* [ID NAME="VALUE" ...]; `once`: stays true if no name is there twice and there are not too many. */
static bool take_element(slice *rest, slice *id, bool *once)
{
    slice names[PS_SYSLOG_PARAMETERS], name, value;
    size_t n = 0;
    if (!take_byte(rest, '[') || !take_name(rest, id)) return false;
    while (take_byte(rest, ' ')) {
        if (!take_parameter(rest, &name, &value)) return false;
        if (*once && (n == PS_SYSLOG_PARAMETERS || has(names, n, name))) *once = false;
        if (*once) names[n++] = name;
    }
    return take_byte(rest, ']');
}

/* All elements, of which there is one at least. */
static bool take_structured(slice *rest, slice *data, bool *once)
{
    slice ids[PS_SYSLOG_ELEMENTS], id;
    size_t n = 0;
    const uint8_t *from = rest->at;
    *once = true;
    do {
        if (!take_element(rest, &id, once)) return false;
        if (*once && (n == PS_SYSLOG_ELEMENTS || has(ids, n, id))) *once = false;
        if (*once) ids[n++] = id;
    } while (rest->size > 0 && rest->at[0] == '[');
    *data = (slice){from, (size_t)(rest->at - from)};
    return true;
}

static void put_structured(pen *to, slice data)
{
    slice name, value;
    const char *before = "{";
    while (take_byte(&data, '[') && take_name(&data, &name) && !to->full) {
        put_word(to, before);
        put_quoted(to, name);
        PUT(to, ":{");
        for (bool more = false; take_byte(&data, ' ') && take_parameter(&data, &name, &value); more = true) {
            if (more) PUT(to, ",");
            put_quoted(to, name);
            PUT(to, ":");
            put_value(to, value);
        }
        PUT(to, "}");
        take_byte(&data, ']');
        before = ",";
    }
    PUT(to, "}");
}

/* ---- RFC 5424 ---- */

/* Behind the priority. False if it is none: nothing changed but the suffix. */
static bool take_5424(ps_syslog *lines, slice *frame, unsigned number)
{
    static const char *const names[3] = {",\"host\":", ",\"proc_id\":", ",\"msg_id\":"};
    slice rest = *frame, time, host, app, process, message_id, data = {0};
    bool once = true;
    if (rest.size < 2 || rest.at[0] != '1' || rest.at[1] != ' ') return false;
    rest = (slice){rest.at + 2, rest.size - 2};
    if (!take_field(&rest, &time) || !(is_nil(time) || is_time(time)) || !take_field(&rest, &host) ||
        !take_field(&rest, &app) || !take_field(&rest, &process) || !take_field(&rest, &message_id))
        return false;
    if (!take_byte(&rest, '-') && !take_structured(&rest, &data, &once)) return false;
    if (rest.size > 0 && !take_byte(&rest, ' ')) return false;

    pen to = begin_suffix(lines);
    put_head(&to, number, is_nil(app) ? (slice){0} : app, is_nil(time) ? (slice){0} : time);
    const slice fields[3] = {host, process, message_id};
    for (int i = 0; i < 3; i++) {
        if (is_nil(fields[i])) continue;
        put_word(&to, names[i]);
        put_quoted(&to, fields[i]);
    }
    if (data.size > 0) {
        PUT(&to, ",\"structured_data\":");
        once ? put_structured(&to, data) : put_quoted(&to, data);
    }
    if (!end_suffix(lines, &to)) {
        plain_suffix(lines, number);
        return true;
    }
    if (rest.size >= 3 && memcmp(rest.at, "\xef\xbb\xbf", 3) == 0) rest = (slice){rest.at + 3, rest.size - 3};
    *frame = rest;
    return true;
}

/* ---- RFC 3164 ---- */

static int days_of(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static void write_number(uint8_t *to, int digits, int value)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10) to[i] = (uint8_t)('0' + value % 10);
}

enum { DATED = 40 }; /* bytes that a time can take */

/* `Mmm d hh:mm:ss[.fraction] `, as a time by RFC 3339 in `to`; its size, 0 if it is none. */
static size_t take_old_time(const ps_syslog *lines, slice *rest, uint8_t to[DATED])
{
    const uint8_t *at = rest->at;
    size_t n = 4, size = rest->size;
    int month = 0, day = 0, digits = 0;
    if (size < 15) return 0;
    while (month < 12 && memcmp(at, MONTHS[month], 3) != 0) month++;
    if (month++ == 12 || at[3] != ' ') return 0;
    if (at[n] == ' ' && is_digit(at[n + 1]))
        n++; /* a day of one digit, on the right of two places */
    else if (at[n] < '0' || at[n] > '9' || (is_digit(at[n + 1]) && at[n] > '3'))
        return 0;
    for (; digits < 2 && is_digit(at[n]) && !(digits == 1 && n == 6); n++, digits++)
        day = day * 10 + (at[n] - '0');
    if (at[n++] != ' ' || size - n < 9 || !is_clock(at + n)) return 0;
    size_t more = fraction(at + n + 8, size - n - 8);
    if (n + 8 + more >= size || at[n + 8 + more] != ' ') return 0;
    int year = lines->year + (month - lines->month == -11) - (month - lines->month > 1);
    if (day < 1 || day > days_of(year, month)) return 0;

    write_number(to, 4, year);
    to[4] = to[7] = '-';
    write_number(to + 5, 2, month);
    write_number(to + 8, 2, day);
    to[10] = 'T';
    memcpy(to + 11, at + n, 8 + more);
    size_t written = 19 + more;
    int offset = lines->offset < 0 ? -lines->offset : lines->offset;
    if (offset == 0) {
        to[written++] = 'Z';
    } else {
        to[written] = lines->offset < 0 ? '-' : '+';
        write_number(to + written + 1, 2, offset / 60);
        to[written + 3] = ':';
        write_number(to + written + 4, 2, offset % 60);
        written += 6;
    }
    *rest = (slice){at + n + 9 + more, size - n - 9 - more};
    return written;
}

/* `TAG: `, `TAG[PROCESS]: `, and without the colon behind the bracket. `spaced`: a space must follow. */
static bool take_tag(slice *rest, slice *tag, slice *process, bool spaced)
{
    size_t n = 0, size = rest->size;
    const uint8_t *at = rest->at;
    *process = (slice){0};
    while (n < size && n <= MOST_FIELD && is_printed(at[n]) && at[n] != ':' && at[n] != '[') n++;
    if (n == 0 || n > MOST_FIELD || n == size) return false;
    *tag = (slice){at, n};
    if (at[n] == '[') {
        size_t from = ++n;
        while (n < size && n - from <= MOST_PROCESS && is_printed(at[n]) && at[n] != ']') n++;
        if (n == from || n - from > MOST_PROCESS || n == size || at[n] != ']') return false;
        *process = (slice){at + from, n - from};
        n++;
        if (n < size && at[n] == ':') n++;
    } else if (at[n++] != ':') {
        return false;
    }
    if (n < size && at[n] == ' ')
        n++;
    else if (spaced)
        return false;
    *rest = (slice){at + n, size - n};
    return true;
}

/* Behind the priority. */
static void take_3164(ps_syslog *lines, slice *frame, unsigned number)
{
    uint8_t dated[DATED];
    slice rest = *frame, time, host = {0}, tag = {0}, process = {0}, field;
    if (take_field(&rest, &field) && is_time(field)) {
        time = field;
    } else {
        rest = *frame;
        time = (slice){dated, take_old_time(lines, &rest, dated)};
    }
    if (time.size == 0) {
        plain_suffix(lines, number);
        return;
    }
    if (!take_tag(&rest, &tag, &process, true)) {
        tag = process = (slice){0};
        if (take_field(&rest, &host) && !take_tag(&rest, &tag, &process, false)) tag = process = (slice){0};
    }
    pen to = begin_suffix(lines);
    put_head(&to, number, tag, time);
    if (host.size > 0) {
        PUT(&to, ",\"host\":");
        put_quoted(&to, host);
    }
    if (process.size > 0) {
        PUT(&to, ",\"proc_id\":");
        put_quoted(&to, process);
    }
    end_suffix(lines, &to); /* there is room: each field has 255 bytes at most */
    *frame = rest;
}

/* ---- frames ---- */

/* The text of a frame; the suffix is made for it. */
static slice take_apart(ps_syslog *lines, slice frame)
{
    slice text = frame;
    unsigned number = 0;
    size_t n = 1;
    if (frame.at[0] == '<') {
        for (; n < frame.size && n < 4 && is_digit(frame.at[n]); n++)
            number = number * 10 + (frame.at[n] - '0');
    }
    if (n == 1 || n == frame.size || frame.at[n] != '>' || number > 191) {
        plain_suffix(lines, UNKNOWN);
        return frame;
    }
    text = (slice){frame.at + n + 1, frame.size - n - 1};
    if (!take_5424(lines, &text, number)) take_3164(lines, &text, number);
    return text.size > 0 ? text : frame;
}

static inline bool is_end(uint8_t byte) { return byte == '\n' || byte == '\r' || byte == 0; }

/* Makes data[at, end) the piece that comes out next; `ends`: nothing of its frame comes behind it. */
static void set_piece(ps_syslog *lines, size_t at, size_t end, bool ends)
{
    while (ends && end > at && is_end(lines->data[end - 1])) end--;
    lines->text = at;
    lines->ends = end;
    if (at == end || !lines->first) return;
    slice text = take_apart(lines, (slice){lines->data + at, end - at});
    lines->text = (size_t)(text.at - lines->data);
}

bool ps_syslog_next_part(ps_syslog *lines, ps_syslog_record *record)
{
    enum { AROUND = sizeof("{\"message\":\"\"") - 1 };
    if (lines->text == lines->ends) return false;
    size_t most = lines->most_record - lines->suffix_size - AROUND;
    measure(lines->data + lines->text, lines->ends - lines->text, lines->most_text, most, record);
    lines->text += record->text_size;
    record->suffix = lines->suffix;
    record->suffix_size = lines->suffix_size;
    record->size = AROUND + record->json_size + record->suffix_size;
    if (!lines->first) lines->continued++;
    lines->first = false;
    return true;
}

/* `end`, or the place up to three bytes before it where a character begins that goes on behind it. */
static size_t whole_characters(const uint8_t *data, size_t start, size_t end)
{
    for (size_t at = end - 1; at > start && at + 4 > end; at--) {
        uint8_t byte = data[at];
        if (continues(byte)) continue;
        size_t width = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        return at + width > end ? at : end;
    }
    return end;
}

/* Finds out how the frame at `at` ends; false if a few bytes more are needed for that. */
static bool begin_frame(ps_syslog *lines)
{
    const uint8_t *from = lines->data + lines->at;
    size_t n = 0, size = lines->size - lines->at, count = 0;
    lines->left = PS_SYSLOG_LINE;
    lines->first = true;
    if (from[0] == '0') return true;
    for (; n < size && n <= MOST_DIGITS && is_digit(from[n]); n++) count = count * 10 + (from[n] - '0');
    if (n == 0 || n > MOST_DIGITS) return true;
    if (size - n >= 2 && from[n] == ' ' && from[n + 1] == '<') {
        lines->left = count;
        lines->at += n + 1;
        return true;
    }
    if (lines->cut || !(n == size || (size - n == 1 && from[n] == ' '))) return true;
    lines->left = 0;
    return false;
}

/* Where a line ends that begins at `at`; SIZE_MAX if not within `most` bytes. */
static size_t end_of_line(const ps_syslog *lines, size_t most)
{
    const uint8_t *from = lines->data + lines->at;
    size_t size = lines->size - lines->at;
    if (size > most + 1) size = most + 1;
    const uint8_t *feed = memchr(from, '\n', size);
    if (feed != NULL) size = (size_t)(feed - from);
    const uint8_t *nul = memchr(from, 0, size);
    if (nul != NULL) return (size_t)(nul - lines->data);
    return feed != NULL ? (size_t)(feed - lines->data) : SIZE_MAX;
}

/* Takes the next piece of the frame at hand; false if nothing of it can come out yet. */
static bool next_piece(ps_syslog *lines)
{
    size_t at = lines->at, there = lines->size - at, most = lines->most_frame, end = SIZE_MAX;
    if (lines->left == PS_SYSLOG_LINE) {
        size_t ends = end_of_line(lines, most);
        if (ends != SIZE_MAX) {
            set_piece(lines, at, ends, true);
            lines->at = ends + 1;
            lines->left = 0;
            return true;
        }
        if (there > most) end = whole_characters(lines->data, at, at + most);
    } else if (lines->left <= most && there >= lines->left) {
        set_piece(lines, at, at + lines->left, true);
        lines->at += lines->left;
        lines->left = 0;
        return true;
    } else if (lines->left > most && there >= most) {
        end = whole_characters(lines->data, at, at + most);
    } else {
        lines->wanted = lines->left < most ? lines->left : most;
    }
    if (end == SIZE_MAX && lines->cut && there > 0) end = lines->size;
    if (end == SIZE_MAX) return false;
    set_piece(lines, at, end, false);
    lines->at = end;
    if (lines->left != PS_SYSLOG_LINE) lines->left -= end - at;
    return true;
}

bool ps_syslog_next(ps_syslog *lines, ps_syslog_record *record)
{
    while (!ps_syslog_next_part(lines, record)) {
        if (lines->left == 0) {
            while (lines->at < lines->size && is_end(lines->data[lines->at])) lines->at++;
            if (lines->at == lines->size || !begin_frame(lines)) return false;
        }
        if (!next_piece(lines)) return false;
    }
    return true;
}

/* ---- the rest ---- */

void ps_syslog_init(ps_syslog *lines, size_t most_text, size_t most_record)
{
    memset(lines, 0, offsetof(ps_syslog, suffix));
    lines->most_text = most_text;
    lines->most_record = most_record > 4 * PS_SYSLOG_SUFFIX ? most_record : 4 * PS_SYSLOG_SUFFIX;
    lines->most_frame = most_text + PS_SYSLOG_EXTRA;
    lines->year = 1970;
    lines->month = 1;
    lines->first = true;
}

void ps_syslog_begin(ps_syslog *lines, const uint8_t *data, size_t size, bool cut)
{
    lines->data = data;
    lines->size = size;
    lines->cut = cut;
    lines->at = lines->text = lines->ends = lines->wanted = 0;
}

void ps_syslog_begin_datagram(ps_syslog *lines, const uint8_t *data, size_t size)
{
    ps_syslog_begin(lines, data, size, false);
    lines->first = true;
    set_piece(lines, 0, size, true);
}

void ps_syslog_write(const ps_syslog_record *record, uint8_t *to)
{
    static const char before[] = "{\"message\":\"";
    memcpy(to, before, sizeof before - 1);
    to += sizeof before - 1;
    to = write_text(to, record->text, record->text_size);
    *to++ = '"';
    memcpy(to, record->suffix, record->suffix_size);
}

bool ps_syslog_check(const ps_syslog *lines)
{
    if (lines->at > lines->size || lines->text > lines->ends || lines->ends > lines->size) return false;
    if (lines->suffix_size > PS_SYSLOG_SUFFIX || lines->most_frame <= lines->most_text) return false;
    if (lines->left != PS_SYSLOG_LINE && lines->left > 999999999) return false;
    return lines->month >= 1 && lines->month <= 12;
}
