#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "directory.h"
#include "directory_inside.h"

enum { MANY = 5000 };

static struct position position_of(const char *asset, enum position_mode mode, int64_t size, int64_t realized)
{
    struct position position;
    position_init(&position, asset, mode, (struct uuid){{0}}, 1);
    position.size = decimal_from_units(size * DECIMAL_ONE);
    position.realized_pnl = decimal_from_units(realized);
    if (size != 0) {
        position.current_price = decimal_from_units(3 * (int128)DECIMAL_ONE);
        position.average_entry_price = decimal_from_units(2 * (int128)DECIMAL_ONE);
        position.unrealized_pnl = decimal_from_units(size * DECIMAL_ONE);
    }
    if (mode == POSITION_MODE_HEDGE) {
        position.long_size = decimal_from_units(size > 0 ? size * DECIMAL_ONE : 0);
        position.short_size = decimal_from_units(size < 0 ? -size * DECIMAL_ONE : 0);
        position.long_avg_price = size > 0 ? position.average_entry_price : DECIMAL_NONE;
        position.short_avg_price = size < 0 ? position.average_entry_price : DECIMAL_NONE;
    }
    position.version = 1;
    return position;
}

static struct position numbered(int number, int64_t realized)
{
    char asset[ASSET_LEN_MAX + 1];
    (void)snprintf(asset, sizeof asset, "N%05dUSDT", number);
    return position_of(asset, POSITION_MODE_ONE_WAY, 0, realized);
}

static struct directory_slot *publish(struct directory *directory, const struct position *position)
{
    size_t index = directory_part_index(directory, position->asset);
    return directory_publish(directory_part(directory, index), position);
}

static bool is_same_totals(const struct portfolio_totals *a, const struct portfolio_totals *b)
{
    return wide_compare(a->exposure, b->exposure) == 0 && wide_compare(a->net_exposure, b->net_exposure) == 0 &&
           a->unrealized_pnl == b->unrealized_pnl && a->realized_pnl == b->realized_pnl &&
           a->positions == b->positions && a->open == b->open && a->longs == b->longs && a->shorts == b->shorts &&
           a->unpriced == b->unpriced;
}

static void add_contribution(void *context, const struct position *position)
{
    struct portfolio_totals contribution;
    portfolio_contribution(position, &contribution);
    portfolio_add(context, &contribution);
}

/* Asserts that the totals are those of a recount. */
static void expect_recount(struct directory_reader *reader)
{
    struct portfolio_totals recount = {.positions = 0};
    struct portfolio_totals totals;
    directory_visit(reader, add_contribution, &recount);
    directory_totals(reader, &totals);
    cr_assert(is_same_totals(&recount, &totals));
}

Test(directory, empty_one_has_nothing_and_zero_totals)
{
    struct directory *directory = directory_create(3);
    struct directory_reader *reader = directory_reader_register(directory);
    struct portfolio_totals totals;
    struct portfolio_totals zero = {.positions = 0};
    directory_begin(reader);
    cr_assert_null(directory_find(reader, "BTCUSDT", POSITION_MODE_ONE_WAY));
    directory_totals(reader, &totals);
    cr_assert(is_same_totals(&totals, &zero));
    expect_recount(reader);
    directory_end(reader);
    cr_assert_eq(directory_position_count(directory), 0);
    cr_assert_eq(directory_part_count(directory), 3);
    cr_assert_null(directory_part_find(directory_part(directory, 0), "BTCUSDT", POSITION_MODE_ONE_WAY));
    directory_reader_unregister(reader);
    directory_destroy(directory);
    directory_destroy(NULL);
    directory_reader_unregister(NULL);
}

