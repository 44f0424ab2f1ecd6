#include <criterion/criterion.h>

#include "consumer.h"

Test(consumer_prefetch, queues_share_it_evenly_and_have_one_at_least)
{
    static const struct {
        uint16_t prefetch;
        size_t order_queues;
        uint16_t share;
    } rows[] = {{30000, 1, 15000}, {65535, 1, 32767}, {10, 2, 3}, {2, 1, 1}, {1, 1, 1}, {1, 16, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(consumer_queue_prefetch(rows[i].prefetch, rows[i].order_queues), rows[i].share, "%zu", i);
}
