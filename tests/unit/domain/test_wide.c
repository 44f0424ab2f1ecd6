#include "wide.h"

#include <signal.h>

#include "reference.h"

/* The reference's number of a wide, by way of its words: value = ((w3 x 2^64 + w2) x 2^64 + w1) x 2^64 + w0. */
static struct big big_of(struct wide a)
{
    bool negative = wide_sign(a) < 0;
    struct wide positive = negative ? wide_negate(a) : a;
    struct big value = big_from(0);
    for (int i = 3; i >= 0; i--) {
        value = big_multiply(value, big_from((int128)1 << 64));
        value = big_add(value, big_from((int128)positive.words[i]));
    }
    return negative ? big_negate(value) : value;
}

static int128 random_signed(uint64_t *seed, unsigned digits_max)
{
    int128 value = random_digits(seed, 1 + (unsigned)random_below(seed, digits_max));
    return random_below(seed, 2) ? value : -value;
}

/* What a program gets wrong: powers of two and their neighbours. */
static int128 random_edge(uint64_t *seed, unsigned bits_max)
{
    int128 value = ((int128)1 << random_below(seed, bits_max)) + (int128)random_below(seed, 3) - 1;
    return random_below(seed, 2) ? value : -value;
}

static int128 random_factor(uint64_t *seed)
{
    return random_below(seed, 4) == 0 ? random_edge(seed, 127) : random_signed(seed, 38);
}

Test(wide, products_and_sums_equal_those_done_by_hand)
{
    uint64_t seed = TEST_SEED_FIRST;
    (void)fprintf(stderr, "seed %" PRIu64 "\n", seed);
    for (int i = 0; i < 100000; i++) {
        int128 a = random_factor(&seed);
        int128 b = random_factor(&seed);
        int128 c = random_signed(&seed, 20);
        int128 d = random_signed(&seed, 20);
        struct wide ab = wide_multiply(a, b);
        struct wide cd = wide_multiply(c, d);
        struct big big_ab = big_multiply(big_from(a), big_from(b));
        struct big big_cd = big_multiply(big_from(c), big_from(d));
        cr_assert(big_compare(big_of(ab), big_ab) == 0, "row %d: product", i);
        cr_assert(big_compare(big_of(cd), big_cd) == 0, "row %d: small product", i);
        cr_assert(big_compare(big_of(wide_scale(cd, c)), big_multiply(big_cd, big_from(c))) == 0, "row %d: scale", i);
        cr_assert(wide_sign(ab) == big_compare(big_ab, big_from(0)), "row %d: sign", i);
        cr_assert(wide_compare(ab, cd) == big_compare(big_ab, big_cd), "row %d: order", i);
        struct wide half = wide_multiply(a / 2, b);
        struct big big_half = big_multiply(big_from(a / 2), big_from(b));
        cr_assert(big_compare(big_of(wide_add(half, cd)), big_add(big_half, big_cd)) == 0, "row %d: sum", i);
        cr_assert(big_compare(big_of(wide_subtract(half, cd)), big_subtract(big_half, big_cd)) == 0,
                  "row %d: difference", i);
    }
}

static void expect_quotient(struct wide a, int128 divisor, int row)
{
    const struct big max = big_from((int128)(((uint128)1 << 127) - 1));
    int128 quotient = 4711;
    enum status status = wide_divide_round(a, divisor, &quotient);
    struct big wanted = big_divide_round(big_of(a), big_from(divisor));
    struct big size = wanted;
    size.negative = false;
    bool fits = big_compare(size, max) <= 0;
    cr_assert(status == (fits ? STATUS_OK : STATUS_OUT_OF_RANGE), "row %d: %s", row, status_word(status));
    cr_assert(fits ? big_is_units(wanted, quotient) : quotient == 4711, "row %d: quotient", row);
}

Test(wide, quotients_equal_those_done_by_hand)
{
    uint64_t seed = TEST_SEED_FIRST + 1;
    (void)fprintf(stderr, "seed %" PRIu64 "\n", seed);
    for (int i = 0; i < 100000; i++) {
        /* Dividends of one, two and four words by divisors of one and two words take different ways through the code.
         */
        unsigned digits = 1 + (unsigned)random_below(&seed, 38);
        int128 divisor = random_below(&seed, 4) == 0 ? random_edge(&seed, 127) : random_digits(&seed, digits);
        divisor = divisor < 0 ? -divisor : divisor;
        divisor += divisor == 0;
        struct wide a = wide_multiply(random_signed(&seed, 38), random_signed(&seed, 38));
        if (random_below(&seed, 4) == 0)
            a = wide_from(random_factor(&seed));
        if (random_below(&seed, 4) == 0)
            a = wide_multiply(divisor, random_signed(&seed, 30));
        expect_quotient(a, divisor, i);
    }
}

