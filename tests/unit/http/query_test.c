#include <criterion/criterion.h>
#include <string.h>

#include "clock.h"
#include "query.h"

Test(query, finds_decodes_and_refuses)
{
    static const struct {
        const char *name, *query;
        enum status status;
        const char *value; /* NULL: absent */
    } rows[] = {
        {"nothing", "", STATUS_OK, NULL},
        {"plain", "mode=hedge", STATUS_OK, "hedge"},
        {"among others", "a=1&mode=hedge&b=2", STATUS_OK, "hedge"},
        {"empty", "mode=", STATUS_OK, ""},
        {"without equals", "mode", STATUS_OK, ""},
        {"equals inside", "mode=a=b", STATUS_OK, "a=b"},
        {"percent", "mode=one%2Dway", STATUS_OK, "one-way"},
        {"lower hex", "mode=one%2dway", STATUS_OK, "one-way"},
        {"plus is a blank", "mode=a+b", STATUS_OK, "a b"},
        {"encoded name", "%6dode=hedge", STATUS_OK, "hedge"},
        {"a longer name is another", "modes=1", STATUS_OK, NULL},
        {"a shorter name is another", "mod=1", STATUS_OK, NULL},
        {"names have their case", "MODE=1", STATUS_OK, NULL},
        {"UTF-8", "mode=%C3%A4", STATUS_OK, "\xc3\xa4"},
        {"broken pairs of others", "%ZZ=1&x=%&&=&mode=a", STATUS_OK, "a"},
        {"cut escape", "mode=%4", STATUS_INVALID, NULL},
        {"lone percent", "mode=%", STATUS_INVALID, NULL},
        {"escape over the border", "mode=%4&1=2", STATUS_INVALID, NULL},
        {"no hex", "mode=%4g", STATUS_INVALID, NULL},
        {"twice", "mode=a&mode=a", STATUS_INVALID, NULL},
        {"twice, once encoded", "mode=a&m%6Fde=b", STATUS_INVALID, NULL},
        {"NUL", "mode=a%00", STATUS_INVALID, NULL},
        {"newline", "mode=a%0A", STATUS_INVALID, NULL},
        {"delete", "mode=%7f", STATUS_INVALID, NULL},
        {"lone continuation", "mode=%80", STATUS_INVALID, NULL},
        {"cut character", "mode=%C3", STATUS_INVALID, NULL},
        {"overlong", "mode=%C0%AF", STATUS_INVALID, NULL},
        {"overlong of three", "mode=%E0%80%AF", STATUS_INVALID, NULL},
        {"surrogate", "mode=%ED%A0%80", STATUS_INVALID, NULL},
        {"beyond Unicode", "mode=%F4%90%80%80", STATUS_INVALID, NULL},
        {"raw invalid byte", "mode=\xff", STATUS_INVALID, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct query_value value;
        enum status status = query_find(rows[i].query, strlen(rows[i].query), "mode", &value);
        cr_expect_eq(status, rows[i].status, "%s", rows[i].name);
        if (status != STATUS_OK)
            continue;
        cr_expect_eq(value.present, rows[i].value != NULL, "%s", rows[i].name);
        cr_expect_str_eq(value.text, rows[i].value != NULL ? rows[i].value : "", "%s", rows[i].name);
    }
}

Test(query, values_have_a_greatest_length)
{
    char query[2 * QUERY_VALUE_LEN_MAX] = "mode=";
    struct query_value value;
    memset(query + 5, 'x', QUERY_VALUE_LEN_MAX + 1);
    cr_expect_eq(query_find(query, 5 + QUERY_VALUE_LEN_MAX, "mode", &value), STATUS_OK);
    cr_expect_eq(value.len, QUERY_VALUE_LEN_MAX);
    cr_expect_eq(query_find(query, 5 + QUERY_VALUE_LEN_MAX + 1, "mode", &value), STATUS_INVALID);
}

Test(query, no_query_at_all_is_fine)
{
    struct query_value value;
    cr_expect_eq(query_find(NULL, 0, "mode", &value), STATUS_OK);
    cr_expect_not(value.present);
}

static struct query_value value_of(const char *text)
{
    struct query_value value = {.present = true, .len = strlen(text)};
    memcpy(value.text, text, value.len + 1);
    return value;
}

Test(query, booleans_are_the_contracts_words)
{
    static const struct {
        const char *text;
        enum status status;
        bool means;
    } rows[] = {
        {"true", STATUS_OK, true},    {"TRUE", STATUS_OK, true},     {"1", STATUS_OK, true},
        {"yes", STATUS_OK, true},     {"On", STATUS_OK, true},       {"false", STATUS_OK, false},
        {"0", STATUS_OK, false},      {"no", STATUS_OK, false},      {"off", STATUS_OK, false},
        {"", STATUS_INVALID, false},  {"2", STATUS_INVALID, false},  {"truely", STATUS_INVALID, false},
        {"t", STATUS_INVALID, false}, {" 1", STATUS_INVALID, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct query_value value = value_of(rows[i].text);
        bool out = !rows[i].means;
        cr_expect_eq(query_bool(&value, &out), rows[i].status, "'%s'", rows[i].text);
        if (rows[i].status == STATUS_OK)
            cr_expect_eq(out, rows[i].means, "'%s'", rows[i].text);
    }
}

Test(query, an_absent_boolean_keeps_its_default)
{
    struct query_value value = {0};
    bool out = true;
    cr_expect_eq(query_bool(&value, &out), STATUS_OK);
    cr_expect(out);
}

Test(query, decimals_are_plain)
{
    static const struct {
        const char *text;
        bool is_good;
        int64_t units;
    } rows[] = {
        {"1.5", true, 150000000},
        {"-0.00000001", true, -1},
        {"0", true, 0},
        {"", false, 0},
        {"1e5", false, 0},
        {"+1", false, 0},
        {"NaN", false, 0},
        {".5", false, 0},
        {"5.", false, 0},
        {"0x10", false, 0},
        {" 1", false, 0},
        {"1,5", false, 0},
        {"0.000000001", false, 0},
        {"10000000000000", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct query_value value = value_of(rows[i].text);
        struct decimal out;
        cr_expect_eq(query_decimal(&value, &out) == STATUS_OK, rows[i].is_good, "'%s'", rows[i].text);
        if (rows[i].is_good)
            cr_expect(out.units == rows[i].units, "'%s'", rows[i].text);
        else
            cr_expect(decimal_is_none(out), "'%s'", rows[i].text);
    }
}

Test(query, whole_numbers_stay_in_their_range)
{
    static const struct query_range range = {1, 1000};
    static const struct {
        const char *text;
        bool is_good;
        uint32_t number;
    } rows[] = {
        {"1", true, 1},
        {"1000", true, 1000},
        {"0007", true, 7},
        {"0", false, 0},
        {"1001", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"0x1", false, 0},
        {"4294967297", false, 0},
        {"18446744073709551617", false, 0},
        {"99999999999999999999999999999999999999999999", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct query_value value = value_of(rows[i].text);
        uint32_t out = 55;
        cr_expect_eq(query_integer(&value, &range, &out) == STATUS_OK, rows[i].is_good, "'%s'", rows[i].text);
        cr_expect_eq(out, rows[i].is_good ? rows[i].number : 55, "'%s'", rows[i].text);
    }
    uint32_t kept = 55;
    cr_expect_eq(query_integer(&(struct query_value){0}, &range, &kept), STATUS_OK);
    cr_expect_eq(kept, 55);
}

Test(query, times_are_read_and_a_plus_that_became_a_blank_too)
{
    static const struct {
        const char *text;
        int64_t at_us; /* TIME_NONE: refused */
    } rows[] = {
        {"1970-01-01T00:00:01Z", 1000000},
        {"1970-01-01 00:00:01", 1000000},
        {"1970-01-01T01:00:01+01:00", 1000000},
        {"1970-01-01T01:00:01 01:00", 1000000},
        {"1970-01-01T01:00:01.5 01:00", 1500000},
        {"1500", 1500000},
        {"1969-12-31T23:59:59.5Z", -500000},
        {"0001-01-01T00:00:00Z", INT64_C(-62135596800) * 1000000},
        {"0001-01-01T00:00:00+01:00", TIME_NONE},
        {"0000-12-31T23:59:59Z", TIME_NONE},
        {"", TIME_NONE},
        {"1970-01-01", TIME_NONE},
        {"1970-13-01T00:00:00Z", TIME_NONE},
        {"1970-01-01T00:00:01 Z", TIME_NONE},
        {" 01:00", TIME_NONE},
        {"-1", TIME_NONE},
        {"1e3", TIME_NONE},
        {"now", TIME_NONE},
        {"9999999999999999999999", TIME_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct query_value value = value_of(rows[i].text);
        int64_t at_us = 55;
        enum status status = query_time(&value, &at_us);
        cr_expect_eq(status, rows[i].at_us == TIME_NONE ? STATUS_BAD_TIME : STATUS_OK, "'%s'", rows[i].text);
        if (status == STATUS_OK)
            cr_expect_eq(at_us, rows[i].at_us, "'%s'", rows[i].text);
    }
    int64_t none = 55;
    cr_expect_eq(query_time(&(struct query_value){0}, &none), STATUS_OK);
    cr_expect_eq(none, TIME_NONE);
}
