/*
 * The committer, driven through its mailboxes: what it writes, whom it holds up, and what it answers.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "clock.h"
#include "metrics.h"
#include "storage_rig.h"

static struct rig rig;

static void open_rig_that_waits(int64_t wait_us)
{
    rig_open(&rig);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig.others_wait_us = wait_us;
    rig_start(&rig);
}

static void open_rig(void)
{
    open_rig_that_waits(0);
}
static void close_rig(void)
{
    rig_close(&rig);
}

TestSuite(storage_committer, .init = open_rig, .fini = close_rig, .timeout = 300);

/* Puts a position there and empties the requests; returns it as committed. */
static struct position store(const char *asset, enum position_mode mode)
{
    struct position position = rig_position(asset, mode, 0);
    const struct commit_item *item = rig_item(&rig, 0, &position);
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_DONE);
    position = item->row;
    rig_clear(&rig);
    return position;
}

static void assert_same(const struct position *a, const struct position *b)
{
    cr_assert_str_eq(a->asset, b->asset);
    cr_assert(uuid_is_equal(&a->id, &b->id));
    cr_assert(position_is_same_figures(a, b));
    cr_assert_eq(a->version, b->version);
    cr_assert_eq(a->price_updated_at_us, b->price_updated_at_us);
    cr_assert_eq(a->last_updated_us, b->last_updated_us);
    cr_assert_eq(a->last_snapshot_at_us, b->last_snapshot_at_us);
    cr_assert_eq(a->created_at_us, b->created_at_us);
    cr_assert_eq(a->opened_at_us, b->opened_at_us);
    cr_assert_eq(a->closed_at_us, b->closed_at_us);
    cr_assert_eq(a->last_execution_at_us, b->last_execution_at_us);
    cr_assert_eq(a->market_event_at_us, b->market_event_at_us);
    cr_assert_eq(a->market_digest_count, b->market_digest_count);
    cr_assert_eq(a->announcement_due, b->announcement_due);
    cr_assert_arr_eq(a->market_digests, b->market_digests, a->market_digest_count * sizeof a->market_digests[0]);
}

Test(storage_committer, every_field_of_a_row_comes_back)
{
    struct position flat = rig_position("FLATUSDT", POSITION_MODE_ONE_WAY, 0);
    flat.size = DECIMAL_ZERO;
    flat.average_entry_price = flat.current_price = DECIMAL_NONE;
    flat.opened_at_us = flat.last_snapshot_at_us = flat.market_event_at_us = TIME_NONE;
    flat.closed_at_us = flat.created_at_us;
    flat.market_digest_count = 0;
    const struct position given[] = {rig_position("BTCUSDT", POSITION_MODE_ONE_WAY, 0),
                                     rig_position("BTCUSDT", POSITION_MODE_HEDGE, 0), flat};
    struct position expected[3];
    for (size_t i = 0; i < 3; i++)
        expected[i] = rig_item(&rig, 0, &given[i])->row;
    rig_commit(&rig, 0);
    /* Once more as an update, with other figures. */
    rig_clear(&rig);
    for (size_t i = 0; i < 3; i++) {
        expected[i].realized_pnl = rig_decimal("-77.00000001");
        expected[i].last_updated_us += 1000000;
        struct commit_item *item = rig_item(&rig, 1, &expected[i]);
        expected[i] = item->row;
    }
    rig_commit(&rig, 1);
    rig_stop(&rig);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_OK);
    cr_assert_eq(rig.loaded_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_same(rig_loaded(&rig, expected[i].asset, (enum position_mode)expected[i].mode), &expected[i]);
}