Test(wide, ties_and_their_neighbours_round_half_away_from_zero)
{
    uint64_t seed = TEST_SEED_FIRST + 2;
    (void)fprintf(stderr, "seed %" PRIu64 "\n", seed);
    for (int i = 0; i < 20000; i++) {
        int128 half = 1 + random_digits(&seed, 1 + (unsigned)random_below(&seed, 37));
        int128 quotient = random_digits(&seed, (unsigned)random_below(&seed, 36));
        struct wide exact = wide_multiply(quotient, half * 2);
        for (int nudge = -1; nudge <= 1; nudge++) {
            struct wide a = wide_add(wide_add(exact, wide_from(half)), wide_from(nudge));
            int128 wanted = quotient + (nudge >= 0);
            int128 up;
            int128 down;
            cr_assert(wide_divide_round(a, half * 2, &up) == STATUS_OK);
            cr_assert(wide_divide_round(wide_negate(a), half * 2, &down) == STATUS_OK);
            cr_assert(up == wanted && down == -wanted, "row %d, nudge %d", i, nudge);
        }
    }
}

Test(wide, quotients_stop_at_127_bits)
{
    const int128 max = (int128)(((uint128)1 << 127) - 1);
    int128 out = 4711;
    cr_expect(wide_divide_round(wide_from(max), 1, &out) == STATUS_OK && out == max);
    cr_expect(wide_divide_round(wide_from(-max), 1, &out) == STATUS_OK && out == -max);
    cr_expect(wide_divide_round(wide_from(-max - 1), 1, &out) == STATUS_OUT_OF_RANGE);
    /* 2 x max + 1 halves to a tie, which would round to 2^127. */
    struct wide tie = wide_add(wide_multiply(max, 2), wide_from(1));
    cr_expect(wide_divide_round(tie, 2, &out) == STATUS_OUT_OF_RANGE);
    cr_expect(wide_divide_round(wide_subtract(tie, wide_from(1)), 2, &out) == STATUS_OK && out == max);
    cr_expect(wide_divide_round(wide_multiply(max, max), max, &out) == STATUS_OK && out == max);
    cr_expect(wide_divide_round(wide_multiply(max, max), max - 1, &out) == STATUS_OUT_OF_RANGE);
}

Test(wide, division_by_a_wide_equals_that_done_by_hand)
{
    const struct big max = big_from((int128)(((uint128)1 << 127) - 1));
    uint64_t seed = TEST_SEED_FIRST + 3;
    (void)fprintf(stderr, "seed %" PRIu64 "\n", seed);
    for (int i = 0; i < 20000; i++) {
        struct wide divisor = wide_multiply(random_signed(&seed, 38), random_signed(&seed, 38));
        divisor = wide_sign(divisor) < 0 ? wide_negate(divisor) : divisor;
        if (wide_is_zero(divisor))
            continue;
        struct wide a = wide_multiply(random_signed(&seed, 38), random_signed(&seed, 38));
        struct big wanted = big_divide_round(big_of(a), big_of(divisor));
        struct big size = wanted;
        size.negative = false;
        bool fits = big_compare(size, max) <= 0;
        int128 quotient = 4711;
        enum status status = wide_divide_by_wide(a, divisor, &quotient);
        cr_assert(status == (fits ? STATUS_OK : STATUS_OUT_OF_RANGE), "row %d: %s", i, status_word(status));
        cr_assert(fits ? big_is_units(wanted, quotient) : quotient == 4711, "row %d", i);
    }
}

Test(wide, ties_by_a_wide_divisor_round_away_from_zero)
{
    struct wide divisor = wide_multiply((int128)1 << 100, (int128)1 << 60);
    struct wide half = wide_multiply((int128)1 << 100, (int128)1 << 59);
    int128 out;
    cr_expect(wide_divide_by_wide(half, divisor, &out) == STATUS_OK && out == 1);
    cr_expect(wide_divide_by_wide(wide_negate(half), divisor, &out) == STATUS_OK && out == -1);
    cr_expect(wide_divide_by_wide(wide_subtract(half, wide_from(1)), divisor, &out) == STATUS_OK && out == 0);
    cr_expect(wide_divide_by_wide(wide_add(wide_scale(divisor, 7), half), divisor, &out) == STATUS_OK && out == 8);
}

Test(wide, a_quotient_becomes_a_decimal_only_within_the_column)
{
    struct decimal d = decimal_from_units(4711);
    cr_expect(wide_divide_to_decimal(wide_multiply(DECIMAL_UNITS_MAX, 3), 3, &d) == STATUS_OK);
    expect_decimal(d, "999999999999.99999999", "largest", "quotient");
    cr_expect(wide_divide_to_decimal(wide_from(DECIMAL_UNITS_MAX + 1), 1, &d) == STATUS_OUT_OF_RANGE);
    cr_expect(wide_divide_to_decimal(wide_from(-DECIMAL_UNITS_MAX - 1), 1, &d) == STATUS_OUT_OF_RANGE);
    /* Beyond 127 bits as well. */
    cr_expect(wide_divide_to_decimal(wide_multiply(DECIMAL_UNITS_MAX, DECIMAL_UNITS_MAX), 1, &d) ==
              STATUS_OUT_OF_RANGE);
    expect_decimal(d, "999999999999.99999999", "after refusals", "result");
}

