/*
 * What is done by the clock: snapshots and validations each time their interval is over, and what is forgotten every
 * day, not at the start only. The clocks of this program can be put forward: its clock_gettime() stands before the
 * system's.
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "history_rig.h"
#include "metrics.h"

#define HOUR_S      3600
#define INTERVAL_US (INT64_C(1000000) * HOUR_S)

static atomic_int_fast64_t ahead_s;

int clock_gettime(clockid_t id, struct timespec *out)
{
    const int result = (int)syscall(SYS_clock_gettime, id, out);
    if (result == 0 && (id == CLOCK_MONOTONIC || id == CLOCK_REALTIME))
        out->tv_sec += atomic_load(&ahead_s);
    return result;
}

static struct history_rig rig;

static void open_rig(void)
{
    history_rig_open(&rig);
}
static void close_rig(void)
{
    history_rig_close(&rig);
}

TestSuite(storage_history_daily, .init = open_rig, .fini = close_rig, .timeout = 300);

static int number(const char *sql)
{
    return rig_number(&rig.base, sql);
}

static void pass(int seconds)
{
    for (int i = 0; i < seconds * 10; i++)
        history_rig_pump(&rig, 100);
}

/* With an interval of an hour there is one time in each, however long a busy machine takes for it. */
static void begin(const char *asset)
{
    history_rig_start(&rig);
    history_rig_until_served(&rig, asset);
    atomic_store(&ahead_s, HOUR_S + 60);
}

static void pump_until_metric(enum metric metric, uint64_t at_least)
{
    for (int i = 0; i < 12000 && metric_value(metric) < at_least; i++)
        history_rig_pump(&rig, 5);
    cr_assert_geq(metric_value(metric), at_least);
}

static const char snapshots[] = "SELECT count(*) FROM position_snapshots";
static const char folded[] = "SELECT count(*) FROM position_manager_journal WHERE source = 'opening'";
static const char orders[] = "SELECT count(*) FROM position_manager_orders";

Test(storage_history_daily, what_has_become_too_old_goes_a_day_after_the_start_and_the_day_after)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    /* Too old now, in half a day, in a day and a half. */
    rig_execute(&rig.base,
                "INSERT INTO position_snapshots (position_id, asset, mode, snapshot_data, created_at) SELECT id, "
                "asset, mode, '{}', (now() AT TIME ZONE 'UTC') - (365.5 - n) * interval '1 day' FROM positions, "
                "generate_series(0, 2) n; "
                "INSERT INTO position_manager_orders (order_id, asset, mode, filled_quantity, notional, fees, "
                "updated_at) SELECT 'o' || n, 'BTCUSDT', 'one-way', 1, 1, 0, (now() AT TIME ZONE 'UTC') - "
                "(365.5 - n) * interval '1 day' FROM generate_series(0, 2) n; "
                "INSERT INTO position_manager_journal (position_id, asset, mode, version, source, identity, quantity, "
                "price, fees, at, size, realized_pnl, fees_paid, recorded_at) SELECT id, asset, mode, 1, "
                "'order_execution', 'x:1', 1, 1, 0, now(), 1, 0, 0, (now() AT TIME ZONE 'UTC') - 364.5 * interval '1 "
                "day' FROM positions");
    history_rig_start(&rig);
    history_rig_until(&rig, snapshots, 2);
    history_rig_until(&rig, orders, 2);
    cr_assert_eq(number(folded), 0);
    atomic_store(&ahead_s, 23 * HOUR_S);
    pass(2);
    cr_assert_eq(number(snapshots), 2, "a day is not over");
    cr_assert_eq(number(orders), 2);
    cr_assert_eq(number(folded), 0);
    atomic_store(&ahead_s, 24 * HOUR_S + 60);
    history_rig_until(&rig, snapshots, 1);
    history_rig_until(&rig, orders, 1);
    history_rig_until(&rig, folded, 1);
    atomic_store(&ahead_s, 48 * HOUR_S + 120);
    history_rig_until(&rig, snapshots, 0);
    history_rig_until(&rig, orders, 0);
    atomic_store(&ahead_s, 0);
}

