/*
 * committer_sql: the statements that write journal entries and order totals, apart from the committer so that the
 * benchmark measures these very ones. Their parameters are arrays, one a column, in the order of the columns named.
 * Includes nothing.
 */
#ifndef PM_COMMITTER_SQL_H
#define PM_COMMITTER_SQL_H

/* Arrays side by side in the list of a SELECT: in its FROM the server would keep a copy of each for itself. */
#define JOURNAL_SQL                                                                                                    \
    "INSERT INTO position_manager_journal (position_id, asset, mode, version, source, identity, fingerprint, "         \
    "order_id, quantity, price, fees, at, size, average_entry_price, realized_pnl, fees_paid, long_size, short_size, " \
    "long_avg_price, short_avg_price) "                                                                                \
    "SELECT unnest($1::uuid[]), unnest($2::text[]), unnest($3::text[]), unnest($4::integer[]), unnest($5::text[]), "   \
    "unnest($6::text[]), unnest($7::bigint[]), unnest($8::text[]), unnest($9::numeric[]), unnest($10::numeric[]), "    \
    "unnest($11::numeric[]), unnest($12::timestamp[]), unnest($13::numeric[]), unnest($14::numeric[]), "               \
    "unnest($15::numeric[]), unnest($16::numeric[]), unnest($17::numeric[]), unnest($18::numeric[]), "                 \
    "unnest($19::numeric[]), unnest($20::numeric[])"

/* Fails where an identity is there, with an error in the server's log; a seventh cheaper than the other. */
static const char journal_sql[] = JOURNAL_SQL;
/* Leaves out entries whose identity is there. */
static const char journal_new_sql[] = JOURNAL_SQL " ON CONFLICT (identity) DO NOTHING";

/* One row an order (order_sums.h): none twice in a statement. */
static const char orders_sql[] =
    "INSERT INTO position_manager_orders AS o (order_id, asset, mode, filled_quantity, notional, fees, updated_at) "
    "SELECT order_id, asset, mode, filled, notional, fees, now() AT TIME ZONE 'UTC' "
    "FROM (SELECT unnest($1::text[]) AS order_id, unnest($2::text[]) AS asset, unnest($3::text[]) AS mode, "
    "unnest($4::numeric[]) AS filled, unnest($5::numeric[]) AS notional, unnest($6::numeric[]) AS fees) AS u "
    "ORDER BY order_id, asset, mode "
    "ON CONFLICT (order_id, asset, mode) DO UPDATE SET filled_quantity = o.filled_quantity + excluded.filled_quantity, "
    "notional = o.notional + excluded.notional, fees = o.fees + excluded.fees, updated_at = excluded.updated_at";

#endif