Test(directory, both_modes_of_an_asset_share_a_part_and_are_told_apart)
{
    struct directory *directory = directory_create(4);
    struct directory_reader *reader = directory_reader_register(directory);
    struct position one_way = position_of("BTCUSDT", POSITION_MODE_ONE_WAY, 2, 0);
    struct position hedge = position_of("BTCUSDT", POSITION_MODE_HEDGE, -5, 0);
    struct directory_slot *first = publish(directory, &one_way);
    struct directory_slot *second = publish(directory, &hedge);
    cr_assert_neq(first, second);
    struct directory_part *part = directory_part(directory, directory_part_index(directory, "BTCUSDT"));
    cr_assert_eq(directory_part_find(part, "BTCUSDT", POSITION_MODE_ONE_WAY), first);
    cr_assert_eq(directory_part_find(part, "BTCUSDT", POSITION_MODE_HEDGE), second);
    cr_assert(directory_slot_position(second)->size.units == hedge.size.units);
    directory_begin(reader);
    cr_assert(directory_find(reader, "BTCUSDT", POSITION_MODE_ONE_WAY)->size.units == one_way.size.units);
    cr_assert(directory_find(reader, "BTCUSDT", POSITION_MODE_HEDGE)->size.units == hedge.size.units);
    cr_assert_null(directory_find(reader, "BTCUSD", POSITION_MODE_HEDGE));
    expect_recount(reader);
    directory_end(reader);
    cr_assert_eq(directory_position_count(directory), 2);
    directory_reader_unregister(reader);
    directory_destroy(directory);
}

Test(directory, new_state_takes_the_place_of_the_old_in_view_and_totals)
{
    static const int64_t sizes[] = {1, -4, 0, 7, 7, -1};
    struct directory *directory = directory_create(2);
    struct directory_reader *reader = directory_reader_register(directory);
    struct position other = position_of("ETHUSDT", POSITION_MODE_ONE_WAY, 10, 5);
    struct directory_slot *slot = NULL;
    (void)publish(directory, &other);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct position position = position_of("BTCUSDT", POSITION_MODE_ONE_WAY, sizes[i], (int64_t)i);
        struct directory_slot *published = publish(directory, &position);
        cr_assert(slot == NULL || slot == published, "row %zu", i);
        slot = published;
        directory_begin(reader);
        cr_assert(directory_find(reader, "BTCUSDT", POSITION_MODE_ONE_WAY)->size.units == position.size.units);
        expect_recount(reader);
        directory_end(reader);
    }
    cr_assert_eq(directory_position_count(directory), 2);
    directory_reader_unregister(reader);
    directory_destroy(directory);
}

Test(directory, caller_may_publish_what_it_got_from_the_slot)
{
    struct directory *directory = directory_create(1);
    struct position position = position_of("BTCUSDT", POSITION_MODE_ONE_WAY, 3, 0);
    struct directory_slot *slot = publish(directory, &position);
    for (int i = 0; i < 100; i++)
        (void)publish(directory, directory_slot_position(slot));
    cr_assert(directory_slot_position(slot)->size.units == position.size.units);
    directory_destroy(directory);
}

Test(directory, many_positions_are_all_found_after_tables_grew)
{
    struct directory *directory = directory_create(3);
    struct directory_reader *reader = directory_reader_register(directory);
    for (int i = 0; i < MANY; i++) {
        struct position position = numbered(i, i);
        (void)publish(directory, &position);
    }
    directory_begin(reader);
    for (int i = 0; i < MANY; i++) {
        struct position wanted = numbered(i, i);
        const struct position *found = directory_find(reader, wanted.asset, POSITION_MODE_ONE_WAY);
        cr_assert_not_null(found, "%s", wanted.asset);
        cr_assert(found->realized_pnl.units == i, "%s", wanted.asset);
        cr_assert_null(directory_find(reader, wanted.asset, POSITION_MODE_HEDGE));
    }
    expect_recount(reader);
    directory_end(reader);
    cr_assert_eq(directory_position_count(directory), MANY);
    for (size_t i = 0; i < 3; i++) {
        size_t count = atomic_load(&directory->parts[i].slot_count);
        cr_assert(count > MANY / 4 && count < MANY / 2, "part %zu holds %zu", i, count);
    }
    directory_reader_unregister(reader);
    directory_destroy(directory);
}

