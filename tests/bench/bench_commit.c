/*
 * bench_commit: PostgreSQL's own rate for the statements of the committer, without the service. One transaction writes
 * a number of journal entries and order totals and updates a number of positions, in one pipeline with its COMMIT.
 *
 *   bench_commit <connection string> <positions a transaction> <entries a transaction> <seconds>
 *
 * The tables have to be there (the service makes them), with at least as many positions. Prints one JSON object.
 * The update is the one that storage/position_sql.c makes for a table of ours; a change there belongs here.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "committer_sql.h"

enum { SAMPLES_MAX = 1000000, FORMAT_LEN = 128, ID_LEN = 36 };

static const char update_sql[] =
    "UPDATE positions AS p SET size = u.size, average_entry_price = u.average_entry_price, current_price = "
    "u.current_price, unrealized_pnl = u.unrealized_pnl, realized_pnl = u.realized_pnl, fees_paid = u.fees_paid, "
    "long_size = u.long_size, short_size = u.short_size, long_avg_price = u.long_avg_price, short_avg_price = "
    "u.short_avg_price, version = u.version, price_updated_at = u.price_updated_at, last_updated = "
    "u.last_updated, last_snapshot_at = u.last_snapshot_at, opened_at = u.opened_at, closed_at = u.closed_at, "
    "last_execution_at = u.last_execution_at, market_event_at = u.market_event_at, market_event_digests = "
    "decode(u.market_event_digests, 'hex') FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::text[]) AS asset, "
    "unnest($3::text[]) AS mode, unnest($4::numeric[]) AS size, unnest($5::numeric[]) AS average_entry_price, "
    "unnest($6::numeric[]) AS current_price, unnest($7::numeric[]) AS unrealized_pnl, unnest($8::numeric[]) AS "
    "realized_pnl, unnest($9::numeric[]) AS fees_paid, unnest($10::numeric[]) AS long_size, "
    "unnest($11::numeric[]) AS short_size, unnest($12::numeric[]) AS long_avg_price, unnest($13::numeric[]) AS "
    "short_avg_price, unnest($14::integer[]) AS version, unnest($15::timestamp[]) AS price_updated_at, "
    "unnest($16::timestamp[]) AS last_updated, unnest($17::timestamp[]) AS last_snapshot_at, "
    "unnest($18::timestamp[]) AS created_at, unnest($19::timestamp[]) AS opened_at, unnest($20::timestamp[]) AS "
    "closed_at, unnest($21::timestamp[]) AS last_execution_at, unnest($22::timestamp[]) AS market_event_at, "
    "unnest($23::text[]) AS market_event_digests, unnest($24::integer[]) AS expected) AS u WHERE p.id = u.id AND "
    "coalesce(p.version::integer, 0) = u.expected";

/* Values of the parameters: 'i' the id, 'a' the asset, 'v' and 'e' versions after and before, 'n' a number of its own
 * for each entry, 'o' an order of four entries; anything else is the text that follows it. */
static const char *const journal_values[] = {"i",
                                             "a",
                                             "=one-way",
                                             "v",
                                             "=order_execution",
                                             "n",
                                             "=1234567890123456789",
                                             "o",
                                             "=0.25000000",
                                             "=50000.12500000",
                                             "=0.01250000",
                                             "=2026-01-15 10:00:00.123456",
                                             "=125.50000000",
                                             "=49876.54321000",
                                             "=1234.56780000",
                                             "=12.34560000",
                                             "=NULL",
                                             "=NULL",
                                             "=NULL",
                                             "=NULL"};
static const char *const order_values[] = {"t", "a", "=one-way", "=0.25000000", "=12500.03125000", "=0.01250000"};
static const char *const update_values[] = {"i",
                                            "a",
                                            "=one-way",
                                            "=125.50000000",
                                            "=49876.54321000",
                                            "=50001.00000000",
                                            "=234.56000000",
                                            "=1234.56780000",
                                            "=12.34560000",
                                            "=NULL",
                                            "=NULL",
                                            "=NULL",
                                            "=NULL",
                                            "v",
                                            "=2026-01-15 10:00:00.123456",
                                            "=2026-01-15 10:00:00.123456",
                                            "=NULL",
                                            "=2026-01-15 10:00:00.123456",
                                            "=2026-01-15 10:00:00.123456",
                                            "=NULL",
                                            "=2026-01-15 10:00:00.123456",
                                            "=NULL",
                                            "=NULL",
                                            "e"};

