/*
 * index_build: an index of a table that is large and that others write to, built without holding them up.
 *
 * CREATE INDEX CONCURRENTLY works outside of transactions: one that is killed or gives up leaves an invalid index
 * behind, which costs every writer and serves no reader, and the server goes on building for a process that is gone.
 * Both are looked after by the next call. Thread: one at a time per connection, outside of a transaction.
 */
#ifndef PM_INDEX_BUILD_H
#define PM_INDEX_BUILD_H

#include "pg.h"

/*
 * Waits for whoever else builds an index of that table just now, removes what is left of an earlier try under that
 * name, and builds it unless it is there. columns: as in SQL.
 * Blocks: for the time of two passes over the table, and for the transactions that were there before, each wait for at
 * most INDEX_BUILD_LOCK_TIMEOUT.
 * Fails: as pg_query(); after STATUS_INVALID the session is to be set right by index_build_give_up().
 */
#define INDEX_BUILD_LOCK_TIMEOUT "20s"
enum status index_build(struct pg_connection *connection, const char *table, const char *name,
                        const char *columns) PM_MUST_USE;

/* The session is as before the call that failed. Fails: as pg_query(). */
enum status index_build_give_up(struct pg_connection *connection) PM_MUST_USE;

#endif