Test(storage_committer, group_writes_rows_journal_and_orders)
{
    const struct position btc = rig_position("BTCUSDT", POSITION_MODE_ONE_WAY, 0);
    struct commit_item *item = rig_item(&rig, 0, &btc);
    item->external = (struct journal_note){.wanted = true, .source = SOURCE_EXTERNAL, .at_us = TIME_NONE, .version = 1};
    item->external.quantity = item->external.price = item->external.average_entry_price = DECIMAL_NONE;
    item->external.long_size = item->external.short_size = item->external.long_avg_price =
        item->external.short_avg_price = DECIMAL_NONE;
    rig_execution(&rig, item, "x:1", 11, "order \"1\" \\ {a,b}");
    rig_execution(&rig, item, "x:\xFF{\"2\",}", 0xFFFFFFFFFFFFFFFF, "order \"1\" \\ {a,b}");
    rig_execution(&rig, item, "", 0, NULL);
    struct delivery *market = rig_execution(&rig, item, "x:1", 11, "order");
    market->kind = DELIVERY_MARKET;
    market->journal.source = SOURCE_WEBSOCKET;
    rig_execution(&rig, item, "x:not wanted", 0, "not wanted")->journal.wanted = false;
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_DONE);
    cr_assert_str_eq(
        rig_value(
            &rig,
            "SELECT string_agg(concat_ws('|', source, identity, fingerprint, order_id, quantity), ';' ORDER BY seq) "
            "FROM position_manager_journal"),
        "external;order_execution|x:1|11|order \"1\" \\ {a,b}|-0.50000000;"
        "order_execution|x:\\xff{\"2\",}|-1|order \"1\" \\ {a,b}|-0.50000000;"
        "order_execution|-0.50000000;websocket|-0.50000000");
    cr_assert_str_eq(rig_value(&rig, "SELECT concat_ws('|', order_id, asset, mode, filled_quantity, notional, fees) "
                                     "FROM position_manager_orders"),
                     "order \"1\" \\ {a,b}|BTCUSDT|one-way|1.00000000|50000.1234567800000000|0.50000000");
    /* The order's total grows with the next group. */
    const struct position next = item->row;
    rig_clear(&rig);
    rig_execution(&rig, rig_item(&rig, 0, &next), "x:3", 3, "order \"1\" \\ {a,b}");
    rig_commit(&rig, 0);
    cr_assert_str_eq(rig_value(&rig, "SELECT filled_quantity FROM position_manager_orders"), "1.50000000");
}

Test(storage_committer, repeats_are_marked_and_hold_nobody_up)
{
    const struct position btc = store("BTCUSDT", POSITION_MODE_ONE_WAY), eth = store("ETHUSDT", POSITION_MODE_ONE_WAY);
    struct commit_item *item = rig_item(&rig, 0, &btc);
    rig_execution(&rig, item, "x:1", 42, "o");
    rig_commit(&rig, 0);
    const struct position moved = item->row;
    rig_clear(&rig);
    struct commit_item *repeating = rig_item(&rig, 0, &moved);
    const struct delivery *fresh = rig_execution(&rig, repeating, "x:2", 43, "o");
    const struct delivery *repeat = rig_execution(&rig, repeating, "x:1", 99, "o");
    struct commit_item *healthy = rig_item(&rig, 0, &eth);
    rig_execution(&rig, healthy, "x:3", 44, NULL);
    rig_commit(&rig, 0);
    cr_assert_eq(healthy->outcome, COMMIT_DONE);
    cr_assert_eq(repeating->outcome, COMMIT_REDO);
    cr_assert(repeat->identity_known && repeat->known_fingerprint == 42);
    cr_assert_not(fresh->identity_known);
    cr_assert(decimal_is_equal(fresh->order_before.filled, rig_decimal("0.5")));
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM position_manager_journal WHERE identity = 'x:2'"), 0);
    cr_assert_eq(rig_number(&rig, "SELECT version FROM positions WHERE asset = 'BTCUSDT'"), moved.version);
}

/* Which of the two statements wrote each journal entry, oldest first: "new" leaves out what is there already. */
static void watch_journal(void)
{
    rig_execute(&rig, "CREATE TABLE watched (id serial, leaves_out boolean)");
    rig_execute(&rig, "CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                      "INSERT INTO watched (leaves_out) VALUES (current_query() LIKE '%ON CONFLICT%'); "
                      "RETURN NULL; END $$");
    rig_execute(&rig, "CREATE TRIGGER watch AFTER INSERT ON position_manager_journal "
                      "FOR EACH STATEMENT EXECUTE FUNCTION watch()");
}

static const char *watched(void)
{
    return rig_value(&rig,
                     "SELECT string_agg(CASE WHEN leaves_out THEN 'new' ELSE 'all' END, ' ' ORDER BY id) FROM watched");
}