enum { JOURNAL_COUNT = 20, ORDER_COUNT = 6, UPDATE_COUNT = 24, PARAM_COUNT_MAX = 24 };
_Static_assert(sizeof journal_values == JOURNAL_COUNT * sizeof(char *), "one value a parameter");
_Static_assert(sizeof update_values == UPDATE_COUNT * sizeof(char *), "one value a parameter");

struct bench {
    PGconn *conn;
    size_t positions, entries;
    char (*ids)[ID_LEN + 1];
    uint64_t round;
    char *texts[PARAM_COUNT_MAX];
    double *samples_ms;
    size_t sample_count;
};

static void die(const char *what, PGconn *conn)
{
    fprintf(stderr, "bench_commit: %s%s%s\n", what, conn != NULL ? ": " : "", conn != NULL ? PQerrorMessage(conn) : "");
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void require(PGconn *conn, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_PIPELINE_SYNC)
        die("a statement failed", conn);
    PQclear(result);
}

/* Four entries of a position are one order. */
static size_t order_of(const struct bench *bench, size_t entry)
{
    return entry % bench->positions + entry / bench->positions / 4 * bench->positions;
}

static size_t order_count(const struct bench *bench)
{
    size_t count = 0;
    for (size_t entry = 0; entry < bench->entries; entry++)
        count = order_of(bench, entry) >= count ? order_of(bench, entry) + 1 : count;
    return count;
}

static int put_order(const struct bench *bench, char *out, size_t order)
{
    return snprintf(out, FORMAT_LEN, "order-%d-%llu-%zu", (int)getpid(), (unsigned long long)bench->round, order);
}

static int put_value(const struct bench *bench, char *out, const char *what, size_t row)
{
    size_t position = row % bench->positions;
    switch (what[0]) {
    case 'i':
        return snprintf(out, FORMAT_LEN, "%s", bench->ids[position]);
    case 'a':
        return snprintf(out, FORMAT_LEN, "A%06zuUSDT", position + 1);
    case 'v':
        return snprintf(out, FORMAT_LEN, "%llu", (unsigned long long)bench->round + 1);
    case 'e':
        return snprintf(out, FORMAT_LEN, "%llu", (unsigned long long)bench->round);
    case 'n':
        return snprintf(out, FORMAT_LEN, "bench-%d-%llu-%zu", (int)getpid(), (unsigned long long)bench->round, row);
    case 'o':
        return put_order(bench, out, order_of(bench, row));
    case 't':
        return put_order(bench, out, row);
    default:
        return snprintf(out, FORMAT_LEN, "\"%s\"", what + 1);
    }
}

static void make_array(const struct bench *bench, char *out, const char *what, size_t rows)
{
    bool is_null = strcmp(what, "=NULL") == 0;
    *out++ = '{';
    for (size_t row = 0; row < rows; row++) {
        if (row > 0)
            *out++ = ',';
        out += is_null ? snprintf(out, FORMAT_LEN, "NULL") : put_value(bench, out, what, row);
    }
    *out++ = '}';
    *out = '\0';
}

static void send_rows(struct bench *bench, const char *name, const char *const *values, size_t count, size_t rows)
{
    for (size_t i = 0; i < count; i++)
        make_array(bench, bench->texts[i], values[i], rows);
    if (PQsendQueryPrepared(bench->conn, name, (int)count, (const char *const *)bench->texts, NULL, NULL, 0) != 1)
        die("cannot send", bench->conn);
}

