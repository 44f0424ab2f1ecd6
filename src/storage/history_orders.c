/*
 * Reading the orders table, which belongs to somebody else: it may be absent, its columns may be of other types, and it
 * may be large, so it is read through a cursor.
 */
#include "history_state.h"

#include <stdio.h>
#include <string.h>

enum { ORDER_ASSET, ORDER_SIDE, ORDER_QUANTITY, ORDER_PRICE, SQL_LEN_MAX = 1024 };

/* Whether what is needed is there, order_id, is_dry_run. */
static const char shape_sql[] =
    "SELECT (count(*) FILTER (WHERE attname IN ('asset', 'side', 'status', 'filled_quantity', 'average_price', "
    "'executed_at')) = 6)::text, coalesce(bool_or(attname = 'order_id'), false)::text, "
    "coalesce(bool_or(attname = 'is_dry_run'), false)::text FROM pg_attribute "
    "WHERE attrelid = to_regclass('orders') AND attnum > 0 AND NOT attisdropped";

static bool is_true(const PGresult *result, int column)
{
    return strcmp(PQgetvalue(result, 0, column), "true") == 0;
}

static void write_cursor(char sql[SQL_LEN_MAX], bool of_one, bool has_id, bool has_dry_run)
{
    snprintf(
        sql, SQL_LEN_MAX,
        "DECLARE history_orders NO SCROLL CURSOR FOR SELECT upper(o.asset::text), lower(o.side::text), "
        "o.filled_quantity::numeric::text, o.average_price::numeric::text FROM orders o "
        "WHERE %slower(o.status::text) IN ('filled', 'partially_filled') AND lower(o.side::text) IN ('buy', 'sell') "
        "AND o.filled_quantity::numeric > 0%s ORDER BY %so.executed_at NULLS LAST%s",
        of_one ? "upper(o.asset::text) = $1::text AND " : "",
        has_dry_run ? " AND coalesce(lower(o.is_dry_run::text), 'false') NOT IN ('true', 't', '1', 'yes', 'on')" : "",
        of_one ? "" : "upper(o.asset::text) COLLATE \"C\", ", has_id ? ", o.order_id" : "");
}

static enum status declare(struct history *history, enum history_line line, const char *asset, const PGresult *shape)
{
    char sql[SQL_LEN_MAX];
    const struct pg_param params[] = {pg_text(asset)};
    write_cursor(sql, asset != NULL, is_true(shape, 1), is_true(shape, 2));
    enum status status =
        history_query(history, line, "orders", "BEGIN READ ONLY; SET LOCAL enable_seqscan = on", 0, NULL, NULL);
    if (status != STATUS_OK)
        return status;
    status = history_query(history, line, "orders", sql, asset == NULL ? 0 : 1, asset == NULL ? NULL : params, NULL);
    if (status != STATUS_OK)
        history_orders_close(history, line);
    return status;
}

enum status history_orders_open(struct history *history, enum history_line line, const char *asset, bool *readable)
{
    PGresult *shape;
    *readable = false;
    enum status status = history_query(history, line, "orders_shape", shape_sql, 0, NULL, &shape);
    if (status != STATUS_OK)
        return status;
    if (is_true(shape, 0)) {
        status = declare(history, line, asset, shape);
        *readable = status == STATUS_OK;
    }
    PQclear(shape);
    return status;
}

enum status history_orders_fetch(struct history *history, enum history_line line, PGresult **out)
{
    return history_query(history, line, "orders", "FETCH 1000 FROM history_orders", 0, NULL, out);
}

void history_orders_close(struct history *history, enum history_line line)
{
    if (history_line_is_open(history, line))
        (void)!history_query(history, line, "orders", "ROLLBACK", 0, NULL, NULL);
}

void history_orders_add(struct orders_fold *fold, const PGresult *result, int row)
{
    orders_fold_add(fold, strcmp(PQgetvalue(result, row, ORDER_SIDE), "buy") == 0,
                    PQgetvalue(result, row, ORDER_QUANTITY),
                    PQgetisnull(result, row, ORDER_PRICE) == 1 ? NULL : PQgetvalue(result, row, ORDER_PRICE));
}
