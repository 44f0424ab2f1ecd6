/*
 * What is too old is forgotten: snapshots, the journal, totals of orders.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "clock.h"
#include "history_rig.h"
#include "metrics.h"

static struct history_rig rig;

static void open_rig(void)
{
    history_rig_open(&rig);
}
static void close_rig(void)
{
    history_rig_close(&rig);
}

TestSuite(storage_history_retention, .init = open_rig, .fini = close_rig, .timeout = 300);

static int number(const char *sql)
{
    return rig_number(&rig.base, sql);
}

Test(storage_history_retention, old_snapshots_are_deleted_in_batches_while_requests_are_served)
{
    history_rig_positions(&rig, 600);
    rig_execute(&rig.base,
                "INSERT INTO position_snapshots (position_id, asset, mode, snapshot_data, created_at) SELECT p.id, "
                "p.asset, p.mode, '{}', now() - interval '366 days' - n * interval '1 s' FROM (SELECT * FROM positions "
                "ORDER BY asset LIMIT 2) p, generate_series(1, 100000) n; "
                "INSERT INTO position_snapshots (position_id, snapshot_data, created_at) SELECT id, '{}', "
                "now() - interval '364 days' FROM positions; "
                "INSERT INTO position_snapshots (position_id, snapshot_data, created_at) SELECT id, '{}', "
                "now() - interval '366 days' FROM positions; "
                "INSERT INTO position_snapshots (position_id, created_at) SELECT id, now() - interval '400 days' "
                "FROM positions");
    history_rig_start(&rig);
    history_rig_until_served(&rig, "P00500USDT");
    int taken = 0, meanwhile = 0;
    for (uint64_t deleted = 0; deleted < 200600 && taken < 10000; taken++) {
        struct history_request *request = history_rig_ask(&rig, HISTORY_SNAPSHOT_TAKE, "P00500USDT");
        cr_expect_eq(request->status, STATUS_OK);
        history_rig_free(request);
        deleted = metric_value(METRIC_SNAPSHOTS_DELETED);
        meanwhile += deleted > 0 && deleted < 200600;
        history_rig_pump(&rig, 5);
    }
    /* Two hundred batches and the rests between them take some seconds. Behind one long deletion none would be counted.
     */
    cr_expect_geq(meanwhile, 5, "%d of %d were answered while it went on", meanwhile, taken);
    history_rig_until(&rig, "SELECT count(*) FROM position_snapshots", 600 + 600 + taken);
    cr_expect_eq(number("SELECT count(*) FROM position_snapshots WHERE snapshot_data IS NULL"), 600);
    cr_expect_eq(metric_value(METRIC_SNAPSHOTS_DELETED), 200600);
}

Test(storage_history_retention, snapshots_are_taken_on_time_while_many_are_deleted)
{
    history_rig_positions(&rig, 2);
    rig.settings.snapshot_interval_us = 300000;
    rig_execute(&rig.base, "INSERT INTO position_snapshots (position_id, snapshot_data, created_at) SELECT p.id, '{}', "
                           "now() - interval '366 days' - n * interval '1 s' FROM positions p, "
                           "generate_series(1, 100000) n");
    /* Each time it is written down whether old ones were still there. */
    rig_execute(&rig.base,
                "CREATE TABLE times (old boolean); CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$ "
                "BEGIN INSERT INTO times SELECT EXISTS (SELECT FROM position_snapshots WHERE created_at < now() - "
                "interval '1 day'); RETURN NULL; END $$; CREATE TRIGGER write_down AFTER INSERT ON position_snapshots "
                "EXECUTE FUNCTION write_down()");
    history_rig_start(&rig);
    history_rig_until(&rig, "SELECT count(*) FROM position_snapshots WHERE created_at < now() - interval '1 day'", 0);
    history_rig_until(&rig, "SELECT (count(*) > 0)::int FROM times", 1);
    cr_expect_geq(number("SELECT count(*) FROM times WHERE old"), 2, "they did not wait for the end of it");
}

static void insert_journal(const char *asset, int from, int to, int days_ago)
{
    char sql[1024];
    snprintf(
        sql, sizeof sql,
        "INSERT INTO position_manager_journal (position_id, asset, mode, version, source, identity, fingerprint, "
        "order_id, quantity, price, fees, at, size, average_entry_price, realized_pnl, fees_paid, recorded_at) "
        "SELECT id, asset, mode, n, 'order_execution', 'x:' || asset || n, n, 'o' || n, 1, 100, 0.5, now(), n, 100, "
        "-n, n * 0.5, now() - interval '%d days' + n * interval '1 ms' FROM positions, generate_series(%d, %d) n "
        "WHERE asset = '%s' ORDER BY n",
        days_ago, from, to, asset);
    rig_execute(&rig.base, sql);
}

