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

Test(consumer_pool, long_bodies_are_counted_while_they_are_held)
{
    struct consumer_pool pool;
    consumer_pool_init(&pool, 4);
    struct delivery *inline_one = consumer_pool_get(&pool), *heap_one = consumer_pool_get(&pool);
    cr_assert_eq(consumer_pool_body(&pool, inline_one, BODY_INLINE_LEN_MAX), STATUS_OK);
    cr_assert_eq(inline_one->body, inline_one->body_inline);
    cr_assert_eq(pool.heap_len, 0);
    cr_assert_eq(consumer_pool_body(&pool, heap_one, BODY_INLINE_LEN_MAX + 1), STATUS_OK);
    cr_assert_eq(pool.heap_len, BODY_INLINE_LEN_MAX + 1);
    consumer_pool_put(&pool, inline_one);
    consumer_pool_put(&pool, heap_one);
    cr_assert_eq(pool.heap_len, 0);
    cr_assert_eq(pool.in_use, 0);
    consumer_pool_finish(&pool);
}

Test(consumer_pool, body_of_impossible_length_is_refused_without_being_counted)
{
    struct consumer_pool pool;
    consumer_pool_init(&pool, 1);
    struct delivery *delivery = consumer_pool_get(&pool);
    cr_assert_eq(consumer_pool_body(&pool, delivery, (size_t)POOL_BODY_LEN_MAX + 1), STATUS_FULL);
    cr_assert_eq(pool.heap_len, 0);
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
