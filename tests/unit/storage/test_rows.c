#include <criterion/criterion.h>
#include <string.h>

#include "clock.h"
#include "rows.h"

Test(rows, array_without_elements_is_two_braces)
{
    struct pg_array array = {0};
    pg_array_clear(&array);
    cr_assert_str_eq(pg_array_finish(&array), "{}");
    cr_assert_eq(array.count, 0);
    pg_array_free(&array);
}

Test(rows, texts_are_quoted_and_escaped)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {NULL, "{NULL}"},
        {"", "{NULL}"},
        {"NULL", "{\"NULL\"}"},
        {"plain", "{\"plain\"}"},
        {"a\"b\\c", "{\"a\\\"b\\\\c\"}"},
        {"{x, y}", "{\"{x, y}\"}"},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "{\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"}"},
        {"\xFF", "{\"\\\\xff\"}"},
        {"a\xC3", "{\"a\\\\xc3\"}"},
        {"\xC3(", "{\"\\\\xc3(\"}"},
        {"\xC0\x80", "{\"\\\\xc0\\\\x80\"}"},
        {"\xE0\x80\x80", "{\"\\\\xe0\\\\x80\\\\x80\"}"},
        {"\xED\xA0\x80", "{\"\\\\xed\\\\xa0\\\\x80\"}"},
        {"\xF4\x90\x80\x80", "{\"\\\\xf4\\\\x90\\\\x80\\\\x80\"}"},
        {"\xF5\x80\x80\x80", "{\"\\\\xf5\\\\x80\\\\x80\\\\x80\"}"},
    };
    struct pg_array array = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pg_array_clear(&array);
        pg_array_text(&array, cases[i].text);
        cr_assert_str_eq(pg_array_finish(&array), cases[i].expected, "case %zu", i);
    }
    pg_array_free(&array);
}

Test(rows, values_of_every_kind_stand_side_by_side)
{
    struct pg_array array = {0};
    const uint64_t words[] = {0xFEDCBA9876543210, 1};
    const struct uuid uuid = {.bytes = {0x11, 0x22, 0x33}};
    pg_array_clear(&array);
    pg_array_int(&array, 0);
    pg_array_int(&array, INT64_MIN);
    pg_array_int(&array, INT64_MAX);
    pg_array_decimal(&array, DECIMAL_NONE);
    pg_array_decimal(&array, decimal_from_units(-150000000));
    pg_array_wide(&array, wide_multiply(-DECIMAL_UNITS_MAX, 1));
    pg_array_time(&array, TIME_NONE);
    pg_array_time(&array, 1736935200000001);
    pg_array_uuid(&array, &uuid);
    pg_array_words(&array, words, 2);
    pg_array_words(&array, words, 0);
    pg_array_null(&array);
    cr_assert_str_eq(
        pg_array_finish(&array),
        "{0,-9223372036854775808,9223372036854775807,NULL,-1.5,-9999.9999999999999999,NULL,"
        "2025-01-15T10:00:00.000001Z,11223300-0000-0000-0000-000000000000,fedcba98765432100000000000000001,NULL,NULL}");
    cr_assert_eq(array.count, 12);
    pg_array_free(&array);
}

Test(rows, cleared_array_keeps_its_memory)
{
    struct pg_array array = {0};
    pg_array_clear(&array);
    for (int i = 0; i < 10000; i++)
        pg_array_text(&array, "0123456789");
    const size_t len = strlen(pg_array_finish(&array));
    cr_assert_eq(len, 10000 * 13 + 1);
    const char *bytes = array.bytes;
    const size_t capacity = array.capacity;
    pg_array_clear(&array);
    for (int i = 0; i < 10000; i++)
        pg_array_text(&array, "9876543210");
    cr_assert_eq(strlen(pg_array_finish(&array)), len);
    cr_assert_eq(array.bytes, bytes);
    cr_assert_eq(array.capacity, capacity);
    pg_array_free(&array);
}