/* The cheaper statement makes an error in the server's log of a repeat: it is used where none is expected. */
Test(storage_committer, a_repeat_that_the_broker_tells_of_is_no_error_in_the_servers_log)
{
    struct position btc = store("BTCUSDT", POSITION_MODE_ONE_WAY);
    const int64_t rollbacks = metric_value(METRIC_COMMIT_ROLLBACKS);
    watch_journal();
    for (int i = 0; i < 3; i++) {
        struct commit_item *item = rig_item(&rig, 0, &btc);
        char identity[8];
        snprintf(identity, sizeof identity, "x:%d", i);
        rig_execution(&rig, item, identity, 1, "o")->redelivered = i == 1;
        rig_commit(&rig, 0);
        cr_assert_eq(item->outcome, COMMIT_DONE);
        btc = item->row;
        rig_clear(&rig);
    }
    cr_assert_str_eq(watched(), "all new all");
    cr_assert_eq(metric_value(METRIC_COMMIT_ROLLBACKS), rollbacks);
}

Test(storage_committer, after_a_repeat_that_nobody_told_of_more_are_expected)
{
    struct position btc = store("BTCUSDT", POSITION_MODE_ONE_WAY);
    const struct position eth = store("ETHUSDT", POSITION_MODE_ONE_WAY);
    struct commit_item *item = rig_item(&rig, 0, &btc);
    rig_execution(&rig, item, "x:1", 42, "o");
    rig_commit(&rig, 0);
    btc = item->row;
    rig_clear(&rig);
    watch_journal();
    struct commit_item *repeating = rig_item(&rig, 0, &btc), *healthy = rig_item(&rig, 0, &eth);
    rig_execution(&rig, repeating, "x:1", 42, "o");
    rig_execution(&rig, healthy, "x:2", 1, NULL);
    rig_commit(&rig, 0);
    cr_assert_eq(healthy->outcome, COMMIT_DONE);
    cr_assert_eq(repeating->outcome, COMMIT_REDO);
    rig_clear(&rig);
    rig_execution(&rig, rig_item(&rig, 0, &btc), "x:3", 1, NULL);
    rig_commit(&rig, 0);
    cr_assert_str_eq(watched(), "new new");
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM position_manager_journal WHERE identity IS NOT NULL"), 3);
}

Test(storage_committer, one_identity_in_two_items_is_counted_once)
{
    const struct position btc = rig_position("BTCUSDT", POSITION_MODE_ONE_WAY, 0),
                          eth = rig_position("ETHUSDT", POSITION_MODE_ONE_WAY, 0);
    struct commit_item *items[] = {rig_item(&rig, 0, &btc), rig_item(&rig, 1, &eth)};
    struct delivery *deliveries[] = {rig_execution(&rig, items[0], "x:1", 1, NULL),
                                     rig_execution(&rig, items[1], "x:1", 2, NULL)};
    /* Both in one group: the committer is kept busy with another until both wait. */
    const struct position sol = rig_position("SOLUSDT", POSITION_MODE_ONE_WAY, 0);
    rig_execution(&rig, rig_item(&rig, 2, &sol), "x:0", 1, NULL);
    rig_execute(&rig, "BEGIN; LOCK TABLE position_manager_journal IN ACCESS EXCLUSIVE MODE");
    rig_send(&rig, 2);
    rig_execute(&rig, "SELECT pg_sleep(0.1)");
    rig_send(&rig, 0);
    rig_send(&rig, 1);
    rig_execute(&rig, "COMMIT");
    for (size_t i = 0; i < RIG_SHARDS; i++)
        cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    const size_t second = items[0]->outcome == COMMIT_DONE;
    cr_assert_eq(items[1 - second]->outcome, COMMIT_DONE);
    cr_assert_eq(items[second]->outcome, COMMIT_REDO);
    cr_assert(deliveries[second]->identity_known);
    cr_assert_eq(deliveries[second]->known_fingerprint, deliveries[1 - second]->fingerprint);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM position_manager_journal WHERE identity = 'x:1'"), 1);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM positions"), 2);
}

