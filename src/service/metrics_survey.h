/*
 * metrics_survey: looks at every position now and then, so that a page of metrics need not.
 *
 * An actor that is told nothing: it wakes up by itself, visits the directory once, and leaves a result: the largest
 * assets with their figures, and how open positions are distributed by exposure, by time held, by their price's age. A
 * page takes the newest result by reference and waits for nobody; what it shows of single positions is at most
 * SURVEY_INTERVAL_US old (SURVEY_IDLE_US while nothing changes; ages are reckoned when the page is made). A look at
 * 100,000 positions takes about 20 ms of this thread alone.
 */
#ifndef PM_METRICS_SURVEY_H
#define PM_METRICS_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actor.h"
#include "directory.h"

enum {
    SURVEY_INTERVAL_US = 2000000,
    SURVEY_IDLE_US = 10000000,
    SURVEY_BOUNDS_MAX = 12,
    SURVEY_ASSETS_MAX = 1000,
};

/* A position with series of its own. Figures are units of 10^-8. */
struct survey_position {
    int128 size;
    int128 exposure; /* 0 where is_priced is false */
    int128 unrealized_pnl;
    int128 realized_pnl;
    int64_t price_updated_at_us; /* wall, TIME_NONE: never */
    int64_t opened_at_us;        /* TIME_NONE: not open, or nobody knows since when */
    bool is_priced;
    enum position_mode mode;
    char asset[ASSET_LEN_MAX + 1];
};

/* How many are at or below each bound and above the one before; the last count is of those above all. */
struct survey_distribution {
    const uint64_t *bounds; /* whole USDT or seconds; static */
    size_t bound_count;
    uint64_t counts[SURVEY_BOUNDS_MAX + 1];
    int128 sum; /* exposure: units of 10^-8; times: microseconds */
};

struct survey_result {
    struct survey_distribution exposure;  /* of open positions with a price */
    struct survey_distribution held;      /* of open positions whose opening is known */
    struct survey_distribution price_age; /* of open positions with a price */
    int64_t oldest_price_at_us;           /* among those; TIME_NONE: there are none */
    uint64_t stale_prices;                /* open positions that contract §2.4 calls price_stale */
    size_t assets_left_out;               /* of all assets, those that have no series of their own */
    size_t position_count;
    struct survey_position positions[]; /* by asset, then mode's word */
};

struct survey_settings {
    struct directory *directory;
    size_t assets_max; /* 0 to SURVEY_ASSETS_MAX; 0: no position has series of its own */
    int64_t staleness_us;
};

struct survey;

/* Owns: the caller; destroy when no thread drives it and every result was put back; NULL is accepted. Fails: never
 * (aborts without memory). */
struct survey *survey_create(const struct survey_settings *settings);
void survey_destroy(struct survey *survey);

/* The actor (actors/actor.h); there are no messages to it. */
struct actor_plan survey_receive(void *survey, struct message **batch, size_t count, struct actor_time now);

/* The newest result, or NULL before there is one. Owns: the caller puts it back. Thread: any. */
const struct survey_result *survey_get(struct survey *survey);
void survey_put(struct survey *survey, const struct survey_result *result);

#endif
