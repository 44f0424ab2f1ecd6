/*
 * metrics: counters and histograms that hot paths bump without a lock.
 *
 * All series are known at compile time (METRIC_*, HISTOGRAM_*, and a counter for each reason of refusal). Threads are
 * dealt onto a few stripes of relaxed atomics, so a bump costs a few nanoseconds and no reader waits. The text format
 * is made by service/ (metrics_registry.h), which also knows names, help texts and label words, and reads the gauges
 * where they are kept.
 */
#ifndef PM_METRICS_H
#define PM_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum metric {
    METRIC_EXECUTIONS_APPLIED, /* committed */
    METRIC_EXECUTIONS_REPEATED,
    METRIC_EXECUTIONS_IGNORED, /* dry runs, order states of no concern */
    METRIC_EXECUTIONS_WITHOUT_IDENTITY,
    METRIC_MARKET_APPLIED, /* committed and changed a figure */
    METRIC_MARKET_UNCHANGED,
    METRIC_MARKET_STALE,
    METRIC_MARKET_REPEATED,
    METRIC_SIZE_DISCREPANCIES,
    METRIC_CONFLICTS, /* expected versions that were not there */
    METRIC_CONFLICT_RETRIES,
    METRIC_COMMITS,                /* transactions */
    METRIC_COMMIT_ROLLBACKS,       /* transactions redone because of a repeat or a conflict */
    METRIC_COMMIT_OUTCOME_UNKNOWN, /* connection lost after COMMIT was sent; asked the server afterwards */
    METRIC_DATABASE_CONNECTS,
    METRIC_DATABASE_LOSSES,
    METRIC_BROKER_CONNECTS,
    METRIC_BROKER_LOSSES,
    METRIC_DATABASE_SILENCES, /* connected, but an answer was missing for too long */
    METRIC_BROKER_SILENCES,
    METRIC_BROKER_BLOCKED, /* connection.blocked received */
    METRIC_DELIVERIES,
    METRIC_DELIVERIES_REDELIVERED,
    METRIC_DELIVERIES_ACKED,
    METRIC_STALE_SETTLEMENTS, /* settled for a connection that is gone */
    METRIC_PUBLISHED,         /* confirmed position_updated */
    METRIC_PUBLISHED_PORTFOLIO,
    METRIC_PUBLISHED_SNAPSHOT,
    METRIC_DEAD_LETTERS, /* confirmed */
    METRIC_PUBLISH_NACKED,
    METRIC_ANNOUNCEMENTS_CONFLATED, /* changes announced by a later one */
    METRIC_MAILBOX_FULL,
    METRIC_HTTP_UNAUTHORIZED,
    METRIC_HTTP_RATE_LIMITED,
    METRIC_HTTP_CONNECTIONS_REFUSED,
    METRIC_HTTP_STEPPED_BACK, /* from real-time priority */
    METRIC_LIMIT_BREACHES,    /* exposure limit turned to exceeded */
    METRIC_PRICE_REQUESTS,
    METRIC_PRICE_FAILURES,
    METRIC_VALIDATIONS,
    METRIC_VALIDATION_DISCREPANCIES,
    METRIC_VALIDATION_FIXES,
    METRIC_SNAPSHOTS,
    METRIC_SNAPSHOTS_DELETED,
    METRIC_COUNT
};

enum histogram {
    HISTOGRAM_COMMIT_SECONDS,        /* microseconds observed */
    HISTOGRAM_COMMIT_ROWS,           /* rows of positions in one transaction */
    HISTOGRAM_EVENT_VISIBLE_SECONDS, /* microseconds from delivery to view */
    HISTOGRAM_EVENT_ACKED_SECONDS,   /* microseconds from delivery to acknowledgement */
    HISTOGRAM_HTTP_SECONDS,          /* microseconds */
    HISTOGRAM_COUNT
};

enum { HISTOGRAM_BUCKETS_MAX = 18 };

/* Adds to a counter. Thread: any. */
void metric_add(enum metric metric, uint64_t amount);
uint64_t metric_value(enum metric metric);

/* Counts one refused message by its reason (a status for which status_is_refusal()). Thread: any. */
void metric_refused(enum status reason);
uint64_t metric_refused_value(enum status reason);

/* Observes a value in the histogram's own unit. Thread: any. */
void histogram_observe(enum histogram histogram, uint64_t value);

struct histogram_reading {
    size_t bucket_count;
    const uint64_t *bounds;                     /* upper bounds, inclusive; static */
    uint64_t counts[HISTOGRAM_BUCKETS_MAX + 1]; /* not cumulative; the last is above all bounds */
    uint64_t sum;
    uint64_t count;
};
/* Reads a histogram; concurrent observations may be in sum and not yet in count. Thread: any. */
void histogram_read(enum histogram histogram, struct histogram_reading *out);

#endif
