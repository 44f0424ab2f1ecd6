#include <criterion/criterion.h>
#include <string.h>

#include "json_scan.h"

struct text_row {
    const char *body;
    size_t len; /* 0: up to the terminator */
    enum status expected;
    enum json_kind kind;
};

#define BYTES(literal) literal, sizeof(literal) - 1

static size_t row_len(const struct text_row *row)
{
    return row->len > 0 ? row->len : strlen(row->body);
}

Test(json_scan, valid_texts_are_accepted_and_their_kind_is_told)
{
    static const struct text_row rows[] = {
        {"{}", 0, STATUS_OK, JSON_OBJECT},
        {"[]", 0, STATUS_OK, JSON_ARRAY},
        {" \t\r\n{ } \n", 0, STATUS_OK, JSON_OBJECT},
        {"null", 0, STATUS_OK, JSON_NULL},
        {"true", 0, STATUS_OK, JSON_TRUE},
        {"false", 0, STATUS_OK, JSON_FALSE},
        {"\"\"", 0, STATUS_OK, JSON_STRING},
        {"\"a\"", 0, STATUS_OK, JSON_STRING},
        {"0", 0, STATUS_OK, JSON_NUMBER},
        {"-0", 0, STATUS_OK, JSON_NUMBER},
        {"-0.0e-0", 0, STATUS_OK, JSON_NUMBER},
        {"10", 0, STATUS_OK, JSON_NUMBER},
        {"1.5E+10", 0, STATUS_OK, JSON_NUMBER},
        {"1e5", 0, STATUS_OK, JSON_NUMBER},
        {"123456789012345678901234567890.123456789", 0, STATUS_OK, JSON_NUMBER},
        {"[1,2,[3,{\"a\":[]}],null]", 0, STATUS_OK, JSON_ARRAY},
        {"{\"a\":1,\"a\":2}", 0, STATUS_OK, JSON_OBJECT},
        {"{\"\":{}}", 0, STATUS_OK, JSON_OBJECT},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"", 0, STATUS_OK, JSON_STRING},
        {"\"\\ud800\"", 0, STATUS_OK, JSON_STRING},
        {"\"\\u0000\"", 0, STATUS_OK, JSON_STRING},
        {"\"\x7F\"", 0, STATUS_OK, JSON_STRING},
        {"\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"", 0,
         STATUS_OK, JSON_STRING},
        {"\"a long string of plain characters, longer than any step of the scanner takes at once\"", 0, STATUS_OK,
         JSON_STRING},
        {"[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", 0, STATUS_OK, JSON_ARRAY},
        {"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}"
         "}}}}}}}"
         "}}}}}}",
         0, STATUS_OK, JSON_OBJECT},
        {"[[],[[]],[[[]]],{},{\"a\":{}}]", 0, STATUS_OK, JSON_ARRAY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json_value root = {0};
        cr_expect_eq(json_check(rows[i].body, row_len(&rows[i]), &root), STATUS_OK, "%s", rows[i].body);
        cr_expect_eq(root.kind, rows[i].kind, "%s", rows[i].body);
    }
}