Test(storage_committer, twins_in_one_request_commit_the_first_and_mark_the_second)
{
    const struct position btc = rig_position("BTCUSDT", POSITION_MODE_ONE_WAY, 0),
                          eth = rig_position("ETHUSDT", POSITION_MODE_ONE_WAY, 0),
                          sol = rig_position("SOLUSDT", POSITION_MODE_ONE_WAY, 0);
    struct commit_item *items[] = {rig_item(&rig, 0, &btc), rig_item(&rig, 0, &eth), rig_item(&rig, 0, &sol)};
    rig_execution(&rig, items[0], "x:1", 5, NULL);
    rig_execution(&rig, items[1], "x:1", 5, NULL);
    rig_execution(&rig, items[2], "x:9", 5, NULL);
    const struct delivery *inner = rig_execution(&rig, items[2], "x:9", 5, NULL);
    rig_commit(&rig, 0);
    cr_assert_eq((items[0]->outcome == COMMIT_DONE) + (items[1]->outcome == COMMIT_DONE), 1);
    cr_assert_eq(items[2]->outcome, COMMIT_REDO);
    cr_assert(inner->identity_known && inner->known_fingerprint == 5,
              "a pair within one item must not go round for ever");
}

Test(storage_committer, somebody_elses_change_is_a_conflict_with_the_row_as_it_is)
{
    const struct position changed = store("AUSDT", POSITION_MODE_ONE_WAY), gone = store("BUSDT", POSITION_MODE_ONE_WAY),
                          healthy = store("CUSDT", POSITION_MODE_HEDGE),
                          fresh = rig_position("DUSDT", POSITION_MODE_ONE_WAY, 0);
    rig_execute(&rig, "UPDATE positions SET version = 9, size = 5, realized_pnl = NULL WHERE asset = 'AUSDT'; "
                      "DELETE FROM positions WHERE asset = 'BUSDT'; "
                      "INSERT INTO positions (asset, mode, size, version) VALUES ('DUSDT', 'one-way', 3, 2)");
    struct commit_item *items[] = {rig_item(&rig, 0, &changed), rig_item(&rig, 0, &gone), rig_item(&rig, 0, &healthy),
                                   rig_item(&rig, 0, &fresh)};
    rig_execution(&rig, items[0], "x:1", 1, NULL);
    rig_commit(&rig, 0);
    cr_assert_eq(items[0]->outcome, COMMIT_CONFLICT);
    cr_assert(items[0]->found_exists);
    cr_assert_eq(items[0]->found.version, 9);
    cr_assert(decimal_is_equal(items[0]->found.size, rig_decimal("5")));
    cr_assert(decimal_is_equal(items[0]->found.realized_pnl, DECIMAL_ZERO));
    cr_assert_eq(items[1]->outcome, COMMIT_CONFLICT);
    cr_assert_not(items[1]->found_exists);
    cr_assert_eq(items[2]->outcome, COMMIT_DONE);
    cr_assert_eq(items[3]->outcome, COMMIT_CONFLICT);
    cr_assert(items[3]->found_exists && items[3]->found.version == 2);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM position_manager_journal"), 0);
}

Test(storage_committer, changed_version_alone_spoils_the_transaction)
{
    const struct position position = store("AUSDT", POSITION_MODE_ONE_WAY);
    rig_execute(&rig, "UPDATE positions SET version = 9");
    const struct commit_item *item = rig_item(&rig, 0, &position);
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_CONFLICT);
    cr_assert_eq(item->found.version, 9);
}

Test(storage_committer, identity_alone_spoils_the_transaction)
{
    const struct position a = rig_position("AUSDT", POSITION_MODE_ONE_WAY, 0),
                          b = rig_position("BUSDT", POSITION_MODE_ONE_WAY, 0);
    rig_execution(&rig, rig_item(&rig, 0, &a), "x:1", 1, NULL);
    rig_commit(&rig, 0);
    rig_clear(&rig);
    struct commit_item *item = rig_item(&rig, 0, &b);
    rig_execution(&rig, item, "x:1", 1, NULL);
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_REDO);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM positions"), 1);
}

Test(storage_committer, row_without_version_is_at_version_zero)
{
    rig_stop(&rig);
    rig_execute(&rig, "INSERT INTO positions (asset, mode, version) VALUES ('AUSDT', 'one-way', NULL)");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_OK);
    rig_start(&rig);
    struct commit_item *item = rig_item(&rig, 0, rig_loaded(&rig, "AUSDT", POSITION_MODE_ONE_WAY));
    item->insert = false;
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_DONE);
    cr_assert_eq(rig_number(&rig, "SELECT version FROM positions"), 1);
}

