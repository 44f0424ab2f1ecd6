/*
 * The comparison is one statement in the server: it must be fast for a hundred thousand positions and a journal of
 * millions, of which it reads one line a position along the index (position_id, seq).
 */
#include "catch_up.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

/*
 * said, legs, states: each row as position_from_row() takes it: nulls, zero averages and missing legs made to fit. Of
 * an opening line `at` stays null, which tells it from one that retention folds, and fees are all that were paid so
 * far.
 */
static const char catch_up_sql[] =
    "WITH said AS (SELECT p.id::uuid AS id, p.asset::text AS asset, coalesce(p.mode::text, 'one-way') AS mode, "
    "coalesce(p.version::integer, 0) AS version, coalesce(round(p.size::numeric, 8), 0) AS size, "
    "coalesce(round(p.realized_pnl::numeric, 8), 0) AS realized_pnl, "
    "coalesce(round(p.fees_paid::numeric, 8), 0) AS fees_paid, "
    "coalesce(round(p.long_size::numeric, 8), 0) AS long_size, "
    "coalesce(round(p.short_size::numeric, 8), 0) AS short_size, "
    "nullif(round(p.average_entry_price::numeric, 8), 0) AS average, "
    "nullif(round(p.long_avg_price::numeric, 8), 0) AS long_average, "
    "nullif(round(p.short_avg_price::numeric, 8), 0) AS short_average, "
    "p.long_size IS NULL AND p.short_size IS NULL AS is_legless FROM positions p), "
    "legs AS (SELECT id, asset, mode, version, size, average, realized_pnl, fees_paid, "
    "CASE WHEN is_legless THEN greatest(size, 0) ELSE long_size END AS long_size, "
    "CASE WHEN is_legless THEN greatest(-size, 0) ELSE short_size END AS short_size, "
    "CASE WHEN is_legless AND size > 0 THEN average ELSE long_average END AS long_average, "
    "CASE WHEN is_legless AND size < 0 THEN average ELSE short_average END AS short_average FROM said), "
    "states AS (SELECT id, asset, mode, version, size, CASE WHEN size <> 0 THEN average END AS average_entry_price, "
    "realized_pnl, fees_paid, NULL::numeric AS long_size, NULL::numeric AS short_size, "
    "NULL::numeric AS long_avg_price, NULL::numeric AS short_avg_price FROM legs WHERE mode <> 'hedge' UNION ALL "
    "SELECT id, asset, mode, version, long_size - short_size, "
    "CASE WHEN short_size = 0 AND long_size > 0 THEN long_average WHEN long_size = 0 AND short_size > 0 "
    "THEN short_average END, realized_pnl, fees_paid, long_size, short_size, "
    "CASE WHEN long_size > 0 THEN long_average END, CASE WHEN short_size > 0 THEN short_average END "
    "FROM legs WHERE mode = 'hedge'), "
    "written AS (INSERT INTO position_manager_journal (position_id, asset, mode, version, source, fees, at, "
    "size, average_entry_price, realized_pnl, fees_paid, long_size, short_size, long_avg_price, short_avg_price) "
    "SELECT s.id, s.asset, s.mode, s.version, CASE WHEN last.seq IS NULL THEN 'opening' ELSE 'external' END, "
    "CASE WHEN last.seq IS NULL THEN s.fees_paid WHEN abs(s.fees_paid - last.fees_paid) < 1000000000000 "
    "THEN s.fees_paid - last.fees_paid END, CASE WHEN last.seq IS NOT NULL THEN now() AT TIME ZONE 'UTC' END, "
    "s.size, s.average_entry_price, s.realized_pnl, s.fees_paid, s.long_size, s.short_size, s.long_avg_price, "
    "s.short_avg_price FROM states s LEFT JOIN LATERAL (SELECT j.* FROM position_manager_journal j "
    "WHERE j.position_id = s.id ORDER BY j.seq DESC LIMIT 1) AS last ON true "
    "WHERE last.seq IS NULL OR s.version < last.version "
    "OR (s.size, s.average_entry_price, s.realized_pnl, s.fees_paid, "
    "s.long_size, s.short_size, s.long_avg_price, s.short_avg_price) IS DISTINCT FROM "
    "(last.size, last.average_entry_price, last.realized_pnl, last.fees_paid, "
    "last.long_size, last.short_size, last.long_avg_price, last.short_avg_price) "
    "RETURNING position_id, asset, mode, version, source), "
    "marked AS (UPDATE positions p SET announcement_due = true FROM written w WHERE w.source = 'external' "
    "AND p.id::uuid = w.position_id RETURNING 1) "
    "SELECT asset, mode, version::text, NULL FROM written WHERE source = 'external' "
    "UNION ALL SELECT NULL, NULL, NULL, count(*)::text FROM written WHERE source = 'opening'";

