/*
 * The statements that forget. Every one walks along an index and touches a bounded number of rows.
 */
#include "retention.h"

#include <stdlib.h>
#include <string.h>

#define BATCH "5000"
_Static_assert(RETENTION_BATCH == 5000, "the statements say so too");

static size_t read_count(const PGresult *result, int column)
{
    return (size_t)strtoull(PQgetvalue(result, 0, column), NULL, 10);
}

static bool keep_text(char *out, size_t size, const char *text)
{
    const size_t len = strlen(text);
    if (len >= size)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

/* ---- snapshots ---- */

/* Along the index that reading goes by: one on created_at alone would serve nothing else, and mislead the planner. */
static const char snapshots_sql[] =
    "DELETE FROM position_snapshots WHERE ctid = ANY (ARRAY(SELECT ctid FROM position_snapshots "
    "WHERE position_id = ANY ($1) AND created_at < $2 AND snapshot_data IS NOT NULL LIMIT " BATCH "))";

enum status snapshot_retention_step(struct pg_connection *connection, const char *position_ids, const char *cut,
                                    size_t *deleted)
{
    const struct pg_param params[] = {pg_text(position_ids), pg_text(cut)};
    PGresult *result;
    const enum status status = pg_query(connection, snapshots_sql, 2, params, &result);
    if (status != STATUS_OK)
        return status;
    *deleted = pg_affected(result);
    PQclear(result);
    return STATUS_OK;
}

/* ---- the journal ---- */

/* The first two rows of a position tell: an opening entry stands first, and what comes after it is old or is not. */
static const char find_sql[] =
    "SELECT p.id::text FROM unnest($1::uuid[]) AS p(id), LATERAL (SELECT bool_or(first.recorded_at < $2::timestamp "
    "AND first.source <> 'opening') AS is_due FROM (SELECT recorded_at, source FROM position_manager_journal j "
    "WHERE j.position_id = p.id ORDER BY j.seq LIMIT 2) AS first) AS old WHERE old.is_due";

enum status journal_retention_find(struct pg_connection *connection, const char *position_ids, const char *cut,
                                   PGresult **out)
{
    const struct pg_param params[] = {pg_text(position_ids), pg_text(cut)};
    return pg_query(connection, find_sql, 2, params, out);
}

/* The row keeps its place (seq), so the opening entry sorts before all that remain. */
static const char fold_sql[] =
    "WITH young AS (SELECT seq FROM position_manager_journal WHERE position_id = $1::uuid "
    "AND recorded_at >= $2::timestamp ORDER BY seq LIMIT 1), "
    "slice AS (SELECT seq FROM position_manager_journal WHERE position_id = $1::uuid "
    "AND seq < coalesce((SELECT seq FROM young), 9223372036854775807) ORDER BY seq LIMIT " BATCH "), "
    "newest AS (SELECT max(seq) AS seq, count(*) AS rows FROM slice), "
    "gone AS (DELETE FROM position_manager_journal j USING newest n WHERE j.position_id = $1::uuid AND j.seq < n.seq), "
    "opening AS (UPDATE position_manager_journal j SET source = 'opening', identity = NULL, fingerprint = NULL, "
    "order_id = NULL, quantity = NULL, price = NULL, fees = fees_paid FROM newest n "
    "WHERE j.position_id = $1::uuid AND j.seq = n.seq) SELECT rows::text FROM newest";

enum status journal_retention_fold(struct pg_connection *connection, const char *position_id, const char *cut,
                                   size_t *folded)
{
    const struct pg_param params[] = {pg_text(position_id), pg_text(cut)};
    PGresult *result;
    const enum status status = pg_query(connection, fold_sql, 2, params, &result);
    if (status != STATUS_OK)
        return status;
    *folded = read_count(result, 0);
    PQclear(result);
    return STATUS_OK;
}

/* ---- totals of orders ---- */

/* Along the primary key: an index on updated_at would make every fill dearer for the sake of one walk a day. */
static const char orders_sql[] =
    "WITH page AS (SELECT order_id, asset, mode, updated_at FROM position_manager_orders "
    "WHERE (order_id, asset, mode) > ($1::text, $2::text, $3::text) ORDER BY order_id, asset, mode LIMIT " BATCH "), "
    "gone AS (DELETE FROM position_manager_orders o USING page p WHERE p.updated_at < $4::timestamp "
    "AND o.updated_at < $4::timestamp AND o.order_id = p.order_id AND o.asset = p.asset AND o.mode = p.mode "
    "RETURNING 1) SELECT (SELECT count(*) FROM page)::text, (SELECT count(*) FROM gone)::text, "
    "last.order_id, last.asset, last.mode FROM (SELECT 1) AS one LEFT JOIN "
    "(SELECT * FROM page ORDER BY order_id DESC, asset DESC, mode DESC LIMIT 1) AS last ON true";

void order_retention_begin(struct order_retention *retention)
{
    *retention = (struct order_retention){0};
}

enum status order_retention_step(struct pg_connection *connection, struct order_retention *retention, const char *cut,
                                 size_t *seen, size_t *deleted)
{
    const struct pg_param params[] = {pg_text(retention->order_id), pg_text(retention->asset), pg_text(retention->mode),
                                      pg_text(cut)};
    PGresult *result;
    const enum status status = pg_query(connection, orders_sql, 4, params, &result);
    if (status != STATUS_OK)
        return status;
    *seen = read_count(result, 0);
    *deleted = read_count(result, 1);
    /* A key that no order of ours can have ends the walk for today. */
    if (!keep_text(retention->order_id, sizeof retention->order_id, PQgetvalue(result, 0, 2)) ||
        !keep_text(retention->asset, sizeof retention->asset, PQgetvalue(result, 0, 3)) ||
        !keep_text(retention->mode, sizeof retention->mode, PQgetvalue(result, 0, 4)))
        *seen = 0;
    PQclear(result);
    return STATUS_OK;
}
