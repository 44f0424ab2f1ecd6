/*
 * encode: domain values into the JSON of the contract (§2.2, §2.4, §2.5, §4).
 *
 * All into a struct text of the caller's. Thread: any.
 */
#ifndef PM_ENCODE_H
#define PM_ENCODE_H

#include "portfolio.h"
#include "position.h"
#include "text.h"

enum {
    POSITION_JSON_LEN_MAX = 1280,     /* one Position object */
    ANNOUNCEMENT_JSON_LEN_MAX = 1024, /* one position_updated */
    PORTFOLIO_JSON_LEN_MAX = 1152,    /* totals without by_asset */
    ASSET_JSON_LEN_MAX = 320,         /* one member of by_asset */
};

/* What a Position object needs beside the position itself. */
struct position_context {
    struct wide total_exposure; /* for position_size_norm */
    int64_t now_us;             /* for time_held_minutes and price_stale */
    int64_t staleness_us;       /* PRICE_STALENESS_THRESHOLD */
};

/* price missing, or older than staleness_us, by price_updated_at. A flat position is stale by the same rule. */
bool position_price_is_stale(const struct position *position, int64_t now_us, int64_t staleness_us);

/* The members of a Position object without braces ("id":…,…), so that snapshots can add theirs. */
void encode_position_members(struct text *text, const struct position *position,
                             const struct position_context *context);
/* One Position object. */
void encode_position(struct text *text, const struct position *position, const struct position_context *context);

/* position_updated (§4). size_norm: as of the commit, may be none. source: its word. trace_id: terminated. */
void encode_position_updated(struct text *text, const struct position *position, struct decimal size_norm,
                             const char *source, const char *trace_id, int64_t now_us);

/* The totals and counts of PortfolioMetrics as members without braces, without by_asset and calculated_at. */
void encode_portfolio_members(struct text *text, const struct portfolio_totals *totals, bool limit_exceeded);
/* portfolio_updated (§4). */
void encode_portfolio_updated(struct text *text, const struct portfolio_totals *totals, bool limit_exceeded,
                              const char *trace_id, int64_t now_us);

/* "ASSET":{…} of by_asset; totals and net size of that asset over both modes (size in units of 10^-8). */
void encode_by_asset_member(struct text *text, const char *asset, const struct portfolio_totals *totals,
                            int128 size_units);

/* The error object (§2.2); details is raw JSON or NULL. */
void encode_error(struct text *text, const char *error_code, const char *message, const char *trace_id,
                  const char *details);

#endif
