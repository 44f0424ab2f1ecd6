#include <criterion/criterion.h>
#include <string.h>

#include "text_array.h"

Test(text_array, array_without_elements_is_two_braces)
{
    struct text_array array = {0};
    text_array_clear(&array);
    cr_assert_str_eq(text_array_finish(&array), "{}");
    cr_assert_eq(array.count, 0);
    text_array_free(&array);
}

Test(text_array, texts_are_quoted_and_escaped)
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
    struct text_array array = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text_array_clear(&array);
        text_array_text(&array, cases[i].text);
        cr_assert_str_eq(text_array_finish(&array), cases[i].expected, "case %zu", i);
    }
    text_array_free(&array);
}

Test(text_array, identifiers_stand_beside_nulls)
{
    struct text_array array = {0};
    const struct uuid uuid = {.bytes = {0x11, 0x22, 0x33}};
    text_array_clear(&array);
    text_array_uuid(&array, &uuid);
    text_array_null(&array);
    cr_assert_str_eq(text_array_finish(&array), "{11223300-0000-0000-0000-000000000000,NULL}");
    cr_assert_eq(array.count, 2);
    text_array_free(&array);
}

Test(text_array, cleared_array_keeps_its_memory)
{
    struct text_array array = {0};
    text_array_clear(&array);
    for (int i = 0; i < 10000; i++)
        text_array_text(&array, "0123456789");
    const size_t len = strlen(text_array_finish(&array));
    cr_assert_eq(len, 10000 * 13 + 1);
    const char *bytes = array.bytes;
    const size_t capacity = array.capacity;
    text_array_clear(&array);
    for (int i = 0; i < 10000; i++)
        text_array_text(&array, "9876543210");
    cr_assert_eq(strlen(text_array_finish(&array)), len);
    cr_assert_eq(array.bytes, bytes);
    cr_assert_eq(array.capacity, capacity);
    text_array_free(&array);
}
