#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "metrics.h"
#include "world.h"

static struct world *world;

static void start(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    world = malloc(sizeof *world);
    world_init(world, 64, 4);
}

static void stop(void)
{
    world_finish(world);
    free(world);
}

TestSuite(shard, .init = start, .fini = stop);

static const struct position *view_of(const char *asset)
{
    return directory_find(world->reader, asset, POSITION_MODE_ONE_WAY);
}

static void run_all_shards(void)
{
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        world_run_shard(world, i, SIZE_MAX);
}

static void settle(void)
{
    world_settle(world);
    cr_assert_null(world->broken, "%s: %s", world->broken, world->broken_detail);
}

static int128 size_units(const char *asset)
{
    directory_begin(world->reader);
    const struct position *view = view_of(asset);
    int128 units = view == NULL ? 0 : view->size.units;
    directory_end(world->reader);
    return units;
}

Test(shard, nothing_is_shown_or_announced_before_it_is_committed)
{
    world->database_holds = true;
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    cr_assert(world_deliver(world));
    for (int i = 0; i < 5; i++) {
        run_all_shards();
        world_take_requests(world);
        world_run_publisher(world);
        world_run_aggregator(world, SIZE_MAX);
    }
    directory_begin(world->reader);
    cr_expect_null(view_of("AUSDT"));
    directory_end(world->reader);
    cr_expect_eq(world->published_count, 0);
    cr_expect_eq(atomic_load(&world->board.pending_commits), 1);
    settle();
    cr_expect(size_units("AUSDT") == (int128)2 * DECIMAL_ONE);
    cr_expect(world->announcement_count >= 1);
    cr_expect_eq(atomic_load(&world->board.pending_commits), 0);
}

Test(shard, a_repeat_of_a_pending_execution_joins_it_and_counts_once)
{
    size_t message = world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    cr_assert(world_deliver(world));
    world_lose_consumer(world);
    cr_assert(world_deliver(world));
    settle();
    cr_expect(size_units("AUSDT") == (int128)2 * DECIMAL_ONE);
    cr_expect_eq(world->journal_count, 1);
    cr_expect(world->messages[message].acked);
}

Test(shard, a_repeat_after_a_crash_is_found_in_the_database_announced_and_settled)
{
    size_t message = world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    cr_assert(world_deliver(world));
    run_all_shards();
    world_take_requests(world);
    for (size_t i = 0; i < (size_t)WORLD_SHARDS * 2; i++)
        world_carry_out(world, i); /* committed, and nobody was told */
    world_crash(world);
    cr_assert_not(world->messages[message].acked);
    settle();
    cr_expect(size_units("AUSDT") == (int128)2 * DECIMAL_ONE);
    cr_expect(world->announcement_count >= 1);
    cr_expect(world->messages[message].acked);
}

Test(shard, the_same_identity_with_another_quantity_is_refused_by_name)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    size_t other = world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "3", "100");
    size_t elsewhere = world_add_execution(world, "BUSDT", "x:1", SIDE_BUY, "2", "100");
    uint64_t before = metric_refused_value(STATUS_IDENTITY_CONFLICT);
    settle();
    bool first_counts = size_units("AUSDT") == (int128)2 * DECIMAL_ONE;
    /* The two assets may be of different shards, so either may be first; one counts, the others are refused. */
    cr_expect(first_counts ? world->messages[elsewhere].dead_lettered : size_units("BUSDT") == (int128)2 * DECIMAL_ONE);
    cr_expect(world->messages[other].dead_lettered);
    cr_expect_eq(metric_refused_value(STATUS_IDENTITY_CONFLICT) - before, 2);
}

