/*
 * The history while the database is away, says nothing, ends its connections or became read-only; and its stop.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backoff.h"
#include "clock.h"
#include "history_rig.h"

static struct history_rig rig;

static void open_rig(void)
{
    history_rig_open(&rig);
}
static void close_rig(void)
{
    history_rig_close(&rig);
}

TestSuite(storage_history_outage, .init = open_rig, .fini = close_rig, .timeout = 300);

/* Of what has to be done at once, and that a busy machine may keep from it a few times. */
enum { TRIES_MAX = 20 };

/* What a server that became read-only refuses ends the connections each time. */
Test(storage_history_outage, server_that_turned_read_only_is_not_asked_without_a_pause)
{
    static const char count_sql[] = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()";
    enum { LINES = 3, PAUSE_MS = BACKOFF_MAX_MS / 2 };
    char sql[160];
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    rig.publisher_is_deaf = true;
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    history_rig_take(&rig, "BTCUSDT");
    for (int i = 0; i < 6000 && mailbox_depth(rig.to_publisher, 0) < 1; i++)
        history_rig_pump(&rig, 5);
    snprintf(sql, sizeof sql, "ALTER DATABASE %s SET default_transaction_read_only = on", rig.base.database);
    rig_execute(&rig.base, sql);
    const int before = rig_number(&rig.base, count_sql);
    const int64_t began_us = clock_steady_us();
    rig_end_sessions(&rig.base);
    rig.publisher_is_deaf = false;
    int opened = 0;
    int64_t waited_ms = 0;
    while (waited_ms < 4000 || (opened <= 6 && waited_ms < RIG_WAIT_MS)) {
        history_rig_pump(&rig, 50);
        opened = rig_number(&rig.base, count_sql) - before;
        waited_ms = (clock_steady_us() - began_us) / 1000;
    }
    cr_expect_gt(opened, 6, "it goes on trying");
    /* A first time at once and three times soon, then with a pause of half a second at least; before counts late. */
    cr_expect_leq(opened, LINES * (6 + waited_ms / PAUSE_MS), "%d connections in %d ms", opened, (int)waited_ms);
    snprintf(sql, sizeof sql, "ALTER DATABASE %s RESET default_transaction_read_only", rig.base.database);
    rig_execute(&rig.base, sql);
    history_rig_until(&rig, "SELECT count(*) FROM position_manager_outbox", 0);
}

/* A role of the history's own, with the password that all connections here use: the server may ask for one. */
static void create_history_role(void)
{
    char sql[256];
    char *password = PQescapeLiteral(rig.base.sql, rig.base.settings.password, strlen(rig.base.settings.password));
    cr_assert_not_null(password);
    cr_assert_lt((size_t)snprintf(sql, sizeof sql, "CREATE ROLE pm_history_test SUPERUSER LOGIN PASSWORD %s", password),
                 sizeof sql);
    PQfreemem(password);
    rig_execute(&rig.base, "DROP ROLE IF EXISTS pm_history_test");
    rig_execute(&rig.base, sql);
}

/* The history's own role may log in, or may not. */
static void set_server_away(bool is_away)
{
    rig_execute(&rig.base, is_away ? "ALTER ROLE pm_history_test NOLOGIN" : "ALTER ROLE pm_history_test LOGIN");
    if (is_away)
        rig_end_sessions(&rig.base);
}

static void expect_all_refused_at_once(void)
{
    static const enum history_kind kinds[] = {HISTORY_SNAPSHOT_TAKE, HISTORY_SNAPSHOT_LIST, HISTORY_SNAPSHOT_AT,
                                              HISTORY_VALIDATE};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        bool is_at_once = false;
        for (int tries = 0; tries < TRIES_MAX && !is_at_once; tries++) {
            const int64_t started_us = clock_steady_us();
            history_rig_expect(&rig, kinds[i], "BTCUSDT", STATUS_UNAVAILABLE);
            is_at_once = clock_steady_us() - started_us < 500000;
        }
        cr_expect(is_at_once, "kind %d", kinds[i]);
    }
}

Test(storage_history_outage, without_the_database_requests_are_refused_at_once)
{
    const char *user = rig.base.settings.user;
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    create_history_role();
    rig.base.settings.user = "pm_history_test";
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    history_rig_take(&rig, "BTCUSDT");
    set_server_away(true);
    for (int round = 0; round < 3; round++) {
        expect_all_refused_at_once();
        history_rig_pump(&rig, 200);
    }
    history_rig_expect(&rig, HISTORY_SNAPSHOT_TAKE, "NOSUCHUSDT", STATUS_NOT_FOUND);
    set_server_away(false);
    history_rig_until_served(&rig, "BTCUSDT"); /* it comes back by itself */
    history_rig_take(&rig, "BTCUSDT");
    history_rig_stop(&rig);
    rig.base.settings.user = user;
    rig_execute(&rig.base, "DROP ROLE pm_history_test");
}

/* The next that comes; what is there already is ended. */
static int next_connection(int listener)
{
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    while (poll(&waiting, 1, 0) == 1)
        close(accept(listener, NULL, NULL));
    cr_assert_eq(poll(&waiting, 1, RIG_WAIT_MS), 1);
    return accept(listener, NULL, NULL);
}

