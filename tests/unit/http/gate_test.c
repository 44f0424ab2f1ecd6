#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "gate.h"

static struct gate *gate_with(bool limited, const char *key, uint32_t limit)
{
    struct gate *gate = gate_create(limited);
    cr_assert_eq(gate_add_key(gate, key, limit), STATUS_OK);
    return gate;
}

Test(gate, only_the_whole_key_is_the_key)
{
    static const struct {
        const char *name, *text;
        int index;
    } rows[] = {
        {"first", "alpha-key", 0},      {"second", "beta-key", 1},       {"a prefix", "alpha", -1},
        {"one more", "alpha-key1", -1}, {"other case", "Alpha-key", -1}, {"empty", "", -1},
        {"last byte", "alpha-kez", -1},
    };
    struct gate *gate = gate_with(true, "alpha-key", 10);
    cr_assert_eq(gate_add_key(gate, "beta-key", 10), STATUS_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(gate_find_key(gate, rows[i].text, strlen(rows[i].text)), rows[i].index, "%s", rows[i].name);
    gate_destroy(gate);
}

Test(gate, a_key_with_a_nul_behind_it_is_another_key)
{
    struct gate *gate = gate_with(true, "alpha", 10);
    cr_expect_eq(gate_find_key(gate, "alpha\0", 6), -1);
    gate_destroy(gate);
}

Test(gate, keys_have_a_greatest_length)
{
    char longest[GATE_KEY_LEN_MAX + 2];
    memset(longest, 'k', sizeof longest);
    longest[GATE_KEY_LEN_MAX + 1] = '\0';
    struct gate *gate = gate_create(true);
    cr_expect_eq(gate_add_key(gate, "", 1), STATUS_INVALID);
    cr_expect_eq(gate_add_key(gate, longest, 1), STATUS_INVALID);
    longest[GATE_KEY_LEN_MAX] = '\0';
    cr_expect_eq(gate_add_key(gate, longest, 1), STATUS_OK);
    cr_expect_eq(gate_find_key(gate, longest, GATE_KEY_LEN_MAX), 0);
    cr_expect_eq(gate_find_key(gate, longest, GATE_KEY_LEN_MAX + 1), -1);
    gate_destroy(gate);
}

Test(gate, a_key_given_again_takes_the_new_limit)
{
    struct gate *gate = gate_with(true, "alpha", 10);
    cr_assert_eq(gate_add_key(gate, "alpha", 3), STATUS_OK);
    cr_expect_eq(gate_take(gate, gate_find_key(gate, "alpha", 5), 0).limit, 3);
    cr_expect_eq(gate_find_key(gate, "alpha", 5), 0);
    gate_destroy(gate);
}

Test(gate, a_bucket_of_the_limits_size_empties_and_tells_what_is_left)
{
    static const uint32_t limits[] = {1, 7, 60, 100, 100000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct gate *gate = gate_with(true, "alpha", limits[i]);
        for (uint32_t taken = 1; taken <= limits[i]; taken++) {
            struct gate_verdict verdict = gate_take(gate, 0, 5000000);
            cr_assert(verdict.allowed, "limit %u, request %u", limits[i], taken);
            cr_assert_eq(verdict.remaining, limits[i] - taken, "limit %u, request %u", limits[i], taken);
        }
        struct gate_verdict verdict = gate_take(gate, 0, 5000000);
        cr_expect_not(verdict.allowed, "limit %u", limits[i]);
        cr_expect_eq(verdict.remaining, 0);
        cr_expect_eq(verdict.reset_s, 60, "limit %u: %u", limits[i], verdict.reset_s);
        cr_expect_geq(verdict.retry_after_s, 1);
        gate_destroy(gate);
    }
}

Test(gate, one_token_grows_back_in_its_share_of_a_minute)
{
    struct gate *gate = gate_with(true, "alpha", 60);
    for (int i = 0; i < 60; i++)
        (void)gate_take(gate, 0, 0);
    cr_expect_not(gate_take(gate, 0, 999999).allowed);
    cr_expect(gate_take(gate, 0, 1000000).allowed);
    cr_expect_not(gate_take(gate, 0, 1000001).allowed);
    cr_expect_eq(gate_take(gate, 0, 1000001).retry_after_s, 1);
    gate_destroy(gate);
}

Test(gate, a_refused_request_costs_nothing)
{
    struct gate *gate = gate_with(true, "alpha", 1);
    cr_expect(gate_take(gate, 0, 0).allowed);
    for (int i = 0; i < 1000; i++)
        cr_expect_not(gate_take(gate, 0, 59999999).allowed);
    cr_expect(gate_take(gate, 0, 60000000).allowed);
    gate_destroy(gate);
}

Test(gate, a_rested_bucket_holds_no_more_than_its_size)
{
    struct gate *gate = gate_with(true, "alpha", 5);
    (void)gate_take(gate, 0, 0);
    int64_t next_day_us = 86400LL * 1000000;
    for (int i = 0; i < 5; i++)
        cr_expect(gate_take(gate, 0, next_day_us).allowed);
    cr_expect_not(gate_take(gate, 0, next_day_us).allowed);
    gate_destroy(gate);
}

Test(gate, a_limit_of_zero_allows_nothing)
{
    struct gate *gate = gate_with(true, "alpha", 0);
    struct gate_verdict verdict = gate_take(gate, 0, 1);
    cr_expect_not(verdict.allowed);
    cr_expect_eq(verdict.retry_after_s, 60);
    gate_destroy(gate);
}

Test(gate, without_limits_everything_passes_and_the_limit_is_still_told)
{
    struct gate *gate = gate_with(false, "alpha", 2);
    for (int i = 0; i < 10; i++) {
        struct gate_verdict verdict = gate_take(gate, 0, 0);
        cr_expect(verdict.allowed);
        cr_expect_eq(verdict.limit, 2);
        cr_expect_eq(verdict.remaining, 2);
    }
    gate_destroy(gate);
}

Test(gate, buckets_are_each_keys_own)
{
    struct gate *gate = gate_with(true, "alpha", 1);
    cr_assert_eq(gate_add_key(gate, "beta", 1), STATUS_OK);
    cr_expect(gate_take(gate, 0, 0).allowed);
    cr_expect_not(gate_take(gate, 0, 0).allowed);
    cr_expect(gate_take(gate, 1, 0).allowed);
    gate_destroy(gate);
}

enum { TAKERS = 4, TAKES = 2000, SHARED_LIMIT = 1000 };

static struct gate *shared_gate;
static atomic_int allowed_count;

static void *take_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < TAKES; i++)
        if (gate_take(shared_gate, 0, 7000000).allowed)
            atomic_fetch_add(&allowed_count, 1);
    return NULL;
}

Test(gate, loops_that_share_a_bucket_never_overdraw_it)
{
    pthread_t threads[TAKERS];
    shared_gate = gate_with(true, "alpha", SHARED_LIMIT);
    for (int i = 0; i < TAKERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_many, NULL), 0);
    for (int i = 0; i < TAKERS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&allowed_count), SHARED_LIMIT);
    gate_destroy(shared_gate);
}
