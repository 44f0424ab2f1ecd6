#include "decimal.h"

#include <signal.h>

#include "reference.h"

struct parse_row {
    const char *text;
    enum decimal_excess excess;
    enum status status;
    const char *shown; /* shortest form */
};

static const struct parse_row parse_rows[] = {
    {"0", DECIMAL_EXCESS_REFUSE, STATUS_OK, "0"},
    {"-0", DECIMAL_EXCESS_REFUSE, STATUS_OK, "0"},
    {"-0.000", DECIMAL_EXCESS_REFUSE, STATUS_OK, "0"},
    {"0.1", DECIMAL_EXCESS_REFUSE, STATUS_OK, "0.1"},
    {"1.50", DECIMAL_EXCESS_REFUSE, STATUS_OK, "1.5"},
    {"-1.5", DECIMAL_EXCESS_REFUSE, STATUS_OK, "-1.5"},
    {"0001.5", DECIMAL_EXCESS_REFUSE, STATUS_OK, "1.5"},
    {"00000000000000000000000000000000000000000000000001", DECIMAL_EXCESS_REFUSE, STATUS_OK, "1"},
    {"48666.66666667", DECIMAL_EXCESS_REFUSE, STATUS_OK, "48666.66666667"},
    {"0.00000001", DECIMAL_EXCESS_REFUSE, STATUS_OK, "0.00000001"},
    {"-0.00000001", DECIMAL_EXCESS_REFUSE, STATUS_OK, "-0.00000001"},
    {"999999999999.99999999", DECIMAL_EXCESS_REFUSE, STATUS_OK, "999999999999.99999999"},
    {"-999999999999.99999999", DECIMAL_EXCESS_REFUSE, STATUS_OK, "-999999999999.99999999"},
    /* digits beyond the eighth */
    {"1.123456780000", DECIMAL_EXCESS_REFUSE, STATUS_OK, "1.12345678"},
    {"1.123456781", DECIMAL_EXCESS_REFUSE, STATUS_BAD_NUMBER, NULL},
    {"1.1234567800000001", DECIMAL_EXCESS_REFUSE, STATUS_BAD_NUMBER, NULL},
    {"1.123456784999999", DECIMAL_EXCESS_ROUND, STATUS_OK, "1.12345678"},
    {"1.123456785", DECIMAL_EXCESS_ROUND, STATUS_OK, "1.12345679"},
    {"-1.123456785", DECIMAL_EXCESS_ROUND, STATUS_OK, "-1.12345679"},
    {"-1.1234567849", DECIMAL_EXCESS_ROUND, STATUS_OK, "-1.12345678"},
    {"0.000000005", DECIMAL_EXCESS_ROUND, STATUS_OK, "0.00000001"},
    {"-0.000000004", DECIMAL_EXCESS_ROUND, STATUS_OK, "0"},
    {"0.999999995", DECIMAL_EXCESS_ROUND, STATUS_OK, "1"},
    /* range */
    {"1000000000000", DECIMAL_EXCESS_REFUSE, STATUS_OUT_OF_RANGE, NULL},
    {"-1000000000000.00000000", DECIMAL_EXCESS_REFUSE, STATUS_OUT_OF_RANGE, NULL},
    {"999999999999.999999994", DECIMAL_EXCESS_ROUND, STATUS_OK, "999999999999.99999999"},
    {"999999999999.999999995", DECIMAL_EXCESS_ROUND, STATUS_OUT_OF_RANGE, NULL},
    {"-999999999999.999999995", DECIMAL_EXCESS_ROUND, STATUS_OUT_OF_RANGE, NULL},
    {"340282366920938463463374607431768211456", DECIMAL_EXCESS_REFUSE, STATUS_OUT_OF_RANGE, NULL},
    {"99999999999999999999999999999999999999999999999999999999999999999999.5", DECIMAL_EXCESS_ROUND,
     STATUS_OUT_OF_RANGE, NULL},
    /* form (contract §1) */
    {"", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"-", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"+1", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {".5", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"-.5", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"5.", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {".", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"1e5", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"1.5E0", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"0x10", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"NaN", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"Infinity", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {" 1", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"1 ", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"1,5", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"1.2.3", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"1.-5", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"--1", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    {"1.123456789x", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
    /* the form is looked at before the range */
    {"99999999999999999999999999x", DECIMAL_EXCESS_ROUND, STATUS_BAD_NUMBER, NULL},
};

Test(decimal, plain_decimals_are_read_and_everything_else_is_refused)
{
    for (size_t i = 0; i < sizeof parse_rows / sizeof parse_rows[0]; i++) {
        const struct parse_row *row = &parse_rows[i];
        struct decimal d = decimal_from_units(4711);
        expect_status(decimal_parse(row->text, strlen(row->text), row->excess, &d), row->status, row->text);
        if (row->shown == NULL) {
            cr_expect(d.units == 4711, "%s: a refused number changed the result", row->text);
            continue;
        }
        char shown[DECIMAL_TEXT_LEN_MAX];
        size_t len = decimal_format(d, 0, shown);
        cr_expect(strcmp(shown, row->shown) == 0, "%s: shown as %s, should be %s", row->text, shown, row->shown);
        cr_expect(len == strlen(shown), "%s: length", row->text);
    }
}

Test(decimal, only_the_given_length_is_read)
{
    struct decimal d;
    cr_assert(decimal_parse("12.5e9", 4, DECIMAL_EXCESS_REFUSE, &d) == STATUS_OK);
    expect_decimal(d, "12.5", "12.5e9 cut", "value");
}

Test(decimal, at_least_the_asked_for_fraction_digits_are_written)
{
    static const struct {
        const char *value;
        unsigned digits_min;
        const char *shown;
    } rows[] = {
        {"0", 0, "0"},
        {"0", 1, "0.0"},
        {"0", 2, "0.00"},
        {"0", 8, "0.00000000"},
        {"10", 1, "10.0"},
        {"10", 0, "10"},
        {"50000", 2, "50000.00"},
        {"0.3", 2, "0.30"},
        {"0.31", 2, "0.31"},
        {"0.312", 2, "0.312"},
        {"-0.5", 2, "-0.50"},
        {"1.5", 1, "1.5"},
        {"1.00000001", 2, "1.00000001"},
        {"0.00000001", 0, "0.00000001"},
        {"123456789012.1", 2, "123456789012.10"},
        {"999999999999.99999999", 8, "999999999999.99999999"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char shown[DECIMAL_TEXT_LEN_MAX];
        (void)decimal_format(dec(rows[i].value), rows[i].digits_min, shown);
        cr_expect(strcmp(shown, rows[i].shown) == 0, "%s: shown as %s", rows[i].value, shown);
    }
}

Test(decimal, sums_beyond_the_column_are_written_in_full)
{
    char shown[DECIMAL_TEXT_LEN_MAX];
    int128 max = (int128)(((uint128)1 << 127) - 1);
    (void)decimal_format_units(max, 2, shown);
    cr_expect(strcmp(shown, "1701411834604692317316873037158.84105727") == 0, "%s", shown);
    size_t len = decimal_format_units(-max - 1, 2, shown);
    cr_expect(strcmp(shown, "-1701411834604692317316873037158.84105728") == 0, "%s", shown);
    cr_expect(len == strlen(shown));
    (void)decimal_format_units((int128)1000000000000000000 * DECIMAL_ONE, 2, shown);
    cr_expect(strcmp(shown, "1000000000000000000.00") == 0, "%s", shown);
}

Test(decimal, what_is_written_is_read_back_the_same)
{
    uint64_t seed = TEST_SEED_FIRST;
    (void)fprintf(stderr, "seed %" PRIu64 "\n", seed);
    for (int i = 0; i < 100000; i++) {
        int128 units = random_digits(&seed, 1 + (unsigned)random_below(&seed, 20));
        struct decimal d = decimal_from_units(random_below(&seed, 2) ? units : -units);
        unsigned digits_min = (unsigned)random_below(&seed, 9);
        char shown[DECIMAL_TEXT_LEN_MAX];
        char wanted[BIG_DIGITS_MAX + 4];
        size_t len = decimal_format(d, digits_min, shown);
        struct decimal read;
        cr_assert(decimal_parse(shown, len, DECIMAL_EXCESS_REFUSE, &read) == STATUS_OK, "%s", shown);
        cr_assert(decimal_is_equal(read, d), "%s", shown);
        /* The reference writes all eight digits; ours are those with zeros left out. */
        (void)decimal_format(d, 8, shown);
        big_format(big_from(d.units), 8, wanted);
        cr_assert(strcmp(shown, wanted) == 0, "%s, should be %s", shown, wanted);
    }
}

Test(decimal, a_sum_out_of_range_is_refused_and_leaves_the_result_alone)
{
    static const struct {
        const char *a, *b, *sum, *difference;
    } rows[] = {
        {"1.5", "0.25", "1.75", "1.25"},
        {"-1.5", "0.25", "-1.25", "-1.75"},
        {"999999999999.99999998", "0.00000001", "999999999999.99999999", "999999999999.99999997"},
        {"999999999999.99999999", "0.00000001", NULL, "999999999999.99999998"},
        {"-999999999999.99999999", "0.00000001", "-999999999999.99999998", NULL},
        {"999999999999.99999999", "999999999999.99999999", NULL, "0"},
        {"-999999999999.99999999", "999999999999.99999999", "0", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decimal sum = decimal_from_units(4711);
        struct decimal difference = decimal_from_units(4711);
        enum status sum_wanted = rows[i].sum ? STATUS_OK : STATUS_OUT_OF_RANGE;
        enum status difference_wanted = rows[i].difference ? STATUS_OK : STATUS_OUT_OF_RANGE;
        expect_status(decimal_add(dec(rows[i].a), dec(rows[i].b), &sum), sum_wanted, rows[i].a);
        expect_status(decimal_subtract(dec(rows[i].a), dec(rows[i].b), &difference), difference_wanted, rows[i].a);
        expect_decimal(sum, rows[i].sum ? rows[i].sum : "0.00004711", rows[i].a, "sum");
        expect_decimal(difference, rows[i].difference ? rows[i].difference : "0.00004711", rows[i].a, "difference");
    }
}

Test(decimal, none_is_no_number)
{
    cr_expect(decimal_is_none(DECIMAL_NONE));
    cr_expect(!decimal_is_in_range(DECIMAL_NONE.units));
    cr_expect(!decimal_is_equal(DECIMAL_NONE, DECIMAL_ZERO));
    cr_expect(decimal_is_equal(DECIMAL_NONE, DECIMAL_NONE));
    cr_expect(decimal_is_equal(decimal_or_zero(DECIMAL_NONE), DECIMAL_ZERO));
    cr_expect(decimal_is_equal(decimal_or_zero(dec("2")), dec("2")));
}

Test(decimal, writing_none_is_a_programmers_mistake, .signal = SIGABRT)
{
    char shown[DECIMAL_TEXT_LEN_MAX];
    (void)decimal_format(DECIMAL_NONE, 2, shown);
}

Test(decimal, adding_none_is_a_programmers_mistake, .signal = SIGABRT)
{
    struct decimal sum;
    (void)!decimal_add(DECIMAL_NONE, DECIMAL_ZERO, &sum);
}
