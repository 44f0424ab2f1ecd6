/*
 * What the fills of one transaction add to each order.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "order_sums.h"

enum { MANY = 5000 };

static struct order_sums sums;

static void free_sums(void)
{
    order_sums_free(&sums);
}

TestSuite(order_sums, .fini = free_sums);

/* A fill of units/10^8 at price 3, with a fee of 1. */
static struct delivery fill_of(const char *order, const char *asset, enum position_mode mode, int64_t units)
{
    struct delivery delivery = {.kind = DELIVERY_EXECUTION};
    snprintf(delivery.order_key, sizeof delivery.order_key, "%s", order);
    snprintf(delivery.asset, sizeof delivery.asset, "%s", asset);
    delivery.said.execution.mode = mode;
    delivery.fill.quantity.units = units;
    delivery.fill.notional = wide_multiply(units, (int128)3 * DECIMAL_ONE);
    delivery.fill.fees.units = DECIMAL_ONE;
    return delivery;
}

static void expect_sum(size_t i, const struct delivery *first, int64_t units, int64_t fills)
{
    const struct order_sum *sum = &sums.entries[i];
    cr_expect_eq(sum->first, first, "entry %zu", i);
    cr_expect(sum->total.filled.units == units, "entry %zu", i);
    cr_expect_eq(wide_compare(sum->total.notional, wide_multiply(units, (int128)3 * DECIMAL_ONE)), 0,
                 "entry %zu", i);
    cr_expect(sum->total.fees.units == (int128)fills * DECIMAL_ONE, "entry %zu", i);
}

Test(order_sums, fills_of_one_order_are_one_entry)
{
    const struct delivery given[] = {
        fill_of("a", "BTCUSDT", POSITION_MODE_ONE_WAY, 5),   fill_of("b", "BTCUSDT", POSITION_MODE_ONE_WAY, 7),
        fill_of("a", "BTCUSDT", POSITION_MODE_ONE_WAY, 100), fill_of("a", "BTCUSDT", POSITION_MODE_HEDGE, 1),
        fill_of("a", "ETHUSDT", POSITION_MODE_ONE_WAY, 2),   fill_of("b", "BTCUSDT", POSITION_MODE_ONE_WAY, 1),
    };
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
        order_sums_add(&sums, &given[i]);
    cr_assert_eq(sums.count, 4);
    expect_sum(0, &given[0], 105, 2);
    expect_sum(1, &given[1], 8, 2);
    expect_sum(2, &given[3], 1, 1);
    expect_sum(3, &given[4], 2, 1);
}

Test(order_sums, nothing_is_left_of_the_transaction_before)
{
    static struct delivery given[MANY];
    for (int round = 0; round < 3; round++) {
        const size_t count = round == 1 ? 3 : MANY;
        order_sums_clear(&sums);
        for (size_t i = 0; i < count; i++) {
            char order[16];
            snprintf(order, sizeof order, "o%zu", i / 2);
            given[i] = fill_of(order, "BTCUSDT", POSITION_MODE_ONE_WAY, 10 + round);
            order_sums_add(&sums, &given[i]);
        }
        cr_assert_eq(sums.count, (count + 1) / 2, "round %d", round);
        for (size_t i = 0; i < sums.count; i++) {
            const int64_t fills = 2 * i + 1 < count ? 2 : 1;
            expect_sum(i, &given[2 * i], fills * (10 + round), fills);
        }
    }
}
