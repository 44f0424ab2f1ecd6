#include "text.h"

#include <string.h>

#include "clock.h"
#include "utf8.h"

enum { INT_TEXT_LEN_MAX = 20 };

void text_init(struct text *text, char *bytes, size_t capacity)
{
    *text = (struct text){.bytes = bytes, .len = 0, .capacity = capacity, .overflowed = false};
}

void text_raw(struct text *text, const char *bytes, size_t len)
{
    if (text->overflowed || len > text->capacity - text->len) {
        text->overflowed = true;
        return;
    }
    if (len > 0)
        memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

void text_char(struct text *text, char c)
{
    text_raw(text, &c, 1);
}

void text_int(struct text *text, int64_t value)
{
    char digits[INT_TEXT_LEN_MAX];
    char *at = digits + sizeof digits;
    /* Negated as unsigned, so that the smallest value needs no case of its own. */
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0)
        *--at = '-';
    text_raw(text, at, (size_t)(digits + sizeof digits - at));
}

/* Writes a quote, a backslash or a control character as its escape. */
static void put_escape(struct text *text, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *found = c != 0 ? strchr(from, c) : NULL;
    if (found != NULL) {
        char escape[2] = {'\\', to[found - from]};
        text_raw(text, escape, sizeof escape);
        return;
    }
    char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 0xF]};
    text_raw(text, escape, sizeof escape);
}

void text_string(struct text *text, const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len, *written = at;
    text_char(text, '"');
    while (at < end) {
        size_t step = utf8_sequence_len(at, end);
        if (step > 1 || (step == 1 && *at >= 0x20 && *at != '"' && *at != '\\')) {
            at += step;
            continue;
        }
        text_raw(text, (const char *)written, (size_t)(at - written));
        if (step == 0)
            TEXT_LITERAL(text, "\xEF\xBF\xBD");
        else
            put_escape(text, *at);
        written = ++at;
    }
    text_raw(text, (const char *)written, (size_t)(at - written));
    text_char(text, '"');
}

void text_units(struct text *text, int128 units, unsigned fraction_digits_min)
{
    char digits[DECIMAL_TEXT_LEN_MAX];
    size_t len = decimal_format_units(units, fraction_digits_min, digits);
    text_char(text, '"');
    text_raw(text, digits, len);
    text_char(text, '"');
}

void text_decimal(struct text *text, struct decimal d, unsigned fraction_digits_min)
{
    if (decimal_is_none(d))
        TEXT_LITERAL(text, "null");
    else
        text_units(text, d.units, fraction_digits_min);
}

void text_time(struct text *text, int64_t wall_us)
{
    if (wall_us == TIME_NONE) {
        TEXT_LITERAL(text, "null");
        return;
    }
    char formatted[TIME_TEXT_LEN_MAX];
    size_t len = time_format(wall_us, formatted);
    text_char(text, '"');
    text_raw(text, formatted, len);
    text_char(text, '"');
}

void text_uuid(struct text *text, const struct uuid *uuid)
{
    char formatted[UUID_TEXT_LEN];
    uuid_format(uuid, formatted);
    text_char(text, '"');
    text_raw(text, formatted, sizeof formatted);
    text_char(text, '"');
}

void text_bool(struct text *text, bool value)
{
    if (value)
        TEXT_LITERAL(text, "true");
    else
        TEXT_LITERAL(text, "false");
}
