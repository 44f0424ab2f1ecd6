/* What an asset looks like (decode.h): the default pattern by hand, any other by the C library's expressions. */
#include <string.h>

#include "decode.h"

enum { DEFAULT_PREFIX_LEN_MAX = 16, DEFAULT_SUFFIX_LEN = 4 };

enum status asset_pattern_init(struct asset_pattern *pattern, const char *text)
{
    memset(pattern, 0, sizeof *pattern);
    pattern->is_default = strcmp(text, ASSET_PATTERN_DEFAULT) == 0;
    if (pattern->is_default)
        return STATUS_OK;
    if (regcomp(&pattern->regex, text, REG_EXTENDED | REG_NOSUB) != 0)
        return STATUS_INVALID;
    pattern->is_compiled = true;
    return STATUS_OK;
}

void asset_pattern_finish(struct asset_pattern *pattern)
{
    if (pattern->is_compiled)
        regfree(&pattern->regex);
    pattern->is_compiled = false;
}

/* ASSET_PATTERN_DEFAULT. */
static bool is_default_match(const char *asset, size_t len)
{
    if (len <= DEFAULT_SUFFIX_LEN || len > DEFAULT_PREFIX_LEN_MAX + DEFAULT_SUFFIX_LEN)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!((asset[i] >= 'A' && asset[i] <= 'Z') || (asset[i] >= '0' && asset[i] <= '9')))
            return false;
    }
    return memcmp(asset + len - DEFAULT_SUFFIX_LEN, "USDT", DEFAULT_SUFFIX_LEN) == 0;
}

enum status asset_parse(const struct asset_pattern *pattern, const char *text, size_t len, char out[ASSET_LEN_MAX + 1])
{
    char asset[ASSET_LEN_MAX + 1];
    out[0] = '\0';
    if (len == 0 || len > ASSET_LEN_MAX)
        return STATUS_BAD_ASSET;
    for (size_t i = 0; i < len; i++) {
        /* Whatever the pattern: an asset stands in URLs, logs and labels, so it is visible ASCII. */
        if (text[i] <= ' ' || text[i] > '~')
            return STATUS_BAD_ASSET;
        asset[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i];
    }
    asset[len] = '\0';
    bool matches =
        pattern->is_default ? is_default_match(asset, len) : regexec(&pattern->regex, asset, 0, NULL, 0) == 0;
    if (!matches)
        return STATUS_BAD_ASSET;
    memcpy(out, asset, len + 1);
    return STATUS_OK;
}