Test(wide, text_with_sixteen_fraction_digits_goes_there_and_back)
{
    uint64_t seed = TEST_SEED_FIRST + 4;
    (void)fprintf(stderr, "seed %" PRIu64 "\n", seed);
    for (int i = 0; i < 20000; i++) {
        struct wide a = wide_multiply(random_signed(&seed, 30), random_signed(&seed, 30));
        char shown[WIDE_TEXT_LEN_MAX];
        char wanted[BIG_DIGITS_MAX + 4];
        size_t len = wide_text(a, shown);
        big_format(big_of(a), 16, wanted);
        cr_assert(strcmp(shown, wanted) == 0, "%s, should be %s", shown, wanted);
        struct wide read;
        cr_assert(wide_parse_16(shown, len, &read) == STATUS_OK, "%s", shown);
        cr_assert(wide_compare(read, a) == 0, "%s", shown);
    }
}

Test(wide, the_longest_text_fits_its_room)
{
    char shown[WIDE_TEXT_LEN_MAX];
    struct wide least = {{0, 0, 0, (uint64_t)1 << 63}};
    size_t len = wide_text(least, shown);
    cr_expect(strcmp(shown, "-5789604461865809771178549250434395392663499233282028201972879.2003956564819968") == 0,
              "%s", shown);
    cr_expect(len == strlen(shown));
    cr_expect(len < WIDE_TEXT_LEN_MAX);
}

Test(wide, fixed_point_text_is_read_and_everything_else_refused)
{
    static const struct {
        const char *text;
        enum status status;
        const char *shown;
    } rows[] = {
        {"0", STATUS_OK, "0.0000000000000000"},
        {"-0.0", STATUS_OK, "0.0000000000000000"},
        {"1", STATUS_OK, "1.0000000000000000"},
        {"-1.5", STATUS_OK, "-1.5000000000000000"},
        {"0.0000000000000001", STATUS_OK, "0.0000000000000001"},
        {"000000000000000000000000000000000000000000000000000000000001", STATUS_OK, "1.0000000000000000"},
        {"99999999999999999999999999999999999999999999.9999999999999999", STATUS_OK,
         "99999999999999999999999999999999999999999999.9999999999999999"},
        {"100000000000000000000000000000000000000000000", STATUS_OUT_OF_RANGE, NULL},
        {"100000000000000000000000000000000000000000000.x", STATUS_BAD_NUMBER, NULL},
        {"0.00000000000000001", STATUS_BAD_NUMBER, NULL},
        {"", STATUS_BAD_NUMBER, NULL},
        {"-", STATUS_BAD_NUMBER, NULL},
        {"1.", STATUS_BAD_NUMBER, NULL},
        {".1", STATUS_BAD_NUMBER, NULL},
        {"1e3", STATUS_BAD_NUMBER, NULL},
        {"NaN", STATUS_BAD_NUMBER, NULL},
        {"1.5 ", STATUS_BAD_NUMBER, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wide a = wide_from(4711);
        char shown[WIDE_TEXT_LEN_MAX];
        expect_status(wide_parse_16(rows[i].text, strlen(rows[i].text), &a), rows[i].status, rows[i].text);
        if (rows[i].shown == NULL) {
            cr_expect(wide_compare(a, wide_from(4711)) == 0, "%s: a refused text changed the result", rows[i].text);
            continue;
        }
        (void)wide_text(a, shown);
        cr_expect(strcmp(shown, rows[i].shown) == 0, "%s: shown as %s", rows[i].text, shown);
    }
}

static struct wide largest(void)
{
    return (struct wide){{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX >> 1}};
}

Test(wide, a_sum_that_does_not_fit_is_never_wrapped, .signal = SIGABRT)
{
    (void)wide_add(largest(), wide_from(1));
}

Test(wide, a_product_that_does_not_fit_is_never_wrapped, .signal = SIGABRT)
{
    (void)wide_scale(largest(), 2);
}

Test(wide, the_least_value_has_no_negative, .signal = SIGABRT)
{
    (void)wide_negate((struct wide){{0, 0, 0, (uint64_t)1 << 63}});
}

Test(wide, division_by_zero_is_a_programmers_mistake, .signal = SIGABRT)
{
    int128 out;
    (void)!wide_divide_round(wide_from(1), 0, &out);
}
