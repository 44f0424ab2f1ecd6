/*
 * Validation against the orders table: asked for, and wanted by shards. That by the clock is in
 * storage_history_daily.c.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "history_rig.h"
#include "metrics.h"

static struct history_rig rig;

#define ORDERS_TABLE                                                                                                   \
    "CREATE TABLE orders (order_id text PRIMARY KEY, asset varchar(40), side varchar(10), status varchar(20), "        \
    "filled_quantity numeric(20,8), average_price numeric(20,8), executed_at timestamp, is_dry_run boolean)"

static void open_rig(void)
{
    history_rig_open(&rig);
}
static void close_rig(void)
{
    history_rig_close(&rig);
}

TestSuite(storage_history_checks, .init = open_rig, .fini = close_rig, .timeout = 300);

static void execute(const char *sql)
{
    rig_execute(&rig.base, sql);
}

static void validate(const char *asset, enum position_mode mode, bool fix, enum status status, char body[4096])
{
    struct history_request *request = history_rig_request(HISTORY_VALIDATE, asset);
    request->mode = (uint8_t)mode;
    request->fix = fix;
    history_rig_send(&rig, request);
    history_rig_await(&rig, request);
    cr_expect_eq(request->status, status, "%s", status_word(request->status));
    snprintf(body, 4096, "%.*s", (int)request->body_len, request->body == NULL ? "" : request->body);
    history_rig_free(request);
}

static void expect_in(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no %s in %s", part, text);
}

#define VALID   "{\"is_valid\":true,\"error_message\":null,\"discrepancies\":[],\"updated_position\":null}"
#define NOTHING "{\"is_valid\":true,\"error_message\":\"nothing to compare: "

/* Position: 2 at 100. */
Test(storage_history_checks, orders_are_compared_whatever_their_tables_shape)
{
    static const struct {
        const char *name, *sql, *answer;
    } rows[] = {
        {"no table", "SELECT 1", NOTHING "there is no orders table\""},
        {"too few columns", "CREATE TABLE orders (asset text, side text)", NOTHING "there is no orders table\""},
        {"no orders", "DROP TABLE orders; " ORDERS_TABLE, NOTHING "there are no filled orders"},
        {"dry, cancelled, of others, empty",
         "INSERT INTO orders VALUES ('a', 'BTCUSDT', 'Buy', 'filled', 5, 1, now(), true), "
         "('b', 'BTCUSDT', 'Buy', 'cancelled', 5, 1, now(), false), ('c', 'ETHUSDT', 'Buy', 'filled', 5, 1, now(), "
         "false), "
         "('d', 'BTCUSDT', 'Buy', 'filled', NULL, 1, now(), false), ('e', 'BTCUSDT', 'Buy', 'filled', 0, 1, now(), "
         "false), "
         "('f', 'BTCUSDT', 'hold', 'filled', 1, 1, now(), false)",
         NOTHING "there are no filled orders"},
        {"words in any case, sorted by time and then by name",
         "INSERT INTO orders VALUES ('z', 'btcusdt', 'SELL', 'PARTIALLY_FILLED', 2, 300, NULL, NULL), "
         "('y', 'BTCUSDT', 'bUY', 'Filled', 1, 50, '2026-01-01', false), ('x', 'BTCUSDT', 'Buy', 'filled', 3, "
         "116.66666667, "
         "'2026-01-02', NULL)",
         VALID},
        {"other types",
         "DROP TABLE orders; CREATE TYPE side AS ENUM ('Buy', 'Sell'); CREATE TABLE orders (asset char(20), "
         "side side, status text, filled_quantity double precision, average_price text, executed_at timestamptz, "
         "is_dry_run integer); INSERT INTO orders VALUES ('BTCUSDT', 'Buy', 'filled', 2, '100.00', now(), 0), "
         "('BTCUSDT', 'Buy', 'filled', 7, '100', now(), 1)",
         VALID},
        {"what is no number", "UPDATE orders SET average_price = 'dear'", NOTHING "the orders table cannot be read\""},
        {"not a number", "UPDATE orders SET average_price = '100', filled_quantity = 'NaN'",
         NOTHING "the orders of this asset do not add up"},
        {"a view, within both tolerances",
         "ALTER TABLE orders RENAME TO elsewhere; CREATE VIEW orders AS SELECT 'BTCUSDT' "
         "AS asset, 'buy' AS side, 'filled' AS status, 2.0001 AS filled_quantity, 99.9 AS average_price, now() AS "
         "executed_at",
         VALID},
    };
    char body[4096];
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        execute(rows[i].sql);
        validate("BTCUSDT", POSITION_MODE_ONE_WAY, true, STATUS_OK, body);
        cr_expect(strstr(body, rows[i].answer) == body, "%s: %s", rows[i].name, body);
    }
    cr_expect_eq(rig.corrections, 0);
}