Test(json_scan, invalid_texts_are_refused)
{
    static const struct text_row rows[] = {
        {"", 0, STATUS_NOT_JSON, 0},
        {" ", 0, STATUS_NOT_JSON, 0},
        {"\xEF\xBB\xBF{}", 0, STATUS_NOT_JSON, 0},
        {"{", 0, STATUS_NOT_JSON, 0},
        {"}", 0, STATUS_NOT_JSON, 0},
        {"[", 0, STATUS_NOT_JSON, 0},
        {"[1", 0, STATUS_NOT_JSON, 0},
        {"[1,", 0, STATUS_NOT_JSON, 0},
        {"[1,]", 0, STATUS_NOT_JSON, 0},
        {"[,1]", 0, STATUS_NOT_JSON, 0},
        {"[1 2]", 0, STATUS_NOT_JSON, 0},
        {"[1}", 0, STATUS_NOT_JSON, 0},
        {"{\"a\":1]", 0, STATUS_NOT_JSON, 0},
        {"{\"a\"}", 0, STATUS_NOT_JSON, 0},
        {"{\"a\":}", 0, STATUS_NOT_JSON, 0},
        {"{\"a\":1,}", 0, STATUS_NOT_JSON, 0},
        {"{\"a\":1 \"b\":2}", 0, STATUS_NOT_JSON, 0},
        {"{\"a\" 1}", 0, STATUS_NOT_JSON, 0},
        {"{a:1}", 0, STATUS_NOT_JSON, 0},
        {"{'a':1}", 0, STATUS_NOT_JSON, 0},
        {"{1:1}", 0, STATUS_NOT_JSON, 0},
        {"{\"a\":", 0, STATUS_NOT_JSON, 0},
        {"{\"a", 0, STATUS_NOT_JSON, 0},
        {"{,}", 0, STATUS_NOT_JSON, 0},
        {"{} {}", 0, STATUS_NOT_JSON, 0},
        {"{}x", 0, STATUS_NOT_JSON, 0},
        {"1 1", 0, STATUS_NOT_JSON, 0},
        {"// x\n1", 0, STATUS_NOT_JSON, 0},
        {"NaN", 0, STATUS_NOT_JSON, 0},
        {"Infinity", 0, STATUS_NOT_JSON, 0},
        {"-Infinity", 0, STATUS_NOT_JSON, 0},
        {"nul", 0, STATUS_NOT_JSON, 0},
        {"nulL", 0, STATUS_NOT_JSON, 0},
        {"True", 0, STATUS_NOT_JSON, 0},
        {"truee", 0, STATUS_NOT_JSON, 0},
        {"01", 0, STATUS_NOT_JSON, 0},
        {"-", 0, STATUS_NOT_JSON, 0},
        {"-01", 0, STATUS_NOT_JSON, 0},
        {"+1", 0, STATUS_NOT_JSON, 0},
        {".5", 0, STATUS_NOT_JSON, 0},
        {"5.", 0, STATUS_NOT_JSON, 0},
        {"1.e5", 0, STATUS_NOT_JSON, 0},
        {"1e", 0, STATUS_NOT_JSON, 0},
        {"1e+", 0, STATUS_NOT_JSON, 0},
        {"0x10", 0, STATUS_NOT_JSON, 0},
        {"1_000", 0, STATUS_NOT_JSON, 0},
        {"\"", 0, STATUS_NOT_JSON, 0},
        {"\"abc", 0, STATUS_NOT_JSON, 0},
        {"\"\\\"", 0, STATUS_NOT_JSON, 0},
        {"\"\\x41\"", 0, STATUS_NOT_JSON, 0},
        {"\"\\u12\"", 0, STATUS_NOT_JSON, 0},
        {"\"\\u12G4\"", 0, STATUS_NOT_JSON, 0},
        {"\"\\U0041\"", 0, STATUS_NOT_JSON, 0},
        {"\"\\", 0, STATUS_NOT_JSON, 0},
        {"\"a\nb\"", 0, STATUS_NOT_JSON, 0},
        {"\"a\tb\"", 0, STATUS_NOT_JSON, 0},
        {BYTES("\"a\0b\""), STATUS_NOT_JSON, 0},
        {BYTES("{}\0"), STATUS_NOT_JSON, 0},
        {"\"\x80\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xC0\xAF\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xC1\x81\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xC3\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xC3", 0, STATUS_NOT_JSON, 0},
        {"\"\xE0\x80\x80\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xE2\x82\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xED\xA0\x80\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xF0\x80\x80\x80\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xF4\x90\x80\x80\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xF5\x80\x80\x80\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xF0\x9F\x98\"", 0, STATUS_NOT_JSON, 0},
        {"\"\xFF\"", 0, STATUS_NOT_JSON, 0},
        {"\"sixteen plain ones and then a control \x01 inside\"", 0, STATUS_NOT_JSON, 0},
        {"\v1", 0, STATUS_NOT_JSON, 0},
        {"\xC2\xA0{}", 0, STATUS_NOT_JSON, 0},
        {"[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", 0, STATUS_TOO_DEEP, 0},
        {"[[[[[[[[[[[[[[[{\"a\":[]}]]]]]]]]]]]]]]]", 0, STATUS_TOO_DEEP, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json_value root;
        cr_expect_eq(json_check(rows[i].body, row_len(&rows[i]), &root), rows[i].expected, "row %zu: %s", i,
                     rows[i].body);
    }
}

Test(json_scan, every_beginning_of_a_valid_text_is_refused)
{
    static const char body[] =
        "{\"key\":[1.5e3,\"\\u00e9\xC3\xA9\",true,null,{\"b\":false}],\"other\":\"plain and long enough\"}";
    struct json_value root;
    for (size_t len = 0; len < sizeof body - 1; len++)
        cr_expect_eq(json_check(body, len, &root), STATUS_NOT_JSON, "first %zu bytes", len);
    cr_expect_eq(json_check(body, sizeof body - 1, &root), STATUS_OK);
}

Test(json_scan, a_special_byte_is_found_at_every_place_of_a_string)
{
    char body[80];
    struct json_value root;
    for (size_t len = 0; len < 70; len++) {
        for (size_t at = 0; at < len; at++) {
            memset(body, 'x', sizeof body);
            body[0] = '"';
            body[len + 1] = '"';
            body[at + 1] = 0x1F;
            cr_assert_eq(json_check(body, len + 2, &root), STATUS_NOT_JSON, "control at %zu of %zu", at, len);
            body[at + 1] = (char)0x80;
            cr_assert_eq(json_check(body, len + 2, &root), STATUS_NOT_JSON, "stray byte at %zu of %zu", at, len);
            body[at + 1] = '"';
            cr_assert_eq(json_check(body, len + 2, &root), STATUS_NOT_JSON, "quote at %zu of %zu", at, len);
            body[at + 1] = '~';
            cr_assert_eq(json_check(body, len + 2, &root), STATUS_OK, "plain at %zu of %zu", at, len);
            cr_assert_eq(root.len, len);
        }
    }
}

Test(json_scan, a_body_of_brackets_only_is_too_deep_and_costs_no_stack)
{
    static char body[256 * 1024];
    struct json_value root;
    memset(body, '[', sizeof body);
    cr_expect_eq(json_check(body, sizeof body, &root), STATUS_TOO_DEEP);
}

static void expect_value(const struct json_value *value, enum json_kind kind, const char *text, const char *name)
{
    cr_expect_eq(value->kind, kind, "%s", name);
    cr_expect_eq(value->len, strlen(text), "%s", name);
    cr_expect(memcmp(value->bytes, text, value->len) == 0, "%s", name);
}

Test(json_scan, members_are_found_by_name_with_the_text_as_it_stood)
{
    static const char body[] = "{ \"s\" : \"a\\nb\" , \"n\":-1.50e3,\"t\":true,\"f\":false,\"z\":null,"
                               "\"o\":{\"s\":\"inner }\\\"\",\"q\":[1]},\"a\":[{\"s\":1},\"]\"], \"e\":\"\"}";
    static const char *const names[] = {"s", "n", "t", "f", "z", "o", "a", "e", "missing", "q"};
    struct json_value root, out[10];
    cr_assert_eq(json_check(body, sizeof body - 1, &root), STATUS_OK);
    json_members(&root, names, 10, out);
    expect_value(&out[0], JSON_STRING, "a\\nb", "s");
    cr_expect(out[0].has_escapes);
    expect_value(&out[1], JSON_NUMBER, "-1.50e3", "n");
    expect_value(&out[2], JSON_TRUE, "true", "t");
    expect_value(&out[3], JSON_FALSE, "false", "f");
    expect_value(&out[4], JSON_NULL, "null", "z");
    expect_value(&out[5], JSON_OBJECT, "{\"s\":\"inner }\\\"\",\"q\":[1]}", "o");
    expect_value(&out[6], JSON_ARRAY, "[{\"s\":1},\"]\"]", "a");
    expect_value(&out[7], JSON_STRING, "", "e");
    cr_expect_eq(out[8].kind, JSON_ABSENT);
    cr_expect_eq(out[9].kind, JSON_ABSENT, "a member of an inner object is not one of the outer");
}

Test(json_scan, of_equal_keys_the_last_wins_however_it_is_written)
{
    static const char body[] = "{\"ab\":1,\"\\u0061b\":2,\"abc\":3,\"a\":4}";
    static const char *const names[] = {"ab", "ab"};
    struct json_value root, out[2];
    cr_assert_eq(json_check(body, sizeof body - 1, &root), STATUS_OK);
    json_members(&root, names, 2, out);
    expect_value(&out[0], JSON_NUMBER, "2", "ab");
    expect_value(&out[1], JSON_NUMBER, "2", "the same name asked for twice");
}

Test(json_scan, keys_longer_than_any_name_are_passed_over)
{
    static const char body[] =
        "{\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\":1,"
        "\"\\u0061aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\":2,\"a\":3}";
    static const char *const names[] = {"a"};
    struct json_value root, out[1];
    cr_assert_eq(json_check(body, sizeof body - 1, &root), STATUS_OK);
    json_members(&root, names, 1, out);
    expect_value(&out[0], JSON_NUMBER, "3", "a");
}

Test(json_scan, an_empty_object_has_no_members)
{
    static const char *const names[] = {"a"};
    struct json_value root, out[1];
    cr_assert_eq(json_check("{ }", 3, &root), STATUS_OK);
    json_members(&root, names, 1, out);
    cr_expect_eq(out[0].kind, JSON_ABSENT);
}

Test(json_scan, strings_are_unescaped)
{
    static const struct {
        const char *json;
        const char *expected;
        size_t len;
    } rows[] = {
        {"\"plain\"", BYTES("plain")},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", BYTES("\"\\/\b\f\n\r\t")},
        {"\"\\u0041\\u00e9\\u20AC\"", BYTES("A\xC3\xA9\xE2\x82\xAC")},
        {"\"\\uD83D\\uDE00!\"", BYTES("\xF0\x9F\x98\x80!")},
        {"\"\\ud800\"", BYTES("\xEF\xBF\xBD")},
        {"\"\\udc00x\"", BYTES("\xEF\xBF\xBDx")},
        {"\"\\ud800\\u0041\"", BYTES("\xEF\xBF\xBD\x41")},
        {"\"\\ud800\\ud83d\\ude00\"", BYTES("\xEF\xBF\xBD\xF0\x9F\x98\x80")},
        {"\"a\\u0000b\"", BYTES("a\0b")},
        {"\"\xC3\xA9\\n\"", BYTES("\xC3\xA9\n")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json_value root;
        char buffer[64];
        const char *out;
        size_t len;
        cr_assert_eq(json_check(rows[i].json, strlen(rows[i].json), &root), STATUS_OK, "%s", rows[i].json);
        cr_assert_eq(json_string(&root, buffer, sizeof buffer, &out, &len), STATUS_OK, "%s", rows[i].json);
        cr_expect_eq(len, rows[i].len, "%s", rows[i].json);
        cr_expect(memcmp(out, rows[i].expected, len) == 0, "%s", rows[i].json);
    }
}

