/*
 * Two cursors, rows and journal lines, both in the order of the positions' identifiers, are read side by side.
 */
#include "verify.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "position_rows.h"
#include "recount.h"

#define PAGE "2000"

struct verify {
    struct pg_connection connection;
    struct verify_totals *totals;
    FILE *out;
};

/* ---- the report ---- */

/* What strangers sent must not steer a terminal. */
static void print_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < ' ' || *text == 0x7F ? '?' : *text, out);
}

static void print_figure(FILE *out, struct decimal value)
{
    char text[DECIMAL_TEXT_LEN_MAX] = "null";
    if (!decimal_is_none(value))
        (void)decimal_format_units(value.units, 0, text);
    fputs(text, out);
}

/* Counts one, and says whether it is to be shown. */
static bool begin_finding(struct verify *verify)
{
    if (++verify->totals->discrepancies <= VERIFY_SHOWN_MAX)
        return true;
    if (verify->totals->discrepancies == VERIFY_SHOWN_MAX + 1)
        fprintf(verify->out, "(more are counted, and not shown)\n");
    return false;
}

static void print_finding(void *context, const struct recount_finding *finding)
{
    struct verify *verify = context;
    FILE *out = verify->out;
    if (!begin_finding(verify))
        return;
    fprintf(out, "%s %s: ", finding->asset, finding->mode);
    if (!finding->is_row)
        fprintf(out, "journal line %lld: ", (long long)finding->seq);
    if (finding->note != NULL) {
        fputs(finding->note, out);
    } else {
        fprintf(out, "%s is ", finding->column);
        print_figure(out, finding->said);
        fputs(finding->is_row ? " in the row and " : ", recounted it is ", out);
        print_figure(out, finding->counted);
        fputs(finding->is_row ? " in the journal" : "", out);
    }
    if (finding->is_row && finding->seq != 0)
        fprintf(out, " (journal line %lld)", (long long)finding->seq);
    fputc('\n', out);
}

static void print_unreadable(struct verify *verify, const char *what, const char *name)
{
    if (!begin_finding(verify))
        return;
    fprintf(verify->out, "%s ", what);
    print_text(verify->out, name);
    fputs(": it holds what cannot be read\n", verify->out);
}

/* ---- cursors ---- */

struct stream {
    struct pg_connection *connection;
    const char *fetch_sql;
    PGresult *page;
    int row;
    bool has_ended;
};

static enum status stream_next(struct stream *stream)
{
    stream->row++;
    if (stream->page != NULL && stream->row < PQntuples(stream->page))
        return STATUS_OK;
    PQclear(stream->page);
    stream->page = NULL;
    const enum status status = pg_query(stream->connection, stream->fetch_sql, 0, NULL, &stream->page);
    stream->row = 0;
    stream->has_ended = status != STATUS_OK || PQntuples(stream->page) == 0;
    return status;
}

static const char *stream_text(const struct stream *stream, int column)
{
    return PQgetvalue(stream->page, stream->row, column);
}

/* The identifier of the position that comes next; text of one length, so texts compare as identifiers do. */
static const char *stream_id(const struct stream *stream, int column)
{
    return stream->has_ended ? NULL : stream_text(stream, column);
}

/* ---- journal lines ---- */

enum { LINE_SEQ, LINE_POSITION, LINE_ASSET, LINE_MODE, LINE_VERSION, LINE_SOURCE, LINE_QUANTITY };

static const char lines_sql[] =
    "DECLARE journal_lines NO SCROLL CURSOR FOR SELECT seq::text, position_id::text, asset, mode, version::text, "
    "source, "
    "quantity::text, price::text, fees::text, size::text, average_entry_price::text, realized_pnl::text, "
    "fees_paid::text, long_size::text, short_size::text, long_avg_price::text, short_avg_price::text "
    "FROM position_manager_journal j ORDER BY j.position_id, j.seq";

static enum journal_source read_source(const char *word)
{
    static const char *const words[] = {[JOURNAL_OPENING] = "opening",
                                        [JOURNAL_EXECUTION] = "order_execution",
                                        [JOURNAL_MARKET] = "websocket",
                                        [JOURNAL_VALIDATION] = "validation",
                                        [JOURNAL_EXTERNAL] = "external"};
    int found = 0;
    while (found < JOURNAL_SOURCE_COUNT && strcmp(word, words[found]) != 0)
        found++;
    return (enum journal_source)found;
}

