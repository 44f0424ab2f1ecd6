/* The strings of json_scan.h: what their escapes stand for. */
#include <string.h>

#include "check.h"
#include "json_escape.h"
#include "json_scan.h"

static size_t utf8_put(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* The character of the escape at *at, which is moved behind it; a surrogate pair is one, a lone half is U+FFFD. */
static size_t unescape(const char **at, const char *end, char out[4])
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    int32_t code = unicode_escape(*at, end);
    if (code < 0) {
        const char *letter = strchr(letters, (*at)[1]);
        out[0] = letter != NULL ? meanings[letter - letters] : (*at)[1];
        *at += 2;
        return 1;
    }
    *at += UNICODE_ESCAPE_LEN;
    if (code < 0xD800 || code > 0xDFFF)
        return utf8_put((uint32_t)code, out);
    int32_t low = code < 0xDC00 ? unicode_escape(*at, end) : -1;
    if (low < 0xDC00 || low > 0xDFFF)
        return utf8_put(0xFFFD, out);
    *at += UNICODE_ESCAPE_LEN;
    return utf8_put(0x10000U + ((uint32_t)(code - 0xD800) << 10) + (uint32_t)(low - 0xDC00), out);
}

size_t json_string_piece(const struct json_value *value, size_t *offset, char *buffer, size_t capacity)
{
    const char *at = value->bytes + *offset, *end = value->bytes + value->len;
    size_t len = 0;
    while (at < end && len < capacity) {
        if (*at != '\\') {
            buffer[len++] = *at++;
            continue;
        }
        char character[4];
        const char *next = at;
        size_t character_len = unescape(&next, end, character);
        if (character_len > capacity - len)
            break;
        memcpy(buffer + len, character, character_len);
        len += character_len;
        at = next;
    }
    *offset = (size_t)(at - value->bytes);
    return len;
}

enum status json_string(const struct json_value *value, char *buffer, size_t capacity, const char **out,
                        size_t *out_len)
{
    pm_assert(value->kind == JSON_STRING);
    if (!value->has_escapes) {
        *out = value->bytes;
        *out_len = value->len;
        return STATUS_OK;
    }
    size_t offset = 0, len = json_string_piece(value, &offset, buffer, capacity);
    if (offset < value->len)
        return STATUS_FULL;
    *out = buffer;
    *out_len = len;
    return STATUS_OK;
}
