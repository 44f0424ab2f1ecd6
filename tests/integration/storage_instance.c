/*
 * Two instances against one database: the second waits, and who was overtaken writes nothing more. And what others did
 * to the rows while none was there.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "clock.h"
#include "instance.h"
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

TestSuite(storage_instance, .init = open_rig, .fini = close_rig, .timeout = 300);

/* Another process would have all of this for itself; here it shares the database's name only. */
struct second {
    struct storage_settings settings;
    struct board board;
    pthread_t thread;
    enum status status;
    size_t loaded;
    atomic_bool has_loaded;
};

static void count_loaded(void *context, const struct position *position)
{
    struct second *second = context;
    position_check(position);
    second->loaded++;
}

static void *prepare_second(void *context)
{
    struct second *second = context;
    second->status = storage_prepare(&second->settings, &second->board, count_loaded, second);
    atomic_store(&second->has_loaded, true);
    return NULL;
}

static void start_second(struct second *second)
{
    *second = (struct second){.settings = rig.settings};
    cr_assert_eq(pthread_create(&second->thread, NULL, prepare_second, second), 0);
}

static bool becomes(const atomic_bool *flag, bool wanted, int timeout_ms)
{
    const int64_t until_us = clock_steady_us() + (int64_t)timeout_ms * 1000;
    while (atomic_load(flag) != wanted) {
        if (clock_steady_us() > until_us)
            return false;
        poll(NULL, 0, 5);
    }
    return true;
}

static void store_one(void)
{
    const struct position position = rig_position("BTCUSDT", POSITION_MODE_ONE_WAY, 0);
    struct commit_item *item = rig_item(&rig, 0, &position);
    rig_execution(&rig, item, "x:1", 1, "o");
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_DONE);
    rig_clear(&rig);
}

Test(storage_instance, second_waits_until_the_first_is_gone)
{
    struct second second;
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_start(&rig);
    store_one();
    start_second(&second);
    cr_assert(becomes(&second.board.database_connected, true, RIG_WAIT_MS));
    cr_assert_not(becomes(&second.has_loaded, true, 1500));
    cr_assert(atomic_load(&second.board.database_connected), "it has a connection, and nothing else");
    rig_stop(&rig);
    cr_assert(becomes(&second.has_loaded, true, RIG_WAIT_MS));
    pthread_join(second.thread, NULL);
    cr_assert_eq(second.status, STATUS_OK);
    cr_assert_eq(second.loaded, 1);
    cr_assert_eq(atomic_load(&second.board.instance_epoch), atomic_load(&rig.board.instance_epoch) + 1);
}

Test(storage_instance, waiting_ends_with_a_stop)
{
    struct second second;
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_start(&rig);
    store_one();
    start_second(&second);
    cr_assert(becomes(&second.board.database_connected, true, RIG_WAIT_MS));
    atomic_store(&second.board.stopping, true);
    cr_assert(becomes(&second.has_loaded, true, RIG_WAIT_MS));
    pthread_join(second.thread, NULL);
    cr_assert_eq(second.status, STATUS_STOPPING);
}

Test(storage_instance, many_starts_at_once_are_served_one_after_another)
{
    enum { STARTS = 4 };
    struct second seconds[STARTS];
    for (size_t i = 0; i < STARTS; i++)
        start_second(&seconds[i]);
    for (size_t i = 0; i < STARTS; i++) {
        pthread_join(seconds[i].thread, NULL);
        cr_assert_eq(seconds[i].status, STATUS_OK);
        for (size_t other = 0; other < i; other++)
            cr_assert_neq(atomic_load(&seconds[i].board.instance_epoch),
                          atomic_load(&seconds[other].board.instance_epoch));
    }
    cr_assert_eq(rig_number(&rig, "SELECT epoch FROM position_manager_instance"), STARTS);
}

Test(storage_instance, lost_connection_takes_the_tables_again)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_start(&rig);
    store_one();
    rig_end_sessions(&rig);
    const struct position position = rig_position("ETHUSDT", POSITION_MODE_ONE_WAY, 0);
    const struct commit_item *item = rig_item(&rig, 0, &position);
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_DONE);
    cr_assert_not(atomic_load(&rig.board.superseded));
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND "
                                  "database = (SELECT oid FROM pg_database WHERE datname = current_database())"),
                 1);
}