struct order {
    size_t count;
    char assets[8][ASSET_LEN_MAX + 1];
    uint8_t modes[8];
};

static void note_order(void *context, const struct position *position)
{
    struct order *order = context;
    memcpy(order->assets[order->count], position->asset, sizeof order->assets[0]);
    order->modes[order->count++] = position->mode;
}

Test(directory, visit_is_ordered_and_takes_in_what_was_added_since)
{
    static const char *const steps[] = {"M", "B", "Z", "A", "BB", "N"};
    static const char *const wanted[] = {"A", "B", "BB", "M", "N", "Z"};
    struct directory *directory = directory_create(4);
    struct directory_reader *early = directory_reader_register(directory);
    for (size_t i = 0; i < 6; i++) {
        struct position position = position_of(steps[i], POSITION_MODE_ONE_WAY, 0, 0);
        (void)publish(directory, &position);
        struct order order = {.count = 0};
        directory_begin(early);
        directory_visit(early, note_order, &order);
        directory_end(early);
        cr_assert_eq(order.count, i + 1);
        for (size_t place = 1; place < order.count; place++)
            cr_assert_lt(strcmp(order.assets[place - 1], order.assets[place]), 0, "after %zu", i);
    }
    struct position hedge = position_of("M", POSITION_MODE_HEDGE, 0, 0);
    (void)publish(directory, &hedge);
    struct directory_reader *late = directory_reader_register(directory);
    struct directory_reader *readers[] = {early, late, early};
    for (size_t r = 0; r < 3; r++) {
        struct order order = {.count = 0};
        directory_begin(readers[r]);
        directory_visit(readers[r], note_order, &order);
        directory_end(readers[r]);
        cr_assert_eq(order.count, 7);
        for (size_t i = 0; i < 4; i++)
            cr_assert_str_eq(order.assets[i], wanted[i]);
        cr_assert_str_eq(order.assets[4], "M");
        cr_assert(order.modes[3] == POSITION_MODE_HEDGE && order.modes[4] == POSITION_MODE_ONE_WAY);
        cr_assert_str_eq(order.assets[6], "Z");
    }
    directory_destroy(directory); /* takes readers that are still registered with it */
}

Test(directory, what_a_reader_holds_stays_until_its_section_ends)
{
    struct directory *directory = directory_create(1);
    struct directory_part *part = directory_part(directory, 0);
    struct directory_reader *reader = directory_reader_register(directory);
    struct position position = position_of("BTCUSDT", POSITION_MODE_ONE_WAY, 1, 0);
    (void)publish(directory, &position);
    directory_begin(reader);
    const struct position *held = directory_find(reader, "BTCUSDT", POSITION_MODE_ONE_WAY);
    struct position copy = *held;
    for (int i = 1; i <= 2000; i++) {
        position.realized_pnl = decimal_from_units(i);
        (void)publish(directory, &position);
    }
    cr_assert_eq(memcmp(held, &copy, sizeof copy), 0);
    size_t grown = part->views.slab_count;
    cr_assert_gt(grown, 50, "nothing can be used again while the reader looks");
    directory_end(reader);
    for (int i = 1; i <= 20000; i++)
        (void)publish(directory, &position);
    cr_assert_eq(part->views.slab_count, grown);
    directory_reader_unregister(reader);
    directory_destroy(directory);
}

Test(directory, steady_state_needs_no_memory)
{
    struct directory *directory = directory_create(2);
    struct directory_reader *reader = directory_reader_register(directory);
    size_t index = directory_part_index(directory, "BTCUSDT");
    struct directory_part *part = directory_part(directory, index);
    struct position position = position_of("BTCUSDT", POSITION_MODE_ONE_WAY, 1, 0);
    for (int i = 0; i < 20000; i++) {
        (void)directory_publish(part, &position);
        directory_begin(reader);
        (void)directory_find(reader, "BTCUSDT", POSITION_MODE_ONE_WAY);
        directory_end(reader);
    }
    cr_assert_leq(part->views.slab_count, 4);
    cr_assert_leq(part->totals_views.slab_count, 4);
    directory_part_reclaim(part);
    directory_reader_unregister(reader);
    directory_destroy(directory);
}

