#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "prices_rests.h"

static struct rests *rests;

static void start(void)
{
    rests = calloc(1, sizeof *rests);
}

static void stop(void)
{
    free(rests);
}

TestSuite(prices_rests, .init = start, .fini = stop);

static const char *asset_of(size_t number)
{
    static char asset[ASSET_LEN_MAX + 1];
    (void)snprintf(asset, sizeof asset, "A%zuUSDT", number);
    return asset;
}

Test(prices_rests, an_asset_is_found_until_it_is_forgotten)
{
    cr_expect_null(rests_find(rests, "AUSDT"));
    cr_expect(rest_is_over(NULL, 0));
    struct rest *rest = rests_take(rests, "AUSDT");
    cr_expect_eq(rests_find(rests, "AUSDT"), rest);
    cr_expect_not(rest_is_over(rest, INT64_MAX - 1));
    rest->until_us = 10;
    cr_expect_not(rest_is_over(rest, 9));
    cr_expect(rest_is_over(rest, 10));
    rests_forget(rests, rest);
    cr_expect_null(rests_find(rests, "AUSDT"));
}

Test(prices_rests, taking_it_again_remembers_how_often_it_failed)
{
    struct rest *rest = rests_take(rests, "AUSDT");
    rest->failed_count = 3;
    rest->until_us = 10;
    cr_expect_eq(rests_take(rests, "AUSDT"), rest);
    cr_expect_eq(rest->failed_count, 3);
    cr_expect_eq(rest->until_us, INT64_MAX);
}

Test(prices_rests, a_full_table_gives_up_the_rest_that_ends_first_and_never_one_being_asked_for)
{
    /* The first half is being asked for; the others rest, the last the shortest. More than one share a bucket. */
    for (size_t i = 0; i < RESTS_MAX; i++) {
        struct rest *rest = rests_take(rests, asset_of(i));
        if (i >= RESTS_MAX / 2)
            rest->until_us = (int64_t)(2 * RESTS_MAX - i);
    }
    for (size_t i = 0; i < RESTS_MAX; i++)
        cr_assert_not_null(rests_find(rests, asset_of(i)), "%zu", i);
    for (size_t i = 0; i < RESTS_MAX / 2; i++) {
        struct rest *rest = rests_take(rests, asset_of(RESTS_MAX + i));
        cr_expect_eq(rest->failed_count, 0);
        cr_expect_null(rests_find(rests, asset_of(RESTS_MAX - 1 - i)), "%zu", i);
    }
    for (size_t i = 0; i < RESTS_MAX / 2; i++)
        cr_expect_not_null(rests_find(rests, asset_of(i)), "%zu", i);
}