Test(storage_instance, whoever_was_overtaken_writes_nothing_more)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_start(&rig);
    store_one();
    /* As if another had come and gone while the connection was away. */
    rig_execute(&rig, "UPDATE position_manager_instance SET epoch = epoch + 1");
    rig_end_sessions(&rig);
    const struct position position = rig_position("ETHUSDT", POSITION_MODE_ONE_WAY, 0);
    const struct commit_item *item = rig_item(&rig, 0, &position);
    rig_send(&rig, 0);
    cr_assert(becomes(&rig.board.superseded, true, RIG_WAIT_MS));
    (void)rig_receive(&rig, 300); /* what it still waited for */
    const clock_t busy = clock();
    const int64_t since_us = clock_steady_us();
    cr_assert_null(rig_receive(&rig, 500), "nothing is answered");
    const int64_t waited_us = clock_steady_us() - since_us, busy_us = (clock() - busy) * 1000000 / CLOCKS_PER_SEC;
    cr_assert_lt(busy_us, waited_us / 5, "it waits for its end, and does not spin");
    cr_assert_not(atomic_load(&rig.board.database_connected));
    const int64_t started_us = clock_steady_us();
    committer_stop(rig.committer, 500);
    cr_assert_lt(clock_steady_us() - started_us, 25000000, "the deadline is kept, give or take a busy machine");
    cr_assert_eq(item->outcome, COMMIT_REDO);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM positions"), 1);
}

/* A backend in a disk that stands still takes no signal; nobody else has the tables all the while. */
Test(storage_instance, own_old_session_that_does_not_end_is_waited_for)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    struct proxy *proxy = proxy_start(&rig);
    rig_start(&rig);
    store_one();
    const pid_t backend =
        rig_number(&rig, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND "
                         "database = (SELECT oid FROM pg_database WHERE datname = current_database())");
    cr_assert_gt(backend, 1);
    cr_assert_eq(kill(backend, SIGSTOP), 0);
    proxy_set(proxy, PROXY_REFUSE);
    const struct position position = rig_position("ETHUSDT", POSITION_MODE_ONE_WAY, 0);
    const struct commit_item *item = rig_item(&rig, 0, &position);
    rig_send(&rig, 0);
    const struct message *early = rig_receive(&rig, 200);
    proxy_set(proxy, PROXY_OPEN);
    const bool is_given_up = becomes(&rig.board.superseded, true, INSTANCE_PATIENCE_US / 1000 + 3000);
    cr_expect_eq(kill(backend, SIGCONT), 0);
    cr_assert_null(early);
    cr_assert_not(is_given_up);
    cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    cr_expect_eq(item->outcome, COMMIT_DONE);
    rig_stop(&rig);
    proxy_stop(proxy);
}

Test(storage_instance, tables_that_another_holds_are_given_up_after_a_while)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    /* A holder that is not ours, and that did not raise the epoch yet. */
    rig_execute(&rig, "SELECT pg_advisory_lock(8101250823046197103)");
    const int64_t started_us = clock_steady_us();
    rig_start(&rig);
    const struct position position = rig_position("ETHUSDT", POSITION_MODE_ONE_WAY, 0);
    rig_item(&rig, 0, &position);
    rig_send(&rig, 0);
    cr_assert(becomes(&rig.board.superseded, true, RIG_WAIT_MS));
    cr_assert_geq(clock_steady_us() - started_us, INSTANCE_PATIENCE_US, "it may be a passing thing");
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM positions"), 0);
}

Test(storage_instance, tables_that_become_free_in_time_are_taken)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_execute(&rig, "SELECT pg_advisory_lock(8101250823046197103)");
    rig_start(&rig);
    const struct position position = rig_position("ETHUSDT", POSITION_MODE_ONE_WAY, 0);
    const struct commit_item *item = rig_item(&rig, 0, &position);
    rig_send(&rig, 0);
    cr_assert_null(rig_receive(&rig, 1000));
    rig_execute(&rig, "SELECT pg_advisory_unlock(8101250823046197103)");
    cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    cr_assert_eq(item->outcome, COMMIT_DONE);
}

