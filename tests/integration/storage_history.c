/*
 * Snapshots: taken, listed, announced.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

TestSuite(storage_history, .init = open_rig, .fini = close_rig, .timeout = 300);

static void expect_in(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no %s in %s", part, text);
}

/* Of what has to be done at once, and that a busy machine may keep from it a few times. */
enum { TRIES_MAX = 20 };

static int number(const char *sql)
{
    return rig_number(&rig.base, sql);
}

/* ---- taking ---- */

Test(storage_history, snapshot_is_durable_marked_and_announced)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    struct history_request *request = history_rig_ask(&rig, HISTORY_SNAPSHOT_TAKE, "BTCUSDT");
    cr_assert_eq(request->status, STATUS_OK);
    cr_expect_eq(number("SELECT count(*) FROM position_snapshots s JOIN positions p ON p.id = s.position_id "
                        "WHERE s.asset = 'BTCUSDT' AND s.mode = 'one-way' AND s.snapshot_data->>'size' = '2.0' "
                        "AND s.snapshot_data->>'average_entry_price' = '100.00'"),
                 1);
    static const char *const parts[] = {"\"id\":",   "\"position_id\":",      "\"asset\":\"BTCUSDT\"",
                                        "\"mode\":", "\"snapshot_data\":{\"", "\"created_at\":\"20"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        expect_in(request->body, parts[i]);
    cr_expect_eq(rig.marks, 1, "answered when the mark has come home");
    cr_expect_neq(history_rig_view(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY).last_snapshot_at_us, TIME_NONE);
    history_rig_free(request);
    history_rig_until(&rig, "SELECT count(*) FROM position_manager_outbox", 0);
    cr_expect_eq(rig.announced_count, 1);
    static const char *const said[] = {"\"event_type\":\"position_snapshot_created\"",
                                       "\"snapshot_id\":\"",
                                       "\"position_id\":\"",
                                       "\"size\":\"2.0\"",
                                       "\"version\":1",
                                       "\"snapshot_timestamp\":\"20",
                                       "\"trace_id\":\"trace-1\"",
                                       "\"timestamp\":\"20"};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        expect_in(rig.last_message, said[i]);
    cr_expect_eq(metric_value(METRIC_SNAPSHOTS), 1);
}

Test(storage_history, what_is_not_there_is_not_found)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_HEDGE);
    history_rig_start(&rig);
    static const enum history_kind kinds[] = {HISTORY_SNAPSHOT_TAKE, HISTORY_SNAPSHOT_LIST, HISTORY_SNAPSHOT_AT,
                                              HISTORY_VALIDATE};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        history_rig_expect(&rig, kinds[i], "BTCUSDT", STATUS_NOT_FOUND); /* in that mode */
    cr_expect_eq(number("SELECT count(*) FROM position_snapshots"), 0);
}

Test(storage_history, position_whose_row_was_deleted_gets_no_snapshot)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    rig_execute(&rig.base, "DELETE FROM positions");
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    history_rig_expect(&rig, HISTORY_SNAPSHOT_TAKE, "BTCUSDT", STATUS_NOT_FOUND);
    cr_expect_eq(number("SELECT count(*) FROM position_manager_outbox"), 0);
}

Test(storage_history, mark_that_takes_long_keeps_nobody)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    rig.shards_are_deaf = true;
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    const int64_t started_us = clock_steady_us();
    history_rig_take(&rig, "BTCUSDT"); /* which would wait for ever */
    const int64_t took_us = clock_steady_us() - started_us;
    cr_expect_gt(took_us, 1800000, "%lld us", (long long)took_us);
    rig.shards_are_deaf = false;
    history_rig_pump(&rig, 50);
    history_rig_take(&rig, "BTCUSDT");
    cr_expect_eq(rig.marks, 2, "the late mark came home in peace");
}

Test(storage_history, more_takes_than_wishes_are_all_answered)
{
    enum { ROUNDS = 6, EACH = 60 };
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    rig.shards_are_deaf = true;
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    struct history_request *requests[ROUNDS][EACH];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < EACH; i++) {
            requests[round][i] = history_rig_request(HISTORY_SNAPSHOT_TAKE, "BTCUSDT");
            history_rig_send(&rig, requests[round][i]);
        }
        history_rig_pump(&rig, 300);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < EACH; i++) {
            history_rig_await(&rig, requests[round][i]);
            cr_expect_eq(requests[round][i]->status, STATUS_OK);
            history_rig_free(requests[round][i]);
        }
    }
    cr_expect_eq(number("SELECT count(*) FROM position_snapshots"), ROUNDS * EACH);
}

