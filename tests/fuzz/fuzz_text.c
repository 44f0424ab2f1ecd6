#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "json_scan.h"
#include "text.h"
#include "utf8.h"

/* A byte becomes six at most. */
static void check_string(const uint8_t *data, size_t len)
{
    size_t capacity = 6 * len + 2, unescaped_len;
    char *written = malloc(capacity), *buffer = malloc(capacity);
    const char *unescaped;
    struct text text;
    struct json_value root;
    if (written == NULL || buffer == NULL)
        abort();
    text_init(&text, written, capacity);
    text_string(&text, (const char *)data, len);
    fuzz_expect(!text.overflowed, data, len);
    fuzz_expect(json_check(written, text.len, &root) == STATUS_OK && root.kind == JSON_STRING, data, len);
    fuzz_expect(json_string(&root, buffer, capacity, &unescaped, &unescaped_len) == STATUS_OK, data, len);
    if (utf8_is_plain((const char *)data, len))
        fuzz_expect(unescaped_len == len && memcmp(unescaped, data, len) == 0, data, len);
    free(written);
    free(buffer);
}

static void check_time(const uint8_t *data, size_t len)
{
    int64_t us, again;
    char formatted[TIME_TEXT_LEN_MAX];
    if (time_parse((const char *)data, len, &us) != STATUS_OK)
        return;
    size_t formatted_len = time_format(us, formatted);
    fuzz_expect(formatted_len < TIME_TEXT_LEN_MAX, data, len);
    fuzz_expect(time_parse(formatted, formatted_len, &again) == STATUS_OK && again == us, data, len);
}

static void check_any_time(const uint8_t *data, size_t len)
{
    int64_t us;
    char formatted[TIME_TEXT_LEN_MAX];
    if (len < sizeof us)
        return;
    memcpy(&us, data, sizeof us);
    size_t formatted_len = time_format(us, formatted);
    fuzz_expect(formatted_len >= 20 && formatted_len <= 27 && formatted[formatted_len - 1] == 'Z', data, len);
}

void fuzz_text(const uint8_t *data, size_t len)
{
    check_string(data, len);
    check_time(data, len);
    check_any_time(data, len);
}