/* A connection is given three seconds, and an old session one to end: a busy machine may need several tries. */
static bool opens(struct pg_connection *connection)
{
    const int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    while (pg_open(connection, RIG_WAIT_MS) != STATUS_OK) {
        if (clock_steady_us() > until_us)
            return false;
        poll(NULL, 0, 20);
    }
    return true;
}

static bool takes(struct pg_connection *connection, struct instance_session *session)
{
    const int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    while (instance_take(connection, session, 0) != STATUS_OK) {
        if (clock_steady_us() > until_us)
            return false;
        poll(NULL, 0, 20);
    }
    return true;
}

Test(storage_instance, own_session_that_the_server_still_keeps_is_ended)
{
    struct pg_connection first, next;
    struct instance_session session = {0};
    pg_init(&first, &rig.settings, NULL, NULL);
    pg_init(&next, &rig.settings, NULL, NULL);
    cr_assert(opens(&first) && opens(&next));
    cr_assert_eq(instance_take(&first, &session, 0), STATUS_OK);
    cr_assert(takes(&next, &session), "the first is as good as gone");
    /* Somebody else's session is not ended. */
    struct instance_session stranger = {0};
    pg_close(&first);
    cr_assert(opens(&first));
    cr_assert_eq(instance_take(&first, &stranger, 0), STATUS_UNAVAILABLE);
    cr_assert_eq(pg_query(&next, "SELECT 1", 0, NULL, NULL), STATUS_OK);
    pg_close(&first);
    pg_close(&next);
}

/* Sessions that wrote take their time to end: the server removes their temporary tables, and frees their locks then. */
static void make_sessions_end_slowly(void)
{
    rig_execute(&rig, "CREATE FUNCTION litter() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..500 LOOP "
                      "EXECUTE format('CREATE TEMP TABLE IF NOT EXISTS t%s ()', i); END LOOP; RETURN NULL; END $$");
    rig_execute(&rig,
                "CREATE TRIGGER litter AFTER INSERT OR UPDATE ON position_manager_instance EXECUTE FUNCTION litter()");
    rig_execute(&rig, "CREATE TRIGGER litter AFTER INSERT ON position_manager_journal EXECUTE FUNCTION litter()");
}

Test(storage_instance, tables_are_given_up_before_the_session_ends)
{
    struct pg_connection next;
    struct instance_session session = {0};
    pg_init(&next, &rig.settings, NULL, NULL);
    cr_assert(opens(&next));
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    make_sessions_end_slowly();
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    cr_assert_eq(instance_take(&next, &session, 0), STATUS_OK, "by storage_prepare(): %s", next.error);
    instance_leave(&next);
    rig_start(&rig);
    store_one();
    rig_stop(&rig);
    cr_assert_eq(instance_take(&next, &session, 0), STATUS_OK, "by the committer: %s", next.error);
    pg_close(&next);
}

/* ---- what others did ---- */

static const char *newest_line(const char *asset)
{
    char sql[400];
    snprintf(sql, sizeof sql,
             "SELECT concat_ws('|', source, version, trim_scale(size), trim_scale(average_entry_price), "
             "trim_scale(realized_pnl), trim_scale(fees_paid), trim_scale(fees), at IS NULL) "
             "FROM position_manager_journal WHERE asset = '%s' ORDER BY seq DESC LIMIT 1",
             asset);
    return rig_value(&rig, sql);
}