/* ---- reading ---- */

static void insert_series(const char *id, int count)
{
    char sql[512];
    snprintf(
        sql, sizeof sql,
        "INSERT INTO position_snapshots (position_id, asset, mode, snapshot_data, created_at) "
        "SELECT '%s', 'BTCUSDT', 'one-way', jsonb_build_object('n', n), timestamp '2026-01-01' + n * interval '1 s' "
        "FROM generate_series(1, %d) n",
        id, count);
    rig_execute(&rig.base, sql);
}

static int64_t at_second(int n)
{
    return INT64_C(1767225600000000) + (int64_t)n * 1000000; /* 2026-01-01 and n seconds */
}

Test(storage_history, snapshots_are_listed_newest_first_within_bounds)
{
    insert_series(history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY), 5);
    rig_execute(&rig.base, "INSERT INTO position_snapshots (position_id, created_at, snapshot_data) "
                           "SELECT id, timestamp '2026-01-01 00:00:03.5', d FROM positions, "
                           "(VALUES (NULL::jsonb), ('null'), ('[1]')) v(d)");
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    static const struct {
        int from, to;
        uint32_t limit, offset;
        const char *order; /* of n */
    } rows[] = {
        {-1, -1, 100, 0, "54321"}, {-1, -1, 2, 0, "54"},   {-1, -1, 2, 1, "43"}, {-1, -1, 10, 5, ""},
        {2, 4, 100, 0, "432"},     {3, -1, 100, 0, "543"}, {-1, 1, 100, 0, "1"}, {4, 2, 100, 0, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct history_request *request = history_rig_request(HISTORY_SNAPSHOT_LIST, "BTCUSDT");
        request->from_us = rows[i].from < 0 ? TIME_NONE : at_second(rows[i].from);
        request->to_us = rows[i].to < 0 ? TIME_NONE : at_second(rows[i].to);
        request->limit = rows[i].limit;
        request->offset = rows[i].offset;
        history_rig_send(&rig, request);
        history_rig_await(&rig, request);
        cr_assert_eq(request->status, STATUS_OK);
        char body[8192], found[16] = "", count[40];
        size_t found_len = 0;
        snprintf(body, sizeof body, "%.*s", (int)request->body_len, request->body);
        for (const char *at = body; (at = strstr(at, "{\"n\": ")) != NULL; at += 6)
            found[found_len++] = at[6];
        cr_expect_str_eq(found, rows[i].order, "row %zu: %s", i, body);
        snprintf(count, sizeof count, "\"count\":%zu", strlen(rows[i].order));
        expect_in(body, count);
        history_rig_free(request);
    }
}

Test(storage_history, snapshot_at_a_time_is_the_newest_not_after_it)
{
    insert_series(history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY), 5);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    static const struct {
        int64_t plus_us;
        int second;
        const char *found; /* NULL: none */
    } rows[] = {{0, 3, "{\"n\": 3}"}, {999999, 3, "{\"n\": 3}"}, {0, 9, "{\"n\": 5}"}, {-1, 1, NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct history_request *request = history_rig_request(HISTORY_SNAPSHOT_AT, "BTCUSDT");
        request->at_us = at_second(rows[i].second) + rows[i].plus_us;
        history_rig_send(&rig, request);
        history_rig_await(&rig, request);
        cr_expect_eq(request->status, rows[i].found == NULL ? STATUS_NOT_FOUND : STATUS_OK, "row %zu", i);
        char body[1024];
        snprintf(body, sizeof body, "%.*s", (int)request->body_len, request->body == NULL ? "" : request->body);
        expect_in(body, rows[i].found == NULL ? "" : rows[i].found);
        expect_in(body, rows[i].found == NULL ? "" : "}],\"count\":1}");
        history_rig_free(request);
    }
}

