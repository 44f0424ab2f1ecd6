#include <criterion/criterion.h>
#include <string.h>

#include "decode.h"
#include "encode.h"
#include "json_scan.h"

#define SECOND INT64_C(1000000)
#define TEN_AM (INT64_C(1736935200) * SECOND)

static struct decimal d(const char *text)
{
    struct decimal value;
    cr_assert_eq(decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &value), STATUS_OK, "%s", text);
    return value;
}

static struct position one_way(void)
{
    struct position position;
    struct uuid id;
    cr_assert_eq(uuid_parse("0f8fad5b-d9cb-469f-a165-70867728950e", 36, &id), STATUS_OK);
    position_init(&position, "BTCUSDT", POSITION_MODE_ONE_WAY, id, TEN_AM);
    return position;
}

static void expect_text(const struct text *text, const char *expected)
{
    struct json_value root;
    cr_expect(!text->overflowed);
    cr_expect(text->len == strlen(expected) && memcmp(text->bytes, expected, text->len) == 0, "%.*s\ninstead of\n%s",
              (int)text->len, text->bytes, expected);
    if (text->bytes[0] == '{')
        cr_expect_eq(json_check(text->bytes, text->len, &root), STATUS_OK, "%.*s", (int)text->len, text->bytes);
}

Test(encode, a_position_is_written_with_every_member)
{
    struct position position = one_way();
    position.size = d("1.5");
    position.average_entry_price = d("50000");
    position.current_price = d("51000.5");
    position.unrealized_pnl = d("1500.75");
    position.realized_pnl = d("-0.3");
    position.fees_paid = d("0.00000001");
    position.version = 7;
    position.opened_at_us = TEN_AM;
    position.price_updated_at_us = TEN_AM + 90 * SECOND;
    position.last_updated_us = TEN_AM + 100 * SECOND + 250000;
    struct position_context context = {.total_exposure = wide_multiply(d("1.5").units * 4, d("51000.5").units),
                                       .now_us = TEN_AM + 125 * SECOND,
                                       .staleness_us = 300 * SECOND};
    char buffer[POSITION_JSON_LEN_MAX];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    encode_position(&text, &position, &context);
    expect_text(
        &text,
        "{\"id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\"asset\":\"BTCUSDT\",\"mode\":\"one-way\",\"size\":\"1.5\","
        "\"average_entry_price\":\"50000.00\",\"current_price\":\"51000.50\",\"unrealized_pnl\":\"1500.75\","
        "\"realized_pnl\":\"-0.30\",\"fees_paid\":\"0.00000001\",\"long_size\":null,\"short_size\":null,"
        "\"long_avg_price\":null,\"short_avg_price\":null,\"unrealized_pnl_pct\":\"2.001\","
        "\"time_held_minutes\":2,\"position_size_norm\":\"0.25\",\"version\":7,"
        "\"price_updated_at\":\"2025-01-15T10:01:30Z\",\"price_stale\":false,"
        "\"last_updated\":\"2025-01-15T10:01:40.25Z\",\"last_snapshot_at\":null,"
        "\"created_at\":\"2025-01-15T10:00:00Z\",\"opened_at\":\"2025-01-15T10:00:00Z\",\"closed_at\":null}");
}

Test(encode, a_flat_unpriced_position_says_null_where_nothing_is_known)
{
    struct position position = one_way();
    struct position_context context = {.total_exposure = WIDE_ZERO, .now_us = TEN_AM, .staleness_us = SECOND};
    char buffer[POSITION_JSON_LEN_MAX];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    encode_position_members(&text, &position, &context);
    text_char(&text, '\0');
    cr_expect(strstr(buffer, "\"size\":\"0.0\",\"average_entry_price\":null,\"current_price\":null,"
                             "\"unrealized_pnl\":\"0.00\",\"realized_pnl\":\"0.00\",\"fees_paid\":\"0.00\""),
              "%s", buffer);
    cr_expect(strstr(buffer, "\"unrealized_pnl_pct\":null,\"time_held_minutes\":null,\"position_size_norm\":null,"
                             "\"version\":0,\"price_updated_at\":null,\"price_stale\":true,"),
              "%s", buffer);
}

