/*
 * shard: the actor that owns the positions whose asset hashes to it (invariant 1: only it changes them).
 *
 * In: DELIVERY (consumer; history and prices with wishes of the service's own), COMMIT and LOOKUP answers (committer),
 * ANNOUNCEMENT home (publisher), TOTALS home (aggregator), VALIDATION_WANTED home (history). Out: COMMIT, LOOKUP
 * (committer); ANNOUNCEMENT, DEAD_LETTER (publisher); SETTLED (consumer); TOTALS (aggregator); VALIDATION_WANTED
 * (history); wishes home; views (directory).
 *
 * A delivery is applied to the position's working state and waits; at the end of the batch the touched positions that
 * have no commit in flight are asked to be committed. Only what was committed is published to the directory and
 * announced (invariant 2); only what was announced and confirmed is settled (invariant 3). At most one commit is in
 * flight and one announcement unconfirmed a position: what comes meanwhile is carried by the next. Idle positions cost
 * nothing here: they live in the directory only.
 *
 * Deterministic: time comes with each batch, identifiers from a function of the caller's (invariant 9).
 */
#ifndef PM_SHARD_H
#define PM_SHARD_H

#include "actor.h"
#include "board.h"
#include "directory.h"
#include "market.h"
#include "message.h"

struct shard;

/* VALIDATION_WANTEDs of one shard about at once: room for its lane to the history, and home. */
enum { VALIDATIONS_WANTED_MAX = 16 };

typedef struct uuid uuid_source_fn(void *context);

struct shard_settings {
    uint32_t index;
    struct market_policy market;
    uint32_t conflict_tries_max;  /* OPTIMISTIC_LOCK_RETRIES */
    int64_t conflict_backoff_us;  /* OPTIMISTIC_LOCK_BACKOFF_BASE, doubling */
    uint32_t announcement_count;  /* unconfirmed announcements at most; > 0 */
    int64_t announce_hold_us;     /* busy: a change waits for its next whole multiple, and the commit of then; > 0 */
    int64_t commit_pace_us;       /* busy: commits at its whole multiples; divides announce_hold_us; > 0 */
    size_t commit_deliveries_max; /* a request takes no further position once it has so many; > 0 */
    size_t busy_count;            /* deliveries held from which on the shard counts as busy */
    size_t full_count;            /* deliveries held from which on nothing is held back any more */
    struct outlet committer, publisher, consumer, aggregator, history;
    struct directory_part *part;
    struct directory_reader *reader; /* for the portfolio's total in announcements; the shard's own */
    struct board *board;             /* pending_commits is kept */
    uuid_source_fn *new_uuid;
    void *new_uuid_context;
};

/* Owns: the caller; destroy after its thread has ended. Deliveries it holds then are the consumer's and are left alone.
 */
struct shard *shard_create(const struct shard_settings *settings);
void shard_destroy(struct shard *shard);

/* Takes over a stored position; called again, its newer state. Thread: before the actor is started. */
void shard_load(struct shard *shard, const struct position *position);

/* The actor's receive function (actor.h); actor is the struct shard. */
actor_receive_fn shard_receive;

/* Asserts what always holds between batches. Thread: the shard's; tests and the simulator call it after every step. */
void shard_check(const struct shard *shard);

/* Deliveries it holds: applied, waiting, or committed and not yet announced. Thread: the shard's. */
size_t shard_held_count(const struct shard *shard);

#endif