Test(storage_history, reading_among_many_goes_by_the_index)
{
    insert_series(history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY), 100000);
    insert_series(history_rig_position(&rig, "ETHUSDT", POSITION_MODE_ONE_WAY), 100000);
    rig_execute(&rig.base, "ANALYZE position_snapshots");
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    bool is_fast = false;
    for (int tries = 0; tries < TRIES_MAX && !is_fast; tries++) {
        const int64_t started_us = clock_steady_us();
        struct history_request *request = history_rig_request(HISTORY_SNAPSHOT_AT, "ETHUSDT");
        request->at_us = at_second(50000);
        history_rig_send(&rig, request);
        history_rig_await(&rig, request);
        cr_expect_eq(request->status, STATUS_OK);
        is_fast = clock_steady_us() - started_us < 200000; /* whatever else the machine does may be in the way once */
        history_rig_free(request);
    }
    cr_expect(is_fast);
    PGresult *plan = PQexec(rig.base.sql,
                            "EXPLAIN SELECT snapshot_data FROM position_snapshots WHERE position_id = "
                            "(SELECT id FROM positions LIMIT 1) AND created_at >= '-infinity' AND created_at <= "
                            "'2026-01-01 13:00' AND snapshot_data IS NOT NULL AND jsonb_typeof(snapshot_data::jsonb) = "
                            "'object' ORDER BY created_at DESC, id LIMIT 1 OFFSET 0");
    bool by_index = false, by_scan = false;
    for (int row = 0; row < PQntuples(plan); row++) {
        by_index |= strstr(PQgetvalue(plan, row, 0), "position_manager_snapshots_position_created") != NULL;
        by_scan |= strstr(PQgetvalue(plan, row, 0), "Seq Scan on position_snapshots") != NULL;
    }
    cr_expect(by_index && !by_scan, "%s", PQgetvalue(plan, 0, 0));
    PQclear(plan);
}

/* ---- all of them ---- */

Test(storage_history, requests_are_served_while_all_are_taken)
{
    history_rig_positions(&rig, 4000);
    rig.settings.snapshot_interval_us = 1000000;
    history_rig_start(&rig);
    history_rig_until_served(&rig, "P00000USDT");
    /* The first batch waits for this lock, the requests do not. */
    rig_execute(&rig.base, "BEGIN; LOCK TABLE position_manager_outbox IN EXCLUSIVE MODE");
    for (int i = 0; i < 15; i++) {
        /* One that waited would not be answered: the lock is held until all are. */
        history_rig_expect(&rig, i % 2 == 0 ? HISTORY_SNAPSHOT_LIST : HISTORY_VALIDATE, "P00000USDT", STATUS_OK);
        history_rig_pump(&rig, 100);
    }
    rig_execute(&rig.base, "COMMIT");
    history_rig_until(&rig, "SELECT least(count(*), 4000) FROM position_snapshots", 4000);
}

/* ---- announcing ---- */

Test(storage_history, what_was_not_confirmed_is_announced_again_after_a_crash)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    rig.publisher_is_deaf = true;
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    history_rig_take(&rig, "BTCUSDT");
    history_rig_take(&rig, "BTCUSDT");
    for (int i = 0; i < 6000 && mailbox_depth(rig.to_publisher, 0) < 2; i++)
        history_rig_pump(&rig, 5);
    history_rig_pump(&rig, 200); /* for one too many */
    cr_expect_eq(mailbox_depth(rig.to_publisher, 0), 2, "each is given to the publisher once");
    history_rig_stop(&rig);
    cr_expect_eq(number("SELECT count(*) FROM position_manager_outbox"), 2);
    rig.publisher_is_deaf = false;
    history_rig_start(&rig);
    history_rig_until(&rig, "SELECT count(*) FROM position_manager_outbox", 0);
    cr_expect_eq(rig.announced_count, 2);
    for (size_t i = 0; i < 2; i++) {
        char id[UUID_TEXT_LEN + 1], sql[128];
        uuid_format(&rig.announced[i], id);
        id[UUID_TEXT_LEN] = '\0';
        snprintf(sql, sizeof sql, "SELECT count(*) FROM position_snapshots WHERE id = '%s'", id);
        cr_expect_eq(number(sql), 1, "the identifier is the snapshot's");
    }
}