Test(encode, a_hedge_position_shows_its_legs)
{
    struct position position;
    struct uuid id = {{0}};
    position_init(&position, "ETHUSDT", POSITION_MODE_HEDGE, id, TEN_AM);
    position.long_size = d("2");
    position.short_size = d("0.5");
    position.size = d("1.5");
    position.long_avg_price = d("2000");
    position.short_avg_price = d("2100.123");
    struct position_context context = {.total_exposure = WIDE_ZERO, .now_us = TEN_AM, .staleness_us = SECOND};
    char buffer[POSITION_JSON_LEN_MAX];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    encode_position(&text, &position, &context);
    text_char(&text, '\0');
    cr_expect(strstr(buffer, "\"mode\":\"hedge\",\"size\":\"1.5\""), "%s", buffer);
    cr_expect(strstr(buffer, "\"long_size\":\"2.0\",\"short_size\":\"0.5\",\"long_avg_price\":\"2000.00\","
                             "\"short_avg_price\":\"2100.123\""),
              "%s", buffer);
}

Test(encode, a_price_is_stale_when_it_is_missing_or_older_than_the_threshold)
{
    struct position position = one_way();
    cr_expect(position_price_is_stale(&position, TEN_AM, SECOND), "no price");
    position.current_price = d("1");
    cr_expect(position_price_is_stale(&position, TEN_AM, SECOND), "a price of unknown age");
    position.price_updated_at_us = TEN_AM;
    cr_expect(!position_price_is_stale(&position, TEN_AM + SECOND, SECOND), "just as old as allowed");
    cr_expect(position_price_is_stale(&position, TEN_AM + SECOND + 1, SECOND), "older");
    position.current_price = DECIMAL_NONE;
    cr_expect(position_price_is_stale(&position, TEN_AM, SECOND), "an age without a price");
}

Test(encode, an_update_is_announced_with_its_source_and_trace)
{
    struct position position = one_way();
    position.size = d("-10");
    position.average_entry_price = d("48666.66666667");
    position.version = 3;
    char buffer[ANNOUNCEMENT_JSON_LEN_MAX];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    encode_position_updated(&text, &position, DECIMAL_NONE, "order_execution", "t\"1", TEN_AM + 1);
    expect_text(
        &text,
        "{\"event_type\":\"position_updated\",\"position_id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\","
        "\"asset\":\"BTCUSDT\",\"mode\":\"one-way\",\"size\":\"-10.0\",\"average_entry_price\":\"48666.66666667\","
        "\"current_price\":null,\"unrealized_pnl\":\"0.00\",\"realized_pnl\":\"0.00\","
        "\"unrealized_pnl_pct\":\"0.00\",\"time_held_minutes\":null,\"position_size_norm\":null,\"version\":3,"
        "\"update_source\":\"order_execution\",\"trace_id\":\"t\\\"1\","
        "\"timestamp\":\"2025-01-15T10:00:00.000001Z\"}");
}

static struct portfolio_totals some_totals(void)
{
    return (struct portfolio_totals){.exposure = wide_multiply(d("3").units, d("100.5").units),
                                     .net_exposure = wide_multiply(d("-1").units, d("100.5").units),
                                     .unrealized_pnl = d("-0.3").units,
                                     .realized_pnl = d("12").units,
                                     .positions = 5,
                                     .open = 3,
                                     .longs = 2,
                                     .shorts = 1,
                                     .unpriced = 4};
}

Test(encode, the_portfolio_is_written_with_its_totals_and_counts)
{
    struct portfolio_totals totals = some_totals();
    char buffer[PORTFOLIO_JSON_LEN_MAX];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    encode_portfolio_updated(&text, &totals, true, "t", TEN_AM);
    expect_text(&text, "{\"event_type\":\"portfolio_updated\",\"total_exposure_usdt\":\"301.50\","
                       "\"total_unrealized_pnl_usdt\":\"-0.30\",\"total_realized_pnl_usdt\":\"12.00\","
                       "\"portfolio_value_usdt\":\"-100.50\",\"net_exposure_usdt\":\"-100.50\","
                       "\"open_positions_count\":3,\"long_positions_count\":2,\"short_positions_count\":1,"
                       "\"limit_exceeded\":true,\"unpriced_positions_count\":4,"
                       "\"calculated_at\":\"2025-01-15T10:00:00Z\",\"trace_id\":\"t\","
                       "\"timestamp\":\"2025-01-15T10:00:00Z\"}");
}

Test(encode, an_asset_is_a_member_of_by_asset)
{
    struct portfolio_totals totals = some_totals();
    char buffer[ASSET_JSON_LEN_MAX];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    encode_by_asset_member(&text, "BTCUSDT", &totals, d("-2.5").units);
    expect_text(&text, "\"BTCUSDT\":{\"exposure_usdt\":\"301.50\",\"unrealized_pnl_usdt\":\"-0.30\","
                       "\"realized_pnl_usdt\":\"12.00\",\"size\":\"-2.5\"}");
}

