/*
 * prices_rests: which assets are being asked for, and which are left alone for a while because asking failed.
 *
 * A fixed table with a hash over it. When it is full the asset whose rest ends first makes room: it may be asked for a
 * little early then, which the bound on requests bears. Thread: the prices actor's.
 */
#ifndef PM_PRICES_RESTS_H
#define PM_PRICES_RESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "position.h"

enum { RESTS_MAX = 1024, REST_BUCKETS = 1024 };

struct rest {
    struct rest *bucket_next;
    int64_t until_us;              /* steady; INT64_MAX while it is being asked for */
    uint32_t failed_count;         /* rounds in a row that failed for the asset's own reasons */
    char asset[ASSET_LEN_MAX + 1]; /* empty: free */
};

struct rests {
    struct rest entries[RESTS_MAX];
    struct rest *buckets[REST_BUCKETS];
};

/* The asset's entry, or NULL. */
struct rest *rests_find(struct rests *rests, const char *asset);

/*
 * The asset's entry, made where there is none, marked as being asked for. Entries being asked for are never taken away,
 * so fewer than RESTS_MAX may be at one time.
 */
struct rest *rests_take(struct rests *rests, const char *asset);

/* It was answered: nothing is remembered. */
void rests_forget(struct rests *rests, struct rest *rest);

static inline bool rest_is_over(const struct rest *rest, int64_t now_us)
{
    return rest == NULL || rest->until_us <= now_us;
}

#endif