Test(storage_history_daily, snapshots_that_a_lock_was_in_the_way_of_are_not_left_out_for_an_hour)
{
    history_rig_positions(&rig, 3);
    rig.settings.snapshot_interval_us = INTERVAL_US;
    history_rig_start(&rig);
    history_rig_until_served(&rig, "P00000USDT");
    /* In a session of its own: within a transaction one always sees the same of the others' activity. */
    PGconn *holder =
        PQconnectdbParams((const char *const[]){"host", "port", "user", "password", "dbname", NULL},
                          (const char *const[]){rig.base.settings.host, rig.base.settings.port, rig.base.settings.user,
                                                rig.base.settings.password, rig.base.database, NULL},
                          0);
    PQclear(PQexec(holder, "BEGIN; SELECT 1 FROM positions ORDER BY asset LIMIT 1 FOR UPDATE"));
    cr_assert_eq(PQtransactionStatus(holder), PQTRANS_INTRANS);
    atomic_store(&ahead_s, HOUR_S + 1);
    history_rig_until(&rig,
                      "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name "
                      "= 'position-manager' AND query = 'ROLLBACK' AND state = 'idle'",
                      1); /* it has given up */
    PQfinish(holder);
    pass(1);
    cr_assert_eq(number(snapshots), 0, "all or none");
    atomic_store(&ahead_s, HOUR_S + 70);
    history_rig_until(&rig, snapshots, 3);
    atomic_store(&ahead_s, 0);
}

Test(storage_history_daily, periodic_snapshots_are_one_transaction_and_all_marked_and_announced)
{
    enum { COUNT = 3000 };
    history_rig_positions(&rig, COUNT);
    rig.settings.snapshot_interval_us = INTERVAL_US;
    begin("P00000USDT");
    history_rig_until(&rig, snapshots, COUNT);
    cr_expect_eq(number("SELECT count(DISTINCT xmin::text) FROM position_snapshots"), 1);
    cr_expect_eq(number("SELECT count(DISTINCT created_at) FROM position_snapshots"), 1);
    for (int i = 0; i < 12000 && (rig.marks < COUNT || rig.announced_count < COUNT); i++)
        history_rig_pump(&rig, 5);
    cr_expect_eq(rig.marks, COUNT);
    cr_expect_eq(rig.announced_count, COUNT);
    atomic_store(&ahead_s, 0);
}

/* P00007USDT is 2 in both modes and 3 in its orders; of 201 positions there are orders. */
static void fill_many(void)
{
    history_rig_positions(&rig, 300);
    history_rig_position(&rig, "P00007USDT", POSITION_MODE_HEDGE);
    rig_execute(&rig.base,
                "CREATE TABLE orders (order_id text PRIMARY KEY, asset varchar(40), side varchar(10), status "
                "varchar(20), filled_quantity numeric(20,8), average_price numeric(20,8), executed_at timestamp, "
                "is_dry_run boolean)");
    rig_execute(
        &rig.base,
        "INSERT INTO orders SELECT p.asset || n, p.asset, 'Buy', 'filled', 0.2, 100, now() + n * interval '1 s', false "
        "FROM (SELECT * FROM positions WHERE mode = 'one-way' AND asset < 'P00200') p, generate_series(1, 10) n; "
        "INSERT INTO orders VALUES ('q', 'p00007usdt', 'buy', 'filled', 1, 100, now() + interval '1 hour', false), "
        "('r', 'A-NAME-LONGER-THAN-ANY', 'buy', 'filled', 1, 100, now(), false), "
        "('t', '', 'buy', 'filled', 1, 100, now(), false), ('s', 'ZZZUSDT', 'buy', 'filled', 1, 100, now(), false)");
}

Test(storage_history_daily, periodic_validation_compares_all_and_only_reports)
{
    fill_many();
    rig.settings.validation_interval_us = INTERVAL_US;
    begin("P00000USDT");
    pump_until_metric(METRIC_VALIDATIONS, 201);
    pass(1);
    cr_expect_eq(metric_value(METRIC_VALIDATIONS), 201);
    cr_expect_eq(metric_value(METRIC_VALIDATION_DISCREPANCIES), 2, "P00007USDT in both modes");
    cr_expect_eq(rig.corrections, 0);
    atomic_store(&ahead_s, 0);
}

Test(storage_history_daily, periodic_validation_fixes_where_that_is_wanted)
{
    fill_many();
    rig.settings.validation_interval_us = INTERVAL_US;
    rig.settings.validation_fix = true;
    begin("P00000USDT");
    pump_until_metric(METRIC_VALIDATION_FIXES, 1);
    cr_expect_eq(history_rig_view(&rig, "P00007USDT", POSITION_MODE_ONE_WAY).size.units, rig_decimal("3").units);
    cr_expect_eq(history_rig_view(&rig, "P00007USDT", POSITION_MODE_HEDGE).size.units, rig_decimal("2").units);
    pump_until_metric(METRIC_VALIDATIONS, 202); /* that which was wrong is looked at by itself before it is fixed */
    atomic_store(&ahead_s, 2 * HOUR_S + 120);
    pump_until_metric(METRIC_VALIDATIONS, 202 + 201);
    pass(1);
    cr_expect_eq(rig.corrections, 1, "what was fixed is right");
    atomic_store(&ahead_s, 0);
}