Test(storage_history, announcement_that_comes_home_unconfirmed_stays_in_the_table)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    rig.publisher_is_deaf = true;
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    history_rig_take(&rig, "BTCUSDT");
    struct message *message = NULL;
    for (int i = 0; i < 6000 && mailbox_receive(rig.to_publisher, &message, 1) == 0; i++)
        history_rig_pump(&rig, 5);
    cr_assert_not_null(message);
    ((struct snapshot_announcement *)(void *)message)->snapshot_id = (struct uuid){0};
    mailbox_send_reserved(rig.to_history, 1 + HISTORY_RIG_SHARDS, &message);
    history_rig_take(&rig, "BTCUSDT");
    cr_expect_eq(number("SELECT count(*) FROM position_manager_outbox"), 2);
    cr_expect_eq(mailbox_depth(rig.to_publisher, 0), 0, "nothing more is given to a publisher that has stopped");
}

Test(storage_history, backlog_of_announcements_is_sent_within_bounds)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    rig_execute(&rig.base, "INSERT INTO position_manager_outbox SELECT gen_random_uuid(), '{\"n\":' || n || '}', 't', "
                           "timestamp '2026-01-01' + n * interval '1 s' FROM generate_series(1, 1000) n");
    rig.publisher_is_deaf = true;
    history_rig_start(&rig);
    for (int i = 0; i < 6000 && mailbox_depth(rig.to_publisher, 0) < HISTORY_ANNOUNCEMENTS_MAX; i++)
        history_rig_pump(&rig, 5);
    history_rig_pump(&rig, 200); /* for one too many */
    cr_expect_eq(mailbox_depth(rig.to_publisher, 0), HISTORY_ANNOUNCEMENTS_MAX);
    rig.publisher_is_deaf = false;
    history_rig_until(&rig, "SELECT count(*) FROM position_manager_outbox", 0);
    cr_expect_eq(rig.announced_count, 1000);
    expect_in(rig.last_message, "{\"n\":1000}");
}

/* ---- older tables ---- */

Test(storage_history, older_tables_with_columns_of_their_own_are_filled)
{
    rig_execute(&rig.base, "DROP TABLE position_snapshots; CREATE TYPE mood AS ENUM ('calm', 'wild'); "
                           "CREATE TABLE position_snapshots (id uuid PRIMARY KEY, size numeric(20,8) NOT NULL, "
                           "average_entry_price numeric(20,8) NOT NULL, current_price double precision, "
                           "unrealized_pnl numeric(20,8) NOT NULL DEFAULT 0, realized_pnl numeric(6,2), "
                           "\"Odd name\" text NOT NULL, closed_at timestamptz NOT NULL, "
                           "snapshot_timestamp timestamptz NOT NULL, timestamp timestamp, tags text[] NOT NULL, "
                           "extra jsonb NOT NULL, mood mood NOT NULL, flag boolean NOT NULL, version text, "
                           "twice numeric GENERATED ALWAYS AS (size * 2) STORED, "
                           "number bigint GENERATED ALWAYS AS IDENTITY, created_at timestamptz DEFAULT now())");
    cr_assert_eq(rig_prepare(&rig.base, MIGRATIONS_APPLY), STATUS_OK);
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    history_rig_take(&rig, "BTCUSDT");
    cr_expect_eq(
        number("SELECT count(*) FROM position_snapshots WHERE size = 2 AND average_entry_price = 100 "
               "AND current_price = 110 AND unrealized_pnl = 20 AND realized_pnl IS NULL AND \"Odd name\" = '' "
               "AND closed_at = created_at AND snapshot_timestamp = created_at AND timestamp = created_at "
               "AND tags = '{}' AND extra = '{}' AND mood = 'calm' AND NOT flag AND version = '1' AND twice = 4 "
               "AND created_at BETWEEN now() - interval '1 min' AND now()"),
        1, "%s", rig_value(&rig.base, "SELECT to_jsonb(s)::text FROM position_snapshots s"));
    struct history_request *request = history_rig_ask(&rig, HISTORY_SNAPSHOT_LIST, "BTCUSDT");
    expect_in(request->body, "\"count\":1}");
    history_rig_free(request);
    /* Altered under way: the statement is made anew after one refusal. */
    rig_execute(&rig.base, "ALTER TABLE position_snapshots ADD late text NOT NULL DEFAULT ''; "
                           "ALTER TABLE position_snapshots ALTER late DROP DEFAULT");
    history_rig_expect(&rig, HISTORY_SNAPSHOT_TAKE, "BTCUSDT", STATUS_UNAVAILABLE);
    history_rig_take(&rig, "BTCUSDT");
}
