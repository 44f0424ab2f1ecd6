#include <stdio.h>

#include "decode_rig.h"

static enum status decode(const char *body, struct decoded *out)
{
    struct asset_pattern pattern = default_pattern();
    return decode_market(body, strlen(body), &pattern, out);
}

/* An event with these inner members behind the symbol. */
static enum status decode_inner(const char *members, struct decoded *out)
{
    char body[1024];
    snprintf(body, sizeof body, "{\"event_type\":\"position\",\"data\":{\"symbol\":\"BTCUSDT\"%s%s}}",
             members[0] != '\0' ? "," : "", members);
    return decode(body, out);
}

Test(decode_market, a_whole_event_is_read)
{
    struct decoded out;
    enum status status =
        decode("{\"event_type\":\"position\",\"channel\":\"position\",\"trace_id\":\"trace-1\","
               "\"timestamp\":\"2025-01-15T11:00:00Z\",\"data\":{\"symbol\":\"btcusdt\",\"side\":\"SELL\","
               "\"size\":\"1.5\",\"avgPrice\":50000.123456789,\"markPrice\":\"50100.55\","
               "\"unrealisedPnl\":\"-12.5\",\"realisedPnl\":\"0\",\"mode\":\"one-way\",\"positionIdx\":0,"
               "\"timestamp\":\"2025-01-15T10:00:00Z\",\"leverage\":\"10\"}}",
               &out);
    const struct market_event *event = &out.said.market;
    cr_assert_eq(status, STATUS_OK, "%s %s", status_word(status), out.field);
    cr_expect_str_eq(out.asset, "BTCUSDT");
    cr_expect_str_eq(out.trace_id, "trace-1");
    expect_decimal(event->size, "1.5", "size");
    expect_decimal(event->average_price, "50000.12345679", "average");
    expect_decimal(event->mark_price, "50100.55", "mark");
    expect_decimal(event->unrealized_pnl, "-12.5", "unrealized");
    expect_decimal(event->realized_pnl, "0", "realized: zero is said");
    cr_expect_eq(event->side, SIDE_SELL);
    cr_expect_eq(event->mode, POSITION_MODE_ONE_WAY);
    cr_expect_eq(event->leg, LEG_NONE);
    cr_expect_eq(event->at_us, INT64_C(1736935200000000), "the inner timestamp, not the outer one");
}

Test(decode_market, what_is_absent_null_or_empty_is_not_said)
{
    static const char *const rows[] = {
        "",
        "\"side\":null,\"size\":null,\"avgPrice\":null,\"markPrice\":null,\"unrealisedPnl\":null,\"realisedPnl\":null,"
        "\"mode\":null,\"positionIdx\":null,\"timestamp\":null",
        "\"side\":\"\",\"size\":\"\",\"avgPrice\":\"\",\"markPrice\":\"\",\"unrealisedPnl\":\"\",\"realisedPnl\":\"\","
        "\"mode\":\"\",\"positionIdx\":\"\",\"timestamp\":\"\"",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        cr_assert_eq(decode_inner(rows[i], &out), STATUS_OK, "%s", rows[i]);
        const struct market_event *event = &out.said.market;
        expect_decimal(event->size, NULL, rows[i]);
        expect_decimal(event->average_price, NULL, rows[i]);
        expect_decimal(event->mark_price, NULL, rows[i]);
        expect_decimal(event->unrealized_pnl, NULL, rows[i]);
        expect_decimal(event->realized_pnl, NULL, rows[i]);
        cr_expect_eq(event->side, SIDE_NONE);
        cr_expect_eq(event->mode, POSITION_MODE_ONE_WAY);
        cr_expect_eq(event->at_us, TIME_NONE);
    }
}

