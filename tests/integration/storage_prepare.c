/*
 * storage_prepare() against tables that are not there, complete, older, or holding what cannot be.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage_rig.h"

static struct rig rig;

static void open_rig(void)
{
    rig_open(&rig);
}
static void close_rig(void)
{
    rig_close(&rig);
}

TestSuite(storage_prepare, .init = open_rig, .fini = close_rig, .timeout = 300);

Test(storage_prepare, empty_database_gets_its_tables_once)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    cr_assert_eq(rig.loaded_count, 0);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM position_manager_migrations"), 4);
    const char *shape =
        "SELECT md5(string_agg(table_name || column_name || data_type, ',' ORDER BY table_name, ordinal_position)) "
        "FROM information_schema.columns WHERE table_schema = 'public'";
    char before[64];
    snprintf(before, sizeof before, "%s", rig_value(&rig, shape));
    const int indexes = rig_number(&rig, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    cr_assert_str_eq(rig_value(&rig, shape), before);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'"), indexes);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), 1,
                 "snapshots refer to positions");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_OK);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_OFF), STATUS_OK);
}

Test(storage_prepare, check_refuses_and_adds_nothing)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_INVALID);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 0);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    static const char *const spoilers[] = {
        "DROP INDEX position_manager_journal_position",
        "ALTER TABLE positions DROP COLUMN market_event_at",
        "DROP INDEX position_manager_positions_asset_mode",
        "DROP TABLE position_manager_orders",
    };
    for (size_t i = 0; i < sizeof spoilers / sizeof spoilers[0]; i++) {
        rig_execute(&rig, spoilers[i]);
        cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_INVALID, "%s", spoilers[i]);
        cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK, "%s", spoilers[i]);
        cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_OK, "%s", spoilers[i]);
    }
}

Test(storage_prepare, migrations_off_on_an_empty_database_refuses)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_OFF), STATUS_INVALID);
}

Test(storage_prepare, older_table_is_completed_and_its_rows_are_read)
{
    rig_execute(&rig, "SET TimeZone = 'Asia/Tokyo'");
    rig_execute(&rig,
                "CREATE TABLE positions (id text PRIMARY KEY, asset varchar(30), size double precision, "
                "average_entry_price numeric(30,14), realized_pnl numeric, version bigint, created_at timestamptz, "
                "strategy text NOT NULL)");
    rig_execute(
        &rig, "INSERT INTO positions VALUES ('11111111-2222-3333-4444-555555555555', 'BTCUSDT', 0.1, 50000.123456785, "
              "NULL, NULL, '2025-01-15 19:00:00+09', 'x'), "
              "('11111111-2222-3333-4444-666666666666', 'ETHUSDT', NULL, 0, 5, 7, NULL, 'x')");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_INVALID);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    cr_assert_eq(rig.loaded_count, 2);
    const struct position *btc = rig_loaded(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    cr_assert(decimal_is_equal(btc->size, rig_decimal("0.1")));
    cr_assert(decimal_is_equal(btc->average_entry_price, rig_decimal("50000.12345679")));
    cr_assert(decimal_is_equal(btc->realized_pnl, DECIMAL_ZERO));
    cr_assert_eq(btc->version, 0);
    cr_assert_eq(btc->created_at_us, 1736935200000000);
    const struct position *eth = rig_loaded(&rig, "ETHUSDT", POSITION_MODE_ONE_WAY);
    cr_assert(decimal_is_equal(eth->size, DECIMAL_ZERO));
    cr_assert(decimal_is_none(eth->average_entry_price));
    cr_assert_eq(eth->version, 7);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_OK);
}

Test(storage_prepare, hedge_rows_get_their_legs)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_execute(
        &rig,
        "INSERT INTO positions (asset, mode, size, average_entry_price, long_size, short_size, long_avg_price) VALUES "
        "('AUSDT', 'hedge', -2, 10, NULL, NULL, NULL), ('BUSDT', 'hedge', 99, NULL, 3, 1, 5), "
        "('CUSDT', 'one-way', 1, 2, 3, 4, 5)");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    const struct position *a = rig_loaded(&rig, "AUSDT", POSITION_MODE_HEDGE);
    cr_assert(decimal_is_equal(a->short_size, rig_decimal("2")));
    cr_assert(decimal_is_equal(a->short_avg_price, rig_decimal("10")));
    cr_assert(decimal_is_equal(a->average_entry_price, rig_decimal("10")));
    const struct position *b = rig_loaded(&rig, "BUSDT", POSITION_MODE_HEDGE);
    cr_assert(decimal_is_equal(b->size, rig_decimal("2")));
    cr_assert(decimal_is_none(b->average_entry_price));
    cr_assert(decimal_is_none(rig_loaded(&rig, "CUSDT", POSITION_MODE_ONE_WAY)->long_size));
}

Test(storage_prepare, duplicates_stop_the_start)
{
    rig_execute(&rig, "CREATE TABLE positions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), asset text, mode text)");
    rig_execute(&rig, "INSERT INTO positions (asset, mode) VALUES ('BTCUSDT', 'hedge'), ('BTCUSDT', 'hedge')");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_INVALID);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 1, "all or nothing");
}

Test(storage_prepare, rows_that_hold_what_cannot_be_stop_the_start)
{
    static const char *const rows[] = {
        "('BTCUSDT', 'one-way', 'NaN', 0)",
        "('BTCUSDT', 'one-way', 1e13, 0)",
        "('BTCUSDT', 'one-way', 1, -1)",
    };
    rig_execute(&rig, "CREATE TABLE positions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), asset text, mode text, "
                      "size numeric, version integer)");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "INSERT INTO positions (asset, mode, size, version) VALUES %s", rows[i]);
        rig_execute(&rig, sql);
        cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_INVALID, "%s", rows[i]);
        cr_assert_eq(rig.loaded_count, 0, "%s", rows[i]);
        rig_execute(&rig, "DELETE FROM positions");
    }
}

static void *stop_soon(void *context)
{
    struct board *board = context;
    poll(NULL, 0, 300);
    atomic_store(&board->stopping, true);
    return NULL;
}

Test(storage_prepare, waits_for_the_server_until_told_to_stop)
{
    struct proxy *proxy = proxy_start(&rig);
    proxy_set(proxy, PROXY_REFUSE);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, stop_soon, &rig.board), 0);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_STOPPING);
    cr_assert_not(atomic_load(&rig.board.database_connected));
    pthread_join(thread, NULL);
    proxy_stop(proxy);
}

static void *prepare(void *context)
{
    static enum status status;
    status = rig_prepare(context, MIGRATIONS_APPLY);
    return &status;
}

/* Who is behind an ALTER TABLE that waits for a lock has half a second between two of its tries, once the back-off has
 * grown: the first four pauses are 100, 200, 400 and 500 ms at least. */