Test(encode, errors_carry_details_or_null)
{
    char buffer[256];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    encode_error(&text, "NOT_FOUND", "no \"X\"", "t", NULL);
    expect_text(&text,
                "{\"error_code\":\"NOT_FOUND\",\"message\":\"no \\\"X\\\"\",\"trace_id\":\"t\",\"details\":null}");
    text_init(&text, buffer, sizeof buffer);
    encode_error(&text, "VALIDATION_ERROR", "m", "", "{\"field\":\"limit\"}");
    expect_text(&text, "{\"error_code\":\"VALIDATION_ERROR\",\"message\":\"m\",\"trace_id\":\"\","
                       "\"details\":{\"field\":\"limit\"}}");
}

/* Every figure as long as it can be: the constants of encode.h must hold for what strangers' rows and messages contain.
 */
static struct position longest_position(enum position_mode mode)
{
    struct position position;
    struct uuid id = {{0}};
    const struct decimal longest = decimal_from_units(-DECIMAL_UNITS_MAX),
                         positive = decimal_from_units(DECIMAL_UNITS_MAX);
    /* A custom pattern may let quotes through, each of which is two bytes. */
    position_init(&position, "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"", mode, id, TEN_AM + 123456);
    position.size = longest;
    position.average_entry_price = decimal_from_units(DECIMAL_UNITS_MAX / DECIMAL_ONE);
    position.current_price = positive;
    position.unrealized_pnl = longest;
    position.realized_pnl = longest;
    position.fees_paid = longest;
    position.long_size = positive;
    position.short_size = positive;
    position.long_avg_price = positive;
    position.short_avg_price = positive;
    position.version = INT32_MIN;
    position.opened_at_us = position.closed_at_us = position.price_updated_at_us = position.last_updated_us =
        position.last_snapshot_at_us = position.created_at_us = TEN_AM + 123456;
    position.opened_at_us = -INT64_C(62135596800) * SECOND;
    return position;
}

Test(encode, the_longest_position_and_announcement_fit_their_limits)
{
    char trace_id[65], buffer[4096];
    memset(trace_id, 1, sizeof trace_id);
    trace_id[64] = '\0';
    for (int mode = POSITION_MODE_ONE_WAY; mode <= POSITION_MODE_HEDGE; mode++) {
        struct position position = longest_position((enum position_mode)mode);
        struct position_context context = {.total_exposure = wide_from(3), .now_us = TEN_AM, .staleness_us = 0};
        struct text text;
        text_init(&text, buffer, sizeof buffer);
        encode_position(&text, &position, &context);
        cr_expect(!text.overflowed && text.len <= POSITION_JSON_LEN_MAX, "%zu: %.*s", text.len, (int)text.len, buffer);
        text_init(&text, buffer, sizeof buffer);
        encode_position_updated(&text, &position, decimal_from_units(-DECIMAL_UNITS_MAX), "order_execution", trace_id,
                                TEN_AM + 123456);
        cr_expect(!text.overflowed && text.len <= ANNOUNCEMENT_JSON_LEN_MAX, "%zu: %.*s", text.len, (int)text.len,
                  buffer);
    }
}

Test(encode, the_longest_portfolio_and_asset_fit_their_limits)
{
    char trace_id[65], buffer[4096];
    memset(trace_id, 1, sizeof trace_id);
    trace_id[64] = '\0';
    /* The largest sums that portfolio_round takes: as long as an int128 gets. */
    const int128 sum = -((int128)1 << 126);
    struct wide exposure = wide_scale(wide_from(sum), DECIMAL_ONE);
    struct portfolio_totals totals = {.exposure = exposure,
                                      .net_exposure = exposure,
                                      .unrealized_pnl = sum,
                                      .realized_pnl = sum,
                                      .positions = INT64_MIN,
                                      .open = INT64_MIN,
                                      .longs = INT64_MIN,
                                      .shorts = INT64_MIN,
                                      .unpriced = INT64_MIN};
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    encode_portfolio_updated(&text, &totals, false, trace_id, TEN_AM + 123456);
    cr_expect(!text.overflowed && text.len <= PORTFOLIO_JSON_LEN_MAX, "%zu: %.*s", text.len, (int)text.len, buffer);
    text_init(&text, buffer, sizeof buffer);
    encode_by_asset_member(&text, "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"", &totals, sum);
    cr_expect(!text.overflowed && text.len <= ASSET_JSON_LEN_MAX, "%zu: %.*s", text.len, (int)text.len, buffer);
}