/* Making the texts is counted too: whoever writes rows has to. */
static void commit_once(struct bench *bench)
{
    double started_s = now_s();
    if (PQsendQueryPrepared(bench->conn, "begin", 0, NULL, NULL, NULL, 0) != 1)
        die("cannot send", bench->conn);
    if (bench->entries > 0) {
        send_rows(bench, "journal", journal_values, JOURNAL_COUNT, bench->entries);
        send_rows(bench, "orders", order_values, ORDER_COUNT, order_count(bench));
    }
    send_rows(bench, "update", update_values, UPDATE_COUNT, bench->positions);
    if (PQsendQueryPrepared(bench->conn, "commit", 0, NULL, NULL, NULL, 0) != 1 || PQpipelineSync(bench->conn) != 1)
        die("cannot send", bench->conn);
    for (bool done = false; !done;) {
        PGresult *result = PQgetResult(bench->conn);
        if (result == NULL)
            continue;
        done = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        require(bench->conn, result);
    }
    if (bench->sample_count < SAMPLES_MAX)
        bench->samples_ms[bench->sample_count++] = (now_s() - started_s) * 1000;
    bench->round++;
}

static void prepare(PGconn *conn, const char *name, const char *sql)
{
    require(conn, PQprepare(conn, name, sql, 0, NULL));
}

static void bench_open(struct bench *bench, char **arguments)
{
    bench->conn = PQconnectdb(arguments[1]);
    if (PQstatus(bench->conn) != CONNECTION_OK)
        die("cannot connect", bench->conn);
    bench->positions = strtoul(arguments[2], NULL, 10);
    bench->entries = strtoul(arguments[3], NULL, 10);
    require(bench->conn, PQexec(bench->conn, "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET "
                                             "enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"));
    require(bench->conn, PQexec(bench->conn, "UPDATE positions SET version = 0"));
    bench->ids = calloc(bench->positions, sizeof *bench->ids);
    bench->samples_ms = calloc(SAMPLES_MAX, sizeof *bench->samples_ms);
    size_t rows = bench->positions > bench->entries ? bench->positions : bench->entries;
    for (size_t i = 0; i < PARAM_COUNT_MAX; i++)
        bench->texts[i] = malloc(rows * (FORMAT_LEN + 1) + 3);
    PGresult *ids = PQexec(bench->conn, "SELECT id FROM positions ORDER BY asset");
    if ((size_t)PQntuples(ids) < bench->positions || bench->positions == 0)
        die("not so many positions there", NULL);
    for (size_t i = 0; i < bench->positions; i++)
        memcpy(bench->ids[i], PQgetvalue(ids, (int)i, 0), ID_LEN);
    PQclear(ids);
    prepare(bench->conn, "begin", "BEGIN");
    prepare(bench->conn, "commit", "COMMIT");
    prepare(bench->conn, "journal", journal_sql);
    prepare(bench->conn, "orders", orders_sql);
    prepare(bench->conn, "update", update_sql);
    if (PQenterPipelineMode(bench->conn) != 1)
        die("no pipeline mode", bench->conn);
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int count, char **arguments)
{
    if (count != 5) {
        fputs("usage: bench_commit <connection string> <positions> <entries> <seconds>\n", stderr);
        return 2;
    }
    struct bench bench = {0};
    bench_open(&bench, arguments);
    double started_s = now_s(), seconds = strtod(arguments[4], NULL);
    while (now_s() - started_s < seconds)
        commit_once(&bench);
    double took_s = now_s() - started_s;
    qsort(bench.samples_ms, bench.sample_count, sizeof(double), compare);
    printf("{\"commits\": %zu, \"seconds\": %.6f, \"entries_per_second\": %.1f, \"positions_per_second\": %.1f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f}\n",
           bench.sample_count, took_s, (double)(bench.sample_count * bench.entries) / took_s,
           (double)(bench.sample_count * bench.positions) / took_s, bench.samples_ms[bench.sample_count / 2],
           bench.samples_ms[bench.sample_count * 99 / 100], bench.samples_ms[bench.sample_count * 999 / 1000]);
    PQfinish(bench.conn);
    return 0;
}
