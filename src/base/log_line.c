#include "log_line.h"

#include <string.h>

#include "check.h"
#include "utf8.h"

/* How a field stands in a record; a text's bytes follow. */
struct field_head {
    const char *key;
    int64_t integer;
    uint16_t text_len;
    uint8_t kind;
    bool is_null;
};

_Static_assert(sizeof(struct log_record) + LOG_TRACE_LEN_MAX + LOG_LINE_LEN_MAX <= LOG_RECORD_LEN_MAX, "a record fits");

/* ---- encoding ---- */

/* Returns the field's length in the record, 0 if there is no room for any of it. */
static size_t encode_field(const struct log_field *field, unsigned char *out, size_t room, bool *is_cut)
{
    struct field_head head = {.key = field->key, .integer = field->integer, .kind = (uint8_t)field->kind};
    if (room < sizeof head) {
        *is_cut = true;
        return 0;
    }
    if (field->kind == LOG_FIELD_TEXT) {
        head.is_null = field->text == NULL;
        if (!head.is_null) {
            head.text_len = (uint16_t)utf8_cut(field->text, field->text_len, room - sizeof head);
            *is_cut = *is_cut || head.text_len < field->text_len;
            if (head.text_len > 0)
                memcpy(out + sizeof head, field->text, head.text_len);
        }
    }
    memcpy(out, &head, sizeof head);
    return sizeof head + head.text_len;
}

size_t log_record_encode(enum log_level level, const char *event, const char *trace_id, const struct log_field *fields,
                         size_t count, int64_t wall_us, unsigned char out[LOG_RECORD_LEN_MAX])
{
    struct log_record record = {.event = event, .wall_us = wall_us, .level = (uint8_t)level};
    size_t len = sizeof record;
    if (trace_id != NULL) {
        size_t full_len = strnlen(trace_id, LOG_TRACE_LEN_MAX + 1);
        record.trace_len = (uint8_t)utf8_cut(trace_id, full_len, LOG_TRACE_LEN_MAX);
        memcpy(out + len, trace_id, record.trace_len);
        len += record.trace_len;
    }
    size_t end = len + LOG_LINE_LEN_MAX;
    for (size_t i = 0; i < count && !record.is_cut; i++)
        len += encode_field(&fields[i], out + len, end - len, &record.is_cut);
    record.len = (uint32_t)len;
    memcpy(out, &record, sizeof record);
    return len;
}

/* ---- rendering ---- */

struct line {
    char *bytes;
    size_t len;
};

static void put(struct line *line, const char *bytes, size_t len)
{
    pm_assert(len <= LOG_RENDERED_LEN_MAX - line->len);
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
}

#define PUT_LITERAL(line, literal) put((line), (literal), sizeof(literal) - 1)

/* Exactly digits digits, zeros in front. */
static void put_digits(struct line *line, uint64_t value, unsigned digits)
{
    char text[20];
    pm_assert(digits <= sizeof text);
    for (unsigned i = digits; i > 0; i--) {
        text[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    put(line, text, digits);
}

static void put_int(struct line *line, int64_t value)
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    unsigned digits = 1;
    for (uint64_t rest = magnitude; rest >= 10; rest /= 10)
        digits++;
    if (value < 0)
        PUT_LITERAL(line, "-");
    put_digits(line, magnitude, digits);
}

static void put_ascii(struct line *line, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"':
        PUT_LITERAL(line, "\\\"");
        return;
    case '\\':
        PUT_LITERAL(line, "\\\\");
        return;
    case '\n':
        PUT_LITERAL(line, "\\n");
        return;
    case '\r':
        PUT_LITERAL(line, "\\r");
        return;
    case '\t':
        PUT_LITERAL(line, "\\t");
        return;
    default:
        break;
    }
    if (c < 0x20 || c == 0x7F) {
        char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        put(line, escape, sizeof escape);
    } else {
        put(line, (const char *)&c, 1);
    }
}