static enum status read_figures(const struct stream *stream, struct journal_line *line)
{
    struct position *after = &line->after;
    struct decimal *const fields[] = {
        &line->quantity,         &line->price,      &line->fees,       &after->size,       &after->average_entry_price,
        &after->realized_pnl,    &after->fees_paid, &after->long_size, &after->short_size, &after->long_avg_price,
        &after->short_avg_price,
    };
    for (int i = 0; i < (int)(sizeof fields / sizeof fields[0]); i++) {
        const int column = LINE_QUANTITY + i;
        const char *text = stream_text(stream, column);
        *fields[i] = DECIMAL_NONE;
        if (PQgetisnull(stream->page, stream->row, column))
            continue;
        if (decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, fields[i]) != STATUS_OK)
            return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status read_line(const struct stream *stream, struct journal_line *line)
{
    const char *id = stream_text(stream, LINE_POSITION), *asset = stream_text(stream, LINE_ASSET),
               *mode_word = stream_text(stream, LINE_MODE);
    struct uuid uuid;
    enum position_mode mode;
    *line = (struct journal_line){.seq = strtoll(stream_text(stream, LINE_SEQ), NULL, 10),
                                  .source = read_source(stream_text(stream, LINE_SOURCE))};
    const size_t asset_len = strlen(asset);
    if (uuid_parse(id, strlen(id), &uuid) != STATUS_OK || asset_len == 0 || asset_len > ASSET_LEN_MAX ||
        position_mode_parse(mode_word, strlen(mode_word), &mode) != STATUS_OK)
        return STATUS_INVALID;
    position_init(&line->after, asset, mode, uuid, 0);
    line->after.version = (int32_t)strtol(stream_text(stream, LINE_VERSION), NULL, 10);
    return read_figures(stream, line);
}

static enum status recount_lines(struct verify *verify, struct stream *lines, const char *id, struct recount *recount)
{
    char wanted[UUID_TEXT_LEN + 1] = "";
    memcpy(wanted, id, strnlen(id, UUID_TEXT_LEN));
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !lines->has_ended && strcmp(stream_text(lines, LINE_POSITION), wanted) == 0) {
        struct journal_line line;
        verify->totals->lines++;
        if (read_line(lines, &line) == STATUS_OK)
            recount_line(recount, &line);
        else
            print_unreadable(verify, "journal line", stream_text(lines, LINE_SEQ));
        status = stream_next(lines);
    }
    return status;
}

/* ---- positions ---- */

static enum status verify_one(struct verify *verify, struct stream *rows, struct stream *lines)
{
    const char *row_id = stream_id(rows, 0), *line_id = stream_id(lines, LINE_POSITION);
    const int order = row_id == NULL ? 1 : line_id == NULL ? -1 : strcmp(row_id, line_id);
    struct position row;
    struct recount recount;
    recount_begin(&recount, print_finding, verify);
    const bool is_readable = order <= 0 && position_from_row(rows->page, rows->row, &row) == STATUS_OK;
    enum status status = STATUS_OK;
    if (order >= 0)
        status = recount_lines(verify, lines, line_id, &recount);
    if (status != STATUS_OK)
        return status;
    if (is_readable || (order > 0 && recount.line_count > 0))
        recount_finish(&recount, is_readable ? &row : NULL);
    if (order > 0)
        return STATUS_OK;
    if (!is_readable)
        print_unreadable(verify, "the row of", stream_text(rows, 1));
    verify->totals->positions++;
    return stream_next(rows);
}

static enum status declare_rows(struct pg_connection *connection)
{
    struct position_sql sql = {0};
    enum status status = position_sql_open(connection, &sql);
    if (status != STATUS_OK)
        return status;
    char *declare_sql = NULL;
    size_t size;
    FILE *text = open_memstream(&declare_sql, &size);
    pm_assert(text != NULL);
    fprintf(text, "DECLARE position_rows NO SCROLL CURSOR FOR %s ORDER BY p.id::uuid", sql.load);
    fclose(text);
    position_sql_close(&sql);
    status = pg_query(connection, declare_sql, 0, NULL, NULL);
    free(declare_sql);
    return status;
}

static enum status verify_positions(struct verify *verify)
{
    struct stream rows = {.connection = &verify->connection, .fetch_sql = "FETCH " PAGE " FROM position_rows"};
    struct stream lines = {.connection = &verify->connection, .fetch_sql = "FETCH " PAGE " FROM journal_lines"};
    enum status status = declare_rows(&verify->connection);
    if (status == STATUS_OK)
        status = pg_query(&verify->connection, lines_sql, 0, NULL, NULL);
    if (status == STATUS_OK)
        status = stream_next(&rows);
    if (status == STATUS_OK)
        status = stream_next(&lines);
    while (status == STATUS_OK && !(rows.has_ended && lines.has_ended))
        status = verify_one(verify, &rows, &lines);
    PQclear(rows.page);
    PQclear(lines.page);
    return status;
}

