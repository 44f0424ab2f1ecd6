#include <stdio.h>

#include "decode_rig.h"

#define FLAT_REQUIRED                                                                                                  \
    "\"event_type\":\"order_executed\",\"order_id\":\"o-1\",\"asset\":\"BTCUSDT\",\"side\":\"Buy\","                   \
    "\"execution_quantity\":\"1.5\",\"execution_price\":\"50000\""
#define ORDER_REQUIRED                                                                                                 \
    "\"order_id\":\"o-1\",\"asset\":\"BTCUSDT\",\"side\":\"Buy\",\"filled_quantity\":\"1.5\",\"average_price\":"       \
    "\"50000\""

static enum status decode_from(const char *body, const char *message_id, struct decoded *out)
{
    struct asset_pattern pattern = default_pattern();
    return decode_execution(body, strlen(body), message_id, message_id != NULL ? strlen(message_id) : 0, ARRIVAL_US,
                            &pattern, out);
}

static enum status decode(const char *body, struct decoded *out)
{
    return decode_from(body, NULL, out);
}

/* A flat event that is complete, with further members behind; of equal keys the last wins. */
static enum status decode_flat(const char *members, struct decoded *out)
{
    char body[2048];
    snprintf(body, sizeof body, "{" FLAT_REQUIRED "%s%s}", members[0] != '\0' ? "," : "", members);
    return decode(body, out);
}

/* A nested event that is complete, with further members of the order and of the message. */
static enum status decode_nested(const char *order_members, const char *members, struct decoded *out)
{
    char body[2048];
    snprintf(body, sizeof body, "{\"event_type\":\"filled\",\"order\":{" ORDER_REQUIRED "%s%s}%s%s}",
             order_members[0] != '\0' ? "," : "", order_members, members[0] != '\0' ? "," : "", members);
    return decode(body, out);
}

Test(decode_execution, a_flat_execution_is_read)
{
    struct decoded out;
    enum status status = decode_flat("\"execution_fees\":\"-0.123456785\",\"mode\":\"one-way\","
                                     "\"executed_at\":\"2025-01-15T10:00:00Z\",\"trace_id\":\"t-1\"",
                                     &out);
    const struct execution *execution = &out.said.execution;
    cr_assert_eq(status, STATUS_OK, "%s %s", status_word(status), out.field);
    cr_expect_str_eq(out.asset, "BTCUSDT");
    cr_expect_str_eq(out.trace_id, "t-1");
    cr_expect_str_eq(out.order_key, "o-1");
    cr_expect(!execution->cumulative);
    expect_decimal(execution->quantity, "1.5", "quantity");
    expect_decimal(execution->price, "50000", "price");
    expect_decimal(execution->fees, "-0.12345679", "fees are rounded and may be a rebate");
    cr_expect_eq(execution->side, SIDE_BUY);
    cr_expect_eq(execution->mode, POSITION_MODE_ONE_WAY);
    cr_expect_eq(execution->leg, LEG_NONE);
    cr_expect(!execution->reduce_only);
    cr_expect_eq(execution->executed_at_us, INT64_C(1736935200000000));
}

Test(decode_execution, a_nested_execution_is_read_as_a_total)
{
    struct decoded out;
    enum status status =
        decode("{\"event_type\":\"partially_filled\",\"event_id\":\"ev-1\",\"timestamp\":1,\"trace_id\":\"t-1\","
               "\"order\":{\"order_id\":12345,\"asset\":\"ethusdt\",\"side\":\"SELL\",\"filled_quantity\":2.5,"
               "\"average_price\":\"1999.123456785\",\"fees\":\"0.5\","
               "\"executed_at\":\"2025-01-15T10:00:00+00:00\",\"is_dry_run\":false,\"status\":\"anything\"}}",
               &out);
    const struct execution *execution = &out.said.execution;
    cr_assert_eq(status, STATUS_OK, "%s %s", status_word(status), out.field);
    cr_expect_str_eq(out.asset, "ETHUSDT");
    cr_expect_str_eq(out.order_key, "12345");
    cr_expect_str_eq(out.identity, "e:ev-1");
    cr_expect(execution->cumulative);
    expect_decimal(execution->quantity, "2.5", "quantity");
    expect_decimal(execution->price, "1999.12345679", "an average is rounded");
    expect_decimal(execution->fees, "0.5", "fees");
    cr_expect_eq(execution->side, SIDE_SELL);
    cr_expect_eq(execution->executed_at_us, INT64_C(1736935200000000));
}