/* A connection is given three seconds to be made, of which all are left. */
static int64_t stop_while_connecting(int listener)
{
    if (rig.history == NULL)
        history_rig_start(&rig);
    const int connection = next_connection(listener);
    const int64_t started_us = clock_steady_us();
    history_rig_stop(&rig);
    const int64_t took_us = clock_steady_us() - started_us;
    close(connection);
    return took_us;
}

Test(storage_history_outage, server_that_says_nothing_keeps_nobody)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    char port[8];
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(listener, (const struct sockaddr *)&address, len) == 0 && listen(listener, 8) == 0);
    cr_assert(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    snprintf(port, sizeof port, "%u", ntohs(address.sin_port));
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    rig.base.settings.host = "127.0.0.1";
    rig.base.settings.port = port;
    history_rig_start(&rig);
    history_rig_expect(&rig, HISTORY_SNAPSHOT_LIST, "BTCUSDT", STATUS_UNAVAILABLE); /* after the start's patience */
    expect_all_refused_at_once();
    bool is_at_once = false;
    for (int tries = 0; tries < TRIES_MAX && !is_at_once; tries++)
        is_at_once = stop_while_connecting(listener) < 1500000;
    cr_expect(is_at_once);
    close(listener);
}

/* The server takes a second to let each of the connections in, and later much more. */
Test(storage_history_outage, who_asks_while_the_history_first_connects_is_answered)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    setenv("PGOPTIONS", "-c post_auth_delay=1", 1);
    enum status status = STATUS_UNAVAILABLE;
    for (int tries = 0; tries < TRIES_MAX && status != STATUS_OK; tries++) {
        if (rig.history != NULL)
            history_rig_stop(&rig);
        const int64_t started_us = clock_steady_us();
        history_rig_start(&rig);
        struct history_request *request = history_rig_ask(&rig, HISTORY_SNAPSHOT_LIST, "BTCUSDT");
        status = request->status;
        cr_expect_gt(clock_steady_us() - started_us, 1000000);
        history_rig_free(request);
    }
    cr_expect_eq(status, STATUS_OK);
    setenv("PGOPTIONS", "-c post_auth_delay=10", 1);
    rig_end_sessions(&rig.base);
    expect_all_refused_at_once();
    unsetenv("PGOPTIONS");
}

Test(storage_history_outage, connections_ended_while_idle_are_replaced_before_anybody_notices)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    history_rig_take(&rig, "BTCUSDT");
    rig_end_sessions(&rig.base);
    history_rig_until(&rig,
                      "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                      "AND application_name = 'position-manager'",
                      3);                      /* without a request */
    history_rig_until_served(&rig, "BTCUSDT"); /* the last one may not be set up yet */
    history_rig_take(&rig, "BTCUSDT");
}

/* Stops a history of which a mark and a lock keep some from their answers; returns how long that took. */
static int64_t stop_with_requests(void)
{
    enum { COUNT = 6 };
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    rig.answers = 0;
    struct history_request *marked = history_rig_request(HISTORY_SNAPSHOT_TAKE, "BTCUSDT");
    history_rig_send(&rig, marked);
    const size_t shard = directory_part_index(rig.directory, "BTCUSDT");
    for (int i = 0; i < 6000 && mailbox_depth(rig.to_shards, shard) == 0; i++)
        history_rig_pump(&rig, 5);
    cr_assert_eq(mailbox_depth(rig.to_shards, shard), 1, "it is committed, and its mark is not home");
    rig_execute(&rig.base, "BEGIN; LOCK TABLE position_snapshots");
    struct history_request *requests[COUNT];
    for (int i = 0; i < COUNT; i++) {
        requests[i] = history_rig_request(i % 2 == 0 ? HISTORY_SNAPSHOT_LIST : HISTORY_VALIDATE, "BTCUSDT");
        history_rig_send(&rig, requests[i]);
    }
    rig_execute(&rig.base, "SELECT pg_sleep(0.1)");
    const int64_t started_us = clock_steady_us();
    history_stop(rig.history);
    const int64_t took_us = clock_steady_us() - started_us;
    struct history_request *late = history_rig_request(HISTORY_SNAPSHOT_LIST, "BTCUSDT");
    history_rig_send(&rig, late);
    history_rig_stop(&rig);
    cr_expect_eq(marked->status, STATUS_OK, "its snapshot is durable");
    for (int i = 0; i < COUNT; i += 2)
        cr_expect_eq(requests[i]->status, STATUS_UNAVAILABLE, "%d: %s", i, status_word(requests[i]->status));
    cr_expect_eq(late->status, STATUS_UNAVAILABLE);
    cr_expect_eq(rig.answers, COUNT + 2, "each exactly once");
    history_rig_free(marked);
    history_rig_free(late);
    for (int i = 0; i < COUNT; i++)
        history_rig_free(requests[i]);
    rig_execute(&rig.base, "COMMIT");
    return took_us;
}

Test(storage_history_outage, stop_answers_everybody_at_once)
{
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    rig.shards_are_deaf = true;
    bool is_at_once = false;
    for (int tries = 0; tries < TRIES_MAX && !is_at_once; tries++)
        is_at_once = stop_with_requests() < 1200000;
    cr_expect(is_at_once, "neither for the mark, nor for the lock");
}
