#include <criterion/criterion.h>

#include "consumer_window.h"

enum { CAPACITY = 800, CROWD = 300 };

static struct consumer_window window;
static uint32_t slots[CAPACITY];

static void set_up(void)
{
    consumer_window_init(&window, CAPACITY, CROWD);
}

static void tear_down(void)
{
    consumer_window_finish(&window);
}

TestSuite(consumer_window, .init = set_up, .fini = tear_down);

/* Tags first..first+count-1 at one time. */
static void add(uint64_t first, uint32_t count, int64_t now_us)
{
    for (uint32_t i = 0; i < count; i++) {
        slots[i] = consumer_window_add(&window, first + i, now_us);
        cr_assert_neq(slots[i], WINDOW_NONE);
    }
}

/* Takes the front, returns the highest tag, 0 if nothing. */
static uint64_t take_front(int64_t now_us)
{
    struct window_slot slot = {0};
    while (consumer_window_take_front(&window, &slot, now_us))
        ;
    return slot.tag;
}

Test(consumer_window, front_goes_up_to_the_first_unsettled_tag)
{
    add(1, 5, 0);
    consumer_window_settle(&window, slots[0], 0);
    consumer_window_settle(&window, slots[1], 0);
    consumer_window_settle(&window, slots[3], 0);
    cr_assert_eq(take_front(0), 2);
    cr_assert_eq(take_front(0), 0, "the third holds up the fourth");
    consumer_window_settle(&window, slots[2], 0);
    cr_assert_eq(take_front(0), 4);
    cr_assert_eq(window.open, 1);
    cr_assert_eq(window.settled, 0);
}

Test(consumer_window, settling_in_reverse_order_gives_one_front)
{
    add(1, 100, 0);
    for (int i = 99; i >= 0; i--)
        consumer_window_settle(&window, slots[i], 0);
    cr_assert_eq(take_front(0), 100);
    cr_assert_eq(window.open, 0);
}

Test(consumer_window, full_window_refuses_and_has_room_again_after_taking)
{
    add(1, CAPACITY, 0);
    cr_assert_eq(consumer_window_add(&window, CAPACITY + 1, 0), WINDOW_NONE);
    consumer_window_settle(&window, slots[0], 0);
    cr_assert_eq(take_front(0), 1);
    cr_assert_neq(consumer_window_add(&window, CAPACITY + 1, 0), WINDOW_NONE);
}

Test(consumer_window, tag_out_of_order_is_refused)
{
    add(5, 1, 0);
    cr_assert_eq(consumer_window_add(&window, 5, 0), WINDOW_NONE);
    cr_assert_eq(consumer_window_add(&window, 4, 0), WINDOW_NONE);
    cr_assert_neq(consumer_window_add(&window, 7, 0), WINDOW_NONE);
}

Test(consumer_window, nothing_in_flight_makes_the_front_due_at_once)
{
    add(1, 2, 0);
    consumer_window_settle(&window, slots[0], 0);
    cr_assert_not(consumer_window_front_is_due(&window, 0), "the second is still in flight");
    consumer_window_settle(&window, slots[1], 0);
    cr_assert(consumer_window_front_is_due(&window, 0));
}

Test(consumer_window, front_is_due_after_the_delay_or_with_a_batch)
{
    add(1, WINDOW_BATCH_LEN + 10, 0);
    consumer_window_settle(&window, slots[0], 10);
    cr_assert_eq(consumer_window_deadline_us(&window), 10 + WINDOW_DELAY_US);
    cr_assert_not(consumer_window_front_is_due(&window, 9 + WINDOW_DELAY_US));
    cr_assert(consumer_window_front_is_due(&window, 10 + WINDOW_DELAY_US));
    for (int i = 1; i < WINDOW_BATCH_LEN; i++) {
        cr_assert_not(consumer_window_front_is_due(&window, 10), "after %d", i);
        consumer_window_settle(&window, slots[i], 10);
    }
    cr_assert(consumer_window_front_is_due(&window, 10));
}

Test(consumer_window, late_delivery_lets_those_behind_it_go_one_by_one)
{
    struct window_slot slot;
    uint32_t cursor = WINDOW_FRONT;
    add(1, 6, 0);
    consumer_window_settle(&window, slots[2], 100);
    consumer_window_settle(&window, slots[3], 100);
    consumer_window_settle(&window, slots[5], 100);
    cr_assert_eq(consumer_window_deadline_us(&window), WINDOW_LATE_AFTER_US);
    cr_assert_not(consumer_window_behind_is_due(&window, WINDOW_LATE_AFTER_US - 1));
    cr_assert(consumer_window_behind_is_due(&window, WINDOW_LATE_AFTER_US));
    const uint64_t expected[] = {3, 4, 6};
    for (int i = 0; i < 3; i++) {
        cr_assert(consumer_window_take_behind(&window, &cursor, &slot, WINDOW_LATE_AFTER_US));
        cr_assert_eq(slot.tag, expected[i]);
    }
    cr_assert_not(consumer_window_take_behind(&window, &cursor, &slot, WINDOW_LATE_AFTER_US));
    cr_assert_not(consumer_window_take_behind(&window, &cursor, &slot, WINDOW_LATE_AFTER_US), "the walk stays ended");
    cr_assert_eq(window.open, 3);
    cr_assert_eq(consumer_window_deadline_us(&window), WINDOW_NO_DEADLINE);
    consumer_window_settle(&window, slots[0], 0);
    cr_assert_eq(take_front(0), 1);
}

