#include <criterion/criterion.h>
#include <string.h>

#include "consumer_pool.h"

Test(consumer_pool, empty_pool_has_no_memory_and_full_pool_gives_nothing)
{
    struct consumer_pool pool;
    struct delivery *held[40];
    consumer_pool_init(&pool, 40);
    cr_assert_null(pool.slabs);
    for (int i = 0; i < 40; i++) {
        held[i] = consumer_pool_get(&pool);
        cr_assert_not_null(held[i]);
    }
    cr_assert_null(consumer_pool_get(&pool));
    consumer_pool_put(&pool, held[7]);
    cr_assert_eq(consumer_pool_get(&pool), held[7]);
    consumer_pool_finish(&pool);
}

Test(consumer_pool, deliveries_are_made_twice_as_many_each_time_up_to_the_capacity)
{
    static const size_t made[][2] = {{1, 32}, {32, 32}, {33, 64}, {64, 64}, {65, 100}, {100, 100}};
    struct consumer_pool pool;
    consumer_pool_init(&pool, 100);
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        while (pool.in_use < made[i][0])
            cr_assert_not_null(consumer_pool_get(&pool));
        cr_expect_eq(pool.made, made[i][1], "%zu made for %zu", pool.made, pool.in_use);
    }
    cr_expect_null(consumer_pool_get(&pool));
    consumer_pool_finish(&pool);
}

Test(consumer_pool, delivery_comes_back_blank)
{
    struct consumer_pool pool;
    consumer_pool_init(&pool, 1);
    struct delivery *delivery = consumer_pool_get(&pool);
    cr_assert_eq(consumer_pool_body(&pool, delivery, 10), STATUS_OK);
    memset(delivery->trace_id, 'x', 5);
    delivery->refusal = STATUS_NOT_JSON;
    consumer_pool_put(&pool, delivery);
    delivery = consumer_pool_get(&pool);
    cr_assert_null(delivery->body);
    cr_assert_eq(delivery->trace_id[0], '\0');
    cr_assert_eq(delivery->refusal, STATUS_OK);
    consumer_pool_finish(&pool);
}

Test(consumer_pool, bodies_are_counted_while_they_are_held)
{
    struct consumer_pool pool;
    consumer_pool_init(&pool, 4);
    struct delivery *empty = consumer_pool_get(&pool), *first = consumer_pool_get(&pool),
                    *second = consumer_pool_get(&pool);
    cr_assert_eq(consumer_pool_body(&pool, empty, 0), STATUS_OK);
    cr_assert_not_null(empty->body);
    cr_assert_eq(consumer_pool_body(&pool, first, 640), STATUS_OK);
    cr_assert_eq(consumer_pool_body(&pool, second, 100000), STATUS_OK);
    cr_assert_eq(pool.bodies_len, 100640);
    consumer_pool_put(&pool, first);
    cr_assert_eq(pool.bodies_len, 100000);
    consumer_pool_put(&pool, second);
    consumer_pool_put(&pool, empty);
    cr_assert_eq(pool.bodies_len, 0);
    cr_assert_eq(pool.in_use, 0);
    consumer_pool_finish(&pool);
}

Test(consumer_pool, body_of_impossible_length_is_refused_without_being_counted)
{
    struct consumer_pool pool;
    consumer_pool_init(&pool, 1);
    struct delivery *delivery = consumer_pool_get(&pool);
    cr_assert_eq(consumer_pool_body(&pool, delivery, (size_t)POOL_BODY_LEN_MAX + 1), STATUS_FULL);
    cr_assert_eq(pool.bodies_len, 0);
    consumer_pool_put(&pool, delivery);
    consumer_pool_finish(&pool);
}

Test(consumer_pool, content_type_is_kept_as_it_came)
{
    static const char *const types[] = {"application/json", "application/jsonp", "text/plain", ""};
    struct consumer_pool pool;
    consumer_pool_init(&pool, 1);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct delivery *delivery = consumer_pool_get(&pool);
        consumer_pool_content_type(delivery, types[i], strlen(types[i]));
        cr_assert_str_eq(delivery->content_type, types[i]);
        consumer_pool_put(&pool, delivery);
    }
    consumer_pool_finish(&pool);
}
