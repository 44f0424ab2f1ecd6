#include <criterion/criterion.h>

#include "publisher_window.h"

enum { LIMIT = 8 };

static struct publisher_window window;
static struct message messages[64];

static void set_up(void)
{
    publisher_window_init(&window, LIMIT);
}

TestSuite(publisher_window, .init = set_up);

static void finish(void)
{
    struct message_chain rest = {0};
    publisher_window_take_all(&window, &rest);
    publisher_window_finish(&window);
}

static void push(size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)publisher_window_push(&window, &messages[first + i]);
}

static struct message_chain confirm(uint64_t tag, bool multiple)
{
    struct message_chain out = {0};
    cr_assert_eq(publisher_window_confirm(&window, tag, multiple, &out), STATUS_OK);
    return out;
}

Test(publisher_window, numbers_begin_at_one_and_single_confirms_come_in_any_order)
{
    cr_assert_eq(publisher_window_push(&window, &messages[0]), 1);
    cr_assert_eq(publisher_window_push(&window, &messages[1]), 2);
    cr_assert_eq(publisher_window_push(&window, &messages[2]), 3);
    struct message_chain out = confirm(2, false);
    cr_assert_eq(out.first, &messages[1]);
    cr_assert_eq(out.count, 1);
    out = confirm(1, false);
    cr_assert_eq(out.first, &messages[0]);
    cr_assert_eq(window.oldest, 3);
    cr_assert_eq(confirm(3, false).first, &messages[2]);
    cr_assert_eq(window.count, 0);
    finish();
}

Test(publisher_window, multiple_covers_all_up_to_it_in_order_but_those_confirmed_before)
{
    push(0, 5);
    confirm(2, false);
    struct message_chain out = confirm(4, true);
    cr_assert_eq(out.count, 3);
    cr_assert_eq(message_chain_take_first(&out), &messages[0]);
    cr_assert_eq(message_chain_take_first(&out), &messages[2]);
    cr_assert_eq(message_chain_take_first(&out), &messages[3]);
    cr_assert_null(message_chain_take_first(&out));
    cr_assert_null(out.last);
    cr_assert_eq(window.count, 1);
    finish();
}

Test(publisher_window, multiple_of_zero_covers_all)
{
    push(0, 4);
    cr_assert_eq(confirm(0, true).count, 4);
    cr_assert_eq(confirm(0, true).count, 0);
    finish();
}

Test(publisher_window, confirm_said_twice_is_passed_over)
{
    push(0, 3);
    cr_assert_eq(confirm(1, false).count, 1);
    cr_assert_eq(confirm(1, false).count, 0);
    cr_assert_eq(confirm(1, true).count, 0);
    finish();
}

Test(publisher_window, confirm_of_long_ago_does_not_hit_the_one_that_has_its_place_now)
{
    push(0, LIMIT);
    confirm(LIMIT, true);
    push(0, LIMIT);
    confirm(2 * LIMIT, true);
    push(0, 1); /* number 17, where number 1 was */
    cr_assert_eq(confirm(1, false).count, 0);
    cr_assert_eq(window.count, 1);
    finish();
}

Test(publisher_window, confirm_of_what_was_never_published_is_refused)
{
    struct message_chain out = {0};
    push(0, 3);
    cr_assert_eq(publisher_window_confirm(&window, 4, false, &out), STATUS_INVALID);
    cr_assert_eq(publisher_window_confirm(&window, 4, true, &out), STATUS_INVALID);
    cr_assert_eq(publisher_window_confirm(&window, 0, false, &out), STATUS_INVALID);
    cr_assert_eq(out.count, 0);
    cr_assert_eq(window.count, 3);
    finish();
}

Test(publisher_window, room_is_bounded_by_the_limit_and_by_a_late_confirm)
{
    cr_assert_eq(publisher_window_room(&window), LIMIT);
    push(0, LIMIT);
    cr_assert_eq(publisher_window_room(&window), 0);
    for (uint64_t tag = 2; tag <= LIMIT; tag++)
        confirm(tag, false);
    cr_assert_eq(publisher_window_room(&window), LIMIT - 1);
    push(LIMIT, LIMIT - 1);
    for (uint64_t tag = LIMIT + 1; tag < 2 * LIMIT; tag++)
        confirm(tag, false);
    cr_assert_eq(publisher_window_room(&window), 1, "number 1 still holds the ring's beginning");
    push(2 * LIMIT, 1);
    cr_assert_eq(publisher_window_room(&window), 0);
    cr_assert_eq(confirm(1, false).first, &messages[0]);
    cr_assert_eq(publisher_window_room(&window), LIMIT - 1);
    finish();
}

Test(publisher_window, lost_connection_gives_all_back_in_order_and_counts_from_one)
{
    push(0, 6);
    confirm(3, false);
    struct message_chain out = {0};
    publisher_window_take_all(&window, &out);
    cr_assert_eq(out.count, 5);
    const size_t expected[] = {0, 1, 3, 4, 5};
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(message_chain_take_first(&out), &messages[expected[i]]);
    cr_assert_eq(publisher_window_push(&window, &messages[0]), 1);
    finish();
}

Test(publisher_window, ring_goes_round_many_times)
{
    for (int round = 0; round < 1000; round++) {
        push(0, LIMIT);
        struct message_chain out = confirm((uint64_t)(round + 1) * LIMIT, true);
        cr_assert_eq(out.count, LIMIT);
        for (size_t i = 0; i < LIMIT; i++)
            cr_assert_eq(message_chain_take_first(&out), &messages[i]);
    }
    finish();
}