Test(storage_committer, locked_row_holds_up_no_other)
{
    struct position locked = store("AUSDT", POSITION_MODE_ONE_WAY), other = store("BUSDT", POSITION_MODE_ONE_WAY);
    rig_execute(&rig, "BEGIN; SELECT FROM positions WHERE asset = 'AUSDT' FOR UPDATE");
    enum { ROUNDS = 20, LOCK_WAIT_US = 500000 };
    int64_t second_us = 0;
    int quick_rounds = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t began_us = clock_steady_us();
        if (round == 1)
            second_us = began_us;
        struct commit_item *items[] = {rig_item(&rig, 0, &locked), rig_item(&rig, 1, &other)};
        rig_send(&rig, 0);
        rig_send(&rig, 1);
        cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
        cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
        quick_rounds += clock_steady_us() - began_us < LOCK_WAIT_US;
        cr_assert_eq(items[0]->outcome, COMMIT_REDO);
        cr_assert_eq(items[1]->outcome, COMMIT_DONE);
        other = items[1]->row;
        rig_clear(&rig);
    }
    /* Where it is waited for each time no round is quick; a busy machine makes some of them slow. */
    cr_assert_geq(quick_rounds, ROUNDS / 5, "a lock is waited for half a second, and not again each time");
    cr_assert_gt(clock_steady_us() - second_us, (ROUNDS - 1) * 15000, "its shard must not spin");
    rig_execute(&rig, "COMMIT");
    enum commit_outcome outcome = COMMIT_REDO;
    for (int round = 0; round < 200 && outcome == COMMIT_REDO; round++) {
        const struct commit_item *item = rig_item(&rig, 0, &locked);
        rig_commit(&rig, 0);
        outcome = item->outcome;
        locked = outcome == COMMIT_DONE ? item->row : locked;
        rig_clear(&rig);
    }
    cr_assert_eq(outcome, COMMIT_DONE);
    /* From now on it goes with the others again. */
    const uint64_t commits = metric_value(METRIC_COMMITS);
    rig_item(&rig, 0, &locked);
    rig_item(&rig, 0, &other);
    rig_commit(&rig, 0);
    cr_assert_eq(metric_value(METRIC_COMMITS), commits + 1);
}

Test(storage_committer, value_that_the_server_refuses_holds_up_no_other)
{
    struct commit_item *items[8];
    char asset[16];
    for (int i = 0; i < 8; i++) {
        snprintf(asset, sizeof asset, "A%dUSDT", i);
        const struct position position = rig_position(asset, POSITION_MODE_ONE_WAY, 0);
        items[i] = rig_item(&rig, 0, &position);
    }
    rig_execute(&rig, "ALTER TABLE positions ADD CHECK (asset <> 'A5USDT')");
    rig_commit(&rig, 0);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(items[i]->outcome, i == 5 ? COMMIT_REFUSED : COMMIT_DONE, "item %d", i);
}

Test(storage_committer, unique_index_of_others_becomes_a_conflict_not_a_standstill)
{
    store("AUSDT", POSITION_MODE_ONE_WAY);
    rig_execute(&rig, "CREATE UNIQUE INDEX ON positions (asset)");
    const struct position hedge = rig_position("AUSDT", POSITION_MODE_HEDGE, 0),
                          other = rig_position("BUSDT", POSITION_MODE_HEDGE, 0);
    struct commit_item *items[] = {rig_item(&rig, 0, &hedge), rig_item(&rig, 0, &other)};
    rig_commit(&rig, 0);
    cr_assert_eq(items[0]->outcome, COMMIT_CONFLICT);
    cr_assert_not(items[0]->found_exists);
    cr_assert_eq(items[1]->outcome, COMMIT_DONE);
}

Test(storage_committer, found_row_that_cannot_be_read_is_tried_again_until_it_is_mended)
{
    const struct position position = store("AUSDT", POSITION_MODE_ONE_WAY);
    rig_execute(&rig, "UPDATE positions SET version = 5, size = 'NaN'");
    const struct commit_item *item = rig_item(&rig, 0, &position);
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_REFUSED);
    rig_execute(&rig, "UPDATE positions SET size = 1");
    for (int round = 0; round < 200 && item->outcome == COMMIT_REFUSED; round++)
        rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_CONFLICT);
}