Test(decode_execution, a_nested_execution_without_fees_says_nothing_of_them)
{
    struct decoded out;
    enum status status =
        decode("{\"event_type\":\"filled\",\"event_id\":\"ev-1\",\"order\":{\"order_id\":\"o\",\"asset\":\"ETHUSDT\","
               "\"side\":\"Sell\",\"filled_quantity\":\"2\",\"average_price\":\"3\"}}",
               &out);
    cr_assert_eq(status, STATUS_OK, "%s %s", status_word(status), out.field);
    cr_expect(decimal_is_none(out.said.execution.fees), "a zero would take back what flat events of the order paid");
}

Test(decode_execution, aliases_are_read_and_the_first_that_is_said_wins)
{
    static const struct {
        const char *members;
        const char *quantity, *price, *fees;
    } rows[] = {
        {"\"filled_quantity\":\"2\"", "1.5", "50000", "0"},
        {"\"execution_quantity\":\"\",\"filled_quantity\":\"2\",\"filled_qty\":\"3\"", "2", "50000", "0"},
        {"\"execution_quantity\":null,\"filled_qty\":\"3\"", "3", "50000", "0"},
        {"\"execution_price\":null,\"price\":4", "1.5", "4", "0"},
        {"\"price\":4", "1.5", "50000", "0"},
        {"\"fees\":\"0.1\"", "1.5", "50000", "0.1"},
        {"\"fees\":\"0.1\",\"execution_fees\":\"0.2\"", "1.5", "50000", "0.2"},
        {"\"fees\":null", "1.5", "50000", "0"},
        {"\"asset\":null,\"symbol\":\"BTCUSDT\"", "1.5", "50000", "0"},
        {"\"event_type\":\"position_updated_from_order\"", "1.5", "50000", "0"},
        {"\"order\":null", "1.5", "50000", "0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        enum status status = decode_flat(rows[i].members, &out);
        cr_assert_eq(status, STATUS_OK, "%s: %s", rows[i].members, status_word(status));
        expect_decimal(out.said.execution.quantity, rows[i].quantity, rows[i].members);
        expect_decimal(out.said.execution.price, rows[i].price, rows[i].members);
        expect_decimal(out.said.execution.fees, rows[i].fees, rows[i].members);
        cr_expect_str_eq(out.asset, "BTCUSDT", "%s", rows[i].members);
    }
}

Test(decode_execution, times_fall_back_to_the_message_and_then_to_the_arrival)
{
    struct decoded out;
    cr_expect_eq(decode_flat("", &out), STATUS_OK);
    cr_expect_eq(out.said.execution.executed_at_us, ARRIVAL_US);
    cr_expect_eq(decode_flat("\"timestamp\":\"5\"", &out), STATUS_OK);
    cr_expect_eq(out.said.execution.executed_at_us, 5000);
    cr_expect_eq(decode_flat("\"timestamp\":\"5\",\"executed_at\":6", &out), STATUS_OK);
    cr_expect_eq(out.said.execution.executed_at_us, 6000);
    cr_expect_eq(decode_nested("", "", &out), STATUS_OK);
    cr_expect_eq(out.said.execution.executed_at_us, ARRIVAL_US);
    cr_expect_eq(decode_nested("", "\"timestamp\":7", &out), STATUS_OK);
    cr_expect_eq(out.said.execution.executed_at_us, 7000);
    cr_expect_eq(decode_nested("\"executed_at\":8", "\"timestamp\":7", &out), STATUS_OK);
    cr_expect_eq(out.said.execution.executed_at_us, 8000);
}

struct stance_row {
    const char *members;
    enum position_mode mode;
    enum leg leg;
    bool reduce_only;
};

static const struct stance_row stance_rows[] = {
    {"\"mode\":\"Hedge\"", POSITION_MODE_HEDGE, LEG_NONE, false},
    {"\"mode\":\"hedge\",\"reduce_only\":true", POSITION_MODE_HEDGE, LEG_NONE, true},
    {"\"mode\":\"hedge\",\"reduce_only\":\"True\"", POSITION_MODE_HEDGE, LEG_NONE, true},
    {"\"mode\":\"hedge\",\"reduce_only\":1", POSITION_MODE_HEDGE, LEG_NONE, true},
    {"\"mode\":\"hedge\",\"reduce_only\":\"false\"", POSITION_MODE_HEDGE, LEG_NONE, false},
    {"\"mode\":\"hedge\",\"reduce_only\":\"yes\"", POSITION_MODE_HEDGE, LEG_NONE, true},
    {"\"mode\":\"hedge\",\"reduce_only\":null", POSITION_MODE_HEDGE, LEG_NONE, false},
    {"\"mode\":\"hedge\",\"position_side\":\"LONG\"", POSITION_MODE_HEDGE, LEG_LONG, false},
    {"\"mode\":\"hedge\",\"position_side\":\"sell\"", POSITION_MODE_HEDGE, LEG_SHORT, false},
    {"\"mode\":\"hedge\",\"position_side\":\"Buy\",\"positionIdx\":2", POSITION_MODE_HEDGE, LEG_LONG, false},
    {"\"mode\":\"hedge\",\"position_side\":\"short\"", POSITION_MODE_HEDGE, LEG_SHORT, false},
    {"\"mode\":\"hedge\",\"position_side\":\"BOTH\",\"positionIdx\":2", POSITION_MODE_HEDGE, LEG_SHORT, false},
    {"\"mode\":\"hedge\",\"position_side\":\"net\"", POSITION_MODE_HEDGE, LEG_NONE, false},
    {"\"mode\":\"hedge\",\"positionIdx\":\"1\"", POSITION_MODE_HEDGE, LEG_LONG, false},
    {"\"mode\":\"hedge\",\"positionIdx\":0", POSITION_MODE_HEDGE, LEG_NONE, false},
    {"\"positionIdx\":2", POSITION_MODE_HEDGE, LEG_SHORT, false},
    {"\"mode\":\"one-way\",\"positionIdx\":2", POSITION_MODE_ONE_WAY, LEG_NONE, false},
    {"\"position_side\":\"long\"", POSITION_MODE_ONE_WAY, LEG_NONE, false},
    {"\"mode\":\"\",\"position_side\":\"\"", POSITION_MODE_ONE_WAY, LEG_NONE, false},
};

static void expect_stance(enum status status, const struct decoded *out, const struct stance_row *row)
{
    cr_assert_eq(status, STATUS_OK, "%s: %s", row->members, status_word(status));
    cr_expect_eq(out->said.execution.mode, row->mode, "%s", row->members);
    cr_expect_eq(out->said.execution.leg, row->leg, "%s", row->members);
    cr_expect_eq(out->said.execution.reduce_only, row->reduce_only, "%s", row->members);
}

Test(decode_execution, mode_leg_and_reduce_only_may_stand_in_the_message_or_in_its_order)
{
    for (size_t i = 0; i < sizeof stance_rows / sizeof stance_rows[0]; i++) {
        struct decoded out;
        enum status status = decode_flat(stance_rows[i].members, &out);
        expect_stance(status, &out, &stance_rows[i]);
        status = decode_nested(stance_rows[i].members, "", &out);
        expect_stance(status, &out, &stance_rows[i]);
        status = decode_nested("", stance_rows[i].members, &out);
        expect_stance(status, &out, &stance_rows[i]);
    }
}

Test(decode_execution, a_flat_execution_that_says_nonsense_is_refused_by_name)
{
    static const struct {
        const char *members;
        enum status expected;
        const char *field;
    } rows[] = {
        {"\"event_type\":null", STATUS_MISSING_FIELD, "event_type"},
        {"\"event_type\":\"filled\"", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"\"event_type\":\"created\"", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"\"event_type\":true", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"\"event_type\":\"x\",\"asset\":\"y\"", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"\"asset\":null", STATUS_MISSING_FIELD, "asset"},
        {"\"asset\":\"\"", STATUS_MISSING_FIELD, "asset"},
        {"\"asset\":\"DOGE\"", STATUS_BAD_ASSET, "asset"},
        {"\"asset\":5", STATUS_BAD_ASSET, "asset"},
        {"\"asset\":null,\"symbol\":\"DOGE\"", STATUS_BAD_ASSET, "symbol"},
        {"\"asset\":\"DOGE\",\"execution_price\":null", STATUS_MISSING_FIELD, "execution_price"},
        {"\"side\":\"\"", STATUS_MISSING_FIELD, "side"},
        {"\"side\":\"None\"", STATUS_BAD_SIDE, "side"},
        {"\"side\":\"long\"", STATUS_BAD_SIDE, "side"},
        {"\"side\":true", STATUS_BAD_SIDE, "side"},
        {"\"execution_quantity\":null", STATUS_MISSING_FIELD, "execution_quantity"},
        {"\"execution_quantity\":\"\"", STATUS_MISSING_FIELD, "execution_quantity"},
        {"\"execution_quantity\":\"1e5\"", STATUS_BAD_NUMBER, "execution_quantity"},
        {"\"execution_quantity\":1e5", STATUS_BAD_NUMBER, "execution_quantity"},
        {"\"execution_quantity\":{}", STATUS_BAD_NUMBER, "execution_quantity"},
        {"\"execution_quantity\":\"0.000000001\"", STATUS_BAD_NUMBER, "execution_quantity"},
        {"\"execution_quantity\":\"0\"", STATUS_NOT_POSITIVE, "execution_quantity"},
        {"\"execution_quantity\":\"-1\"", STATUS_NOT_POSITIVE, "execution_quantity"},
        {"\"execution_quantity\":\"1000000000000\"", STATUS_OUT_OF_RANGE, "execution_quantity"},
        {"\"execution_quantity\":null,\"filled_qty\":\"x\"", STATUS_BAD_NUMBER, "filled_qty"},
        {"\"execution_price\":null", STATUS_MISSING_FIELD, "execution_price"},
        {"\"execution_price\":\"0.000000001\"", STATUS_BAD_NUMBER, "execution_price"},
        {"\"execution_price\":false", STATUS_BAD_NUMBER, "execution_price"},
        {"\"execution_price\":0", STATUS_NOT_POSITIVE, "execution_price"},
        {"\"execution_price\":-0.5", STATUS_NOT_POSITIVE, "execution_price"},
        {"\"execution_price\":null,\"price\":\"-1\"", STATUS_NOT_POSITIVE, "price"},
        {"\"execution_price\":999999999999.999999999", STATUS_BAD_NUMBER, "execution_price"},
        {"\"execution_fees\":\"free\"", STATUS_BAD_NUMBER, "execution_fees"},
        {"\"fees\":[]", STATUS_BAD_NUMBER, "fees"},
        {"\"fees\":\"9999999999999\"", STATUS_OUT_OF_RANGE, "fees"},
        {"\"mode\":\"cross\"", STATUS_BAD_MODE, "mode"},
        {"\"positionIdx\":9", STATUS_BAD_MODE, "positionIdx"},
        {"\"position_side\":\"up\"", STATUS_BAD_SIDE, "position_side"},
        {"\"position_side\":0", STATUS_BAD_SIDE, "position_side"},
        {"\"executed_at\":\"noon\"", STATUS_BAD_TIME, "executed_at"},
        {"\"executed_at\":false", STATUS_BAD_TIME, "executed_at"},
        {"\"timestamp\":\"noon\"", STATUS_BAD_TIME, "timestamp"},
        {"\"order\":5", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"\"order\":5,\"event_type\":\"filled\"", STATUS_MISSING_FIELD, "order"},
        {"\"order\":{},\"event_type\":\"filled\"", STATUS_MISSING_FIELD, "order_id"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        enum status status = decode_flat(rows[i].members, &out);
        expect_refusal(status, &out, rows[i].expected, rows[i].field, rows[i].members);
        cr_expect_str_eq(out.identity, "", "a refused execution has no identity: %s", rows[i].members);
    }
}

Test(decode_execution, a_nested_execution_that_says_nonsense_is_refused_by_name)
{
    static const struct {
        const char *order_members;
        const char *members;
        enum status expected;
        const char *field;
    } rows[] = {
        {"", "\"event_type\":\"fill\"", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"", "\"event_type\":\"order_filled\"", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"", "\"event_type\":\"order_executed\"", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"", "\"event_type\":1", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"", "\"event_type\":\"\"", STATUS_MISSING_FIELD, "event_type"},
        {"\"order_id\":null", "", STATUS_MISSING_FIELD, "order_id"},
        {"\"order_id\":\"\"", "", STATUS_MISSING_FIELD, "order_id"},
        {"\"order_id\":{}", "\"order_id\":\"outer\"", STATUS_MISSING_FIELD, "order_id"},
        {"\"asset\":null", "\"asset\":\"BTCUSDT\"", STATUS_MISSING_FIELD, "asset"},
        {"\"asset\":\"X\"", "", STATUS_BAD_ASSET, "asset"},
        {"\"side\":null", "", STATUS_MISSING_FIELD, "side"},
        {"\"side\":\"hold\"", "", STATUS_BAD_SIDE, "side"},
        {"\"filled_quantity\":null", "", STATUS_MISSING_FIELD, "filled_quantity"},
        {"\"filled_quantity\":\"x\"", "", STATUS_BAD_NUMBER, "filled_quantity"},
        {"\"filled_quantity\":\"0.123456789\"", "", STATUS_BAD_NUMBER, "filled_quantity"},
        {"\"filled_quantity\":\"-1\"", "", STATUS_NOT_POSITIVE, "filled_quantity"},
        {"\"filled_quantity\":\"10000000000000\"", "", STATUS_OUT_OF_RANGE, "filled_quantity"},
        {"\"average_price\":null", "", STATUS_MISSING_FIELD, "average_price"},
        {"\"average_price\":\"x\"", "", STATUS_BAD_NUMBER, "average_price"},
        {"\"average_price\":\"0\"", "", STATUS_NOT_POSITIVE, "average_price"},
        {"\"average_price\":\"0.000000001\"", "", STATUS_NOT_POSITIVE, "average_price"},
        {"\"average_price\":\"-1\",\"filled_quantity\":0", "", STATUS_NOT_POSITIVE, "average_price"},
        {"\"average_price\":\"999999999999.999999996\"", "", STATUS_OUT_OF_RANGE, "average_price"},
        {"\"fees\":\"x\"", "", STATUS_BAD_NUMBER, "fees"},
        {"\"mode\":\"x\"", "", STATUS_BAD_MODE, "mode"},
        {"", "\"mode\":\"x\"", STATUS_BAD_MODE, "mode"},
        {"\"positionIdx\":\"x\"", "", STATUS_BAD_MODE, "positionIdx"},
        {"\"position_side\":\"x\"", "", STATUS_BAD_SIDE, "position_side"},
        {"\"executed_at\":\"x\"", "", STATUS_BAD_TIME, "executed_at"},
        {"", "\"timestamp\":\"x\"", STATUS_BAD_TIME, "timestamp"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        char row[256];
        snprintf(row, sizeof row, "%s | %s", rows[i].order_members, rows[i].members);
        enum status status = decode_nested(rows[i].order_members, rows[i].members, &out);
        expect_refusal(status, &out, rows[i].expected, rows[i].field, row);
    }
}

Test(decode_execution, a_total_of_nothing_needs_no_price)
{
    static const char *const rows[] = {"\"filled_quantity\":\"0\",\"average_price\":null",
                                       "\"filled_quantity\":0,\"average_price\":\"0\"",
                                       "\"filled_quantity\":\"0.0\",\"average_price\":\"\""};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        cr_expect_eq(decode_nested(rows[i], "", &out), STATUS_OK, "%s", rows[i]);
        expect_decimal(out.said.execution.quantity, "0", rows[i]);
        expect_decimal(out.said.execution.price, "0", rows[i]);
    }
}

Test(decode_execution, order_states_that_fill_nothing_are_ignored_whatever_else_they_say)
{
    static const char *const states[] = {"created",   "cancelled", "canceled",     "modified",    "amended",
                                         "rejected",  "expired",   "new",          "pending",     "open",
                                         "triggered", "accepted",  "untriggered",  "deactivated", "submitted",
                                         "CANCELLED", "replaced",  "acknowledged", "placed",      "cancel_rejected"};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        struct decoded out;
        char body[256];
        snprintf(body, sizeof body, "{\"event_type\":\"%s\",\"trace_id\":\"t\",\"order\":{\"order_id\":null}}",
                 states[i]);
        expect_refusal(decode(body, &out), &out, STATUS_IGNORED, NULL, states[i]);
        cr_expect_str_eq(out.trace_id, "t");
    }
}

Test(decode_execution, dry_runs_are_ignored_in_either_shape)
{
    static const char *const dry[] = {"\"is_dry_run\":true",
                                      "\"is_dry_run\":\"true\"",
                                      "\"is_dry_run\":\"1\"",
                                      "\"is_dry_run\":1",
                                      "\"is_dry_run\":\"TRUE\",\"side\":null",
                                      "\"is_dry_run\":\"Yes\"",
                                      "\"is_dry_run\":\"on\"",
                                      "\"is_dry_run\":\"t\""};
    static const char *const real[] = {"\"is_dry_run\":false",   "\"is_dry_run\":null",      "\"is_dry_run\":\"\"",
                                       "\"is_dry_run\":0",       "\"is_dry_run\":\"false\"", "\"is_dry_run\":\"NO\"",
                                       "\"is_dry_run\":\"off\"", "\"is_dry_run\":\"0\""};
    struct decoded out;
    for (size_t i = 0; i < sizeof dry / sizeof dry[0]; i++) {
        cr_expect_eq(decode_flat(dry[i], &out), STATUS_IGNORED, "%s", dry[i]);
        cr_expect_eq(decode_nested(dry[i], "", &out), STATUS_IGNORED, "%s", dry[i]);
        cr_expect_eq(decode_nested("", dry[i], &out), STATUS_IGNORED, "%s", dry[i]);
    }
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
        cr_expect_eq(decode_flat(real[i], &out), STATUS_OK, "%s", real[i]);
        cr_expect_eq(decode_nested(real[i], "", &out), STATUS_OK, "%s", real[i]);
    }
}

