/* What a shard puts off while it is busy, and until when. The times are those of start_shard() in world.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "world.h"

enum {
    BUSY_COUNT = 20,
    FULL_COUNT = 60,
    COMMIT_PACE_US = 500,
    ANNOUNCE_HOLD_US = 2000,
};

static struct world *world;
static unsigned identity_number;

static void start(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    identity_number = 0;
    world = malloc(sizeof *world);
    world_init(world, 64 + FULL_COUNT, 4);
    /* The first whole multiple of the hold, so that all moments below can be told. */
    world_pass_time(world, ANNOUNCE_HOLD_US - world->now.steady_us % ANNOUNCE_HOLD_US);
}

static void stop(void)
{
    world_finish(world);
    free(world);
}

TestSuite(shard_busy, .init = start, .fini = stop);

static void deliver(size_t count)
{
    char identity[16];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(identity, sizeof identity, "x:%u", identity_number++);
        (void)world_add_execution(world, "AUSDT", identity, SIDE_BUY, "1", "100");
        cr_assert(world_deliver(world));
    }
}

static void run_shards(void)
{
    for (int i = 0; i < 20; i++) {
        for (size_t shard = 0; shard < WORLD_SHARDS; shard++)
            world_run_shard(world, shard, SIZE_MAX);
    }
}

static int64_t deadline_us(void)
{
    return world->shard_deadlines[directory_part_index(world->directory, "AUSDT")];
}

static size_t requests_taken(void)
{
    world_take_requests(world);
    size_t count = 0;
    for (size_t i = 0; i < (size_t)WORLD_SHARDS * 2; i++)
        count += world->requests[i] != NULL;
    return count;
}

/* Whatever was asked is committed and answered. */
static void commit(void)
{
    world_take_requests(world);
    for (size_t i = 0; i < (size_t)WORLD_SHARDS * 2; i++) {
        world_carry_out(world, i);
        world_answer(world, i);
    }
    run_shards();
}

/* In as many commits as it takes, the time between them included. */
static void commit_all(void)
{
    run_shards();
    commit();
    world_pass_time(world, COMMIT_PACE_US);
    run_shards();
    commit();
}

static size_t announcements(void)
{
    world_run_publisher(world);
    return world->published_count;
}

Test(shard_busy, few_deliveries_are_committed_and_announced_at_once)
{
    deliver(BUSY_COUNT - 1);
    run_shards();
    commit();
    cr_expect_eq(announcements(), 1);
}

Test(shard_busy, many_changes_are_announced_once_at_the_next_multiple_of_the_hold)
{
    const int64_t until_us = world->now.steady_us + ANNOUNCE_HOLD_US;
    world_pass_time(world, ANNOUNCE_HOLD_US / 4);
    deliver(BUSY_COUNT);
    commit_all();
    cr_expect_eq(announcements(), 0);
    cr_expect_eq(deadline_us(), until_us);
    world_pass_time(world, until_us - world->now.steady_us);
    run_shards();
    cr_expect_eq(announcements(), 1, "one for all the changes");
    world_settle(world);
    cr_expect_null(world->broken, "%s: %s", world->broken, world->broken_detail);
}

Test(shard_busy, commits_are_at_whole_multiples_of_the_pace)
{
    world_pass_time(world, COMMIT_PACE_US / 5);
    deliver(BUSY_COUNT);
    run_shards();
    cr_expect_eq(requests_taken(), 1, "the first one at once");
    commit();
    world_pass_time(world, COMMIT_PACE_US / 5);
    deliver(1);
    run_shards();
    cr_expect_eq(requests_taken(), 0);
    cr_expect_eq(deadline_us() - world->now.steady_us, COMMIT_PACE_US / 5 * 3, "not a whole pace after the first one");
    world_pass_time(world, COMMIT_PACE_US / 5 * 3);
    run_shards();
    cr_expect_eq(requests_taken(), 1);
    world_settle(world);
    cr_expect_null(world->broken, "%s: %s", world->broken, world->broken_detail);
}