/* Hands a validation's fix to the shard of an asset; returns what became of it. */
static enum status correct(const char *asset, int compared_size, int size)
{
    static const uint32_t capacity = 1;
    struct mailbox *home = mailbox_create("home", &capacity, 1);
    struct delivery delivery = {.head.type = MESSAGE_DELIVERY, .kind = DELIVERY_CORRECTION, .home = {home, 0}};
    memcpy(delivery.asset, asset, strlen(asset) + 1);
    delivery.said.correction = (struct correction){
        .size = decimal_from_units((int128)size * DECIMAL_ONE),
        .average_price = DECIMAL_NONE,
        .compared_size = decimal_from_units((int128)compared_size * DECIMAL_ONE),
        .compared_average_price = decimal_from_units((int128)100 * DECIMAL_ONE),
    };
    struct message *message = &delivery.head;
    (void)shard_receive(world->shards[directory_part_index(world->directory, asset)], &message, 1, world->now);
    cr_assert_eq(mailbox_receive(home, &message, 1), 1, "it is home at once");
    mailbox_destroy(home);
    return delivery.refusal;
}

Test(shard, a_fix_does_not_take_back_an_execution_that_came_since_the_comparison)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    settle();
    (void)world_add_execution(world, "AUSDT", "x:2", SIDE_BUY, "3", "100");
    world->database_holds = true;
    cr_assert(world_deliver(world));
    run_all_shards();
    cr_expect(size_units("AUSDT") == (int128)2 * DECIMAL_ONE, "what the validation saw");
    cr_expect_eq(correct("AUSDT", 2, 4), STATUS_STALE);
    cr_expect_eq(correct("AUSDT", 2, 5), STATUS_OK, "there is nothing left to fix");
    settle();
    cr_expect(size_units("AUSDT") == (int128)5 * DECIMAL_ONE);
}

Test(shard, a_foreign_change_is_found_journalled_and_built_upon)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    settle();
    struct world_row *row = &world->rows[world_row_index("AUSDT", POSITION_MODE_ONE_WAY)];
    row->position.version = 9;
    row->position.size.units = (int128)5 * DECIMAL_ONE;
    (void)world_add_execution(world, "AUSDT", "x:2", SIDE_BUY, "1", "100");
    settle();
    cr_expect(size_units("AUSDT") == (int128)6 * DECIMAL_ONE);
    cr_expect_eq(world->conflict_count, 1);
    cr_expect_eq(world->journal_count, 3);
    cr_expect_eq(world->journal[1].note.source, SOURCE_EXTERNAL);
    cr_expect_eq(row->position.version, 10);
}

Test(shard, a_row_that_never_stands_still_sends_the_events_to_the_dead_letters)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    settle();
    size_t message = world_add_execution(world, "AUSDT", "x:2", SIDE_BUY, "1", "100");
    struct world_row *row = &world->rows[world_row_index("AUSDT", POSITION_MODE_ONE_WAY)];
    cr_assert(world_deliver(world));
    for (int i = 0; i < 40 && !world->messages[message].dead_lettered; i++) {
        run_all_shards();
        world_take_requests(world);
        row->position.version++;
        for (size_t j = 0; j < (size_t)WORLD_SHARDS * 2; j++) {
            world_carry_out(world, j);
            world_answer(world, j);
        }
        world_run_publisher(world);
        world_confirm(world, SIZE_MAX, 0);
        world_pass_time(world, 10000);
    }
    cr_expect(world->messages[message].dead_lettered);
    cr_expect(metric_refused_value(STATUS_VERSION_CONFLICT) > 0);
    settle();
    cr_expect(size_units("AUSDT") == (int128)2 * DECIMAL_ONE);
}

Test(shard, changes_of_one_position_conflate_while_its_announcement_is_unconfirmed)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "1", "100");
    cr_assert(world_deliver(world));
    world->publisher_holds = true;
    for (int i = 0; i < 30; i++) {
        char identity[16];
        (void)snprintf(identity, sizeof identity, "x:more-%d", i);
        (void)world_add_execution(world, "AUSDT", identity, SIDE_BUY, "1", "100");
        if (world->next_message < 10)
            (void)world_deliver(world);
        run_all_shards();
        world_take_requests(world);
        for (size_t j = 0; j < (size_t)WORLD_SHARDS * 2; j++) {
            world_carry_out(world, j);
            world_answer(world, j);
        }
    }
    run_all_shards();
    settle();
    cr_expect(size_units("AUSDT") == (int128)31 * DECIMAL_ONE);
    cr_expect(world->announcement_count < 31, "%llu announcements", (unsigned long long)world->announcement_count);
    cr_expect_eq(world->rows[world_row_index("AUSDT", POSITION_MODE_ONE_WAY)].announced_version, 31);
}