Test(storage_committer, columns_of_others_are_filled)
{
    rig_stop(&rig);
    rig_execute(&rig, "CREATE TYPE colour AS ENUM ('red', 'blue')");
    rig_execute(&rig, "ALTER TABLE positions ADD \"Strange name\" text NOT NULL, ADD n1 integer NOT NULL, ADD n2 "
                      "double precision NOT NULL, "
                      "ADD t1 timestamptz NOT NULL, ADD t2 date NOT NULL, ADD b boolean NOT NULL, ADD j jsonb NOT "
                      "NULL, ADD c colour NOT NULL, "
                      "ADD u uuid NOT NULL, ADD a text[] NOT NULL, ADD v varchar(3) NOT NULL, ADD optional text, ADD "
                      "given text NOT NULL DEFAULT 'x'");
    rig_start(&rig);
    store("AUSDT", POSITION_MODE_ONE_WAY);
    cr_assert_str_eq(
        rig_value(&rig,
                  "SELECT concat_ws('|', \"Strange name\", n1, n2, b, j, c, a, v, optional, given) FROM positions"),
        "|0|0|f|{}|red|{}||x");
}

Test(storage_committer, identifiers_that_are_texts_are_found_again)
{
    rig_stop(&rig);
    rig_execute(
        &rig,
        "ALTER TABLE position_snapshots DROP COLUMN position_id CASCADE; ALTER TABLE positions ALTER id DROP DEFAULT, "
        "ALTER id TYPE varchar(36) USING id::text");
    rig_start(&rig);
    const struct position position = store("AUSDT", POSITION_MODE_ONE_WAY);
    const struct commit_item *item = rig_item(&rig, 0, &position);
    rig_commit(&rig, 0);
    cr_assert_eq(item->outcome, COMMIT_DONE);
    cr_assert_eq(rig_number(&rig, "SELECT version FROM positions"), 2);
}

Test(storage_committer, lookups_tell_identities_and_order_totals)
{
    const struct position btc = rig_position("BTCUSDT", POSITION_MODE_HEDGE, 0);
    struct commit_item *item = rig_item(&rig, 0, &btc);
    struct delivery *known = rig_execution(&rig, item, "x:1", 0x8000000000000001, "o");
    rig_commit(&rig, 0);
    struct delivery *other_mode = rig_execution(&rig, item, "x:2", 2, "o"),
                    *nameless = rig_execution(&rig, item, "", 3, NULL);
    other_mode->said.execution.mode = POSITION_MODE_ONE_WAY;
    nameless->identity_known = true; /* must be cleared */
    rig.lookups[1].deliveries = known;
    struct message *message = &rig.lookups[1].head;
    cr_assert_eq(mailbox_send(rig.to_committer, 1, &message), STATUS_OK);
    cr_assert_eq(rig_receive(&rig, RIG_WAIT_MS), &rig.lookups[1].head);
    cr_assert(known->looked_up && other_mode->looked_up && nameless->looked_up);
    cr_assert(known->identity_known && known->known_fingerprint == 0x8000000000000001);
    cr_assert(decimal_is_equal(known->order_before.filled, rig_decimal("0.5")));
    cr_assert(decimal_is_equal(known->order_before.fees, rig_decimal("0.25")));
    cr_assert_eq(wide_compare(known->order_before.notional, known->fill.notional), 0);
    cr_assert_not(other_mode->identity_known);
    cr_assert(wide_is_zero(other_mode->order_before.notional) && other_mode->order_before.filled.units == 0);
    cr_assert_not(nameless->identity_known);
}

Test(storage_committer, empty_requests_are_answered)
{
    rig_commit(&rig, 0);
    struct message *message = &rig.lookups[0].head;
    cr_assert_eq(mailbox_send(rig.to_committer, 0, &message), STATUS_OK);
    cr_assert_eq(rig_receive(&rig, RIG_WAIT_MS), &rig.lookups[0].head);
}

Test(storage_committer, full_requests_of_all_shards_are_committed)
{
    char asset[16];
    for (size_t shard = 0; shard < RIG_SHARDS; shard++) {
        for (int i = 0; i < COMMIT_ITEMS_MAX; i++) {
            snprintf(asset, sizeof asset, "A%zuX%dUSDT", shard, i);
            const struct position position = rig_position(asset, POSITION_MODE_ONE_WAY, 0);
            rig_item(&rig, shard, &position);
        }
    }
    for (size_t shard = 0; shard < RIG_SHARDS; shard++)
        rig_send(&rig, shard);
    for (size_t shard = 0; shard < RIG_SHARDS; shard++)
        cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM positions"), RIG_SHARDS * COMMIT_ITEMS_MAX);
}

