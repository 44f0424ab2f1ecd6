/*
 * market: what a market event (the exchange's own view of a position) does to ours (contract §3.1). Pure. Thread: any.
 */
#ifndef PM_MARKET_H
#define PM_MARKET_H

#include "position.h"

/* A market event as the message said it; DECIMAL_NONE: not said. */
struct market_event {
    struct decimal size;          /* unsigned as sent */
    struct decimal average_price; /* zero means not said */
    struct decimal mark_price;    /* > 0 or none */
    struct decimal unrealized_pnl;
    struct decimal realized_pnl;
    int64_t at_us;   /* the inner timestamp, TIME_NONE: not said */
    uint64_t digest; /* of what was said (all inner fields, decoded): same timestamp and digest is the same event */
    uint8_t mode;    /* enum position_mode */
    uint8_t side;    /* enum side, NONE: not said */
    uint8_t leg; /* enum leg, hedge mode: named by positionIdx, else by side. LEG_NONE: by neither; then a size above
                    zero means the long leg, and without one nothing but the price counts */
};

struct market_policy {
    struct decimal average_threshold; /* relative; replaces when greater */
    struct decimal size_threshold;    /* absolute; a discrepancy when greater */
    int64_t timestamp_tolerance_us;
    bool use_average_price;
    bool timestamp_resolution;
};

/* What came of it, for counters, the log and the journal. */
struct market_effect {
    bool size_taken;                       /* size (or a leg's) replaced by the event's and different */
    bool average_taken;                    /* an average replaced or taken, and different */
    bool realized_stated;                  /* realized PnL replaced by a different one */
    bool size_differs;                     /* by more than the size threshold (a discrepancy) */
    struct decimal size_stored, size_said; /* signed (a short leg: negative), where size_differs */
};

/*
 * Applies an event. *after is *before with it applied; version one more if a figure changed.
 * `before` may be a position of version 0 that holds nothing (it does not exist yet; one of version 0 that holds
 * something is a row of another service). A size taken over that is flat takes the average with it; one on the other
 * side of zero does not. before and after may be the same object. Returns: STATUS_OK (a figure changed, or the position
 * is new), STATUS_UNCHANGED (no figure changed; the price's age and the event's place in the order may have: *after
 * holds them), STATUS_STALE (older than the newest applied; *after untouched), STATUS_REPEAT (the same event again;
 * untouched), STATUS_IGNORED (nothing there and nothing said that creates one). Fails: STATUS_OUT_OF_RANGE, *field
 * names what; *after untouched.
 */
enum status position_apply_market(const struct position *before, const struct market_event *event,
                                  const struct market_policy *policy, int64_t now_us, struct position *after,
                                  struct market_effect *effect, const char **field) PM_MUST_USE;

/*
 * Takes a mark price that came by itself (price service): as a market event that says nothing else. Same returns, and
 * STATUS_NOT_POSITIVE where it is no price.
 */
enum status position_apply_price(const struct position *before, struct decimal price, int64_t now_us,
                                 struct position *after, const char **field) PM_MUST_USE;

#endif
