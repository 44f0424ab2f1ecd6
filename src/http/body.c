#include "body.h"

#include <stdlib.h>
#include <string.h>

#include <h2o.h>

#include "check.h"

enum { BODY_CAPACITY_MIN = 64 * 1024 };

void body_finish(struct body *body)
{
    free(body->bytes);
    *body = (struct body){0};
}

void body_clear(struct body *body)
{
    body->len = 0;
    body->failed = false;
}

static bool body_reserve(struct body *body, size_t room)
{
    size_t needed = body->len + room;
    if (needed <= body->capacity)
        return true;
    if (needed > BODY_LEN_LIMIT)
        return false;
    size_t capacity = body->capacity < BODY_CAPACITY_MIN ? BODY_CAPACITY_MIN : body->capacity;
    while (capacity < needed)
        capacity *= 2;
    char *bytes = realloc(body->bytes, capacity);
    if (bytes == NULL)
        return false;
    body->bytes = bytes;
    body->capacity = capacity;
    return true;
}

struct text body_open(struct body *body, size_t room)
{
    struct text text;
    if (!body_reserve(body, room)) {
        body->failed = true;
        text_init(&text, body->bytes, 0);
        return text;
    }
    text_init(&text, body->bytes + body->len, body->capacity - body->len);
    return text;
}

void body_close(struct body *body, const struct text *text)
{
    if (text->overflowed)
        body->failed = true;
    if (!body->failed)
        body->len += text->len;
}

void body_raw(struct body *body, const char *bytes, size_t len)
{
    struct text text = body_open(body, len);
    text_raw(&text, bytes, len);
    body_close(body, &text);
}

bool kept_body_is_fresh(const struct kept_body *kept, uint64_t change_count, int64_t now_us, int64_t ttl_us)
{
    return kept->bytes != NULL && kept->change_count == change_count && now_us - kept->rendered_us < ttl_us;
}

void kept_body_set(struct kept_body *kept, const struct body *body, uint64_t change_count, int64_t now_us)
{
    pm_assert(!body->failed);
    kept_body_finish(kept);
    kept->bytes = h2o_mem_alloc_shared(NULL, body->len, NULL);
    memcpy(kept->bytes, body->bytes, body->len);
    kept->len = body->len;
    kept->change_count = change_count;
    kept->rendered_us = now_us;
}

void kept_body_finish(struct kept_body *kept)
{
    if (kept->bytes != NULL)
        h2o_mem_release_shared(kept->bytes);
    *kept = (struct kept_body){0};
}