/* Brings a busy shard to the moment of its announcements, with changes that are committed and one whose commit is out.
 */
static void reach_moment(void)
{
    world_pass_time(world, COMMIT_PACE_US);
    deliver(BUSY_COUNT);
    run_shards();
    commit();
    world_pass_time(world, ANNOUNCE_HOLD_US - 2 * COMMIT_PACE_US);
    deliver(1);
    run_shards();
    commit();
    world_pass_time(world, COMMIT_PACE_US / 2);
    deliver(1);
    run_shards();
    cr_assert_eq(requests_taken(), 0);
    world_pass_time(world, COMMIT_PACE_US / 2);
    run_shards();
    cr_assert_eq(world->now.steady_us % ANNOUNCE_HOLD_US, 0);
    cr_assert_eq(requests_taken(), 1);
}

static void expect_one_announcement_of(size_t deliveries)
{
    cr_assert_eq(announcements(), 1);
    cr_expect_eq(((struct announcement *)(void *)world->published[0])->settles_count, deliveries);
    world_settle(world);
    cr_expect_null(world->broken, "%s: %s", world->broken, world->broken_detail);
}

Test(shard_busy, announcements_wait_for_the_commit_of_their_moment)
{
    reach_moment();
    cr_expect_eq(announcements(), 0);
    commit();
    expect_one_announcement_of(BUSY_COUNT + 2);
}

Test(shard_busy, announcements_wait_for_a_slow_commit_no_longer_than_the_pace)
{
    reach_moment();
    cr_expect_eq(deadline_us() - world->now.steady_us, COMMIT_PACE_US);
    world_pass_time(world, COMMIT_PACE_US);
    run_shards();
    expect_one_announcement_of(BUSY_COUNT + 1);
}

Test(shard_busy, what_the_commit_of_a_moment_changed_is_announced_without_waiting_for_the_next)
{
    world_pass_time(world, ANNOUNCE_HOLD_US);
    deliver(BUSY_COUNT);
    run_shards();
    world_pass_time(world, COMMIT_PACE_US / 5);
    commit();
    cr_expect_eq(announcements(), 1);
    world_confirm(world, SIZE_MAX, 0);
    run_shards();
    (void)world_add_execution(world, "AUSDT", "x:0", SIDE_BUY, "1", "100");
    cr_assert(world_deliver(world));
    run_shards();
    cr_expect_eq(announcements(), 0, "the repeat waits: the moment's announcements went out already");
    world_settle(world);
    cr_expect_null(world->broken, "%s: %s", world->broken, world->broken_detail);
}

Test(shard_busy, nothing_is_held_back_when_the_broker_would_run_out_of_credit)
{
    deliver(FULL_COUNT);
    run_shards();
    commit();
    cr_expect_eq(announcements(), 1);
    deliver(1);
    run_shards();
    cr_expect_eq(requests_taken(), 1, "nor is a commit");
}

Test(shard_busy, it_stays_busy_for_one_hold_after_the_crowd_is_gone)
{
    world_pass_time(world, COMMIT_PACE_US);
    deliver(BUSY_COUNT);
    commit_all();
    world_pass_time(world, deadline_us() - world->now.steady_us);
    run_shards();
    cr_assert_eq(announcements(), 1);
    world_confirm(world, SIZE_MAX, 0);
    run_shards();
    world_pass_time(world, ANNOUNCE_HOLD_US / 2);
    deliver(1);
    commit_all();
    cr_expect_eq(announcements(), 0, "more are likely to come");
    world_pass_time(world, ANNOUNCE_HOLD_US / 2);
    run_shards();
    cr_expect_eq(announcements(), 1);
    world_confirm(world, SIZE_MAX, 0);
    deliver(1);
    run_shards();
    commit();
    cr_expect_eq(announcements(), 1, "not busy any more");
}
