/*
 * The committer while the line to the server breaks: before COMMIT, after it, for a while, for good.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "clock.h"
#include "metrics.h"
#include "storage_rig.h"

static struct rig rig;
static struct proxy *proxy;

static void open_rig(void)
{
    rig_open(&rig);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    proxy = proxy_start(&rig);
    rig_start(&rig);
    /* What the board says is from storage_prepare()'s connection until the committer has its own. */
    const int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    while (metric_value(METRIC_DATABASE_CONNECTS) == 0 && clock_steady_us() < until_us)
        rig_receive(&rig, 5);
    cr_assert_eq(metric_value(METRIC_DATABASE_CONNECTS), 1);
}
static void close_rig(void)
{
    if (rig.committer != NULL)
        rig_stop(&rig);
    proxy_stop(proxy);
    rig_close(&rig);
}

TestSuite(storage_outage, .init = open_rig, .fini = close_rig, .timeout = 300);

/* For a stop that waits for nobody: far below what it would wait for, and far above what a busy machine may cost. */
enum { AT_ONCE_US = 25000000 };

static struct commit_item *one_execution(void)
{
    const struct position btc = rig_position("BTCUSDT", POSITION_MODE_ONE_WAY, 0);
    struct commit_item *item = rig_item(&rig, 0, &btc);
    rig_execution(&rig, item, "x:1", 1, "o");
    return item;
}

static void assert_written_once(void)
{
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM position_manager_journal"), 1);
    cr_assert_str_eq(rig_value(&rig, "SELECT filled_quantity FROM position_manager_orders"), "0.50000000");
    cr_assert_eq(rig_number(&rig, "SELECT version FROM positions"), 1);
}

static bool board_says(bool connected, int timeout_ms)
{
    const int64_t until_us = clock_steady_us() + (int64_t)timeout_ms * 1000;
    while (atomic_load(&rig.board.database_connected) != connected) {
        if (clock_steady_us() > until_us)
            return false;
        rig_receive(&rig, 5);
    }
    return true;
}

Test(storage_outage, commit_whose_answer_is_lost_counts_once)
{
    proxy_set(proxy, PROXY_LOSE_COMMIT_ANSWER);
    const struct commit_item *item = one_execution();
    rig_commit(&rig, 0);
    cr_assert_eq(proxy_mode(proxy), PROXY_OPEN, "the proxy has cut the line");
    cr_assert_eq(item->outcome, COMMIT_DONE);
    cr_assert_eq(metric_value(METRIC_COMMIT_OUTCOME_UNKNOWN), 1);
    cr_assert_eq(metric_value(METRIC_DATABASE_LOSSES), 1);
    assert_written_once();
}

Test(storage_outage, commit_that_never_arrived_is_done_again)
{
    proxy_set(proxy, PROXY_LOSE_COMMIT);
    const struct commit_item *item = one_execution();
    rig_commit(&rig, 0);
    cr_assert_eq(proxy_mode(proxy), PROXY_OPEN, "the proxy has cut the line");
    cr_assert_eq(item->outcome, COMMIT_DONE);
    cr_assert_eq(metric_value(METRIC_COMMIT_OUTCOME_UNKNOWN), 1);
    assert_written_once();
}

Test(storage_outage, commit_that_a_restored_server_does_not_hold_is_done_again)
{
    proxy_set(proxy, PROXY_LOSE_COMMIT_ANSWER);
    proxy_set_after(proxy, PROXY_REFUSE);
    const struct commit_item *item = one_execution();
    rig_send(&rig, 0);
    const int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    while (proxy_mode(proxy) != PROXY_REFUSE && clock_steady_us() < until_us)
        cr_assert_null(rig_receive(&rig, 5));
    cr_assert_eq(proxy_mode(proxy), PROXY_REFUSE);
    cr_assert_null(rig_receive(&rig, 300));
    assert_written_once();
    /* As on a replica that never got it, where somebody else's transaction has that number. */
    rig_execute(&rig, "TRUNCATE positions, position_snapshots, position_manager_journal, position_manager_orders");
    proxy_set(proxy, PROXY_OPEN);
    cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    cr_assert_eq(item->outcome, COMMIT_DONE);
    assert_written_once();
}

Test(storage_outage, server_that_turned_read_only_is_waited_for)
{
    char sql[160];
    cr_assert(board_says(true, RIG_WAIT_MS));
    snprintf(sql, sizeof sql, "ALTER DATABASE %s SET default_transaction_read_only = on", rig.database);
    rig_execute(&rig, sql);
    rig_end_sessions(&rig);
    const struct commit_item *item = one_execution();
    rig_send(&rig, 0);
    cr_assert_null(rig_receive(&rig, 800));
    snprintf(sql, sizeof sql, "ALTER DATABASE %s RESET default_transaction_read_only", rig.database);
    rig_execute(&rig, sql);
    cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    cr_assert_eq(item->outcome, COMMIT_DONE);
    assert_written_once();
}

