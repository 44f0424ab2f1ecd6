/*
 * What a server reads of binary array parameters: every type's ends and random figures, against their texts.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binary_array.h"
#include "clock.h"
#include "storage_rig.h"

enum { FIGURES = 4000, SEED = 20260115 };

static struct rig rig;
static struct binary_array array;

static void open_rig(void)
{
    rig_open(&rig);
}
static void close_rig(void)
{
    binary_array_free(&array);
    rig_close(&rig);
}

TestSuite(storage_binary_array, .init = open_rig, .fini = close_rig, .timeout = 300);

/* The elements as the server writes them, a row each. */
static PGresult *read_back(const char *type)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT u::text FROM unnest($1::%s[]) WITH ORDINALITY AS x(u, n) ORDER BY n", type);
    const struct pg_param param = binary_array_param(&array);
    const int format = param.is_binary;
    PGresult *result = PQexecParams(rig.sql, sql, 1, NULL, &param.value, &param.len, &format, 0);
    cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s: %s", type, PQresultErrorMessage(result));
    return result;
}

static void expect_elements(const char *type, const char *const *wanted, int count)
{
    PGresult *result = read_back(type);
    cr_assert_eq(PQntuples(result), count, "%s", type);
    for (int i = 0; i < count; i++) {
        cr_assert_eq(PQgetisnull(result, i, 0), wanted[i] == NULL, "%s %d", type, i);
        cr_assert_str_eq(PQgetvalue(result, i, 0), wanted[i] == NULL ? "" : wanted[i], "%s %d", type, i);
    }
    PQclear(result);
}

Test(storage_binary_array, without_elements_it_is_empty_and_no_null)
{
    static const enum binary_type types[] = {BINARY_INT8,      BINARY_INT4,    BINARY_TEXT,
                                             BINARY_TIMESTAMP, BINARY_NUMERIC, BINARY_UUID};
    static const char *const names[] = {"bigint", "integer", "text", "timestamp", "numeric", "uuid"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        binary_array_clear(&array, types[i]);
        expect_elements(names[i], NULL, 0);
    }
}

Test(storage_binary_array, the_ends_of_every_type_arrive)
{
    binary_array_clear(&array, BINARY_INT8);
    binary_array_int(&array, INT64_MIN);
    binary_array_null(&array);
    binary_array_int(&array, INT64_MAX);
    expect_elements("bigint", (const char *const[]){"-9223372036854775808", NULL, "9223372036854775807"}, 3);

    binary_array_clear(&array, BINARY_INT4);
    binary_array_int(&array, INT32_MIN);
    binary_array_int(&array, 0);
    binary_array_int(&array, INT32_MAX);
    expect_elements("integer", (const char *const[]){"-2147483648", "0", "2147483647"}, 3);

    const struct uuid uuid = {.bytes = {0x11, 0x22, 0x33, [15] = 0xFF}};
    binary_array_clear(&array, BINARY_UUID);
    binary_array_uuid(&array, &uuid);
    expect_elements("uuid", (const char *const[]){"11223300-0000-0000-0000-0000000000ff"}, 1);

    binary_array_clear(&array, BINARY_TIMESTAMP);
    binary_array_time(&array, TIME_NONE);
    binary_array_time(&array, 0);
    binary_array_time(&array, 946684800000000);
    binary_array_time(&array, 1736935200000001);
    binary_array_time(&array, -62135596800000000); /* the year 1 */
    binary_array_time(&array, 253402300799999999); /* the last moment of 9999 */
    expect_elements("timestamp",
                    (const char *const[]){NULL, "1970-01-01 00:00:00", "2000-01-01 00:00:00",
                                          "2025-01-15 10:00:00.000001", "0001-01-01 00:00:00",
                                          "9999-12-31 23:59:59.999999"},
                    6);
}

