/*
 * Array parameters. An element that needs no quotes (numbers, times, identifiers) goes in as it is; texts are quoted.
 */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "text.h"

enum { ARRAY_CAPACITY_MIN = 4096 };

static const char hex_digits[] = "0123456789abcdef";

static void reserve(struct pg_array *array, size_t extra)
{
    if (array->capacity - array->len >= extra)
        return;
    size_t capacity = array->capacity < ARRAY_CAPACITY_MIN ? ARRAY_CAPACITY_MIN : array->capacity;
    while (capacity - array->len < extra)
        capacity *= 2;
    char *bytes = realloc(array->bytes, capacity);
    pm_assert(bytes != NULL);
    array->bytes = bytes;
    array->capacity = capacity;
}

static void put(struct pg_array *array, const char *bytes, size_t len)
{
    reserve(array, len);
    memcpy(array->bytes + array->len, bytes, len);
    array->len += len;
}

static void put_char(struct pg_array *array, char c)
{
    reserve(array, 1);
    array->bytes[array->len++] = c;
}

static void put_separator(struct pg_array *array)
{
    if (array->count++ > 0)
        put_char(array, ',');
}

static void put_plain(struct pg_array *array, const char *bytes, size_t len)
{
    put_separator(array);
    put(array, bytes, len);
}

void pg_array_clear(struct pg_array *array)
{
    array->len = 0;
    array->count = 0;
    put_char(array, '{');
}

const char *pg_array_finish(struct pg_array *array)
{
    put(array, "}", 2);
    return array->bytes;
}

void pg_array_free(struct pg_array *array)
{
    free(array->bytes);
    *array = (struct pg_array){0};
}

void pg_array_null(struct pg_array *array)
{
    put_plain(array, "NULL", 4);
}

/* How long the UTF-8 character at text is; 0 where there is none. Overlong forms and surrogates are none. */
static size_t character_len(const unsigned char *text)
{
    const unsigned char lead = text[0];
    if (lead < 0x80)
        return 1;
    const size_t len = lead >= 0xC2 && lead <= 0xDF   ? 2
                       : (lead & 0xF0) == 0xE0        ? 3
                       : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                      : 0;
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    }
    const bool overlong = (lead == 0xE0 && text[1] < 0xA0) || (lead == 0xF0 && text[1] < 0x90);
    const bool beyond = (lead == 0xED && text[1] > 0x9F) || (lead == 0xF4 && text[1] > 0x8F);
    return overlong || beyond ? 0 : len;
}

void pg_array_text(struct pg_array *array, const char *text)
{
    if (text == NULL || text[0] == '\0') {
        pg_array_null(array);
        return;
    }
    put_separator(array);
    put_char(array, '"');
    while (*text != '\0') {
        const unsigned char byte = (unsigned char)*text;
        const size_t len = character_len((const unsigned char *)text);
        if (len == 0) {
            const char escaped[] = {'\\', '\\', 'x', hex_digits[byte >> 4], hex_digits[byte & 15]};
            put(array, escaped, sizeof escaped);
            text++;
            continue;
        }
        if (byte == '"' || byte == '\\')
            put_char(array, '\\');
        put(array, text, len);
        text += len;
    }
    put_char(array, '"');
}

void pg_array_int(struct pg_array *array, int64_t value)
{
    char digits[24];
    char *end = digits + sizeof digits;
    char *start = end;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--start = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        *--start = '-';
    put_plain(array, start, (size_t)(end - start));
}

void pg_array_decimal(struct pg_array *array, struct decimal value)
{
    if (decimal_is_none(value)) {
        pg_array_null(array);
        return;
    }
    char text[DECIMAL_TEXT_LEN_MAX];
    const size_t len = decimal_format(value, 0, text);
    put_plain(array, text, len);
}

void pg_array_wide(struct pg_array *array, struct wide value)
{
    char text[WIDE_TEXT_LEN_MAX];
    const size_t len = wide_format_16(value, text);
    put_plain(array, text, len);
}

void pg_array_time(struct pg_array *array, int64_t wall_us)
{
    if (wall_us == TIME_NONE) {
        pg_array_null(array);
        return;
    }
    char text[TIME_TEXT_LEN_MAX];
    const size_t len = time_format(wall_us, text);
    put_plain(array, text, len);
}

void pg_array_uuid(struct pg_array *array, const struct uuid *uuid)
{
    char text[UUID_TEXT_LEN];
    uuid_format(uuid, text);
    put_plain(array, text, sizeof text);
}

void pg_array_words(struct pg_array *array, const uint64_t *words, size_t count)
{
    if (count == 0) {
        pg_array_null(array);
        return;
    }
    put_separator(array);
    for (size_t i = 0; i < count; i++) {
        for (int shift = 60; shift >= 0; shift -= 4)
            put_char(array, hex_digits[(words[i] >> shift) & 15]);
    }
}