Test(storage_history_checks, discrepancy_is_reported_and_fixed_only_when_asked)
{
    char body[4096];
    execute(ORDERS_TABLE);
    execute("INSERT INTO orders VALUES ('a', 'BTCUSDT', 'Buy', 'filled', 5, 120, now(), false)");
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    validate("BTCUSDT", POSITION_MODE_ONE_WAY, false, STATUS_OK, body);
    static const char found[] = "\"discrepancies\":[{\"field\":\"size\",\"stored\":\"2.0\",\"computed\":\"5.0\"},"
                                "{\"field\":\"average_entry_price\",\"stored\":\"100.00\",\"computed\":\"120.00\"}]";
    expect_in(body, "{\"is_valid\":false,\"error_message\":\"size and average_entry_price differ");
    expect_in(body, found);
    expect_in(body, "\"updated_position\":null}");
    cr_expect_eq(rig.corrections, 0);
    validate("BTCUSDT", POSITION_MODE_ONE_WAY, true, STATUS_OK, body);
    expect_in(body, "{\"is_valid\":true,\"error_message\":null,");
    expect_in(body, found);
    expect_in(body, "\"updated_position\":{\"id\":");
    expect_in(body, "\"size\":\"5.0\",\"average_entry_price\":\"120.00\"");
    cr_expect_eq(history_rig_view(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY).version, 2);
    validate("BTCUSDT", POSITION_MODE_ONE_WAY, true, STATUS_OK, body);
    cr_expect_str_eq(body, VALID);
    cr_expect_eq(metric_value(METRIC_VALIDATIONS), 3);
    cr_expect_eq(metric_value(METRIC_VALIDATION_DISCREPANCIES), 2);
    cr_expect_eq(metric_value(METRIC_VALIDATION_FIXES), 1);
    /* Only what differs is corrected. */
    execute("UPDATE orders SET average_price = 130");
    validate("BTCUSDT", POSITION_MODE_ONE_WAY, true, STATUS_OK, body);
    cr_expect(decimal_is_none(rig.last_correction.size));
    cr_expect_eq(rig.last_correction.average_price.units, rig_decimal("130").units);
}

Test(storage_history_checks, fix_that_the_shard_refuses_is_told)
{
    static const struct {
        enum status outcome;
        const char *told;
    } rows[] = {
        {STATUS_OUT_OF_RANGE, "\"what was found could not be fixed: the position would not fit"},
        {STATUS_STALE, "\"what was found was not fixed: the position has changed"},
        {STATUS_VERSION_CONFLICT, "\"what was found was not fixed: the position has changed"},
    };
    char body[4096];
    execute(ORDERS_TABLE);
    execute("INSERT INTO orders VALUES ('a', 'BTCUSDT', 'Buy', 'filled', 5, 120, now(), false)");
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig.correction_outcome = rows[i].outcome;
        validate("BTCUSDT", POSITION_MODE_ONE_WAY, true, STATUS_OK, body);
        expect_in(body, "{\"is_valid\":false,\"error_message\":");
        expect_in(body, rows[i].told);
        expect_in(body, "\"updated_position\":null}");
    }
    cr_expect_eq(rig.last_correction.compared_size.units, rig_decimal("2").units);
    cr_expect_eq(rig.last_correction.compared_average_price.units, rig_decimal("100").units);
    cr_expect_eq(metric_value(METRIC_VALIDATION_FIXES), 0);
}

/*
 * The table becomes a view of itself whose rows are read while nobody holds its gate. A lock would be waited for only
 * so long.
 */
static void build_gate(void)
{
    execute("CREATE FUNCTION pass_gate() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN "
            "WHILE NOT pg_try_advisory_lock_shared(1) LOOP PERFORM pg_sleep(0.01); END LOOP; "
            "RETURN pg_advisory_unlock_shared(1); END $$");
    execute("ALTER TABLE orders RENAME TO kept; CREATE VIEW orders AS SELECT * FROM kept WHERE pass_gate()");
}

/* Returns when a validation stands before it, and has looked at the position. */
static void await_at_gate(void)
{
    history_rig_until(&rig,
                      "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name "
                      "= 'position-manager' AND query LIKE 'FETCH%' AND state = 'active'",
                      1);
}

