#include "portfolio.h"

#include <stddef.h>

#include "reference.h"

/* Up to the last member: what pads the struct behind it is no total. */
#define TOTALS_LEN (offsetof(struct portfolio_totals, unpriced) + sizeof(int64_t))

static struct position one_way(const char *size, const char *price, const char *unrealized, const char *realized)
{
    struct position position = new_position(POSITION_MODE_ONE_WAY);
    position.size = dec(size);
    position.current_price = dec(price);
    position.unrealized_pnl = dec(unrealized);
    position.realized_pnl = dec(realized);
    return position;
}

static struct position hedge(const char *long_size, const char *short_size, const char *price)
{
    struct position position = new_position(POSITION_MODE_HEDGE);
    position.long_size = dec(long_size);
    position.short_size = dec(short_size);
    position.size = decimal_from_units(position.long_size.units - position.short_size.units);
    position.current_price = dec(price);
    return position;
}

Test(portfolio, each_position_adds_what_it_holds)
{
    const struct {
        const char *name;
        struct position position;
        const char *exposure, *net;
        int64_t open, longs, shorts, unpriced;
    } rows[] = {
        {"long", one_way("1.5", "100", "1", "2"), "150", "150", 1, 1, 0, 0},
        {"short", one_way("-1.5", "100", "1", "2"), "150", "-150", 1, 0, 1, 0},
        {"flat", one_way("0", "100", "1", "2"), "0", "0", 0, 0, 0, 0},
        {"flat without a price is not missing one", one_way("0", NULL, "1", "2"), "0", "0", 0, 0, 0, 0},
        {"open without a price", one_way("-3", NULL, "1", "2"), "0", "0", 1, 0, 1, 1},
        {"both legs", hedge("2", "3", "10"), "50", "-10", 1, 1, 1, 0},
        {"one leg", hedge("0", "3", "10"), "30", "-30", 1, 0, 1, 0},
        {"legs that cancel", hedge("3", "3", "10"), "60", "0", 1, 1, 1, 0},
        {"flat legs", hedge("0", "0", "10"), "0", "0", 0, 0, 0, 0},
        {"legs without a price", hedge("3", "3", NULL), "0", "0", 1, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct portfolio_totals totals;
        portfolio_contribution(&rows[i].position, &totals);
        expect_decimal(decimal_from_units(portfolio_round(totals.exposure)), rows[i].exposure, rows[i].name,
                       "exposure");
        expect_decimal(decimal_from_units(portfolio_round(totals.net_exposure)), rows[i].net, rows[i].name, "net");
        cr_expect(totals.positions == 1 && totals.open == rows[i].open && totals.longs == rows[i].longs &&
                      totals.shorts == rows[i].shorts && totals.unpriced == rows[i].unpriced,
                  "%s: counts", rows[i].name);
        cr_expect(totals.unrealized_pnl == rows[i].position.unrealized_pnl.units, "%s", rows[i].name);
        cr_expect(totals.realized_pnl == rows[i].position.realized_pnl.units, "%s", rows[i].name);
    }
}

Test(portfolio, sums_are_exact_and_go_beyond_the_column)
{
    struct position position = one_way("999999999999.99999999", "999999999999.99999999", "999999999999.99999999", "0");
    struct portfolio_totals one;
    struct portfolio_totals sum = {.positions = 0};
    portfolio_contribution(&position, &one);
    for (int i = 0; i < 1000; i++)
        portfolio_add(&sum, &one);
    struct big wanted = big_multiply(big_from(DECIMAL_UNITS_MAX), big_from(DECIMAL_UNITS_MAX));
    wanted = big_divide_round(big_multiply(wanted, big_from(1000)), big_from(DECIMAL_ONE));
    cr_expect(big_is_units(wanted, portfolio_round(sum.exposure)));
    cr_expect(sum.unrealized_pnl == 1000 * DECIMAL_UNITS_MAX && sum.positions == 1000);
}

Test(portfolio, a_sum_is_rounded_once_half_away_from_zero)
{
    struct position tie = one_way("0.00000001", "0.5", "0", "0");
    struct position short_tie = one_way("-0.00000001", "0.5", "0", "0");
    struct portfolio_totals a;
    struct portfolio_totals b;
    portfolio_contribution(&tie, &a);
    portfolio_contribution(&short_tie, &b);
    cr_expect(portfolio_round(a.exposure) == 1 && portfolio_round(b.net_exposure) == -1);
    portfolio_add(&a, &a);
    cr_expect(portfolio_round(a.exposure) == 1, "two halves are one, not two");
}

Test(portfolio, the_share_of_a_position_is_of_the_whole_exposure)
{
    static const struct {
        const char *name, *size, *price, *total, *wanted;
    } rows[] = {
        {"all of it", "-2", "100", "200", "1"},
        {"a third", "1", "100", "300", "0.33333333"},
        {"two thirds", "2", "100", "300", "0.66666667"},
        {"tie", "0.00000001", "1", "2", "0.00000001"},
        {"below a tie", "0.00000001", "1", "2.00000001", "0"},
        {"flat", "0", "100", "300", "0"},
        {"no exposure", "0", "100", "0", "0"},
        {"unpriced", "1", NULL, "300", NULL},
        {"unpriced, no exposure", "1", NULL, "0", NULL},
        {"of a total beyond 127 bits", "500000000000", "600000000000", "900000000000000000000000", "0.33333333"},
        {"beyond the column", "999999999999", "999999999999", "0.00000001", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position position = one_way(rows[i].size, rows[i].price, "0", "0");
        struct wide total;
        cr_assert(wide_parse_16(rows[i].total, strlen(rows[i].total), &total) == STATUS_OK);
        expect_decimal(position_size_norm(&position, total), rows[i].wanted, rows[i].name, "share");
    }
    struct position legs = hedge("1", "2", "100");
    expect_decimal(position_size_norm(&legs, wide_multiply(dec("600").units, DECIMAL_ONE)), "0.5", "both legs",
                   "share");
}

static struct position random_position(uint64_t *seed)
{
    struct position position = new_position(random_below(seed, 2) ? POSITION_MODE_HEDGE : POSITION_MODE_ONE_WAY);
    unsigned digits = 1 + (unsigned)random_below(seed, 20);
    position.size = decimal_from_units(random_digits(seed, digits) * (random_below(seed, 2) ? 1 : -1));
    if (position.mode == POSITION_MODE_HEDGE) {
        position.long_size = decimal_from_units(random_below(seed, 4) ? random_digits(seed, digits) : 0);
        position.short_size = decimal_from_units(random_below(seed, 4) ? random_digits(seed, digits) : 0);
        position.size = decimal_from_units(position.long_size.units - position.short_size.units);
    }
    position.current_price = random_below(seed, 4) ? decimal_from_units(1 + random_digits(seed, 19)) : DECIMAL_NONE;
    position.unrealized_pnl = decimal_from_units(random_digits(seed, 20));
    position.realized_pnl = decimal_from_units(-random_digits(seed, 20));
    return position;
}

Test(portfolio, totals_after_any_history_equal_a_recount)
{
    enum { POSITIONS = 40, CHANGES = 20000 };
    static struct position positions[POSITIONS];
    static bool held[POSITIONS];
    uint64_t seed = TEST_SEED_FIRST;
    (void)fprintf(stderr, "seed %" PRIu64 "\n", seed);
    struct portfolio_totals running = {.positions = 0};
    for (int change = 0; change < CHANGES; change++) {
        size_t at = random_below(&seed, POSITIONS);
        struct portfolio_totals contribution;
        if (held[at]) {
            portfolio_contribution(&positions[at], &contribution);
            portfolio_subtract(&running, &contribution);
        }
        held[at] = random_below(&seed, 5) > 0;
        if (held[at]) {
            positions[at] = random_position(&seed);
            portfolio_contribution(&positions[at], &contribution);
            portfolio_add(&running, &contribution);
        }
        if (change % 100 != 0)
            continue;
        struct portfolio_totals recount = {.positions = 0};
        struct big exposure = big_from(0);
        for (size_t i = 0; i < POSITIONS; i++) {
            if (!held[i])
                continue;
            portfolio_contribution(&positions[i], &contribution);
            portfolio_add(&recount, &contribution);
            if (!decimal_is_none(positions[i].current_price))
                exposure = big_add(exposure, big_multiply(big_from(position_gross_units(&positions[i])),
                                                          big_from(positions[i].current_price.units)));
        }
        cr_assert(memcmp(&recount, &running, TOTALS_LEN) == 0, "change %d", change);
        cr_assert(big_is_units(big_divide_round(exposure, big_from(DECIMAL_ONE)), portfolio_round(running.exposure)),
                  "change %d: exposure", change);
    }
}
