/*
 * board: the few facts about the service that everyone may look at and one owner each writes: is the database there, is
 * the broker, are positions loaded. `/health`, the metrics and the log read it.
 *
 * Plain atomics, no locks. Each field names its only writer.
 */
#ifndef PM_BOARD_H
#define PM_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A process whose slowest thread has not gone round for so long makes no progress any more: /health/live says so. */
#define BOARD_LIVE_WITHIN_US 10000000LL

struct board {
    atomic_bool database_connected; /* committer: connected, and the server answers */
    atomic_bool inbound_connected;  /* consumer: connected, consuming from every queue, and the broker answers */
    atomic_bool outbound_connected; /* publisher: connected, not blocked by the broker, and the broker answers */
    atomic_bool positions_loaded;   /* storage_prepare, once */
    atomic_bool stopping;           /* service, once */
    atomic_uint_fast64_t
        pending_commits; /* all shards add and subtract: executions and market events applied, not committed */
    atomic_int_fast64_t
        oldest_unacked_at_us; /* consumer: steady time at which the oldest unacknowledged delivery came; 0 none */
    atomic_int_fast64_t instance_epoch; /* storage_prepare, once: the number under which this process took the tables
                                           (instance.h); 0: unknown */
    atomic_bool superseded; /* committer, once: another instance has taken the tables; this process must end */
    atomic_int_fast64_t progress_at_us; /* watch: steady time up to which every watched thread was seen to make
                                           progress; 0: not looked at yet */
    int64_t started_wall_us;            /* service, before the threads */
    int64_t started_steady_us;
};

/* Whether the broker is there both ways. Nothing is consumed before positions are loaded: until then publishing tells.
 */
static inline bool board_queue_is_connected(const struct board *board)
{
    const bool inbound = atomic_load(&board->inbound_connected) || !atomic_load(&board->positions_loaded);
    return inbound && atomic_load(&board->outbound_connected);
}

#endif