Test(storage_outage, table_altered_under_way_is_no_obstacle)
{
    const struct commit_item *item = one_execution();
    rig_commit(&rig, 0);
    const struct position stored = item->row;
    rig_clear(&rig);
    rig_execute(&rig, "ALTER TABLE positions ALTER size TYPE numeric(30,10), ALTER realized_pnl TYPE double precision, "
                      "ADD extra text NOT NULL DEFAULT ''");
    rig_execute(&rig, "ALTER TABLE positions ALTER extra DROP DEFAULT");
    const struct position fresh = rig_position("ETHUSDT", POSITION_MODE_ONE_WAY, 0);
    struct commit_item *items[] = {rig_item(&rig, 0, &stored), rig_item(&rig, 0, &fresh)};
    rig_commit(&rig, 0);
    cr_assert_eq(items[0]->outcome, COMMIT_DONE);
    rig_clear(&rig);
    for (int round = 0; round < 100 && items[1]->outcome != COMMIT_DONE; round++) {
        rig_clear(&rig);
        items[1] = rig_item(&rig, 0, &fresh);
        rig_commit(&rig, 0);
    }
    cr_assert_eq(items[1]->outcome, COMMIT_DONE, "the new column is filled");
}

Test(storage_outage, backend_ended_by_hand_is_noticed_at_once_and_replaced)
{
    cr_assert(board_says(true, RIG_WAIT_MS));
    const uint64_t connects = metric_value(METRIC_DATABASE_CONNECTS);
    rig_end_sessions(&rig);
    const int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    while (metric_value(METRIC_DATABASE_CONNECTS) == connects && clock_steady_us() < until_us)
        rig_receive(&rig, 5);
    cr_assert_eq(metric_value(METRIC_DATABASE_CONNECTS), connects + 1, "without being asked for anything");
    const struct commit_item *item = one_execution();
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_DONE);
    assert_written_once();
}

Test(storage_outage, backend_ended_in_a_transaction_is_done_again)
{
    rig_execute(&rig, "BEGIN; LOCK TABLE positions IN SHARE MODE");
    const struct commit_item *item = one_execution();
    rig_send(&rig, 0);
    rig_execute(&rig, "SELECT pg_sleep(0.1)");
    rig_execute(&rig, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                      "AND application_name = 'position-manager'; COMMIT");
    cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    cr_assert_eq(item->outcome, COMMIT_DONE);
    cr_assert_eq(metric_value(METRIC_COMMIT_OUTCOME_UNKNOWN), 0);
    assert_written_once();
}

Test(storage_outage, requests_wait_while_the_server_is_away)
{
    cr_assert(board_says(true, RIG_WAIT_MS));
    proxy_set(proxy, PROXY_REFUSE);
    cr_assert(board_says(false, RIG_WAIT_MS));
    const struct commit_item *item = one_execution();
    rig_send(&rig, 0);
    rig.lookups[1].deliveries = &rig.deliveries[0];
    struct message *message = &rig.lookups[1].head;
    cr_assert_eq(mailbox_send(rig.to_committer, 1, &message), STATUS_OK);
    cr_assert_null(rig_receive(&rig, 700));
    proxy_set(proxy, PROXY_OPEN);
    cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    cr_assert_eq(item->outcome, COMMIT_DONE);
    cr_assert(board_says(true, RIG_WAIT_MS));
    assert_written_once();
}

Test(storage_outage, stop_while_the_server_is_away_answers_redo_in_time)
{
    cr_assert(board_says(true, RIG_WAIT_MS));
    proxy_set(proxy, PROXY_REFUSE);
    const struct commit_item *item = one_execution();
    rig_send(&rig, 0);
    cr_assert_null(rig_receive(&rig, 300));
    const int64_t started_us = clock_steady_us();
    committer_stop(rig.committer, 500);
    cr_assert_lt(clock_steady_us() - started_us, AT_ONCE_US);
    cr_assert_eq(rig_receive(&rig, 0), &rig.requests[0]->head);
    cr_assert_eq(item->outcome, COMMIT_REDO);
}

Test(storage_outage, stop_with_nothing_to_do_does_not_wait_for_the_server)
{
    proxy_set(proxy, PROXY_REFUSE);
    cr_assert(board_says(false, RIG_WAIT_MS));
    rig_receive(&rig, 400);
    const int64_t started_us = clock_steady_us();
    committer_stop(rig.committer, RIG_WAIT_MS);
    cr_assert_lt(clock_steady_us() - started_us, AT_ONCE_US);
}
