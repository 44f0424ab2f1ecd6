#include "encode.h"

#include <criterion/criterion.h>
#include <string.h>

enum { ROOM = 8192 };

static const int64_t at_us = INT64_C(1763815000123456); /* 2025-11-22T12:36:40.123456Z */

static struct position longest(void)
{
    const struct decimal figure = decimal_from_units(-DECIMAL_UNITS_MAX);
    struct position position;
    position_init(&position, "ABCDEFGHIJKLMNOPQRST", POSITION_MODE_ONE_WAY, (struct uuid){0}, at_us);
    position.size = position.average_entry_price = position.current_price = figure;
    position.unrealized_pnl = position.realized_pnl = position.fees_paid = figure;
    position.long_size = position.short_size = position.long_avg_price = position.short_avg_price = figure;
    position.average_entry_price = position.current_price = decimal_from_units(DECIMAL_UNITS_MAX);
    position.price_updated_at_us = position.last_snapshot_at_us = position.closed_at_us = at_us;
    position.opened_at_us = 0;
    position.version = INT32_MAX;
    return position;
}

Test(encode_history, snapshot_holds_its_data_as_it_is)
{
    char bytes[ROOM];
    struct text text;
    const struct snapshot_head head = {
        .asset = "BTCUSDT", .mode = POSITION_MODE_HEDGE, .created_at_us = at_us, .id.bytes = {1}};
    text_init(&text, bytes, sizeof bytes - 1);
    encode_snapshot(&text, &head, "{\"a\": 1}", 8);
    bytes[text.len] = '\0';
    cr_expect_str_eq(bytes,
                     "{\"id\":\"01000000-0000-0000-0000-000000000000\","
                     "\"position_id\":\"00000000-0000-0000-0000-000000000000\",\"asset\":\"BTCUSDT\","
                     "\"mode\":\"hedge\",\"snapshot_data\":{\"a\": 1},\"created_at\":\"2025-11-22T12:36:40.123456Z\"}");
}

Test(encode_history, the_longest_of_each_fit_their_limits)
{
    char bytes[ROOM], trace_id[65], message[201];
    struct text text;
    const struct position position = longest();
    const struct position_context context = {.total_exposure = wide_from(1), .now_us = at_us, .staleness_us = 1};
    const struct snapshot_head head = {.asset = position.asset, .mode = POSITION_MODE_ONE_WAY, .created_at_us = at_us};
    memset(trace_id, 1, sizeof trace_id - 1);
    trace_id[sizeof trace_id - 1] = '\0';
    memset(message, 'm', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    text_init(&text, bytes, ROOM);
    encode_snapshot(&text, &head, "", 0);
    cr_expect_leq(text.len, SNAPSHOT_HEAD_JSON_LEN_MAX);
    text_init(&text, bytes, ROOM);
    encode_snapshot_created(&text, &head, &position, &context, trace_id);
    cr_expect_leq(text.len, SNAPSHOT_CREATED_JSON_LEN_MAX);
    const struct validation_finding finding = {true, position.size, position.size};
    const struct validation_result result = {
        .error_message = message, .size = finding, .average_entry_price = finding, .updated_position = &position};
    text_init(&text, bytes, ROOM);
    encode_validation(&text, &result, &context);
    cr_expect_leq(text.len, VALIDATION_JSON_LEN_MAX);
}

Test(encode_history, validation_lists_what_differs)
{
    const struct decimal one = decimal_from_units(DECIMAL_ONE);
    const struct validation_finding none = {0}, differs = {true, DECIMAL_NONE, one};
    const struct position_context context = {0};
    const struct {
        struct validation_result result;
        const char *json;
    } rows[] = {
        {{.is_valid = true, .size = none, .average_entry_price = none},
         "{\"is_valid\":true,\"error_message\":null,\"discrepancies\":[],\"updated_position\":null}"},
        {{.error_message = "why \"so\"", .size = differs},
         "{\"is_valid\":false,\"error_message\":\"why "
         "\\\"so\\\"\",\"discrepancies\":[{\"field\":\"size\",\"stored\":null,"
         "\"computed\":\"1.0\"}],\"updated_position\":null}"},
        {{.size = differs, .average_entry_price = differs},
         "{\"is_valid\":false,\"error_message\":null,\"discrepancies\":[{\"field\":\"size\",\"stored\":null,"
         "\"computed\":"
         "\"1.0\"},{\"field\":\"average_entry_price\",\"stored\":null,\"computed\":\"1.00\"}],\"updated_position\":"
         "null}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char bytes[ROOM];
        struct text text;
        text_init(&text, bytes, sizeof bytes - 1);
        encode_validation(&text, &rows[i].result, &context);
        bytes[text.len] = '\0';
        cr_expect_str_eq(bytes, rows[i].json, "row %zu: %s", i, bytes);
    }
}