/* 'f' where the table is not there. */
static const char writable_sql[] =
    "SELECT (coalesce(has_table_privilege(to_regclass('position_manager_journal'), 'INSERT'), false) "
    "AND has_table_privilege('positions', 'UPDATE') AND NOT current_setting('transaction_read_only')::boolean)::text";

/* One look along the index for each position, whatever the server believes about a table that just grew. */
static const char planner_sql[] = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";

static enum status is_writable(struct pg_connection *connection, bool *out)
{
    PGresult *result;
    const enum status status = pg_query(connection, writable_sql, 0, NULL, &result);
    if (status != STATUS_OK)
        return status;
    *out = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    return STATUS_OK;
}

static size_t tell(const PGresult *result)
{
    size_t changed = 0;
    for (int row = 0; row < PQntuples(result); row++) {
        if (!PQgetisnull(result, row, 3)) {
            const long long opened = strtoll(PQgetvalue(result, row, 3), NULL, 10);
            if (opened > 0)
                LOG_EVENT(LOG_LEVEL_INFO, "journal_opened", NULL, log_int("positions", opened));
            continue;
        }
        changed++;
        LOG_EVENT(LOG_LEVEL_WARNING, "position_changed_outside", NULL, log_text("asset", PQgetvalue(result, row, 0)),
                  log_text("mode", PQgetvalue(result, row, 1)),
                  log_int("version", strtoll(PQgetvalue(result, row, 2), NULL, 10)));
    }
    return changed;
}

static enum status write_lines(struct pg_connection *connection, size_t *changed)
{
    PGresult *result;
    enum status status = pg_query(connection, planner_sql, 0, NULL, NULL);
    if (status == STATUS_OK)
        status = pg_query(connection, catch_up_sql, 0, NULL, &result);
    if (status != STATUS_OK)
        return status;
    *changed = tell(result);
    PQclear(result);
    return STATUS_OK;
}

/* Locks, somebody who changed a row in this moment, a server without room. */
static bool is_passing_error(const struct pg_connection *connection)
{
    return pg_error_is(connection, "40") || pg_error_is(connection, "53") || pg_error_is(connection, "55") ||
           pg_error_is(connection, "57");
}

enum status catch_up_journal(struct pg_connection *connection, size_t *changed)
{
    bool writable = false;
    *changed = 0;
    enum status status = is_writable(connection, &writable);
    if (status == STATUS_OK && !writable)
        LOG_EVENT(LOG_LEVEL_WARNING, "journal_not_writable", NULL);
    if (status != STATUS_OK || !writable)
        return status;
    status = pg_query(connection, "SAVEPOINT catch_up", 0, NULL, NULL);
    if (status == STATUS_OK)
        status = write_lines(connection, changed);
    if (status != STATUS_INVALID)
        return status;
    LOG_EVENT(LOG_LEVEL_WARNING, "journal_catch_up_failed", NULL, log_text("sqlstate", connection->sqlstate),
              log_text("reason", connection->error));
    if (is_passing_error(connection))
        return STATUS_UNAVAILABLE;
    if (connection->settings->migrations != MIGRATIONS_OFF)
        return STATUS_INVALID;
    return pg_query(connection, "ROLLBACK TO catch_up", 0, NULL, NULL);
}