Test(consumer_window, late_delivery_never_stops_the_flow_of_many_times_the_capacity)
{
    add(1, 1, 0);
    for (uint64_t tag = 2; tag < 50 * CAPACITY; tag++) {
        uint32_t slot = consumer_window_add(&window, tag, 0);
        cr_assert_neq(slot, WINDOW_NONE, "tag %lu", (unsigned long)tag);
        consumer_window_settle(&window, slot, 0);
        struct window_slot taken;
        uint32_t cursor = WINDOW_FRONT;
        while (consumer_window_behind_is_due(&window, 0) && consumer_window_take_behind(&window, &cursor, &taken, 0))
            ;
    }
    cr_assert_leq(window.open, CROWD + 2);
}

Test(consumer_window, crowd_of_settled_ones_does_not_wait_for_a_young_front)
{
    add(1, CAPACITY, 0);
    for (int i = 1; i < CROWD; i++)
        consumer_window_settle(&window, slots[i], 0);
    cr_assert_not(consumer_window_behind_is_due(&window, 0));
    consumer_window_settle(&window, slots[CAPACITY - 1], 0);
    cr_assert(consumer_window_behind_is_due(&window, 0));
}

Test(consumer_window, oldest_is_the_front_settled_or_not)
{
    cr_assert_eq(consumer_window_oldest_at_us(&window), 0);
    cr_assert_neq(consumer_window_add(&window, 1, 70), WINDOW_NONE);
    cr_assert_neq(consumer_window_add(&window, 2, 80), WINDOW_NONE);
    cr_assert_eq(consumer_window_oldest_at_us(&window), 70);
    consumer_window_settle(&window, window.head, 90);
    cr_assert_eq(take_front(90), 1);
    cr_assert_eq(consumer_window_oldest_at_us(&window), 80);
}

Test(consumer_window, cleared_window_begins_with_tag_one_again)
{
    add(1, CAPACITY, 0);
    consumer_window_settle(&window, slots[3], 0);
    consumer_window_clear(&window);
    cr_assert_eq(window.open, 0);
    cr_assert_eq(consumer_window_deadline_us(&window), WINDOW_NO_DEADLINE);
    add(1, CAPACITY, 0);
}

/* Against a plain model: what is acknowledged is what was settled, each once, multiple never covers an unsettled one.
 */
Test(consumer_window, random_settling_acknowledges_every_tag_once)
{
    enum { TAGS = 20000 };
    static uint8_t state[TAGS + 1]; /* 1 open, 2 settled, 3 acknowledged */
    static uint32_t slot_of[TAGS + 1];
    uint64_t next = 1, random = 88172645463325252u;
    for (int step = 0; step < 200000; step++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        int64_t now_us = step * 20;
        uint64_t pick = next > CAPACITY ? next - 1 - random % CAPACITY : 1 + random % next;
        if (random % 3 == 0 && next <= TAGS && window.open < CAPACITY) {
            slot_of[next] = consumer_window_add(&window, next, now_us);
            state[next++] = 1;
        } else if (pick < next && state[pick] == 1) {
            consumer_window_settle(&window, slot_of[pick], now_us);
            state[pick] = 2;
        }
        struct window_slot taken = {0};
        uint32_t cursor = WINDOW_FRONT;
        if (consumer_window_front_is_due(&window, now_us)) {
            while (consumer_window_take_front(&window, &taken, now_us)) {
                cr_assert_eq(state[taken.tag], 2);
                state[taken.tag] = 3;
            }
            for (uint64_t tag = taken.tag > 500 ? taken.tag - 500 : 1; tag <= taken.tag; tag++)
                cr_assert_eq(state[tag], 3, "multiple up to %lu covers %lu", (unsigned long)taken.tag,
                             (unsigned long)tag);
        }
        if (consumer_window_behind_is_due(&window, now_us)) {
            while (consumer_window_take_behind(&window, &cursor, &taken, now_us)) {
                cr_assert_eq(state[taken.tag], 2);
                state[taken.tag] = 3;
            }
        }
    }
    cr_assert_gt(next, 1000);
}
