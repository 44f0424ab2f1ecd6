#include "prices_rests.h"

#include <string.h>

#include "check.h"
#include "xhash.h"

static struct rest **bucket_of(struct rests *rests, const char *asset)
{
    return &rests->buckets[xhash64(asset, strlen(asset)) % REST_BUCKETS];
}

struct rest *rests_find(struct rests *rests, const char *asset)
{
    struct rest *rest = *bucket_of(rests, asset);
    while (rest != NULL && strcmp(rest->asset, asset) != 0)
        rest = rest->bucket_next;
    return rest;
}

void rests_forget(struct rests *rests, struct rest *rest)
{
    struct rest **link = bucket_of(rests, rest->asset);
    while (*link != rest)
        link = &(*link)->bucket_next;
    *link = rest->bucket_next;
    *rest = (struct rest){.until_us = 0};
}

/* A free entry; where there is none, the one whose rest ends first is freed. */
static struct rest *make_room(struct rests *rests)
{
    struct rest *first = &rests->entries[0];
    for (size_t i = 0; i < RESTS_MAX; i++) {
        struct rest *rest = &rests->entries[i];
        if (rest->asset[0] == '\0')
            return rest;
        if (rest->until_us < first->until_us)
            first = rest;
    }
    pm_assert(first->until_us != INT64_MAX);
    rests_forget(rests, first);
    return first;
}

struct rest *rests_take(struct rests *rests, const char *asset)
{
    struct rest *rest = rests_find(rests, asset);
    if (rest == NULL) {
        rest = make_room(rests);
        memcpy(rest->asset, asset, strlen(asset) + 1);
        struct rest **bucket = bucket_of(rests, asset);
        rest->bucket_next = *bucket;
        *bucket = rest;
    }
    rest->until_us = INT64_MAX;
    return rest;
}