Test(decode_execution, a_flag_that_cannot_be_read_is_refused_rather_than_taken_for_false)
{
    static const char *const unreadable[] = {"\"maybe\"", "2",      "-1",        "1.0",     "[]",
                                             "{}",        "[true]", "\"true \"", "\"yes!\""};
    struct decoded out;
    for (size_t i = 0; i < sizeof unreadable / sizeof unreadable[0]; i++) {
        char members[64];
        snprintf(members, sizeof members, "\"is_dry_run\":%s", unreadable[i]);
        expect_refusal(decode_flat(members, &out), &out, STATUS_WRONG_EVENT_TYPE, "is_dry_run", members);
        expect_refusal(decode_nested(members, "", &out), &out, STATUS_WRONG_EVENT_TYPE, "is_dry_run", members);
        expect_refusal(decode_nested("", members, &out), &out, STATUS_WRONG_EVENT_TYPE, "is_dry_run", members);
        snprintf(members, sizeof members, "\"reduce_only\":%s", unreadable[i]);
        expect_refusal(decode_flat(members, &out), &out, STATUS_BAD_SIDE, "reduce_only", members);
        expect_refusal(decode_nested(members, "", &out), &out, STATUS_BAD_SIDE, "reduce_only", members);
    }
}

Test(decode_execution, the_identity_is_the_first_of_the_four_that_is_there)
{
    static const struct {
        const char *members;
        const char *message_id;
        const char *expected;
    } rows[] = {
        {"\"execution_id\":\"a\",\"event_id\":\"b\"", "c", "x:a"},
        {"\"execution_id\":17,\"event_id\":\"b\"", "c", "x:17"},
        {"\"execution_id\":\"\",\"event_id\":\"b\"", "c", "e:b"},
        {"\"execution_id\":{},\"event_id\":\"b\"", "c", "e:b"},
        {"\"event_id\":\"caf\\u00e9\"", "c", "e:caf\xC3\xA9"},
        {"\"event_id\":null", "c", "m:c"},
        {"\"event_id\":null", "back\\slash", "m:back\\slash"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        char body[512];
        snprintf(body, sizeof body, "{" FLAT_REQUIRED ",%s}", rows[i].members);
        cr_assert_eq(decode_from(body, rows[i].message_id, &out), STATUS_OK, "%s", rows[i].members);
        cr_expect_str_eq(out.identity, rows[i].expected, "%s", rows[i].members);
        snprintf(body, sizeof body, "{\"event_type\":\"filled\",\"order\":{" ORDER_REQUIRED ",%s}}", rows[i].members);
        cr_assert_eq(decode_from(body, rows[i].message_id, &out), STATUS_OK, "%s", rows[i].members);
        cr_expect_str_eq(out.identity, rows[i].expected, "in the order: %s", rows[i].members);
    }
}

Test(decode_execution, a_nested_message_names_itself_before_its_order_does)
{
    struct decoded out;
    cr_expect_eq(decode_nested("\"event_id\":\"inner\"", "\"event_id\":\"outer\"", &out), STATUS_OK);
    cr_expect_str_eq(out.identity, "e:outer");
    cr_expect_eq(decode_nested("\"execution_id\":\"inner\"", "\"event_id\":\"outer\"", &out), STATUS_OK);
    cr_expect_str_eq(out.identity, "x:inner");
    cr_expect_eq(decode_nested("\"trace_id\":\"inner\"", "", &out), STATUS_OK);
    cr_expect_str_eq(out.trace_id, "inner");
}

Test(decode_execution, without_an_id_the_body_is_the_identity_if_an_order_or_a_trace_is_named)
{
    static const char anonymous[] = "{\"event_type\":\"order_executed\",\"asset\":\"BTCUSDT\",\"side\":\"Buy\","
                                    "\"execution_quantity\":1,\"execution_price\":1}";
    static const char traced[] = "{\"event_type\":\"order_executed\",\"asset\":\"BTCUSDT\",\"side\":\"Buy\","
                                 "\"execution_quantity\":1,\"execution_price\":1,\"trace_id\":\"t\"}";
    struct decoded out, again;
    cr_expect_eq(decode(anonymous, &out), STATUS_OK);
    cr_expect_str_eq(out.identity, "");
    cr_expect_str_eq(out.order_key, "");
    cr_expect_eq(decode_from(anonymous, "", &out), STATUS_OK);
    cr_expect_str_eq(out.identity, "", "an empty message id is none");
    cr_expect_eq(decode(traced, &out), STATUS_OK);
    /* sha256sum of the body, its first half. */
    cr_expect_eq(strlen(out.identity), 34);
    cr_expect(memcmp(out.identity, "d:", 2) == 0);
    cr_expect_eq(decode(traced, &again), STATUS_OK);
    cr_expect_str_eq(out.identity, again.identity);
    cr_expect_eq(decode_flat("\"x\":1", &out), STATUS_OK);
    cr_expect_eq(decode_flat("\"x\":2", &again), STATUS_OK);
    cr_expect_str_neq(out.identity, again.identity, "another body");
}

/* sha256 of 100 times the letter a, as sha256sum prints it. */
#define SHA256_OF_100_A "2816597888e4a0d3a36b82b83316ab32680eb8f00f8cd3b904d681246d285a0e"

Test(decode_execution, ids_that_do_not_fit_are_replaced_by_their_digest)
{
    char id[200], body[1024];
    struct decoded out;
    memset(id, 'a', sizeof id);
    static const struct {
        size_t len;
        const char *identity_prefix, *order_prefix;
    } rows[] = {{80, "x:aa", "aa"},
                {81, "x:aa", "sha256:"},
                {86, "x:aa", "sha256:"},
                {87, "x:sha256:", "sha256:"},
                {100, "x:sha256:" SHA256_OF_100_A, "sha256:" SHA256_OF_100_A}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(body, sizeof body, "{" FLAT_REQUIRED ",\"order_id\":\"%.*s\",\"execution_id\":\"%.*s\"}",
                 (int)rows[i].len, id, (int)rows[i].len, id);
        cr_assert_eq(decode(body, &out), STATUS_OK);
        cr_expect(strncmp(out.identity, rows[i].identity_prefix, strlen(rows[i].identity_prefix)) == 0, "%zu: %s",
                  rows[i].len, out.identity);
        cr_expect(strncmp(out.order_key, rows[i].order_prefix, strlen(rows[i].order_prefix)) == 0, "%zu: %s",
                  rows[i].len, out.order_key);
    }
    snprintf(body, sizeof body, "{" FLAT_REQUIRED ",\"order_id\":\"\\u0061%.*s\"}", 99, id);
    cr_assert_eq(decode(body, &out), STATUS_OK);
    cr_expect_str_eq(out.order_key, "sha256:" SHA256_OF_100_A, "another way of escaping is the same id");
}

Test(decode_execution, ids_that_no_column_can_hold_are_replaced_by_their_digest)
{
    struct decoded out;
    cr_expect_eq(decode_flat("\"order_id\":\"a\\u0000b\",\"event_id\":\"\\u0000\"", &out), STATUS_OK);
    cr_expect(strncmp(out.order_key, "sha256:", 7) == 0);
    cr_expect(strncmp(out.identity, "e:sha256:", 9) == 0);
    cr_expect_eq(decode_from("{" FLAT_REQUIRED "}", "\xFF\xFE", &out), STATUS_OK);
    cr_expect(strncmp(out.identity, "m:sha256:", 9) == 0, "AMQP does not promise UTF-8");
}

static uint64_t fingerprint_of(const char *members)
{
    struct decoded out;
    cr_assert_eq(decode_flat(members, &out), STATUS_OK, "%s", members);
    return out.fingerprint;
}

Test(decode_execution, the_fingerprint_tells_another_execution_from_a_repeat)
{
    static const char *const same[] = {
        "\"execution_quantity\":1.50,\"execution_price\":\"050000.00\"",
        "\"execution_fees\":\"9\",\"executed_at\":5,\"trace_id\":\"t\",\"event_id\":\"e\"",
        "\"side\":\"BUY\",\"asset\":\"btcusdt\",\"mode\":\"ONE-WAY\"",
        "\"reduce_only\":true",
    };
    static const char *const other[] = {
        "\"asset\":\"ETHUSDT\"",
        "\"mode\":\"hedge\"",
        "\"side\":\"Sell\"",
        "\"order_id\":\"o-2\"",
        "\"order_id\":null",
        "\"execution_quantity\":\"1.6\"",
        "\"execution_price\":\"50000.01\"",
    };
    uint64_t base = fingerprint_of("");
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        cr_expect_eq(fingerprint_of(same[i]), base, "%s", same[i]);
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        cr_expect_neq(fingerprint_of(other[i]), base, "%s", other[i]);
}

/* It stands in the journal beside the identity: a release that computes it otherwise would take repeats for conflicts.
 */
Test(decode_execution, the_fingerprint_stays_what_it_was)
{
    cr_expect_eq(fingerprint_of(""), UINT64_C(13792945350439525881), "now %llu",
                 (unsigned long long)fingerprint_of(""));
}

Test(decode_execution, bodies_of_another_form_are_refused)
{
    static char large[BODY_LEN_MAX + 1];
    struct asset_pattern pattern = default_pattern();
    struct decoded out;
    memset(large, '[', sizeof large);
    expect_refusal(decode("", &out), &out, STATUS_NOT_JSON, NULL, "empty");
    expect_refusal(decode("{]", &out), &out, STATUS_NOT_JSON, NULL, "broken");
    expect_refusal(decode("[[[[[[[[[[[[[[[[[", &out), &out, STATUS_TOO_DEEP, NULL, "deep");
    expect_refusal(decode("[{}]", &out), &out, STATUS_MISSING_FIELD, "event_type", "array");
    expect_refusal(decode("{}", &out), &out, STATUS_MISSING_FIELD, "event_type", "object");
    expect_refusal(decode_execution(large, sizeof large, NULL, 0, ARRIVAL_US, &pattern, &out), &out, STATUS_TOO_LARGE,
                   NULL, "large");
}