Test(decode_market, aliases_are_read_and_the_first_that_is_said_wins)
{
    static const struct {
        const char *members;
        const char *size, *average, *unrealized, *realized;
    } rows[] = {
        {"\"entryPrice\":\"2\"", NULL, "2", NULL, NULL},
        {"\"entryPrice\":\"2\",\"avgPrice\":\"1\"", NULL, "1", NULL, NULL},
        {"\"entryPrice\":\"2\",\"avgPrice\":\"\"", NULL, "2", NULL, NULL},
        {"\"unrealizedPnl\":\"3\"", NULL, NULL, "3", NULL},
        {"\"unrealizedPnl\":\"3\",\"unrealisedPnl\":\"4\"", NULL, NULL, "4", NULL},
        {"\"realizedPnl\":\"5\"", NULL, NULL, NULL, "5"},
        {"\"cumRealisedPnl\":\"6\"", NULL, NULL, NULL, "6"},
        {"\"cumRealizedPnl\":\"7\"", NULL, NULL, NULL, "7"},
        {"\"cumRealisedPnl\":\"6\",\"realisedPnl\":\"8\"", NULL, NULL, NULL, "8"},
        {"\"size\":0,\"avgPrice\":\"0\"", "0", NULL, NULL, NULL},
        {"\"size\":\"-0\",\"avgPrice\":\"0.000000001\"", "0", NULL, NULL, NULL},
        {"\"size\":\"1.50000000000\"", "1.5", NULL, NULL, NULL},
        {"\"si\\u007ae\":\"\\u0031\"", "1", NULL, NULL, NULL},
        {"\"unrealisedPnl\":\"-0.000000005\"", NULL, NULL, "-0.00000001", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        cr_assert_eq(decode_inner(rows[i].members, &out), STATUS_OK, "%s", rows[i].members);
        expect_decimal(out.said.market.size, rows[i].size, rows[i].members);
        expect_decimal(out.said.market.average_price, rows[i].average, rows[i].members);
        expect_decimal(out.said.market.unrealized_pnl, rows[i].unrealized, rows[i].members);
        expect_decimal(out.said.market.realized_pnl, rows[i].realized, rows[i].members);
    }
}

Test(decode_market, mode_side_and_leg_follow_from_what_is_said)
{
    static const struct {
        const char *members;
        enum position_mode mode;
        enum side side;
        enum leg leg;
    } rows[] = {
        {"\"side\":\"bUY\"", POSITION_MODE_ONE_WAY, SIDE_BUY, LEG_NONE},
        {"\"side\":\"NONE\"", POSITION_MODE_ONE_WAY, SIDE_NONE, LEG_NONE},
        {"\"positionIdx\":1", POSITION_MODE_HEDGE, SIDE_NONE, LEG_LONG},
        {"\"positionIdx\":\"2\"", POSITION_MODE_HEDGE, SIDE_NONE, LEG_SHORT},
        {"\"positionIdx\":0,\"side\":\"Sell\"", POSITION_MODE_ONE_WAY, SIDE_SELL, LEG_NONE},
        {"\"mode\":\"HEDGE\",\"side\":\"Buy\"", POSITION_MODE_HEDGE, SIDE_BUY, LEG_LONG},
        {"\"mode\":\"hedge\",\"side\":\"Sell\",\"positionIdx\":0", POSITION_MODE_HEDGE, SIDE_SELL, LEG_SHORT},
        {"\"mode\":\"hedge\"", POSITION_MODE_HEDGE, SIDE_NONE, LEG_NONE},
        {"\"mode\":\"hedge\",\"positionIdx\":1,\"side\":\"None\"", POSITION_MODE_HEDGE, SIDE_NONE, LEG_LONG},
        {"\"mode\":\"one-way\",\"positionIdx\":2", POSITION_MODE_ONE_WAY, SIDE_NONE, LEG_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        cr_assert_eq(decode_inner(rows[i].members, &out), STATUS_OK, "%s", rows[i].members);
        cr_expect_eq(out.said.market.mode, rows[i].mode, "%s", rows[i].members);
        cr_expect_eq(out.said.market.side, rows[i].side, "%s", rows[i].members);
        cr_expect_eq(out.said.market.leg, rows[i].leg, "%s", rows[i].members);
    }
}

Test(decode_market, times_come_from_either_inner_name_in_either_form)
{
    static const struct {
        const char *members;
        int64_t expected;
    } rows[] = {
        {"\"updatedTime\":\"1736935200123\"", INT64_C(1736935200123000)},
        {"\"updatedTime\":1736935200123", INT64_C(1736935200123000)},
        {"\"timestamp\":\"2025-01-15T11:00:00+01:00\"", INT64_C(1736935200000000)},
        {"\"timestamp\":0,\"updatedTime\":5", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        cr_assert_eq(decode_inner(rows[i].members, &out), STATUS_OK, "%s", rows[i].members);
        cr_expect_eq(out.said.market.at_us, rows[i].expected, "%s", rows[i].members);
    }
}

Test(decode_market, inner_members_that_say_nonsense_are_refused_by_name)
{
    static const struct {
        const char *members;
        enum status expected;
        const char *field;
    } rows[] = {
        {"\"size\":\"abc\"", STATUS_BAD_NUMBER, "size"},
        {"\"size\":\" \"", STATUS_BAD_NUMBER, "size"},
        {"\"size\":\"1e3\"", STATUS_BAD_NUMBER, "size"},
        {"\"size\":1e3", STATUS_BAD_NUMBER, "size"},
        {"\"size\":true", STATUS_BAD_NUMBER, "size"},
        {"\"size\":{}", STATUS_BAD_NUMBER, "size"},
        {"\"size\":[1]", STATUS_BAD_NUMBER, "size"},
        {"\"size\":\"0.000000001\"", STATUS_BAD_NUMBER, "size"},
        {"\"size\":\"1000000000000\"", STATUS_OUT_OF_RANGE, "size"},
        {"\"size\":\"-1\"", STATUS_NOT_POSITIVE, "size"},
        {"\"avgPrice\":\"+1\"", STATUS_BAD_NUMBER, "avgPrice"},
        {"\"avgPrice\":\"-1\"", STATUS_NOT_POSITIVE, "avgPrice"},
        {"\"entryPrice\":\"-1\"", STATUS_NOT_POSITIVE, "entryPrice"},
        {"\"markPrice\":\".5\"", STATUS_BAD_NUMBER, "markPrice"},
        {"\"markPrice\":\"-1\"", STATUS_NOT_POSITIVE, "markPrice"},
        {"\"markPrice\":\"0\"", STATUS_NOT_POSITIVE, "markPrice"},
        {"\"markPrice\":0.000000001", STATUS_NOT_POSITIVE, "markPrice"},
        {"\"unrealisedPnl\":\"x\"", STATUS_BAD_NUMBER, "unrealisedPnl"},
        {"\"unrealizedPnl\":\"NaN\"", STATUS_BAD_NUMBER, "unrealizedPnl"},
        {"\"cumRealisedPnl\":\"9999999999999\"", STATUS_OUT_OF_RANGE, "cumRealisedPnl"},
        {"\"cumRealizedPnl\":\"1,5\"", STATUS_BAD_NUMBER, "cumRealizedPnl"},
        {"\"side\":\"long\"", STATUS_BAD_SIDE, "side"},
        {"\"side\":1", STATUS_BAD_SIDE, "side"},
        {"\"side\":\"Buy\\u0000\"", STATUS_BAD_SIDE, "side"},
        {"\"mode\":\"both\"", STATUS_BAD_MODE, "mode"},
        {"\"mode\":{}", STATUS_BAD_MODE, "mode"},
        {"\"positionIdx\":3", STATUS_BAD_MODE, "positionIdx"},
        {"\"positionIdx\":-1", STATUS_BAD_MODE, "positionIdx"},
        {"\"positionIdx\":\"one\"", STATUS_BAD_MODE, "positionIdx"},
        {"\"positionIdx\":1,\"mode\":\"x\"", STATUS_BAD_MODE, "mode"},
        {"\"timestamp\":\"yesterday\"", STATUS_BAD_TIME, "timestamp"},
        {"\"timestamp\":-1", STATUS_BAD_TIME, "timestamp"},
        {"\"timestamp\":true", STATUS_BAD_TIME, "timestamp"},
        {"\"updatedTime\":\"1.5\"", STATUS_BAD_TIME, "updatedTime"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        enum status status = decode_inner(rows[i].members, &out);
        expect_refusal(status, &out, rows[i].expected, rows[i].field, rows[i].members);
        cr_expect_str_eq(out.asset, "BTCUSDT", "the dead letter's asset is known: %s", rows[i].members);
    }
}

Test(decode_market, bodies_of_another_form_are_refused)
{
    static const struct {
        const char *body;
        enum status expected;
        const char *field;
    } rows[] = {
        {"", STATUS_NOT_JSON, NULL},
        {"hello", STATUS_NOT_JSON, NULL},
        {"{\"event_type\":\"position\"", STATUS_NOT_JSON, NULL},
        {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", STATUS_TOO_DEEP, NULL},
        {"[]", STATUS_MISSING_FIELD, "event_type"},
        {"\"position\"", STATUS_MISSING_FIELD, "event_type"},
        {"null", STATUS_MISSING_FIELD, "event_type"},
        {"{}", STATUS_MISSING_FIELD, "event_type"},
        {"{\"event_type\":null}", STATUS_MISSING_FIELD, "event_type"},
        {"{\"event_type\":\"\"}", STATUS_MISSING_FIELD, "event_type"},
        {"{\"event_type\":\"ticker\"}", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"{\"event_type\":7}", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"{\"event_type\":[\"position\"]}", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"{\"event_type\":\"positions\",\"data\":{\"symbol\":\"BTCUSDT\"}}", STATUS_WRONG_EVENT_TYPE, "event_type"},
        {"{\"event_type\":\"position\"}", STATUS_MISSING_FIELD, "data"},
        {"{\"event_type\":\"position\",\"data\":[]}", STATUS_MISSING_FIELD, "data"},
        {"{\"event_type\":\"position\",\"data\":null,\"payload\":\"x\"}", STATUS_MISSING_FIELD, "data"},
        {"{\"event_type\":\"position\",\"data\":{}}", STATUS_MISSING_FIELD, "symbol"},
        {"{\"event_type\":\"position\",\"data\":{\"symbol\":\"\"}}", STATUS_MISSING_FIELD, "symbol"},
        {"{\"event_type\":\"position\",\"data\":{\"symbol\":7}}", STATUS_BAD_ASSET, "symbol"},
        {"{\"event_type\":\"position\",\"data\":{\"symbol\":\"BTCUSD\"}}", STATUS_BAD_ASSET, "symbol"},
        {"{\"event_type\":\"position\",\"data\":{\"symbol\":\"BTCUSDT\\u0000\"}}", STATUS_BAD_ASSET, "symbol"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decoded out;
        enum status status = decode(rows[i].body, &out);
        expect_refusal(status, &out, rows[i].expected, rows[i].field, rows[i].body);
    }
}

Test(decode_market, the_inner_object_has_two_names)
{
    struct decoded out;
    cr_expect_eq(decode("{\"event_type\":\"position\",\"payload\":{\"symbol\":\"ETHUSDT\"}}", &out), STATUS_OK);
    cr_expect_str_eq(out.asset, "ETHUSDT");
    cr_expect_eq(decode("{\"event_type\":\"position\",\"data\":null,\"payload\":{\"symbol\":\"ETHUSDT\"}}", &out),
                 STATUS_OK);
    cr_expect_eq(
        decode("{\"event_type\":\"position\",\"payload\":{\"symbol\":\"X\"},\"data\":{\"symbol\":\"ETHUSDT\"}}", &out),
        STATUS_OK);
}

Test(decode_market, a_body_over_the_limit_is_too_large_before_anything_else)
{
    static char body[BODY_LEN_MAX + 1];
    struct asset_pattern pattern = default_pattern();
    struct decoded out;
    const char head[] = "{\"event_type\":\"position\",\"data\":{\"symbol\":\"BTCUSDT\"}}";
    memset(body, ' ', sizeof body);
    memcpy(body, head, sizeof head - 1);
    cr_expect_eq(decode_market(body, BODY_LEN_MAX, &pattern, &out), STATUS_OK);
    expect_refusal(decode_market(body, BODY_LEN_MAX + 1, &pattern, &out), &out, STATUS_TOO_LARGE, NULL, "blanks");
    memset(body, '[', sizeof body);
    expect_refusal(decode_market(body, BODY_LEN_MAX + 1, &pattern, &out), &out, STATUS_TOO_LARGE, NULL, "brackets");
}

Test(decode_market, a_refused_event_still_tells_its_trace_and_asset)
{
    struct decoded out;
    cr_expect_eq(decode("{\"event_type\":\"x\",\"trace_id\":\"t-1\",\"data\":{\"symbol\":\"btcusdt\"}}", &out),
                 STATUS_WRONG_EVENT_TYPE);
    cr_expect_str_eq(out.trace_id, "t-1");
    cr_expect_str_eq(out.asset, "BTCUSDT");
}

Test(decode_market, trace_ids_are_cut_at_a_character_and_may_stand_inside)
{
    struct decoded out;
    cr_expect_eq(decode_inner("\"trace_id\":\"inner\"", &out), STATUS_OK);
    cr_expect_str_eq(out.trace_id, "inner");
    cr_expect_eq(decode_inner("\"trace_id\":12345", &out), STATUS_OK);
    cr_expect_str_eq(out.trace_id, "12345");
    cr_expect_eq(decode_inner("\"trace_id\":{\"a\":1}", &out), STATUS_OK);
    cr_expect_str_eq(out.trace_id, "");
    cr_expect_eq(decode_inner("\"trace_id\":\"ab\\u0000cd\"", &out), STATUS_OK);
    cr_expect_str_eq(out.trace_id, "ab");
    char members[256];
    /* 62 bytes, then a character of three that does not fit, plain and escaped; then one that just fits. */
    static const char sixty_two[] = "12345678901234567890123456789012345678901234567890123456789012";
    static const char *const tails[] = {"\xE2\x82\xAC", "\\u20AC", "\\u20ac tail"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(members, sizeof members, "\"trace_id\":\"%s%s\"", sixty_two, tails[i]);
        cr_expect_eq(decode_inner(members, &out), STATUS_OK);
        cr_expect_str_eq(out.trace_id, sixty_two, "%s", tails[i]);
    }
    snprintf(members, sizeof members, "\"trace_id\":\"%s\xC3\xA9tail\"", sixty_two);
    cr_expect_eq(decode_inner(members, &out), STATUS_OK);
    cr_expect_eq(strlen(out.trace_id), 64);
}

static uint64_t digest_of(const char *members)
{
    struct decoded out;
    cr_assert_eq(decode_inner(members, &out), STATUS_OK, "%s", members);
    return out.said.market.digest;
}

Test(decode_market, the_digest_tells_contents_apart_and_not_spellings)
{
    static const char base[] = "\"size\":\"1\",\"side\":\"Buy\",\"markPrice\":\"5\",\"timestamp\":1";
    static const char *const same[] = {
        "\"size\":1.0,\"side\":\"BUY\",\"markPrice\":5,\"timestamp\":1",
        "\"markPrice\":\"5.00\",\"side\":\"Buy\",\"size\":\"1\",\"timestamp\":1,\"trace_id\":\"other\"",
    };
    static const char *const other[] = {
        "\"size\":\"2\",\"side\":\"Buy\",\"markPrice\":\"5\"",
        "\"size\":\"1\",\"side\":\"Sell\",\"markPrice\":\"5\"",
        "\"size\":\"1\",\"side\":\"Buy\",\"markPrice\":\"6\"",
        "\"size\":\"1\",\"side\":\"Buy\",\"markPrice\":\"5\",\"avgPrice\":\"1\"",
        "\"size\":\"1\",\"side\":\"Buy\",\"markPrice\":\"5\",\"unrealisedPnl\":\"0\"",
        "\"size\":\"1\",\"side\":\"Buy\",\"markPrice\":\"5\",\"realisedPnl\":\"0\"",
        "\"size\":\"1\",\"side\":\"Buy\",\"markPrice\":\"5\",\"mode\":\"hedge\"",
        "\"size\":\"1\",\"side\":\"Buy\",\"markPrice\":\"5\",\"positionIdx\":2",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        cr_expect_eq(digest_of(same[i]), digest_of(base), "%s", same[i]);
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        cr_expect_neq(digest_of(other[i]), digest_of(base), "%s", other[i]);
}