Test(shard, idle_positions_leave_no_work_behind)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "1", "100");
    settle();
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        cr_expect_eq(shard_held_count(world->shards[i]), 0);
    world_check_settled(world);
    cr_expect_null(world->broken, "%s: %s", world->broken, world->broken_detail);
}

static size_t add_hedge(const char *identity, enum side side, const char *quantity)
{
    size_t index = world_add_execution(world, "AUSDT", identity, side, quantity, "100");
    world->messages[index].template.said.execution.mode = POSITION_MODE_HEDGE;
    return index;
}

static void carry_out_and_answer_commits(void)
{
    for (size_t i = 0; i < (size_t)WORLD_SHARDS * 2; i++) {
        if (world->requests[i] == NULL || world->requests[i]->type != MESSAGE_COMMIT)
            continue;
        world_carry_out(world, i);
        world_answer(world, i);
    }
}

Test(shard, a_redo_does_not_overtake_what_is_with_the_committer)
{
    (void)add_hedge("x:1", SIDE_BUY, "1");
    settle();
    world->rows[world_row_index("AUSDT", POSITION_MODE_HEDGE)].position.version++; /* a conflict is to come */
    (void)add_hedge("x:2", SIDE_BUY, "1");
    cr_assert(world_deliver(world));
    run_all_shards();
    world_take_requests(world);
    size_t open = add_hedge("x:3", SIDE_BUY, "5");
    world->messages[open].template.said.execution.cumulative = true;
    (void)snprintf(world->messages[open].template.order_key, sizeof world->messages[open].template.order_key, "o");
    cr_assert(world_deliver(world));
    run_all_shards();
    world_take_requests(world); /* its order is being looked up */
    size_t close = add_hedge("x:4", SIDE_SELL, "6");
    world->messages[close].template.said.execution.reduce_only = true;
    cr_assert(world_deliver(world));
    run_all_shards();
    carry_out_and_answer_commits();
    run_all_shards();
    settle();
    cr_expect_not(world->messages[close].dead_lettered, "it was tried before the execution that opens what it closes");
    const struct world_row *row = &world->rows[world_row_index("AUSDT", POSITION_MODE_HEDGE)];
    cr_expect(row->position.long_size.units == DECIMAL_ONE);
}

static size_t add_reduction(const char *identity, const char *quantity)
{
    size_t index = add_hedge(identity, SIDE_SELL, quantity);
    world->messages[index].template.said.execution.reduce_only = true;
    return index;
}

Test(shard, a_repeat_that_would_not_fit_any_more_is_still_a_repeat)
{
    (void)add_hedge("x:1", SIDE_BUY, "1");
    (void)add_reduction("x:2", "1");
    settle();
    world_crash(world); /* nobody remembers x:2 but the database */
    size_t again = add_reduction("x:2", "1");
    size_t other = add_reduction("x:2", "3");
    settle();
    cr_expect_not(world->messages[again].dead_lettered, "a repeat was refused");
    cr_expect(world->messages[other].dead_lettered);
    cr_expect_eq(metric_refused_value(STATUS_LEG_BELOW_ZERO), 0);
    cr_expect_eq(metric_refused_value(STATUS_IDENTITY_CONFLICT), 1);
    cr_expect_eq(world->journal_count, 2);
}

