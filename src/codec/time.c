/* Calendar times: the two functions of text.h that know about months. Proleptic Gregorian, UTC, no leap seconds. */
#include <string.h>

#include "text.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY    (86400 * US_PER_SECOND)
#define TIME_US_MAX   (INT64_C(253402300800) * US_PER_SECOND - 1) /* the last microsecond of the year 9999 */
#define TIME_US_MIN   (-INT64_C(62135596800) * US_PER_SECOND)     /* the first of the year 1 */

enum { EPOCH_MS_DIGITS_MAX = 15, DAYS_IN_400_YEARS = 146097 };

/* Days of a common year before each month; the thirteenth is the year's length. */
static const int16_t days_before_month[13] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

static bool is_leap_year(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t days_before_month_of(int64_t year, int month)
{
    return days_before_month[month - 1] + (month > 2 && is_leap_year(year) ? 1 : 0);
}

/* Days from 1970-01-01 to the first of January of a year, which is 1 or later. */
static int64_t days_before_year(int64_t year)
{
    int64_t past = year - 1, past_1970 = 1969;
    int64_t leap_days = (past / 4 - past / 100 + past / 400) - (past_1970 / 4 - past_1970 / 100 + past_1970 / 400);
    return (year - 1970) * 365 + leap_days;
}

static int days_in_month(int64_t year, int month)
{
    return days_before_month[month] - days_before_month[month - 1] + (month == 2 && is_leap_year(year) ? 1 : 0);
}

static void put_digits(char *out, int64_t value, int count)
{
    while (count-- > 0) {
        out[count] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* The date of a day counted from 1970-01-01 as "YYYY-MM-DD". */
static void put_date(char out[10], int64_t days)
{
    /* The mean length of a year never overshoots by more than one, in either direction. */
    int64_t year = (days - days_before_year(1)) * 400 / DAYS_IN_400_YEARS + 1;
    while (days < days_before_year(year))
        year--;
    while (days >= days_before_year(year + 1))
        year++;
    int64_t day_of_year = days - days_before_year(year);
    int month = 12;
    while (days_before_month_of(year, month) > day_of_year)
        month--;
    put_digits(out, year, 4);
    out[4] = '-';
    put_digits(out + 5, month, 2);
    out[7] = '-';
    put_digits(out + 8, day_of_year - days_before_month_of(year, month) + 1, 2);
}

size_t time_format(int64_t wall_us, char out[TIME_TEXT_LEN_MAX])
{
    /* A foreign row may hold any time; what has no four-digit year is shown as the nearest that has. */
    if (wall_us > TIME_US_MAX)
        wall_us = TIME_US_MAX;
    if (wall_us < TIME_US_MIN)
        wall_us = TIME_US_MIN;
    int64_t days = wall_us / US_PER_DAY, us = wall_us % US_PER_DAY;
    if (us < 0) {
        days--;
        us += US_PER_DAY;
    }
    int64_t seconds = us / US_PER_SECOND;
    put_date(out, days);
    out[10] = 'T';
    put_digits(out + 11, seconds / 3600, 2);
    out[13] = ':';
    put_digits(out + 14, seconds / 60 % 60, 2);
    out[16] = ':';
    put_digits(out + 17, seconds % 60, 2);
    size_t len = 19;
    int64_t fraction = us % US_PER_SECOND;
    if (fraction != 0) {
        out[len] = '.';
        put_digits(out + len + 1, fraction, 6);
        len += 7;
        while (out[len - 1] == '0')
            len--;
    }
    out[len++] = 'Z';
    return len;
}

struct reader {
    const char *at;
    const char *end;
};

static bool take_char(struct reader *reader, char c)
{
    if (reader->at == reader->end || *reader->at != c)
        return false;
    reader->at++;
    return true;
}

/* Reads just count digits. */
static bool take_digits(struct reader *reader, int count, int *out)
{
    if (reader->end - reader->at < count)
        return false;
    int value = 0;
    for (int i = 0; i < count; i++) {
        char c = *reader->at++;
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *out = value;
    return true;
}

/* "YYYY-MM-DD" as days since 1970-01-01. */
static bool take_date(struct reader *reader, int64_t *days)
{
    int year, month, day;
    if (!take_digits(reader, 4, &year) || !take_char(reader, '-') || !take_digits(reader, 2, &month) ||
        !take_char(reader, '-') || !take_digits(reader, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    *days = days_before_year(year) + days_before_month_of(year, month) + day - 1;
    return true;
}

/* A point and digits; those beyond the sixth are cut. Nothing there is nothing. */
static bool take_fraction(struct reader *reader, int64_t *us)
{
    *us = 0;
    if (!take_char(reader, '.'))
        return true;
    const char *start = reader->at;
    int64_t weight = US_PER_SECOND / 10;
    for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++) {
        *us += weight * (*reader->at - '0');
        weight /= 10;
    }
    return reader->at > start;
}

/* "hh:mm:ss" with a fraction. A leap second (:60) is the start of the next minute, as SQL takes it. */
static bool take_clock(struct reader *reader, int64_t *us)
{
    int hour, minute, second;
    int64_t fraction;
    if (!take_digits(reader, 2, &hour) || !take_char(reader, ':') || !take_digits(reader, 2, &minute) ||
        !take_char(reader, ':') || !take_digits(reader, 2, &second) || !take_fraction(reader, &fraction))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    *us = ((int64_t)hour * 3600 + minute * 60 + second) * US_PER_SECOND + fraction;
    return true;
}

/* 'Z', "+hh:mm", "+hhmm" or nothing. */
static bool take_offset(struct reader *reader, int64_t *us)
{
    *us = 0;
    if (reader->at == reader->end || take_char(reader, 'Z') || take_char(reader, 'z'))
        return true;
    bool west = take_char(reader, '-');
    int hour, minute;
    if (!west && !take_char(reader, '+'))
        return false;
    if (!take_digits(reader, 2, &hour))
        return false;
    (void)take_char(reader, ':');
    if (!take_digits(reader, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *us = ((int64_t)hour * 3600 + minute * 60) * US_PER_SECOND * (west ? -1 : 1);
    return true;
}

static bool is_digits(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return len > 0;
}

static enum status parse_epoch_ms(const char *text, size_t len, int64_t *out_us)
{
    if (len > EPOCH_MS_DIGITS_MAX)
        return STATUS_BAD_TIME;
    int64_t ms = 0;
    for (size_t i = 0; i < len; i++)
        ms = ms * 10 + (text[i] - '0');
    if (ms > TIME_US_MAX / 1000)
        return STATUS_BAD_TIME;
    *out_us = ms * 1000;
    return STATUS_OK;
}

enum status time_parse_early(const char *text, size_t len, int64_t *out_us)
{
    if (is_digits(text, len))
        return parse_epoch_ms(text, len, out_us);
    struct reader reader = {text, text + len};
    int64_t days, clock_us, offset_us;
    if (!take_date(&reader, &days))
        return STATUS_BAD_TIME;
    if (!take_char(&reader, 'T') && !take_char(&reader, 't') && !take_char(&reader, ' '))
        return STATUS_BAD_TIME;
    if (!take_clock(&reader, &clock_us) || !take_offset(&reader, &offset_us) || reader.at != reader.end)
        return STATUS_BAD_TIME;
    int64_t us = days * US_PER_DAY + clock_us - offset_us;
    if (us < TIME_US_MIN || us > TIME_US_MAX)
        return STATUS_BAD_TIME;
    *out_us = us;
    return STATUS_OK;
}

enum status time_parse(const char *text, size_t len, int64_t *out_us)
{
    int64_t us;
    const enum status status = time_parse_early(text, len, &us);
    if (status != STATUS_OK)
        return status;
    if (us < 0)
        return STATUS_BAD_TIME;
    *out_us = us;
    return STATUS_OK;
}
