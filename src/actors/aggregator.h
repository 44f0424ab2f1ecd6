/*
 * aggregator: the actor that watches the portfolio as a whole: it adds up the shards' exact totals, notices when the
 * exposure limit is crossed, and has portfolio_updated published at most once an interval and always after the last
 * change.
 *
 * Each shard keeps the exact sums of its own positions and publishes them with the views they include (directory.h), so
 * adding up costs the number of shards, never the number of positions. A shard sends its one TOTALS token when its sums
 * changed; the aggregator keeps the tokens until it publishes, so changes meanwhile conflate by themselves.
 *
 * In: TOTALS (shards), PORTFOLIO home (publisher). Out: PORTFOLIO (publisher), TOTALS home (shards).
 */
#ifndef PM_AGGREGATOR_H
#define PM_AGGREGATOR_H

#include "actor.h"
#include "directory.h"
#include "message.h"
#include "shard.h"

struct aggregator;

struct aggregator_settings {
    int64_t publish_interval_us;          /* PORTFOLIO_PUBLISH_INTERVAL_MS */
    const struct decimal *exposure_limit; /* NULL: none */
    const struct outlet *shards;          /* where tokens go home, shard_count of them; copied */
    size_t shard_count;
    struct outlet publisher;
    struct directory_reader *reader; /* the aggregator's own */
    uuid_source_fn *new_uuid;
    void *new_uuid_context;
};

/* Owns: the caller; destroy after its thread has ended. */
struct aggregator *aggregator_create(const struct aggregator_settings *settings);
void aggregator_destroy(struct aggregator *aggregator);

/* actor.h; actor is the struct aggregator. */
actor_receive_fn aggregator_receive;

/* Publishes what waits for its interval at once: the last change is told also where the interval outlasts the service.
 * Thread: any, once its own has ended. */
void aggregator_flush(struct aggregator *aggregator, struct actor_time now);

/* Whether an exposure (10^-16) is above a limit; NULL: never. Pure. Thread: any. */
bool exposure_is_over(struct wide exposure, const struct decimal *limit);

#endif
