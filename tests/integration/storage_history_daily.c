/*
 * What is forgotten is forgotten every day, not at the start only. The clocks of this program can be put forward: its
 * clock_gettime() stands before the system's.
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "history_rig.h"

#define HOUR_S 3600

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
    history_rig_until(&rig, snapshots, 2, 30000);
    history_rig_until(&rig, orders, 2, 30000);
    cr_assert_eq(number(folded), 0);
    atomic_store(&ahead_s, 23 * HOUR_S);
    pass(2);
    cr_assert_eq(number(snapshots), 2, "a day is not over");
    cr_assert_eq(number(orders), 2);
    cr_assert_eq(number(folded), 0);
    atomic_store(&ahead_s, 24 * HOUR_S + 60);
    history_rig_until(&rig, snapshots, 1, 30000);
    history_rig_until(&rig, orders, 1, 30000);
    history_rig_until(&rig, folded, 1, 30000);
    atomic_store(&ahead_s, 48 * HOUR_S + 120);
    history_rig_until(&rig, snapshots, 0, 30000);
    history_rig_until(&rig, orders, 0, 30000);
    atomic_store(&ahead_s, 0);
}

Test(storage_history_daily, snapshots_that_a_lock_was_in_the_way_of_are_not_left_out_for_an_hour)
{
    history_rig_positions(&rig, 3);
    rig.settings.snapshot_interval_us = INT64_C(3600) * 1000000;
    history_rig_start(&rig);
    pass(1);
    rig_execute(&rig.base, "BEGIN; SELECT 1 FROM positions ORDER BY asset LIMIT 1 FOR UPDATE");
    atomic_store(&ahead_s, HOUR_S + 1);
    pass(3);
    rig_execute(&rig.base, "ROLLBACK");
    pass(1);
    cr_assert_eq(number(snapshots), 0, "all or none");
    atomic_store(&ahead_s, HOUR_S + 70);
    history_rig_until(&rig, snapshots, 3, 30000);
    atomic_store(&ahead_s, 0);
}