/* What must hold before and after: the last row tells the state, and the fees add up to it. */
static void expect_recount(const char *when)
{
    cr_expect_eq(number("SELECT count(*) FROM (SELECT position_id, sum(fees) AS fees, "
                        "(array_agg(fees_paid ORDER BY seq DESC))[1] AS paid FROM position_manager_journal "
                        "GROUP BY position_id) j WHERE fees <> paid"),
                 0, "%s", when);
}

Test(storage_history_retention, journal_is_folded_into_one_opening_entry_a_position)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY); /* some old, some young */
    history_rig_position(&rig, "ETHUSDT", POSITION_MODE_ONE_WAY); /* all young */
    history_rig_position(&rig, "XRPUSDT", POSITION_MODE_ONE_WAY); /* all old, more than a batch */
    history_rig_position(&rig, "SOLUSDT", POSITION_MODE_ONE_WAY); /* one old */
    history_rig_position(&rig, "ADAUSDT", POSITION_MODE_ONE_WAY); /* an old one behind a young one */
    insert_journal("BTCUSDT", 1, 10, 366);
    insert_journal("BTCUSDT", 11, 13, 10);
    insert_journal("ETHUSDT", 1, 3, 364);
    insert_journal("XRPUSDT", 1, 12000, 400);
    insert_journal("SOLUSDT", 1, 1, 366);
    insert_journal("ADAUSDT", 1, 1, 1);
    insert_journal("ADAUSDT", 2, 2, 500);
    expect_recount("before");
    rig_execute(&rig.base,
                "INSERT INTO position_manager_orders (order_id, asset, mode, filled_quantity, notional, fees, "
                "updated_at) SELECT 'o' || n, 'BTCUSDT', 'one-way', 1, 1, 0, now() - n * interval '1 hour' "
                "FROM generate_series(1, 12000) n");
    history_rig_start(&rig);
    history_rig_until(&rig, "SELECT count(*) FROM position_manager_orders", 365 * 24 - 1);
    expect_recount("after");
    static const struct {
        const char *asset, *rows; /* source:version:size:fees:identity, by seq */
    } expected[] = {
        {"BTCUSDT", "opening:10:10.00000000:5.00000000: order_execution:11:11.00000000:0.50000000:x:BTCUSDT11 "
                    "order_execution:12:12.00000000:0.50000000:x:BTCUSDT12 "
                    "order_execution:13:13.00000000:0.50000000:x:BTCUSDT13"},
        {"XRPUSDT", "opening:12000:12000.00000000:6000.00000000:"},
        {"SOLUSDT", "opening:1:1.00000000:0.50000000:"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char sql[512];
        snprintf(sql, sizeof sql,
                 "SELECT string_agg(concat_ws(':', source, version, size, fees, coalesce(identity, '')), ' ' "
                 "ORDER BY seq) FROM position_manager_journal WHERE asset = '%s'",
                 expected[i].asset);
        cr_expect_str_eq(rig_value(&rig.base, sql), expected[i].rows, "%s: %s", expected[i].asset,
                         rig_value(&rig.base, sql));
    }
    cr_expect_eq(number("SELECT count(*) FROM position_manager_journal WHERE asset IN ('ETHUSDT', 'ADAUSDT') "
                        "AND source = 'order_execution'"),
                 5);
    /* Once more: an opening entry is not folded again, but with what has become old it is. */
    history_rig_stop(&rig);
    rig_execute(&rig.base, "UPDATE position_manager_journal SET recorded_at = now() - interval '366 days' "
                           "WHERE asset = 'BTCUSDT' AND version = 11");
    const int rows = number("SELECT count(*) FROM position_manager_journal");
    history_rig_start(&rig);
    history_rig_until(&rig, "SELECT count(*) FROM position_manager_journal", rows - 1);
    expect_recount("after another");
    cr_expect_eq(number("SELECT count(*) FROM position_manager_journal WHERE source = 'opening' "
                        "AND asset = 'BTCUSDT' AND version = 11 AND fees = 5.5 AND realized_pnl = -11"),
                 1);
}
