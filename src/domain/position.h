/*
 * position: the record of one (asset, mode) and the vocabulary of the rules (contract §2.4, §3, §6).
 *
 * Plain values. The rules that change a position are in execution.h (fills) and market.h (what the exchange says);
 * figures derived from it are here and in portfolio.h. All times are wall time in microseconds since 1970, UTC, or
 * TIME_NONE. Optional decimals are DECIMAL_NONE. Pure: no clock, no randomness, no I/O. Thread: any.
 */
#ifndef PM_POSITION_H
#define PM_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "decimal.h"
#include "status.h"
#include "uuid.h"

enum { ASSET_LEN_MAX = 20 };     /* positions.asset is varchar(20) */
enum { MARKET_DIGESTS_MAX = 8 }; /* different events of one timestamp that are told apart */

enum position_mode { POSITION_MODE_ONE_WAY, POSITION_MODE_HEDGE };
enum side { SIDE_NONE, SIDE_BUY, SIDE_SELL };
enum leg { LEG_NONE, LEG_LONG, LEG_SHORT };

struct position {
    struct decimal size;                /* signed; hedge: long_size - short_size; never none */
    struct decimal average_entry_price; /* none when flat, when never said, and in hedge mode when both legs are open */
    struct decimal current_price;       /* mark price, none when unpriced */
    struct decimal unrealized_pnl;      /* never none */
    struct decimal realized_pnl;        /* never none */
    struct decimal fees_paid;           /* never none; negative: rebates */
    struct decimal long_size;           /* hedge: unsigned, never none; one-way: none */
    struct decimal short_size;
    struct decimal long_avg_price; /* hedge: none when the leg is flat or its average was never said */
    struct decimal short_avg_price;
    int64_t price_updated_at_us; /* the price's own arrival */
    int64_t last_updated_us;     /* when the service applied the last change */
    int64_t last_snapshot_at_us;
    int64_t created_at_us;
    int64_t opened_at_us;         /* last opened from flat */
    int64_t closed_at_us;         /* set while flat after having been open */
    int64_t last_execution_at_us; /* newest executed_at that touched it; TIME_NONE: no execution ever did */
    int64_t market_event_at_us;   /* newest market event applied, by its own timestamp; TIME_NONE: none */
    uint64_t market_digests[MARKET_DIGESTS_MAX]; /* of the events applied with just that timestamp, oldest first */
    struct uuid id;
    int32_t version; /* 0: not yet changed by anything */
    uint8_t market_digest_count;
    uint8_t mode;                  /* enum position_mode */
    bool announcement_due;         /* a change that nobody will send again is not yet announced and confirmed */
    char asset[ASSET_LEN_MAX + 1]; /* upper case, terminated */
};

/* A position nothing has happened to: flat, version 0; the caller gives the identifier and the time. asset: at most
 * ASSET_LEN_MAX. */
void position_init(struct position *position, const char *asset, enum position_mode mode, struct uuid id,
                   int64_t now_us);

const char *position_mode_word(enum position_mode mode); /* "one-way", "hedge" */
/* Case-insensitive. Fails: STATUS_BAD_MODE. */
enum status position_mode_parse(const char *text, size_t len, enum position_mode *out) PM_MUST_USE;

/* Hedge: a leg is open; one-way: size is not zero. */
bool position_is_open(const struct position *position);
bool position_is_long(const struct position *position); /* hedge: the long leg is open (both may be) */
bool position_is_short(const struct position *position);

/* |size|, or in hedge mode long_size + short_size, as units of 10^-8 (may exceed a decimal's range by a factor of two).
 */
int128 position_gross_units(const struct position *position);

/*
 * Recomputes unrealized_pnl at current_price from size and averages (hedge: from both legs), rounded once. Without a
 * price or without the average of an open side it stays as it is; flat: zero.
 * Fails: STATUS_OUT_OF_RANGE.
 */
enum status position_revalue(struct position *position) PM_MUST_USE;

/*
 * unrealized_pnl / (|size| x average_entry_price) x 100, rounded to 8 digits; none when size is 0, there is no
 * entry price, or the figure does not fit NUMERIC(20,8) (a cost of next to nothing).
 */
struct decimal position_unrealized_pnl_pct(const struct position *position);

/*
 * |average - stored| / stored > threshold, multiplied out: no rounding decides about it. How averages are compared by
 * market events and by validations alike (contract §3.1, §5.2). Neither may be none.
 */
bool position_average_differs(struct decimal average, struct decimal stored, struct decimal threshold);

/* Whole minutes since opened_at (to closed_at once closed); -1: null. Never negative otherwise. */
int64_t position_time_held_minutes(const struct position *position, int64_t now_us);

/* Whether every figure that a version stands for is the same (all but times, digests and version). */
bool position_is_same_figures(const struct position *a, const struct position *b);

/* Asserts what always holds: signs of legs, averages above zero or none, none on flat, decimals in range. */
void position_check(const struct position *position);

#endif