Test(storage_instance, rows_of_before_the_journal_get_one_opening_line)
{
    rig_execute(&rig, "CREATE TABLE positions (id text PRIMARY KEY DEFAULT gen_random_uuid(), asset varchar(30), "
                      "mode text, size double precision, average_entry_price numeric(30,14), realized_pnl numeric, "
                      "long_size numeric, short_size numeric, long_avg_price numeric, version bigint)");
    rig_execute(&rig, "INSERT INTO positions (asset, mode, size, average_entry_price, realized_pnl, version) VALUES "
                      "('AUSDT', NULL, 0.1, 50000.123456785, NULL, 7), ('BUSDT', 'hedge', -2, 10, 3, NULL), "
                      "('CUSDT', 'one-way', 0, 5, 1, 2), ('DUSDT', 'one-way', 4, 0, 1, 2)");
    rig_execute(&rig, "INSERT INTO positions (asset, mode, size, long_size, short_size, long_avg_price) "
                      "VALUES ('EUSDT', 'hedge', 99, 3, 1, 5), ('FUSDT', 'hedge', 99, 3, NULL, 5)");
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
        cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM position_manager_journal"), 6, "round %d", round);
    }
    cr_assert_str_eq(newest_line("AUSDT"), "opening|7|0.1|50000.12345679|0|0|0|t");
    cr_assert_str_eq(newest_line("BUSDT"), "opening|0|-2|10|3|0|0|t");
    cr_assert_str_eq(newest_line("CUSDT"), "opening|2|0|1|0|0|t");
    cr_assert_str_eq(newest_line("DUSDT"), "opening|2|4|1|0|0|t");
    cr_assert_str_eq(newest_line("EUSDT"), "opening|0|2|0|0|0|t");
    cr_assert_str_eq(newest_line("FUSDT"), "opening|0|3|5|0|0|0|t");
    cr_assert_str_eq(rig_value(&rig, "SELECT concat_ws('|', short_size, short_avg_price, long_size, long_avg_price) "
                                     "FROM position_manager_journal WHERE asset = 'BUSDT'"),
                     "2.00000000|10.00000000|0.00000000");
    /* What is loaded is what the journal says. */
    cr_assert(decimal_is_equal(rig_loaded(&rig, "BUSDT", POSITION_MODE_HEDGE)->average_entry_price, rig_decimal("10")));
    cr_assert(decimal_is_none(rig_loaded(&rig, "CUSDT", POSITION_MODE_ONE_WAY)->average_entry_price));
}

Test(storage_instance, change_made_while_nobody_looked_is_journalled_once_and_due_to_be_announced)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_execute(&rig, "INSERT INTO positions (asset, size, average_entry_price, fees_paid, version) VALUES "
                      "('AUSDT', 1, 10, 2, 3), ('BUSDT', 1, 10, 2, 3), ('CUSDT', 1, 10, 2, 3), ('DUSDT', 1, 10, 2, 3)");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_execute(&rig, "UPDATE positions SET size = 2, fees_paid = 1.5, version = 4 WHERE asset = 'AUSDT'; "
                      "UPDATE positions SET average_entry_price = NULL WHERE asset = 'BUSDT'; "
                      "UPDATE positions SET version = 1 WHERE asset = 'CUSDT'; "
                      "UPDATE positions SET current_price = 5, version = 9 WHERE asset = 'DUSDT'");
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_OK);
        cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM position_manager_journal WHERE source = 'external'"), 3);
        cr_assert(rig_loaded(&rig, "AUSDT", POSITION_MODE_ONE_WAY)->announcement_due);
        cr_assert_not(rig_loaded(&rig, "DUSDT", POSITION_MODE_ONE_WAY)->announcement_due);
    }
    cr_assert_str_eq(newest_line("AUSDT"), "external|4|2|10|0|1.5|-0.5|f");
    cr_assert_str_eq(newest_line("BUSDT"), "external|3|1|0|2|0|f");
    cr_assert_str_eq(newest_line("CUSDT"), "external|1|1|10|0|2|0|f");
}

Test(storage_instance, journal_that_cannot_be_written_stops_nobody)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_execute(&rig, "INSERT INTO positions (asset) VALUES ('AUSDT')");
    char sql[160];
    snprintf(sql, sizeof sql, "ALTER DATABASE %s SET default_transaction_read_only = on", rig.database);
    rig_execute(&rig, sql);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_OK);
    cr_assert_eq(rig.loaded_count, 1);
    cr_assert_eq(atomic_load(&rig.board.instance_epoch), 0);
    snprintf(sql, sizeof sql, "ALTER DATABASE %s RESET default_transaction_read_only", rig.database);
    rig_execute(&rig, sql);
    rig_execute(&rig, "ALTER TABLE position_manager_journal ADD CHECK (source <> 'opening')");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_OFF), STATUS_OK);
    cr_assert_eq(rig.loaded_count, 1);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_INVALID);
    rig_execute(&rig, "DROP TABLE position_manager_journal, position_manager_instance");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_OFF), STATUS_OK);
    cr_assert_eq(rig.loaded_count, 1);
}
