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
    POSITION_JSON_LEN_MAX = 1280,         /* one Position object */
    ANNOUNCEMENT_JSON_LEN_MAX = 1024,     /* one position_updated */
    PORTFOLIO_JSON_LEN_MAX = 1152,        /* totals without by_asset */
    ASSET_JSON_LEN_MAX = 320,             /* one member of by_asset */
    SNAPSHOT_HEAD_JSON_LEN_MAX = 384,     /* a PositionSnapshot without its snapshot_data */
    SNAPSHOT_CREATED_JSON_LEN_MAX = 2048, /* one position_snapshot_created */
    VALIDATION_JSON_LEN_MAX = 2560,       /* one ValidationResult; its message has at most 200 characters */
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

/* What of a PositionSnapshot (§2.4) is not its data. */
struct snapshot_head {
    struct uuid id, position_id;
    const char *asset;
    enum position_mode mode;
    int64_t created_at_us;
};

/* One PositionSnapshot; data: its snapshot_data, raw JSON. */
void encode_snapshot(struct text *text, const struct snapshot_head *head, const char *data, size_t data_len);
/* position_snapshot_created (§4). */
void encode_snapshot_created(struct text *text, const struct snapshot_head *head, const struct position *position,
                             const struct position_context *context, const char *trace_id);

/* What a validation found (§5.2). */
struct validation_finding {
    bool differs;
    struct decimal stored, computed; /* none: null */
};
struct validation_result {
    bool is_valid;
    const char *error_message; /* NULL: null */
    struct validation_finding size, average_entry_price;
    const struct position *updated_position; /* NULL: null */
};
/* One ValidationResult; context is for updated_position. */
void encode_validation(struct text *text, const struct validation_result *result,
                       const struct position_context *context);

/* The error object (§2.2); details is raw JSON or NULL. */
void encode_error(struct text *text, const char *error_code, const char *message, const char *trace_id,
                  const char *details);

#endif
