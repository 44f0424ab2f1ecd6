/*
 * Array parameters. Identifiers go in as they are; texts are quoted.
 */
#include "text_array.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "utf8.h"

enum { ARRAY_CAPACITY_MIN = 4096 };

static const char hex_digits[] = "0123456789abcdef";

static void reserve(struct text_array *array, size_t extra)
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

static void put(struct text_array *array, const char *bytes, size_t len)
{
    reserve(array, len);
    memcpy(array->bytes + array->len, bytes, len);
    array->len += len;
}

static void put_char(struct text_array *array, char c)
{
    reserve(array, 1);
    array->bytes[array->len++] = c;
}

static void put_separator(struct text_array *array)
{
    if (array->count++ > 0)
        put_char(array, ',');
}

static void put_plain(struct text_array *array, const char *bytes, size_t len)
{
    put_separator(array);
    put(array, bytes, len);
}

void text_array_clear(struct text_array *array)
{
    array->len = 0;
    array->count = 0;
    put_char(array, '{');
}

const char *text_array_finish(struct text_array *array)
{
    put(array, "}", 2);
    return array->bytes;
}

void text_array_free(struct text_array *array)
{
    free(array->bytes);
    *array = (struct text_array){0};
}

void text_array_null(struct text_array *array)
{
    put_plain(array, "NULL", 4);
}

void text_array_text(struct text_array *array, const char *text)
{
    if (text == NULL || text[0] == '\0') {
        text_array_null(array);
        return;
    }
    put_separator(array);
    put_char(array, '"');
    const unsigned char *at = (const unsigned char *)text, *end = at + strlen(text);
    while (at < end) {
        const size_t len = utf8_sequence_len(at, end);
        if (len == 0) {
            const char escaped[] = {'\\', '\\', 'x', hex_digits[*at >> 4], hex_digits[*at & 15]};
            put(array, escaped, sizeof escaped);
            at++;
            continue;
        }
        if (*at == '"' || *at == '\\')
            put_char(array, '\\');
        put(array, (const char *)at, len);
        at += len;
    }
    put_char(array, '"');
}

void text_array_uuid(struct text_array *array, const struct uuid *uuid)
{
    char text[UUID_TEXT_LEN];
    uuid_format(uuid, text);
    put_plain(array, text, sizeof text);
}