Test(shard, what_is_fresh_is_not_refused_for_repeats_before_it_that_count_for_nothing)
{
    (void)add_hedge("x:1", SIDE_BUY, "2");
    (void)add_reduction("x:2", "1");
    settle();
    world_crash(world);
    (void)add_reduction("x:2", "1");
    size_t fresh = add_reduction("x:3", "1");
    size_t too_much = add_reduction("x:4", "1");
    settle();
    cr_expect_not(world->messages[fresh].dead_lettered, "it was judged by the repeat before it");
    cr_expect(world->messages[too_much].dead_lettered);
    cr_expect_eq(metric_refused_value(STATUS_LEG_BELOW_ZERO), 1);
    cr_expect_eq(world->rows[world_row_index("AUSDT", POSITION_MODE_HEDGE)].position.long_size.units, 0);
}

Test(shard, a_total_that_waits_behind_a_refusal_knows_what_was_committed_meanwhile)
{
    size_t first = add_hedge("x:1", SIDE_BUY, "1");
    size_t refused = add_reduction("x:2", "1");
    size_t total = add_hedge("x:3", SIDE_BUY, "1");
    (void)snprintf(world->messages[first].template.order_key, sizeof world->messages[first].template.order_key, "o");
    (void)snprintf(world->messages[total].template.order_key, sizeof world->messages[total].template.order_key, "o");
    world->messages[total].template.said.execution.cumulative = true;
    world->messages[refused].template.said.execution.leg = LEG_SHORT;
    world->messages[refused].template.said.execution.side = SIDE_BUY;
    settle();
    cr_expect(world->messages[refused].dead_lettered);
    cr_expect(world->rows[world_row_index("AUSDT", POSITION_MODE_HEDGE)].position.long_size.units == DECIMAL_ONE);
    cr_expect_eq(world->journal_count, 1);
}

Test(shard, a_market_event_is_not_refused_for_a_repeat_before_it_that_counts_for_nothing)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "500000000000", "1");
    settle();
    world_crash(world);
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "500000000000", "1");
    /* At this price the gain of twice the size would not fit. */
    const struct market_event event = {.size = DECIMAL_NONE,
                                       .average_price = DECIMAL_NONE,
                                       .mark_price = decimal_from_units((int128)25 * DECIMAL_ONE / 10),
                                       .unrealized_pnl = DECIMAL_NONE,
                                       .realized_pnl = DECIMAL_NONE,
                                       .at_us = world->now.wall_us};
    size_t market = world_add_market(world, "AUSDT", &event);
    settle();
    cr_expect_not(world->messages[market].dead_lettered, "it was judged by the repeat before it");
    directory_begin(world->reader);
    cr_expect(view_of("AUSDT")->unrealized_pnl.units == (int128)750000000000 * DECIMAL_ONE);
    directory_end(world->reader);
}

Test(shard, a_foreign_change_is_journalled_also_when_the_row_moves_on_meanwhile)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    settle();
    struct world_row *row = &world->rows[world_row_index("AUSDT", POSITION_MODE_ONE_WAY)];
    row->position.version = 9;
    row->position.size.units = (int128)5 * DECIMAL_ONE;
    (void)world_add_execution(world, "AUSDT", "x:2", SIDE_BUY, "1", "100");
    cr_assert(world_deliver(world));
    run_all_shards();
    world_take_requests(world);
    carry_out_and_answer_commits();
    run_all_shards();
    row->position.version++;
    settle();
    cr_expect_eq(world->journal_count, 3);
    cr_expect_eq(world->journal[1].note.source, SOURCE_EXTERNAL);
    cr_expect(size_units("AUSDT") == (int128)6 * DECIMAL_ONE);
}

Test(shard, a_foreign_change_is_journalled_and_announced_also_when_all_tries_are_used_up)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    settle();
    struct world_row *row = &world->rows[world_row_index("AUSDT", POSITION_MODE_ONE_WAY)];
    row->position.version++;
    row->position.size.units = (int128)5 * DECIMAL_ONE;
    size_t message = world_add_execution(world, "AUSDT", "x:2", SIDE_BUY, "1", "100");
    cr_assert(world_deliver(world));
    for (int i = 0; i < 60 && !world->messages[message].dead_lettered; i++) {
        run_all_shards();
        world_take_requests(world);
        row->position.version += i > 0;
        carry_out_and_answer_commits();
        run_all_shards();
        world_run_publisher(world);
        world_confirm(world, SIZE_MAX, 0);
        world_pass_time(world, 1000000);
    }
    cr_assert(world->messages[message].dead_lettered);
    settle();
    cr_expect_eq(world->journal_count, 2);
    cr_expect_eq(row->announced_version, row->position.version);
    cr_expect_eq(world->last_source, SOURCE_VALIDATION, "nothing of the execution is in it");
}

