#include "settings_table.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static void *member(const struct settings_loading *loading, const struct setting_row *row)
{
    return (char *)loading->settings + row->offset;
}

/* The struct's integers have the widths that their users want; a bound of the row keeps each value within its own. */
static void store_integer(void *out, size_t width, int64_t value)
{
    pm_assert(value >= 0);
    switch (width) {
    case sizeof(uint16_t):
        *(uint16_t *)out = (uint16_t)value;
        break;
    case sizeof(uint32_t):
        *(uint32_t *)out = (uint32_t)value;
        break;
    default:
        pm_assert(width == sizeof(int64_t));
        *(int64_t *)out = value;
        break;
    }
}

bool setting_parse_whole(const char *text, size_t len, int64_t min, int64_t max, int64_t *out)
{
    enum { DIGITS_MAX = 18 }; /* fits into an int64_t without a check */
    if (len == 0 || len > DIGITS_MAX)
        return false;
    int64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    if (value < min || value > max)
        return false;
    *out = value;
    return true;
}

static bool parse_integer(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    int64_t value;
    if (!setting_parse_whole(text, strlen(text), row->min, row->max, &value))
        return false;
    store_integer(member(loading, row), row->width, value * row->scale);
    return true;
}

static bool parse_bool(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *(bool *)member(loading, row) = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool parse_word(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    for (int64_t i = 0; row->words[i] != NULL; i++) {
        if (strcasecmp(text, row->words[i]) == 0) {
            store_integer(member(loading, row), row->width, i);
            return true;
        }
    }
    return false;
}

static bool parse_decimal(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    struct decimal value;
    if (decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &value) != STATUS_OK)
        return false;
    if (value.units < (int128)row->min * DECIMAL_ONE || value.units > (int128)row->max * DECIMAL_ONE)
        return false;
    if ((row->flags & SETTING_ABOVE_ZERO) != 0 && decimal_sign(value) == 0)
        return false;
    *(struct decimal *)member(loading, row) = value;
    return true;
}

static bool is_without_control_characters(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

bool setting_is_name(const char *text, size_t len, size_t len_max)
{
    if (len == 0 || len > len_max)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    }
    return true;
}

static bool is_localhost(const struct setting_row *row, const char *text)
{
    return row->kind == SETTING_ADDRESS && strcasecmp(text, "localhost") == 0;
}

static bool is_address(const char *text)
{
    struct in6_addr scratch;
    return inet_pton(AF_INET, text, &scratch) == 1 || inet_pton(AF_INET6, text, &scratch) == 1;
}

static bool is_url(const char *text, size_t len_max)
{
    if (!setting_is_name(text, strlen(text), len_max) || strpbrk(text, "?#@\"<>\\") != NULL)
        return false;
    const char *host;
    if (strncasecmp(text, "http://", 7) == 0)
        host = text + 7;
    else if (strncasecmp(text, "https://", 8) == 0)
        host = text + 8;
    else
        return false;
    return *host != '\0' && *host != '/' && *host != ':';
}

static bool is_readable_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    struct stat found;
    bool is_regular = fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    close(fd);
    return is_regular;
}

static bool is_text_allowed(const struct setting_row *row, const char *text)
{
    size_t len = strlen(text), len_max = (size_t)row->max;
    if (len < (size_t)row->min || len > len_max)
        return false;
    switch (row->kind) {
    case SETTING_TEXT:
        return is_without_control_characters(text);
    case SETTING_NAME:
        return setting_is_name(text, len, len_max);
    case SETTING_ADDRESS:
        return is_address(text);
    case SETTING_URL:
        return is_url(text, len_max);
    case SETTING_FILE:
        return is_readable_file(text);
    case SETTING_INTEGER:
    case SETTING_BOOL:
    case SETTING_WORD:
    case SETTING_DECIMAL:
    case SETTING_PATTERN:
    case SETTING_KEY:
    case SETTING_OVERRIDES:
    case SETTING_QUEUES:
        break;
    }
    return false;
}

static bool parse_text(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    if (is_localhost(row, text))
        text = "127.0.0.1"; /* one address to listen on, whatever the name also stands for */
    if (!is_text_allowed(row, text))
        return false;
    *(const char **)member(loading, row) = settings_keep(loading->settings, text, strlen(text));
    return true;
}

static bool parse_pattern(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    if (strlen(text) > (size_t)row->max || asset_pattern_init(&loading->settings->asset_pattern, text) != STATUS_OK)
        return false;
    *(const char **)member(loading, row) = settings_keep(loading->settings, text, strlen(text));
    return true;
}

static bool parse_key(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    if (!setting_is_name(text, strlen(text), (size_t)row->max))
        return false;
    loading->api_key = settings_keep(loading->settings, text, strlen(text));
    return true;
}

bool setting_parse(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    switch (row->kind) {
    case SETTING_INTEGER:
        return parse_integer(loading, row, text);
    case SETTING_BOOL:
        return parse_bool(loading, row, text);
    case SETTING_WORD:
        return parse_word(loading, row, text);
    case SETTING_DECIMAL:
        return parse_decimal(loading, row, text);
    case SETTING_TEXT:
    case SETTING_NAME:
    case SETTING_ADDRESS:
    case SETTING_URL:
    case SETTING_FILE:
        return parse_text(loading, row, text);
    case SETTING_PATTERN:
        return parse_pattern(loading, row, text);
    case SETTING_KEY:
        return parse_key(loading, row, text);
    case SETTING_OVERRIDES:
        return setting_parse_overrides(loading, text);
    case SETTING_QUEUES:
        return setting_parse_queues(loading, row, text);
    }
    return false;
}
