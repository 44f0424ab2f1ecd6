#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "text.h"

#define SECOND INT64_C(1000000)

Test(time, texts_are_read_to_the_microsecond)
{
    static const struct {
        const char *text;
        int64_t expected;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2025-01-15T10:00:00Z", 1736935200 * SECOND},
        {"2025-01-15t10:00:00z", 1736935200 * SECOND},
        {"2025-01-15 10:00:00", 1736935200 * SECOND},
        {"2025-01-15T10:00:00", 1736935200 * SECOND},
        {"2025-01-15T10:00:00.5Z", 1736935200 * SECOND + 500000},
        {"2025-01-15T10:00:00.123456Z", 1736935200 * SECOND + 123456},
        {"2025-01-15T10:00:00.123456999999999999Z", 1736935200 * SECOND + 123456},
        {"2025-01-15T10:00:00.0000009", 1736935200 * SECOND},
        {"2025-01-15T12:30:00+02:30", 1736935200 * SECOND},
        {"2025-01-15T12:30:00+0230", 1736935200 * SECOND},
        {"2025-01-15T05:00:00-05:00", 1736935200 * SECOND},
        {"2025-01-15T10:00:00-00:00", 1736935200 * SECOND},
        {"2025-01-15T10:00:00.25+00:00", 1736935200 * SECOND + 250000},
        {"2024-02-29T00:00:00Z", 1709164800 * SECOND},
        {"2000-02-29T23:59:59Z", 951868799 * SECOND},
        {"2100-03-01T00:00:00Z", 4107542400 * SECOND},
        {"2016-12-31T23:59:60Z", 1483228800 * SECOND},
        {"1969-12-31T23:30:00-01:00", 1800 * SECOND},
        {"9999-12-31T23:59:59.999999Z", 253402300799 * SECOND + 999999},
        {"0", 0},
        {"1736935200123", 1736935200123000},
        {"001736935200123", 1736935200123000},
        {"253402300799999", 253402300799999000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t us = -1;
        cr_expect_eq(time_parse(rows[i].text, strlen(rows[i].text), &us), STATUS_OK, "%s", rows[i].text);
        cr_expect_eq(us, rows[i].expected, "%s: %lld", rows[i].text, (long long)us);
    }
}

Test(time, what_is_no_time_is_refused)
{
    static const char *const rows[] = {
        "",
        " ",
        "now",
        "2025-01-15",
        "2025-01-15T",
        "2025-01-15T10:00",
        "2025-01-15T10:00Z",
        "2025-01-15X10:00:00Z",
        "2025-1-15T10:00:00Z",
        "25-01-15T10:00:00Z",
        "2025/01/15T10:00:00Z",
        "2025-01-15T10.00.00Z",
        "2025-00-15T10:00:00Z",
        "2025-13-15T10:00:00Z",
        "2025-01-00T10:00:00Z",
        "2025-01-32T10:00:00Z",
        "2025-04-31T10:00:00Z",
        "2025-02-29T10:00:00Z",
        "2100-02-29T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "2025-01-15T24:00:00Z",
        "2025-01-15T10:60:00Z",
        "2025-01-15T10:00:61Z",
        "2025-01-15T10:00:00.Z",
        "2025-01-15T10:00:00,5Z",
        "2025-01-15T10:00:00ZZ",
        "2025-01-15T10:00:00 Z",
        "2025-01-15T10:00:00Z ",
        " 2025-01-15T10:00:00Z",
        "2025-01-15T10:00:00+",
        "2025-01-15T10:00:00+02",
        "2025-01-15T10:00:00+2:00",
        "2025-01-15T10:00:00+24:00",
        "2025-01-15T10:00:00+02:60",
        "2025-01-15T10:00:00+02:0",
        "2025-01-15T10:00:00UTC",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:30:00+01:00",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-00:01",
        "-1",
        "+1736935200123",
        "1736935200123.0",
        "1.7e12",
        "253402300800000",
        "1736935200123000",
        "99999999999999999999999",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t us;
        cr_expect_eq(time_parse(rows[i], strlen(rows[i]), &us), STATUS_BAD_TIME, "%s", rows[i]);
    }
}

static void expect_formatted(int64_t us, const char *expected)
{
    char out[TIME_TEXT_LEN_MAX];
    size_t len = time_format(us, out);
    cr_expect(len == strlen(expected) && memcmp(out, expected, len) == 0, "%.*s instead of %s", (int)len, out,
              expected);
}

Test(time, times_are_written_with_no_more_digits_than_they_need)
{
    expect_formatted(0, "1970-01-01T00:00:00Z");
    expect_formatted(1736935200 * SECOND, "2025-01-15T10:00:00Z");
    expect_formatted(1736935200 * SECOND + 500000, "2025-01-15T10:00:00.5Z");
    expect_formatted(1736935200 * SECOND + 123456, "2025-01-15T10:00:00.123456Z");
    expect_formatted(1736935200 * SECOND + 1, "2025-01-15T10:00:00.000001Z");
    expect_formatted(-1, "1969-12-31T23:59:59.999999Z");
    expect_formatted(-62135596800 * SECOND, "0001-01-01T00:00:00Z");
}

Test(time, times_without_a_four_digit_year_are_shown_as_the_nearest_that_has_one)
{
    expect_formatted(INT64_MAX, "9999-12-31T23:59:59.999999Z");
    expect_formatted(INT64_MIN + 1, "0001-01-01T00:00:00Z");
}

Test(time, every_day_of_four_centuries_comes_back_as_itself)
{
    for (int64_t day = 0; day < 146097; day++) {
        int64_t us = day * 86400 * SECOND + (day % 86400) * SECOND + day % 1000000, back = -1;
        char out[TIME_TEXT_LEN_MAX];
        size_t len = time_format(us, out);
        cr_assert_eq(time_parse(out, len, &back), STATUS_OK, "day %lld", (long long)day);
        cr_assert_eq(back, us, "day %lld: %.*s", (long long)day, (int)len, out);
    }
}

Test(time, days_follow_each_other_as_the_calendar_says)
{
    static const int days_in_month[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = 1970, month = 1, day = 1;
    for (int64_t days = 0; year < 2110; days++) {
        char expected[TIME_TEXT_LEN_MAX * 2];
        snprintf(expected, sizeof expected, "%04d-%02d-%02dT00:00:00Z", year, month, day);
        expect_formatted(days * 86400 * SECOND, expected);
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        if (++day > days_in_month[month - 1] + (month == 2 && leap)) {
            day = 1;
            if (++month > 12) {
                month = 1;
                year++;
            }
        }
    }
}