Test(json_scan, an_escaped_string_that_does_not_fit_is_refused_and_one_that_just_fits_is_not)
{
    static const char json[] = "\"abc\\u20AC\"";
    struct json_value root;
    char buffer[6];
    const char *out;
    size_t len;
    cr_assert_eq(json_check(json, sizeof json - 1, &root), STATUS_OK);
    cr_expect_eq(json_string(&root, buffer, 5, &out, &len), STATUS_FULL);
    cr_expect_eq(json_string(&root, buffer, 6, &out, &len), STATUS_OK);
    cr_expect_eq(len, 6);
}

Test(json_scan, pieces_of_any_size_make_up_the_string)
{
    static const char json[] = "\"ab\\n\\u20AC\\uD83D\\uDE00\xC3\xA9"
                               "end\"";
    static const char expected[] = "ab\n\xE2\x82\xAC\xF0\x9F\x98\x80\xC3\xA9"
                                   "end";
    struct json_value root;
    cr_assert_eq(json_check(json, sizeof json - 1, &root), STATUS_OK);
    for (size_t capacity = 4; capacity < 32; capacity++) {
        char whole[64], piece[32];
        size_t len = 0, offset = 0, step;
        while ((step = json_string_piece(&root, &offset, piece, capacity)) > 0) {
            memcpy(whole + len, piece, step);
            len += step;
        }
        cr_expect_eq(len, sizeof expected - 1, "pieces of %zu", capacity);
        cr_expect(memcmp(whole, expected, len) == 0, "pieces of %zu", capacity);
    }
}
