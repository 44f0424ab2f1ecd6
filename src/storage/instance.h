/*
 * instance: one service at a time on a database's tables (contract §6, invariant 1).
 *
 * The session that writes holds an advisory lock of its own. It gives it back before it ends in order, and the lock
 * goes with the session in any case: who has it is the only one. A second instance waits in storage_prepare(). Each
 * starting instance that takes the tables raises an epoch in position_manager_instance. A committer that reconnects and
 * finds another epoch than its own was overtaken: what its process holds and shows is stale, so it must end. The lock
 * is the database's: tables in two schemas of one database count as one service's. A session needs a server process of
 * its own: behind pgbouncer that is pool_mode=session; in transaction mode the lock would stay with whichever server
 * connection took it. Thread: one at a time per session.
 */
#ifndef PM_INSTANCE_H
#define PM_INSTANCE_H

#include "pg.h"

enum { INSTANCE_POLL_US = 250000, INSTANCE_PATIENCE_US = 10000000, INSTANCE_TELL_US = 30000000 };

/* What a committer remembers of its sessions. Zero-initialised: none yet. */
struct instance_session {
    char pid[16];             /* of the server's process of the last session that had the lock; "": none */
    char since[40];           /* when that process began: identifiers are used again */
    int64_t refused_since_us; /* steady; 0: not refused */
    bool is_overtaken;        /* for good */
    bool is_own_ending;       /* an older session of its own has been told to, and has not ended yet */
};

/*
 * Waits until nobody else has the tables, and takes them for this session. One log line instance_waiting at once and
 * every INSTANCE_TELL_US. A lock that is free for a moment only is being handed from storage_prepare() to a committer
 * and is left to it.
 * Blocks: while another instance runs. Fails: STATUS_INVALID (logged by the caller), STATUS_LOST, STATUS_STOPPING.
 */
enum status instance_wait(struct pg_connection *connection) PM_MUST_USE;

/*
 * Raises the epoch; *epoch is 0 where the table is not there or cannot be written (then overtaking goes unnoticed
 * unless the lock is held). Fails: STATUS_LOST, STATUS_TIMEOUT, STATUS_STOPPING.
 */
enum status instance_begin(struct pg_connection *connection, int64_t *epoch) PM_MUST_USE;

/*
 * Takes the lock for a committer's new session. An older session of its own that the server still keeps is ended,
 * however long that takes. Fails: STATUS_UNAVAILABLE (that session has not ended yet; or another instance has the lock,
 * or had it since: .is_overtaken once that is certain, which for a lock that is held takes INSTANCE_PATIENCE_US of
 * trying), or as pg_query().
 */
enum status instance_take(struct pg_connection *connection, struct instance_session *session,
                          int64_t epoch) PM_MUST_USE;

/*
 * Gives the lock back before the session ends: whoever takes the tables next neither waits until the server has noticed
 * that the session is over, nor takes it for another instance's. Outside of pipeline mode and of a transaction. Where
 * it fails the lock goes with the session, a moment later. Blocks: for one answer.
 */
void instance_leave(struct pg_connection *connection);

#endif
