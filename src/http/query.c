#include "query.h"

#include <string.h>
#include <strings.h>

#include "clock.h"
#include "hex.h"
#include "text.h"
#include "utf8.h"

/* Decodes into out of QUERY_VALUE_LEN_MAX + 1 bytes. */
static enum status decode(const char *raw, size_t len, char *out, size_t *out_len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = raw[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_digit(raw[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(raw[i + 2]) : -1;
            if (high < 0 || low < 0)
                return STATUS_INVALID;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        if (n == QUERY_VALUE_LEN_MAX)
            return STATUS_INVALID;
        out[n++] = c;
    }
    out[n] = '\0';
    *out_len = n;
    return STATUS_OK;
}

static bool is_clean(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + len;
    while (at < end) {
        size_t step = utf8_sequence_len(at, end);
        if (step == 0 || *at < 0x20 || *at == 0x7f)
            return false;
        at += step;
    }
    return true;
}

static bool is_named(const char *raw, size_t len, const char *name)
{
    char decoded[QUERY_VALUE_LEN_MAX + 1];
    size_t decoded_len;
    if (len == strlen(name) && memcmp(raw, name, len) == 0)
        return true;
    if (memchr(raw, '%', len) == NULL || decode(raw, len, decoded, &decoded_len) != STATUS_OK)
        return false;
    return decoded_len == strlen(name) && memcmp(decoded, name, decoded_len) == 0;
}

enum status query_find(const char *query, size_t len, const char *name, struct query_value *out)
{
    out->present = false;
    out->len = 0;
    out->text[0] = '\0';
    for (size_t at = 0; at < len;) {
        const char *pair = query + at;
        const char *amp = memchr(pair, '&', len - at);
        size_t pair_len = amp != NULL ? (size_t)(amp - pair) : len - at;
        at += pair_len + 1;
        const char *equals = memchr(pair, '=', pair_len);
        size_t name_len = equals != NULL ? (size_t)(equals - pair) : pair_len;
        if (!is_named(pair, name_len, name))
            continue;
        if (out->present)
            return STATUS_INVALID;
        out->present = true;
        if (equals == NULL)
            continue;
        if (decode(equals + 1, pair_len - name_len - 1, out->text, &out->len) != STATUS_OK ||
            !is_clean(out->text, out->len))
            return STATUS_INVALID;
    }
    return STATUS_OK;
}

enum status query_bool(const struct query_value *value, bool *out)
{
    static const struct {
        const char *word;
        bool means;
    } words[] = {{"true", true}, {"false", false}, {"1", true},  {"0", false},
                 {"yes", true},  {"no", false},    {"on", true}, {"off", false}};
    if (!value->present)
        return STATUS_OK;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].word) == value->len && strcasecmp(words[i].word, value->text) == 0) {
            *out = words[i].means;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

enum status query_decimal(const struct query_value *value, struct decimal *out)
{
    *out = DECIMAL_NONE;
    if (!value->present)
        return STATUS_OK;
    struct decimal parsed;
    enum status status = decimal_parse(value->text, value->len, DECIMAL_EXCESS_REFUSE, &parsed);
    if (status == STATUS_OK)
        *out = parsed;
    return status;
}

enum status query_integer(const struct query_value *value, const struct query_range *range, uint32_t *out)
{
    uint64_t number = 0;
    if (!value->present)
        return STATUS_OK;
    if (value->len == 0)
        return STATUS_INVALID;
    for (size_t i = 0; i < value->len; i++) {
        if (value->text[i] < '0' || value->text[i] > '9')
            return STATUS_INVALID;
        number = number * 10 + (uint64_t)(value->text[i] - '0');
        if (number > range->max)
            return STATUS_INVALID;
    }
    if (number < range->min)
        return STATUS_INVALID;
    *out = (uint32_t)number;
    return STATUS_OK;
}

enum status query_time(const struct query_value *value, int64_t *out_us)
{
    enum { OFFSET_LEN = 6, SECONDS_LEN = 19 }; /* "+01:00", "2025-01-15T10:00:00" */
    char text[QUERY_VALUE_LEN_MAX + 1];
    *out_us = TIME_NONE;
    if (!value->present)
        return STATUS_OK;
    memcpy(text, value->text, value->len + 1);
    if (value->len >= SECONDS_LEN + OFFSET_LEN && text[value->len - OFFSET_LEN] == ' ')
        text[value->len - OFFSET_LEN] = '+';
    return time_parse_early(text, value->len, out_us);
}
