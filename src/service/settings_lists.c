#define _GNU_SOURCE /* memrchr */
#include "settings_table.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

struct item {
    const char *text;
    size_t len;
};

/* Takes the next item of a comma-separated list, without the blanks around it. Returns false after the last. */
static bool next_item(const char **cursor, struct item *out)
{
    if (*cursor == NULL)
        return false;
    const char *start = *cursor;
    const char *comma = strchr(start, ',');
    const char *end = comma != NULL ? comma : start + strlen(start);
    *cursor = comma != NULL ? comma + 1 : NULL;
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *out = (struct item){start, (size_t)(end - start)};
    return true;
}

static bool fail(struct settings_loading *loading, size_t entry, const char *what)
{
    snprintf(loading->detail, sizeof loading->detail, "entry %zu %s", entry, what);
    return false;
}

static bool is_same(const char *kept, const struct item *item)
{
    return strlen(kept) == item->len && memcmp(kept, item->text, item->len) == 0;
}

static bool add_queue(struct settings_loading *loading, const struct setting_row *row, const struct item *item)
{
    struct settings *settings = loading->settings;
    size_t entry = settings->order_queue_count + 1;
    if (entry > (size_t)row->max)
        return fail(loading, entry, "is one too many");
    if (!setting_is_name(item->text, item->len, 255))
        return fail(loading, entry, "is no name of 1 to 255 visible ASCII characters");
    for (size_t i = 0; i < settings->order_queue_count; i++) {
        if (is_same(settings->order_queues[i], item))
            return fail(loading, entry, "stands there twice");
    }
    settings->order_queues[settings->order_queue_count++] = settings_keep(settings, item->text, item->len);
    return true;
}

bool setting_parse_queues(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    struct settings *settings = loading->settings;
    settings->order_queues = calloc((size_t)row->max, sizeof *settings->order_queues);
    pm_assert(settings->order_queues != NULL);
    const char *cursor = text;
    struct item item;
    while (next_item(&cursor, &item)) {
        if (!add_queue(loading, row, &item))
            return false;
    }
    return true;
}

/* A key may hold colons itself: the last one stands before the limit. */
static bool split_override(const struct item *item, struct item *key, struct item *limit)
{
    const char *colon = memrchr(item->text, ':', item->len);
    if (colon == NULL)
        return false;
    *key = (struct item){item->text, (size_t)(colon - item->text)};
    *limit = (struct item){colon + 1, item->len - key->len - 1};
    return true;
}

static bool add_override(struct settings_loading *loading, const struct item *item)
{
    size_t entry = loading->override_count + 1;
    struct item key, limit_text;
    int64_t limit;
    if (entry >= SETTINGS_KEYS_MAX)
        return fail(loading, entry, "is one too many");
    if (!split_override(item, &key, &limit_text))
        return fail(loading, entry, "has no colon");
    if (!setting_is_name(key.text, key.len, 256))
        return fail(loading, entry, "has no key of 1 to 256 visible ASCII characters");
    if (!setting_parse_whole(limit_text.text, limit_text.len, RATE_LIMIT_MIN, RATE_LIMIT_MAX, &limit))
        return fail(loading, entry, "has no limit that is allowed");
    for (size_t i = 0; i < loading->override_count; i++) {
        if (is_same(loading->overrides[i].text, &key))
            return fail(loading, entry, "has the key of an earlier one");
    }
    loading->overrides[loading->override_count++] =
        (struct api_key){settings_keep(loading->settings, key.text, key.len), (uint32_t)limit};
    return true;
}

bool setting_parse_overrides(struct settings_loading *loading, const char *text)
{
    loading->overrides = calloc(SETTINGS_KEYS_MAX, sizeof *loading->overrides);
    pm_assert(loading->overrides != NULL);
    const char *cursor = text;
    struct item item;
    while (next_item(&cursor, &item)) {
        if (!add_override(loading, &item))
            return false;
    }
    return true;
}