/* The orders are read as of the beginning, which takes a while here. */
Test(storage_history_checks, execution_that_comes_while_the_orders_are_read_is_no_discrepancy)
{
    char body[4096];
    execute(ORDERS_TABLE);
    execute("INSERT INTO orders VALUES ('a', 'BTCUSDT', 'Buy', 'filled', 2, 100, now(), false)");
    build_gate();
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    struct history_request *held = history_rig_request(HISTORY_VALIDATE, "BTCUSDT");
    held->fix = true;
    execute("SELECT pg_advisory_lock(1)");
    history_rig_send(&rig, held);
    await_at_gate();
    execute("INSERT INTO kept VALUES ('b', 'BTCUSDT', 'Buy', 'filled', 5, 100, now(), false)");
    struct position position = history_rig_view(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    position.size = rig_decimal("7");
    history_rig_publish(&rig, &position);
    execute("SELECT pg_advisory_unlock(1)");
    history_rig_await(&rig, held);
    snprintf(body, sizeof body, "%.*s", (int)held->body_len, held->body == NULL ? "" : held->body);
    cr_expect_str_eq(body, VALID);
    cr_expect_eq(rig.corrections, 0, "it would have taken the execution back");
    history_rig_free(held);
}

Test(storage_history_checks, hedge_position_is_compared_by_its_net_and_never_fixed)
{
    char body[4096];
    execute(ORDERS_TABLE);
    execute("INSERT INTO orders VALUES ('a', 'BTCUSDT', 'Buy', 'filled', 2, 777, now(), false)");
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_HEDGE);
    history_rig_position(&rig, "ETHUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "ETHUSDT");
    validate("BTCUSDT", POSITION_MODE_HEDGE, true, STATUS_OK, body);
    cr_expect_str_eq(body, VALID);
    execute("INSERT INTO orders VALUES ('b', 'BTCUSDT', 'Sell', 'filled', 5, 777, now(), false)");
    validate("BTCUSDT", POSITION_MODE_HEDGE, true, STATUS_OK, body);
    expect_in(body, "{\"is_valid\":false,\"error_message\":\"a hedge position cannot be fixed: orders name no legs\","
                    "\"discrepancies\":[{\"field\":\"size\",\"stored\":\"2.0\",\"computed\":\"-3.0\"}]");
    cr_expect_eq(rig.corrections, 0);
    validate("BTCUSDT", POSITION_MODE_ONE_WAY, true, STATUS_NOT_FOUND, body);
}

Test(storage_history_checks, many_orders_are_read_in_portions_while_lists_are_served)
{
    char body[4096];
    execute(ORDERS_TABLE);
    execute("INSERT INTO orders SELECT n, 'BTCUSDT', CASE WHEN n % 2 = 0 THEN 'Buy' ELSE 'Sell' END, 'filled', 1, 100, "
            "timestamp '2026-01-01' + n * interval '1 s', false FROM generate_series(1, 20000) n; "
            "INSERT INTO orders VALUES ('last', 'BTCUSDT', 'Buy', 'filled', 2, 100, now() + interval '1 year', false)");
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    validate("BTCUSDT", POSITION_MODE_ONE_WAY, false, STATUS_OK, body);
    cr_expect_str_eq(body, VALID);
    build_gate();
    execute("SELECT pg_advisory_lock(1)");
    struct history_request *held = history_rig_request(HISTORY_VALIDATE, "BTCUSDT");
    history_rig_send(&rig, held);
    await_at_gate();
    for (int i = 0; i < 5; i++) {
        /* One that waited would not be answered: the gate is closed until all are. */
        struct history_request *listed = history_rig_ask(&rig, HISTORY_SNAPSHOT_LIST, "BTCUSDT");
        cr_expect_eq(listed->status, STATUS_OK);
        history_rig_free(listed);
    }
    cr_expect_null(held->loop_private, "it waits at the gate");
    execute("SELECT pg_advisory_unlock(1)");
    history_rig_await(&rig, held);
    cr_expect_eq(held->status, STATUS_OK);
    history_rig_free(held);
}

Test(storage_history_checks, wanted_validation_goes_home_at_once_and_reports)
{
    execute(ORDERS_TABLE);
    execute("INSERT INTO orders VALUES ('a', 'BTCUSDT', 'Buy', 'filled', 5, 120, now(), false)");
    history_rig_position(&rig, "BTCUSDT", POSITION_MODE_ONE_WAY);
    history_rig_start(&rig);
    history_rig_until_served(&rig, "BTCUSDT");
    execute("BEGIN; LOCK TABLE orders");
    history_rig_want(&rig, 0, 0, "BTCUSDT");
    for (int i = 0; i < 6000 && rig.validations_home < 1; i++)
        history_rig_pump(&rig, 5);
    for (size_t i = 1; i < 4; i++)
        history_rig_want(&rig, i % 2, i, "BTCUSDT");
    history_rig_want(&rig, 1, 0, "NOSUCHUSDT");
    for (int i = 0; i < 6000 && rig.validations_home < 5; i++)
        history_rig_pump(&rig, 5);
    cr_expect_eq(rig.validations_home, 5, "though none is done yet");
    cr_expect_eq(metric_value(METRIC_VALIDATIONS), 0);
    execute("COMMIT");
    for (int i = 0; i < 6000 && metric_value(METRIC_VALIDATIONS) < 2; i++)
        history_rig_pump(&rig, 5);
    history_rig_pump(&rig, 200);
    cr_expect_eq(metric_value(METRIC_VALIDATIONS), 2, "those of one position are one");
    cr_expect_eq(metric_value(METRIC_VALIDATION_DISCREPANCIES), 1);
    cr_expect_eq(rig.corrections, 0, "nobody said that they are to be fixed");
}
