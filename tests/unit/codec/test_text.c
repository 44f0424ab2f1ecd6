#include <criterion/criterion.h>
#include <string.h>

#include "clock.h"
#include "text.h"

static void expect_text(const struct text *text, const char *expected)
{
    cr_expect(!text->overflowed, "%s", expected);
    cr_expect_eq(text->len, strlen(expected), "%.*s instead of %s", (int)text->len, text->bytes, expected);
    cr_expect(text->len == strlen(expected) && memcmp(text->bytes, expected, text->len) == 0, "%.*s instead of %s",
              (int)text->len, text->bytes, expected);
}

Test(text, integers_are_written_up_to_both_ends)
{
    static const struct {
        int64_t value;
        const char *expected;
    } rows[] = {{0, "0"},
                {7, "7"},
                {-7, "-7"},
                {10, "10"},
                {1234567890, "1234567890"},
                {INT64_MAX, "9223372036854775807"},
                {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char buffer[32];
        struct text text;
        text_init(&text, buffer, sizeof buffer);
        text_int(&text, rows[i].value);
        expect_text(&text, rows[i].expected);
    }
}

Test(text, strings_are_quoted_escaped_and_made_valid)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *expected;
    } rows[] = {
        {"", 0, "\"\""},
        {"plain /~\x7F", 9, "\"plain /~\x7F\""},
        {"\"\\", 2, "\"\\\"\\\\\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"a\0b\x01\x1F", 5, "\"a\\u0000b\\u0001\\u001f\""},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
        {"a\xFF\x62", 3, "\"a\xEF\xBF\xBD\x62\""},
        {"\xC3", 1, "\"\xEF\xBF\xBD\""},
        {"\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char buffer[64];
        struct text text;
        text_init(&text, buffer, sizeof buffer);
        text_string(&text, rows[i].bytes, rows[i].len);
        expect_text(&text, rows[i].expected);
    }
}

Test(text, decimals_keep_the_digits_that_they_owe_and_none_is_null)
{
    char buffer[256];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    text_decimal(&text, decimal_from_units(150000000), 1);
    text_char(&text, ' ');
    text_decimal(&text, decimal_from_units((int128)50000 * DECIMAL_ONE), 2);
    text_char(&text, ' ');
    text_decimal(&text, DECIMAL_ZERO, 1);
    text_char(&text, ' ');
    text_decimal(&text, decimal_from_units(-1), 2);
    text_char(&text, ' ');
    text_decimal(&text, DECIMAL_NONE, 2);
    text_char(&text, ' ');
    text_units(&text, DECIMAL_UNITS_MAX * 1000, 2);
    expect_text(&text, "\"1.5\" \"50000.00\" \"0.0\" \"-0.00000001\" null \"999999999999999.99999\"");
}

Test(text, uuids_booleans_and_times_are_written)
{
    struct uuid uuid;
    char buffer[128];
    struct text text;
    cr_assert_eq(uuid_parse("0f8fad5b-d9cb-469f-a165-70867728950e", 36, &uuid), STATUS_OK);
    text_init(&text, buffer, sizeof buffer);
    text_uuid(&text, &uuid);
    text_bool(&text, true);
    text_bool(&text, false);
    text_time(&text, 0);
    text_time(&text, TIME_NONE);
    expect_text(&text, "\"0f8fad5b-d9cb-469f-a165-70867728950e\"truefalse\"1970-01-01T00:00:00Z\"null");
}

Test(text, a_writer_out_of_room_says_so_and_writes_nothing_more)
{
    char buffer[8] = "........";
    struct text text;
    text_init(&text, buffer, 4);
    TEXT_LITERAL(&text, "abcd");
    cr_expect(!text.overflowed, "the last byte may be used");
    text_char(&text, 'e');
    cr_expect(text.overflowed);
    text_init(&text, buffer, 4);
    TEXT_LITERAL(&text, "ab");
    TEXT_LITERAL(&text, "cde");
    TEXT_LITERAL(&text, "f");
    cr_expect(text.overflowed);
    cr_expect_eq(text.len, 2, "what would still fit is not written either");
    cr_expect(memcmp(buffer + 4, "....", 4) == 0);
}
