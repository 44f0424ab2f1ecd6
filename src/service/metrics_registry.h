/*
 * metrics_registry: what the counters of base/metrics.h are called, and how all figures of the service become a page.
 *
 * Two renderings of the same sources: Prometheus text 0.0.4 and the JSON summary of contract §2.3. Every family stands
 * once, in one piece; every series that can be known beforehand is there from the start with 0. Nothing is cached and
 * nothing is changed, so any number of threads may render at a time, as far as the callbacks below allow it.
 */
#ifndef PM_METRICS_REGISTRY_H
#define PM_METRICS_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board.h"
#include "decimal.h"
#include "mailbox.h"
#include "metrics_survey.h"
#include "portfolio.h"

/* The totals of all committed positions. Thread: any, several at a time. */
typedef void metrics_totals_fn(void *context, struct portfolio_totals *out);

/*
 * One (method, route, code); each combination at most once. route is the template ("/api/v1/positions/{asset}"); code 0
 * stands for codes that have no count of their own.
 */
typedef void metrics_route_visit_fn(void *visitor, const char *method, const char *route, unsigned code,
                                    uint64_t requests);
/* Calls visit for every series of HTTP requests. Thread: any, several at a time. */
typedef void metrics_routes_fn(void *context, metrics_route_visit_fn *visit, void *visitor);

/* How often a rendered portfolio body could be handed out again, and how often not. Thread: any. */
typedef void metrics_cache_fn(void *context, uint64_t *hits, uint64_t *misses);

/* Deliveries that are not yet settled. Thread: any. */
typedef size_t metrics_outstanding_fn(const void *context);

/* Borrowed pointers live as long as anybody renders. A callback that is NULL leaves its families out (or null in JSON).
 */
struct metrics_sources {
    const struct board *board;
    const char *version;
    const char *revision;
    struct mailbox *const *mailboxes; /* several of one name are told apart by their place among those of that name */
    size_t mailbox_count;
    metrics_totals_fn *totals;
    void *totals_context;
    metrics_routes_fn *routes;
    void *routes_context;
    metrics_cache_fn *cache;
    void *cache_context;
    struct survey *survey; /* NULL: no figures of single positions */
    metrics_outstanding_fn *outstanding;
    metrics_outstanding_fn *fullest_queue; /* the same of the queue that has most; with outstanding */
    const void *outstanding_context;
    uint32_t prefetch;
    uint32_t queue_prefetch;       /* what one queue may have about */
    struct decimal exposure_limit; /* none: no limit, no series */
    bool rate_limit_enabled;
    uint32_t rate_limit_default; /* a minute */
    size_t key_count;
};

/*
 * Both have the signature of server_render_fn (http/server.h); context is a struct metrics_sources.
 * Owns: the caller frees *out. Thread: any. Fails: 0 and *out NULL if there is no memory.
 */
size_t metrics_render_prometheus(void *context, char **out);
size_t metrics_render_json(void *context, char **out);

#endif
