/*
 * prices_scan.c: finds the assets that need a price. A scan visits every position once, so it is left out while nothing
 * can be due, and while enough is being asked for already.
 */
#include <string.h>

#include "prices_state.h"

enum { SCAN_ANYWAY_S = 10 }; /* for prices that somebody took away, and a wall clock that was set */

/* Assets found, in order. */
struct found {
    size_t count;
    char assets[PRICES_ASKS_MAX][ASSET_LEN_MAX + 1];
};

struct scan {
    struct prices *prices;
    struct found behind; /* the cursor; these come first */
    struct found before; /* and the others after the turn */
    int64_t next_due_us; /* wall */
};

/* When a position needs a price by its own age (wall); INT64_MIN: it has none. */
static int64_t due_us(const struct position *position, int64_t staleness_us)
{
    if (decimal_is_none(position->current_price) || position->price_updated_at_us == TIME_NONE)
        return INT64_MIN;
    /* A stranger's row may say any time. */
    if (position->price_updated_at_us >= INT64_MAX - staleness_us)
        return INT64_MAX;
    /* Older than the threshold, as price_stale has it; not as old as it. */
    return position->price_updated_at_us + staleness_us + 1;
}

static void add_found(struct scan *scan, struct found *found, const char *asset)
{
    /* The two modes of an asset are neighbours. */
    if (found->count > 0 && strcmp(found->assets[found->count - 1], asset) == 0)
        return;
    if (found->count < scan->prices->free_count)
        memcpy(found->assets[found->count++], asset, strlen(asset) + 1);
    else
        scan->next_due_us = scan->prices->now.wall_us;
}

static void visit(void *context, const struct position *position)
{
    struct scan *scan = context;
    struct prices *prices = scan->prices;
    int64_t due = due_us(position, prices->settings.staleness_us);
    if (due <= prices->now.wall_us) {
        const struct rest *rest = rests_find(&prices->rests, position->asset);
        if (rest_is_over(rest, prices->now.steady_us)) {
            bool is_behind = strcmp(position->asset, prices->cursor) > 0;
            add_found(scan, is_behind ? &scan->behind : &scan->before, position->asset);
            return;
        }
        if (rest->until_us == INT64_MAX)
            return; /* its end will say when it is due again */
        due = prices->now.wall_us + (rest->until_us - prices->now.steady_us);
    }
    if (due < scan->next_due_us)
        scan->next_due_us = due;
}

static void begin_found(struct prices *prices, struct scan *scan, const struct found *found)
{
    for (size_t i = 0; i < found->count; i++) {
        if (prices->free_count == 0) {
            scan->next_due_us = prices->now.wall_us;
            return;
        }
        prices_begin(prices, found->assets[i]);
        memcpy(prices->cursor, found->assets[i], sizeof prices->cursor);
    }
}

static bool may_find_something(const struct prices *prices)
{
    return prices->now.wall_us >= prices->next_due_us || prices->now.steady_us >= prices->scan_anyway_us ||
           directory_position_count(prices->settings.directory) != prices->position_count;
}

void prices_due_at(struct prices *prices, int64_t wall_us)
{
    if (wall_us < prices->next_due_us)
        prices->next_due_us = wall_us;
}

void prices_scan(struct prices *prices)
{
    if (prices->now.steady_us < prices->scan_at_us || prices->free_count < PRICES_ASKS_MAX / 2)
        return;
    prices->scan_at_us = prices->now.steady_us + prices->settings.second_us;
    if (!may_find_something(prices))
        return;
    prices->scan_anyway_us = prices->now.steady_us + SCAN_ANYWAY_S * prices->settings.second_us;
    prices->position_count = directory_position_count(prices->settings.directory);
    struct scan scan = {.prices = prices, .next_due_us = INT64_MAX};
    directory_begin(prices->reader);
    directory_visit(prices->reader, visit, &scan);
    directory_end(prices->reader);
    begin_found(prices, &scan, &scan.behind);
    begin_found(prices, &scan, &scan.before);
    prices->next_due_us = scan.next_due_us;
}