Test(storage_committer, stop_finishes_what_is_waiting)
{
    const struct position btc = rig_position("BTCUSDT", POSITION_MODE_ONE_WAY, 0);
    struct commit_item *item = rig_item(&rig, 0, &btc);
    rig_send(&rig, 0);
    committer_stop(rig.committer, RIG_WAIT_MS); /* as long as it takes */
    rig_stop(&rig);
    cr_assert_eq(item->outcome, COMMIT_DONE);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM positions"), 1);
}

/* ---- requests of busy shards ---- */

/* The group waits for the other busy shard for as long as it takes. */
static void open_patient_rig(void)
{
    open_rig_that_waits((int64_t)RIG_WAIT_MS * 10000);
}

TestSuite(storage_committer_moments, .init = open_patient_rig, .fini = close_rig, .timeout = 300);

/* What the shards 0 and 1 write, one row each. */
static struct position rows[2];
static struct commit_item *items[2];

static void send_at(size_t shard, int64_t moment_us)
{
    items[shard] = rig_item(&rig, shard, &rows[shard]);
    rig.requests[shard]->moment_us = moment_us;
    rig_send(&rig, shard);
}

/* For as many requests as are under way. */
static void receive(size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_not_null(rig_receive(&rig, RIG_WAIT_MS));
    for (size_t shard = 0; shard < 2; shard++) {
        if (rig.requests[shard]->count == 0)
            continue;
        cr_assert_eq(items[shard]->outcome, COMMIT_DONE);
        rows[shard] = items[shard]->row;
    }
    rig_clear(&rig);
}

/* Both shards are busy: the second one's request comes a little later. */
static void commit_both_at(int64_t moment_us)
{
    send_at(0, moment_us);
    (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* it would begin without the other one */
    send_at(1, moment_us);
    receive(2);
}

static void begin(void)
{
    rows[0] = rig_position("BTCUSDT", POSITION_MODE_ONE_WAY, 0);
    rows[1] = rig_position("ETHUSDT", POSITION_MODE_ONE_WAY, 0);
    commit_both_at(100); /* each by itself: nobody is known to be busy */
}

Test(storage_committer_moments, they_share_a_transaction)
{
    begin();
    for (int64_t moment_us = 200; moment_us < 500; moment_us += 100) {
        commit_both_at(moment_us);
        cr_expect_eq(rig_number(&rig, "SELECT count(DISTINCT xmin::text) FROM positions"), 1);
    }
}

Test(storage_committer_moments, one_that_had_its_turn_is_not_waited_for)
{
    begin();
    commit_both_at(200);
    send_at(1, 200);
    receive(1);
}

Test(storage_committer_moments, nobody_waits_for_or_behind_a_shard_that_is_not_busy)
{
    begin();
    send_at(1, 0);
    receive(1);
    send_at(0, 200);
    receive(1);
}

Test(storage_committer_moments, lookups_are_answered_meanwhile)
{
    begin();
    send_at(0, 200);
    struct message *lookup = &rig.lookups[1].head;
    cr_assert_eq(mailbox_send(rig.to_committer, 1, &lookup), STATUS_OK);
    cr_assert_eq(rig_receive(&rig, RIG_WAIT_MS), &rig.lookups[1].head);
    send_at(1, 200);
    receive(2);
}

Test(storage_committer_moments, stop_does_not_wait_for_them)
{
    begin();
    send_at(0, 200);
    committer_stop(rig.committer, RIG_WAIT_MS); /* as long as it takes */
    rig_stop(&rig);
    cr_expect_eq(items[0]->outcome, COMMIT_DONE);
}

static void open_rig_of_a_second(void)
{
    open_rig_that_waits(1000000);
}

TestSuite(storage_committer_late, .init = open_rig_of_a_second, .fini = close_rig, .timeout = 300);

Test(storage_committer_late, one_that_did_not_come_is_not_waited_for_again)
{
    enum { REQUESTS = 20 };
    begin();
    const int64_t begin_us = clock_steady_us();
    for (int64_t i = 0; i < REQUESTS; i++) {
        send_at(0, 200 + i * 100);
        receive(1);
    }
    const int64_t elapsed_us = clock_steady_us() - begin_us;
    cr_expect_geq(elapsed_us, rig.others_wait_us);
    cr_expect_lt(elapsed_us, REQUESTS * rig.others_wait_us);
}