/* ---- orders ---- */

/*
 * An order whose older lines were folded into an opening line adds up to less than its total, and that is as it should
 * be. Such an opening line has the time of the line it was; one that was written for a row of before the journal has
 * none.
 */
static const char orders_sql[] =
    "DECLARE order_totals NO SCROLL CURSOR FOR WITH counted AS (SELECT order_id, asset, mode, sum(abs(quantity)) AS "
    "filled_quantity, sum(fees) AS fees FROM position_manager_journal WHERE order_id IS NOT NULL AND source = "
    "'order_execution' GROUP BY order_id, asset, mode), folded AS (SELECT DISTINCT asset, mode FROM "
    "position_manager_journal WHERE source = 'opening' AND at IS NOT NULL) "
    "SELECT o.order_id, o.asset, o.mode, o.filled_quantity::numeric(38,8)::text, "
    "coalesce(c.filled_quantity, 0)::numeric(38,8)::text, o.fees::numeric(38,8)::text, "
    "coalesce(c.fees, 0)::numeric(38,8)::text FROM position_manager_orders o LEFT JOIN counted c ON "
    "c.order_id = o.order_id AND c.asset = o.asset AND c.mode = o.mode LEFT JOIN folded f ON f.asset = o.asset AND "
    "f.mode = o.mode WHERE coalesce(c.filled_quantity, 0) > o.filled_quantity OR (f.asset IS NULL AND "
    "(coalesce(c.filled_quantity, 0), coalesce(c.fees, 0)) IS DISTINCT FROM (o.filled_quantity, o.fees)) "
    "ORDER BY o.asset, o.mode, o.order_id";

static void print_order(struct verify *verify, const struct stream *orders)
{
    FILE *out = verify->out;
    if (!begin_finding(verify))
        return;
    print_text(out, stream_text(orders, 1));
    fputc(' ', out);
    print_text(out, stream_text(orders, 2));
    fputs(": order ", out);
    print_text(out, stream_text(orders, 0));
    fprintf(out, ": filled_quantity is %s and fees are %s; its journal lines add up to %s and %s\n",
            stream_text(orders, 3), stream_text(orders, 5), stream_text(orders, 4), stream_text(orders, 6));
}

static enum status verify_orders(struct verify *verify)
{
    PGresult *count;
    enum status status =
        pg_query(&verify->connection, "SELECT count(*)::text FROM position_manager_orders", 0, NULL, &count);
    if (status != STATUS_OK)
        return status;
    verify->totals->orders = (size_t)strtoull(PQgetvalue(count, 0, 0), NULL, 10);
    PQclear(count);
    struct stream orders = {.connection = &verify->connection, .fetch_sql = "FETCH " PAGE " FROM order_totals"};
    status = pg_query(&verify->connection, orders_sql, 0, NULL, NULL);
    if (status == STATUS_OK)
        status = stream_next(&orders);
    while (status == STATUS_OK && !orders.has_ended) {
        print_order(verify, &orders);
        status = stream_next(&orders);
    }
    PQclear(orders.page);
    return status;
}

/* ---- the whole ---- */

/* Everything will be read, so plans for the first few rows of a cursor would be the wrong ones. */
static const char begin_sql[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL cursor_tuple_fraction = 1";

static enum status verify_all(struct verify *verify)
{
    enum status status = pg_query(&verify->connection, begin_sql, 0, NULL, NULL);
    if (status == STATUS_OK)
        status = verify_positions(verify);
    if (status == STATUS_OK)
        status = verify_orders(verify);
    return status;
}

enum status storage_verify(const struct storage_settings *settings, FILE *out, FILE *err, struct verify_totals *totals)
{
    struct verify verify = {.totals = totals, .out = out};
    *totals = (struct verify_totals){0};
    pg_init(&verify.connection, settings, NULL, NULL);
    enum status status = pg_open(&verify.connection, 0);
    if (status == STATUS_OK)
        status = verify_all(&verify);
    pg_close(&verify.connection);
    if (status != STATUS_OK) {
        fprintf(err, "cannot verify: %s (%s)\n",
                verify.connection.error[0] == '\0' ? "the tables are not as they should be" : verify.connection.error,
                status_word(status));
        return status;
    }
    fprintf(out, "%zu positions, %zu journal lines, %zu orders: ", totals->positions, totals->lines, totals->orders);
    if (totals->discrepancies == 0)
        fputs("all agree\n", out);
    else
        fprintf(out, "%zu discrepancies\n", totals->discrepancies);
    return STATUS_OK;
}