Test(shard, a_foreign_change_by_itself_is_announced_as_found_by_a_validation)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    settle();
    cr_expect_eq(world->last_source, SOURCE_ORDER_EXECUTION);
    struct world_row *row = &world->rows[world_row_index("AUSDT", POSITION_MODE_ONE_WAY)];
    row->position.announcement_due = true; /* as a run leaves it that dies between the commit and the confirmation */
    world_crash(world);
    run_all_shards();
    world_run_publisher(world);
    world_confirm(world, SIZE_MAX, 0);
    cr_expect_eq(world->last_source, SOURCE_VALIDATION, "of the start");
    run_all_shards(); /* the row need not remember any more that it is to be announced: a commit without an event */
    row->position.version++;
    row->position.size.units = (int128)7 * DECIMAL_ONE;
    const uint64_t conflicts = world->conflict_count;
    settle();
    cr_expect_eq(world->conflict_count, conflicts + 1);
    cr_expect(size_units("AUSDT") == (int128)7 * DECIMAL_ONE);
    cr_expect_eq(row->announced_version, row->position.version);
    cr_expect_eq(world->last_source, SOURCE_VALIDATION, "of the commit");
    (void)world_add_execution(world, "AUSDT", "x:2", SIDE_BUY, "1", "100");
    settle();
    cr_expect_eq(world->last_source, SOURCE_ORDER_EXECUTION);
}

/* A correction, or a price that was asked for: no upstream sends it again, so only the row knows. */
Test(shard, a_due_announcement_is_made_by_the_next_run)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    settle();
    struct world_row *row = &world->rows[world_row_index("AUSDT", POSITION_MODE_ONE_WAY)];
    row->position.announcement_due = true;
    row->announced_version = 0;
    world_crash(world);
    settle();
    cr_expect_eq(row->announced_version, row->position.version);
    cr_expect_not(row->position.announcement_due);
}

Test(shard, what_died_unsaid_of_the_portfolio_is_said_by_the_next_run)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    cr_assert(world_deliver(world));
    run_all_shards();
    world_take_requests(world);
    carry_out_and_answer_commits();
    run_all_shards(); /* announced and settled, had it lived */
    cr_assert_eq(world->portfolio_count, 0);
    world_crash(world);
    world->upstream_holds = true;
    run_all_shards();
    world_run_aggregator(world, SIZE_MAX);
    world_run_publisher(world);
    world_confirm(world, SIZE_MAX, 0);
    cr_expect_eq(world->portfolio_count, 1);
    cr_expect_eq(world->last_portfolio.positions, 1);
    cr_expect_null(world->broken, "%s: %s", world->broken, world->broken_detail);
}

Test(shard, a_group_that_is_done_again_finds_its_own_rows_and_takes_them_for_done)
{
    (void)world_add_execution(world, "AUSDT", "x:1", SIDE_BUY, "2", "100");
    (void)world_add_execution(world, "AUSDT", "", SIDE_BUY, "1", "100");
    cr_assert(world_deliver(world));
    cr_assert(world_deliver(world));
    run_all_shards();
    world_take_requests(world);
    for (size_t i = 0; i < (size_t)WORLD_REQUESTS; i++)
        world_carry_out(world, i);
    world_lose_database(world, true);
    cr_assert_eq(world->conflict_count, 1);
    settle();
    cr_expect(size_units("AUSDT") == (int128)3 * DECIMAL_ONE);
    cr_expect_eq(world->journal_count, 2, "%zu lines: nobody else has changed anything", world->journal_count);
}
