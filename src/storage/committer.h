/*
 * committer: the actor that owns the writing connection and commits groups (contract §6; invariants 1, 2, 4).
 *
 * It takes the COMMIT and LOOKUP requests that all shards have waiting and puts the commits into one transaction in
 * pipeline mode: the journal with its unique identities, order totals, rows at their expected versions. If every
 * identity was new and every row was at its version, it commits; otherwise it rolls back, finds out what was a repeat
 * and what a conflict, and answers; shards redo. While it waits for the disk, the next group collects; the request of a
 * busy shard (.moment_us) lets the group wait a little for those of others, which come at the same moments. When the
 * connection is lost before COMMIT was sent, the group is done again on the next connection; when it is lost after, the
 * server is asked by transaction id (pg_xact_status) what became of it.
 *
 * Its session holds the lock by which one instance at a time has the tables (instance.h). Where another instance has
 * them, or had them while the connection was away, nothing is written any more: board->superseded is set, and requests
 * stay unanswered until committer_stop(), which the process owes soon.
 *
 * Requests are lent: each is answered exactly once, into the lane given at creation, also when stopping (outcome
 * COMMIT_REDO never means loss: what is not committed is not acknowledged).
 */
#ifndef PM_COMMITTER_H
#define PM_COMMITTER_H

#include "message.h"
#include "storage.h"

struct committer;

/*
 * mailbox: its own, lane i is shard i's, each with room for two messages. answers[i]: where answers to shard i go, with
 * room for two messages; copied. others_wait_us: how long a busy shard's request lets the group wait. Starts nothing.
 * Owns: the caller; committer_destroy after committer_stop.
 */
struct committer *committer_create(const struct storage_settings *settings, struct board *board,
                                   struct mailbox *mailbox, const struct outlet *answers, size_t shard_count,
                                   int64_t others_wait_us);
void committer_destroy(struct committer *committer);

/* Starts its thread. Fails: STATUS_UNAVAILABLE if no thread can be had. */
enum status committer_start(struct committer *committer) PM_MUST_USE;

/*
 * Finishes what is under way for at most deadline_ms, then ends the thread. Requests not done are answered COMMIT_REDO.
 * Blocks: until it ended.
 */
void committer_stop(struct committer *committer, int deadline_ms);

#endif