Test(directory, position_costs_less_than_seven_hundred_bytes)
{
    /* Tables are a quarter to a half full; spare views are few and do not grow with the positions. */
    size_t bytes = sizeof(struct view) + sizeof(struct directory_slot) + 4 * sizeof(void *);
    cr_assert_lt(bytes, 700, "%zu", bytes);
}

Test(directory, change_count_rises_with_publications_only)
{
    struct directory *directory = directory_create(2);
    struct directory_reader *reader = directory_reader_register(directory);
    uint64_t before = directory_change_count(directory);
    cr_assert_eq(directory_change_count(directory), before);
    for (int i = 0; i < 10; i++) {
        struct position position = numbered(i % 2, i);
        (void)publish(directory, &position);
        uint64_t now = directory_change_count(directory);
        cr_assert_gt(now, before);
        directory_begin(reader);
        expect_recount(reader);
        directory_end(reader);
        cr_assert_eq(directory_change_count(directory), now);
        before = now;
    }
    directory_reader_unregister(reader);
    directory_destroy(directory);
}

Test(directory, no_two_readings_are_equal_while_a_publication_is_under_way)
{
    struct directory *directory = directory_create(2);
    struct position position = numbered(1, 1);
    (void)publish(directory, &position);
    uint64_t before = directory_change_count(directory);
    atomic_fetch_add(&directory->changes, (1 << 8) + 1); /* as directory_publish() begins */
    uint64_t first = directory_change_count(directory);
    uint64_t second = directory_change_count(directory);
    cr_assert(before < first && first < second);
    atomic_fetch_sub(&directory->changes, 1); /* and ends */
    cr_assert_gt(directory_change_count(directory), second);
    directory_destroy(directory);
}

Test(directory, reader_that_is_registered_again_is_used_again)
{
    struct directory *directory = directory_create(1);
    struct directory_reader *reader = directory_reader_register(directory);
    for (int i = 0; i < 200; i++) {
        struct position position = numbered(i, 1);
        (void)publish(directory, &position);
        directory_begin(reader);
        expect_recount(reader);
        directory_end(reader);
        directory_reader_unregister(reader);
        struct directory_reader *again = directory_reader_register(directory);
        cr_assert_eq(again, reader);
    }
    directory_destroy(directory);
}

Test(directory, totals_equal_a_recount_after_any_history)
{
    struct directory *directory = directory_create(3);
    struct directory_reader *reader = directory_reader_register(directory);
    unsigned seed = 42;
    for (int i = 0; i < 3000; i++) {
        seed = seed * 1664525 + 1013904223;
        char asset[ASSET_LEN_MAX + 1];
        (void)snprintf(asset, sizeof asset, "R%uUSDT", seed >> 8 & 31);
        enum position_mode mode = seed >> 16 & 1 ? POSITION_MODE_HEDGE : POSITION_MODE_ONE_WAY;
        struct position position = position_of(asset, mode, (int64_t)(seed >> 20 & 7) - 3, (int64_t)seed - 5000);
        if (seed >> 24 & 1)
            position.current_price = DECIMAL_NONE;
        (void)publish(directory, &position);
        directory_begin(reader);
        expect_recount(reader);
        directory_end(reader);
    }
    directory_reader_unregister(reader);
    directory_destroy(directory);
}

Test(directory, publishing_into_the_wrong_part_is_an_assert, .signal = SIGABRT)
{
    struct directory *directory = directory_create(2);
    struct position position = numbered(1, 1);
    size_t index = directory_part_index(directory, position.asset);
    (void)directory_publish(directory_part(directory, 1 - index), &position);
}

Test(directory, part_that_is_not_there_is_an_assert, .signal = SIGABRT)
{
    (void)directory_part(directory_create(2), 2);
}

Test(directory, no_parts_are_an_assert, .signal = SIGABRT)
{
    (void)directory_create(0);
}