Test(storage_prepare, others_have_their_time_between_two_tries_for_a_lock)
{
    enum { TRIES = 9, GROWING = 4, LOCK_WAIT_MS = 400, PAUSE_MS = 500 };
    int64_t began_ms[TRIES] = {0};
    pthread_t thread;
    void *status;
    rig_execute(&rig, "CREATE TABLE positions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), asset text, mode text)");
    PGconn *holder = PQconnectdbParams((const char *const[]){"host", "port", "user", "password", "dbname", NULL},
                                       (const char *const[]){rig.settings.host, rig.settings.port, rig.settings.user,
                                                             rig.settings.password, rig.database, NULL},
                                       0);
    PQclear(PQexec(holder, "BEGIN; LOCK TABLE positions IN ACCESS SHARE MODE"));
    cr_assert_eq(PQtransactionStatus(holder), PQTRANS_INTRANS);
    cr_assert_eq(pthread_create(&thread, NULL, prepare, &rig), 0);
    /* Each try has a connection of its own. */
    for (int i = 0; i < TRIES;) {
        PGresult *result = PQexec(rig.sql, "SELECT (extract(epoch FROM backend_start) * 1000)::bigint "
                                           "FROM pg_stat_activity WHERE application_name = 'position-manager' AND "
                                           "datname = current_database() AND wait_event_type = 'Lock'");
        const int64_t at_ms = PQntuples(result) == 1 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
        PQclear(result);
        if (at_ms != 0 && (i == 0 || at_ms != began_ms[i - 1]))
            began_ms[i++] = at_ms;
        poll(NULL, 0, 20);
    }
    PQfinish(holder);
    pthread_join(thread, &status);
    cr_expect_eq(*(enum status *)status, STATUS_OK);
    for (int i = GROWING; i < TRIES; i++)
        cr_expect_geq(began_ms[i] - began_ms[i - 1], LOCK_WAIT_MS + PAUSE_MS, "try %d after %d ms", i,
                      (int)(began_ms[i] - began_ms[i - 1]));
}