static void put_string(struct line *line, const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + len;
    PUT_LITERAL(line, "\"");
    while (at < end) {
        size_t step = utf8_sequence_len(at, end);
        if (step == 1) {
            put_ascii(line, *at);
        } else if (step > 1) {
            put(line, (const char *)at, step);
        } else {
            PUT_LITERAL(line, "\xEF\xBF\xBD");
            step = 1;
        }
        at += step;
    }
    PUT_LITERAL(line, "\"");
}

/* RFC 3339 with microseconds; the calendar by counting 400-year eras of 146,097 days that begin on 1 March. */
static void put_time(struct line *line, int64_t wall_us)
{
    uint64_t us = wall_us > 0 ? (uint64_t)wall_us : 0;
    uint64_t seconds = us / 1000000;
    uint64_t days = seconds / 86400 + 719468; /* since 0000-03-01 */
    uint64_t era = days / 146097;
    uint64_t day_of_era = days % 146097;
    uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month_from_march = (5 * day_of_year + 2) / 153;
    uint64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    uint64_t year = era * 400 + year_of_era + (month <= 2);

    put_digits(line, year, 4);
    PUT_LITERAL(line, "-");
    put_digits(line, month, 2);
    PUT_LITERAL(line, "-");
    put_digits(line, day, 2);
    PUT_LITERAL(line, "T");
    put_digits(line, seconds / 3600 % 24, 2);
    PUT_LITERAL(line, ":");
    put_digits(line, seconds / 60 % 60, 2);
    PUT_LITERAL(line, ":");
    put_digits(line, seconds % 60, 2);
    PUT_LITERAL(line, ".");
    put_digits(line, us % 1000000, 6);
    PUT_LITERAL(line, "Z");
}

static void put_key(struct line *line, const char *key)
{
    PUT_LITERAL(line, ",");
    put_string(line, key, strlen(key));
    PUT_LITERAL(line, ":");
}

/* Returns the field's length in the record. */
static size_t put_field(struct line *line, const unsigned char *encoded)
{
    struct field_head head;
    memcpy(&head, encoded, sizeof head);
    put_key(line, head.key);
    switch ((enum log_field_kind)head.kind) {
    case LOG_FIELD_TEXT:
        if (head.is_null)
            PUT_LITERAL(line, "null");
        else
            put_string(line, (const char *)encoded + sizeof head, head.text_len);
        break;
    case LOG_FIELD_INT:
        put_int(line, head.integer);
        break;
    case LOG_FIELD_BOOL:
        if (head.integer != 0)
            PUT_LITERAL(line, "true");
        else
            PUT_LITERAL(line, "false");
        break;
    }
    return sizeof head + head.text_len;
}

size_t log_record_render(const unsigned char *record_bytes, const char *service_name, const char *thread_name,
                         char out[LOG_RENDERED_LEN_MAX])
{
    static const char *const level_words[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
    struct log_record record;
    memcpy(&record, record_bytes, sizeof record);
    struct line line = {.bytes = out};

    PUT_LITERAL(&line, "{\"timestamp\":\"");
    put_time(&line, record.wall_us);
    PUT_LITERAL(&line, "\",\"level\":\"");
    put(&line, level_words[record.level], strlen(level_words[record.level]));
    PUT_LITERAL(&line, "\"");
    put_key(&line, "event");
    put_string(&line, record.event, strlen(record.event));
    put_key(&line, "service");
    put_string(&line, service_name,
               utf8_cut(service_name, strnlen(service_name, LOG_NAME_LEN_MAX + 1), LOG_NAME_LEN_MAX));
    size_t at = sizeof record;
    if (record.trace_len > 0) {
        put_key(&line, "trace_id");
        put_string(&line, (const char *)record_bytes + at, record.trace_len);
        at += record.trace_len;
    }
    if (thread_name != NULL) {
        put_key(&line, "thread");
        put_string(&line, thread_name, strlen(thread_name));
    }
    while (at < record.len)
        at += put_field(&line, record_bytes + at);
    if (record.is_cut)
        PUT_LITERAL(&line, ",\"line_cut\":true");
    PUT_LITERAL(&line, "}\n");
    return line.len;
}