Test(storage_binary_array, texts_arrive_as_they_are_and_what_is_no_utf8_in_hex)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {NULL, NULL},
        {"", NULL},
        {"NULL", "NULL"},
        {"a\"b\\c{x, y}", "a\"b\\c{x, y}"},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"\xFF", "\\xff"},
        {"a\xC3", "a\\xc3"},
        {"\xC3(", "\\xc3("},
        {"\xC0\x80", "\\xc0\\x80"},
        {"\xE0\x80\x80", "\\xe0\\x80\\x80"},
        {"\xED\xA0\x80", "\\xed\\xa0\\x80"},
        {"\xF4\x90\x80\x80z", "\\xf4\\x90\\x80\\x80z"},
        {"\xF5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    const char *wanted[CASES + 2];
    const uint64_t words[] = {0xFEDCBA9876543210, 1};
    binary_array_clear(&array, BINARY_TEXT);
    for (size_t i = 0; i < CASES; i++) {
        binary_array_text(&array, cases[i].text);
        wanted[i] = cases[i].wanted;
    }
    binary_array_words(&array, words, 2);
    binary_array_words(&array, words, 0);
    wanted[CASES] = "fedcba98765432100000000000000001";
    wanted[CASES + 1] = NULL;
    expect_elements("text", wanted, CASES + 2);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Of any length, with zeros in any place. */
static int128 random_units(uint64_t *state)
{
    int128 units = 0;
    for (uint64_t digits = next_random(state) % 21; digits > 0; digits--) {
        const uint64_t digit = next_random(state) % 20;
        units = units * 10 + (int128)(digit < 10 ? digit : 0);
    }
    return next_random(state) % 2 == 0 ? units : -units;
}

static const int128 special_units[] = {0,
                                       1,
                                       -1,
                                       9999,
                                       10000,
                                       10001,
                                       99999999,
                                       100000000,
                                       100000001,
                                       1000000000000,
                                       -10000000,
                                       123456789,
                                       -120000000,
                                       DECIMAL_UNITS_MAX,
                                       -DECIMAL_UNITS_MAX};
enum { SPECIALS = sizeof special_units / sizeof special_units[0] };

static int128 figure(uint64_t *state, int i)
{
    return i < SPECIALS ? special_units[i] : random_units(state);
}

Test(storage_binary_array, decimals_arrive_to_the_last_digit)
{
    uint64_t state = SEED;
    binary_array_clear(&array, BINARY_NUMERIC);
    for (int i = 0; i < FIGURES; i++)
        binary_array_decimal(&array, decimal_from_units(figure(&state, i)));
    binary_array_decimal(&array, DECIMAL_NONE);
    PGresult *result = read_back("numeric");
    cr_assert_eq(PQntuples(result), FIGURES + 1);
    state = SEED;
    for (int i = 0; i < FIGURES; i++) {
        char wanted[DECIMAL_TEXT_LEN_MAX];
        (void)decimal_format(decimal_from_units(figure(&state, i)), 8, wanted);
        cr_assert_str_eq(PQgetvalue(result, i, 0), wanted);
    }
    cr_assert(PQgetisnull(result, FIGURES, 0));
    PQclear(result);
}

Test(storage_binary_array, products_arrive_to_the_last_digit)
{
    uint64_t state = SEED;
    binary_array_clear(&array, BINARY_NUMERIC);
    for (int i = 0; i < FIGURES; i++) {
        const int128 left = figure(&state, i);
        binary_array_wide(&array, wide_multiply(left, figure(&state, i)));
    }
    PGresult *result = read_back("numeric");
    cr_assert_eq(PQntuples(result), FIGURES);
    state = SEED;
    for (int i = 0; i < FIGURES; i++) {
        const int128 left = figure(&state, i);
        const struct wide wanted = wide_multiply(left, figure(&state, i));
        struct wide read;
        cr_assert_eq(wide_parse_16(PQgetvalue(result, i, 0), (size_t)PQgetlength(result, i, 0), &read), STATUS_OK);
        cr_assert_eq(wide_compare(read, wanted), 0, "%s", PQgetvalue(result, i, 0));
    }
    PQclear(result);
}

Test(storage_binary_array, cleared_array_keeps_its_memory)
{
    for (int round = 0; round < 2; round++) {
        binary_array_clear(&array, BINARY_TEXT);
        const char *bytes = array.bytes;
        for (int i = 0; i < 10000; i++)
            binary_array_text(&array, "0123456789");
        cr_assert_eq(array.count, 10000);
        cr_assert(round == 0 || array.bytes == bytes);
    }
}
