/*
 * retention: forgets what is too old, a batch a call, so that nothing else has to wait for it (contract §5.1, §6).
 *
 * Each call is one short transaction. cut: the time (as timestamp's text, UTC) before which a row is old. Failures are
 * those of pg_query(). Thread: one at a time per connection.
 */
#ifndef PM_RETENTION_H
#define PM_RETENTION_H

#include "message.h"
#include "pg.h"

enum { RETENTION_BATCH = 5000 };

/*
 * Deletes old snapshots of these positions (an array of identifiers, as text), at most RETENTION_BATCH; rows without
 * snapshot_data are others' and are left alone. *deleted below RETENTION_BATCH: that was all of these positions.
 */
enum status snapshot_retention_step(struct pg_connection *connection, const char *position_ids, const char *cut,
                                    size_t *deleted) PM_MUST_USE;

/*
 * Which of these positions (an array of identifiers, as text) have journal rows to fold: *out has one column of
 * identifiers and is the caller's to clear.
 */
enum status journal_retention_find(struct pg_connection *connection, const char *position_ids, const char *cut,
                                   PGresult **out) PM_MUST_USE;

/*
 * Folds a position's oldest journal rows, at most RETENTION_BATCH: the newest of them becomes the opening entry, with
 * the state after it and all fees so far; the others are deleted, and all their identities with them. A row that is not
 * old, and whatever came after one, stays. *folded below RETENTION_BATCH: that was all of this position.
 */
enum status journal_retention_fold(struct pg_connection *connection, const char *position_id, const char *cut,
                                   size_t *folded) PM_MUST_USE;

/* Where the walk through the orders' totals has come to: the key of the last row seen. */
struct order_retention {
    char order_id[ORDER_KEY_LEN_MAX * 4 + 1];
    char asset[ASSET_LEN_MAX + 1];
    char mode[ASSET_LEN_MAX + 1];
};

/* Looks at the next RETENTION_BATCH totals of orders and deletes the old ones. *seen below it: that was all. */
void order_retention_begin(struct order_retention *retention);
enum status order_retention_step(struct pg_connection *connection, struct order_retention *retention, const char *cut,
                                 size_t *seen, size_t *deleted) PM_MUST_USE;

#endif
