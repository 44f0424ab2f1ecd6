#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

uint64_t world_random(struct world *world, uint64_t bound)
{
    /* splitmix64 */
    uint64_t z = (world->random_state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (z ^ (z >> 31)) % bound;
}

static struct uuid seeded_uuid(void *context)
{
    struct uuid uuid;
    for (size_t i = 0; i < UUID_LEN; i++)
        uuid.bytes[i] = (uint8_t)world_random(context, 256);
    return uuid;
}

static void start_mailboxes(struct world *world)
{
    uint32_t pool = WORLD_POOL_MAX;
    uint32_t shard[] = {pool, 2, WORLD_ANNOUNCED_MAX, 1};
    uint32_t committer[WORLD_SHARDS] = {2, 2};
    uint32_t publisher[WORLD_SHARDS + 1] = {pool + WORLD_ANNOUNCED_MAX, pool + WORLD_ANNOUNCED_MAX, 1};
    uint32_t consumer[WORLD_SHARDS] = {pool, pool};
    uint32_t aggregator[WORLD_SHARDS] = {1, 1};
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        world->shard_mailboxes[i] = mailbox_create("shard", shard, 4);
    world->committer_mailbox = mailbox_create("committer", committer, WORLD_SHARDS);
    world->publisher_mailbox = mailbox_create("publisher", publisher, WORLD_SHARDS + 1);
    world->consumer_mailbox = mailbox_create("consumer", consumer, WORLD_SHARDS);
    world->aggregator_mailbox = mailbox_create("aggregator", aggregator, WORLD_SHARDS);
}

static void start_shard(struct world *world, size_t i)
{
    world->readers[i] = directory_reader_register(world->directory);
    struct decimal threshold;
    pm_assert(decimal_parse("0.0001", 6, DECIMAL_EXCESS_REFUSE, &threshold) == STATUS_OK);
    struct shard_settings settings = {
        .index = (uint32_t)i,
        .market = {.average_threshold = threshold,
                   .size_threshold = threshold,
                   .use_average_price = true,
                   .timestamp_resolution = false},
        .conflict_tries_max = 3,
        .conflict_backoff_us = 1000,
        .announcement_count = 1 + (uint32_t)world_random(world, 8),
        .announce_hold_us = 2000,
        .commit_pace_us = 700,
        .busy_count = 20,
        .full_count = 60,
        .committer = {world->committer_mailbox, i},
        .publisher = {world->publisher_mailbox, i},
        .consumer = {world->consumer_mailbox, i},
        .aggregator = {world->aggregator_mailbox, i},
        .part = directory_part(world->directory, i),
        .reader = world->readers[i],
        .board = &world->board,
        .new_uuid = seeded_uuid,
        .new_uuid_context = world,
    };
    world->shards[i] = shard_create(&settings);
    world->shard_deadlines[i] = ACTOR_NO_DEADLINE;
}

static void start_service(struct world *world)
{
    memset(&world->board, 0, sizeof world->board);
    start_mailboxes(world);
    world->directory = directory_create(WORLD_SHARDS);
    world->reader = directory_reader_register(world->directory);
    struct outlet homes[WORLD_SHARDS];
    for (size_t i = 0; i < WORLD_SHARDS; i++) {
        start_shard(world, i);
        homes[i] = (struct outlet){world->shard_mailboxes[i], 3};
    }
    world->readers[WORLD_SHARDS] = directory_reader_register(world->directory);
    struct aggregator_settings aggregator = {.publish_interval_us = 1000,
                                             .exposure_limit = &world->exposure_limit,
                                             .shards = homes,
                                             .shard_count = WORLD_SHARDS,
                                             .publisher = {world->publisher_mailbox, WORLD_SHARDS},
                                             .reader = world->readers[WORLD_SHARDS],
                                             .new_uuid = seeded_uuid,
                                             .new_uuid_context = world};
    world->aggregator = aggregator_create(&aggregator);
    world->aggregator_deadline = ACTOR_NO_DEADLINE;
    for (size_t i = 0; i < WORLD_ROWS_MAX; i++) {
        const struct world_row *row = &world->rows[i];
        if (row->exists)
            shard_load(world->shards[directory_part_index(world->directory, row->position.asset)], &row->position);
    }
}

/* What a dead process leaves in its mailboxes is gone with it. */
static void empty_mailbox(struct mailbox *mailbox)
{
    struct message *message;
    while (mailbox_receive(mailbox, &message, 1) == 1) {
    }
    mailbox_destroy(mailbox);
}

static void stop_service(struct world *world)
{
    aggregator_destroy(world->aggregator);
    for (size_t i = 0; i < WORLD_SHARDS; i++) {
        shard_destroy(world->shards[i]);
        empty_mailbox(world->shard_mailboxes[i]);
    }
    empty_mailbox(world->committer_mailbox);
    empty_mailbox(world->publisher_mailbox);
    empty_mailbox(world->consumer_mailbox);
    empty_mailbox(world->aggregator_mailbox);
    for (size_t i = 0; i <= WORLD_SHARDS; i++)
        directory_reader_unregister(world->readers[i]);
    directory_reader_unregister(world->reader);
    directory_destroy(world->directory);
}

void world_init(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    world->random_state = seed;
    world->now = (struct actor_time){.wall_us = 1736935200000000, .steady_us = 1000000};
    world->prefetch = 16 + world_random(world, 120);
    world->exposure_limit = decimal_from_units((int128)DECIMAL_ONE * 5000);
    start_service(world);
}

void world_finish(struct world *world)
{
    stop_service(world);
}

void world_crash(struct world *world)
{
    world->crash_count++;
    stop_service(world);
    for (size_t i = 0; i < WORLD_POOL_MAX; i++)
        world->pool[i].in_use = false;
    for (size_t i = 0; i < world->message_count; i++)
        world->messages[i].on_the_way = 0;
    memset(world->requests, 0, sizeof world->requests);
    world->published_count = 0;
    world->generation++;
    start_service(world);
}

static int64_t run_actor(struct world *world, void *actor, actor_receive_fn *receive, struct mailbox *mailbox)
{
    struct message *batch[64];
    size_t count = mailbox_receive(mailbox, batch, 1 + world_random(world, 64));
    return receive(actor, batch, count, world->now);
}

void world_run_shard(struct world *world, size_t index)
{
    world->shard_deadlines[index] =
        run_actor(world, world->shards[index], shard_receive, world->shard_mailboxes[index]);
}

void world_run_aggregator(struct world *world)
{
    world->aggregator_deadline = run_actor(world, world->aggregator, aggregator_receive, world->aggregator_mailbox);
}

void world_pass_time(struct world *world, int64_t us)
{
    world->now.steady_us += us;
    world->now.wall_us += us;
}

static bool is_quiet(struct world *world)
{
    for (size_t i = 0; i < world->message_count; i++)
        if (!world->messages[i].acked)
            return false;
    for (size_t i = 0; i < WORLD_POOL_MAX; i++)
        if (world->pool[i].in_use)
            return false;
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        for (size_t lane = 0; lane < mailbox_lane_count(world->shard_mailboxes[i]); lane++)
            if (mailbox_depth(world->shard_mailboxes[i], lane) > 0)
                return false;
    return world->published_count == 0 && world->aggregator_deadline == ACTOR_NO_DEADLINE;
}

void world_settle(struct world *world)
{
    world->database_holds = world->publisher_holds = false;
    size_t quiet_rounds = 0;
    for (size_t round = 0; quiet_rounds < 3; round++) {
        if (round > 200000) {
            world_break(world, "liveness", "messages are still unacknowledged after %zu rounds", round);
            return;
        }
        while (world_deliver(world)) {
        }
        for (size_t i = 0; i < WORLD_SHARDS; i++)
            world_run_shard(world, i);
        world_take_requests(world);
        for (size_t i = 0; i < WORLD_SHARDS * 2; i++) {
            world_carry_out(world, i);
            world_answer(world, i);
        }
        world_run_publisher(world);
        world_confirm(world, SIZE_MAX);
        world_run_consumer(world);
        world_run_aggregator(world);
        world_pass_time(world, 500);
        world_check(world);
        if (world->broken != NULL)
            return;
        quiet_rounds = is_quiet(world) ? quiet_rounds + 1 : 0;
    }
}

void world_step(struct world *world)
{
    world->steps++;
    switch (world_random(world, 24)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        for (uint64_t i = world_random(world, 12); i > 0; i--)
            (void)world_deliver(world);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        world_run_shard(world, world_random(world, WORLD_SHARDS));
        break;
    case 9:
    case 10:
        world_take_requests(world);
        break;
    case 11:
    case 12:
        world_carry_out(world, world_random(world, WORLD_SHARDS * 2));
        break;
    case 13:
    case 14:
        world_answer(world, world_random(world, WORLD_SHARDS * 2));
        break;
    case 15:
    case 16:
        world_run_publisher(world);
        break;
    case 17:
        world_confirm(world, world_random(world, 20));
        break;
    case 18:
        world_run_consumer(world);
        break;
    case 19:
        world_run_aggregator(world);
        break;
    case 20:
        world_pass_time(world, (int64_t)world_random(world, 3000));
        break;
    case 21:
        if (world_random(world, 12) == 0)
            world_foreign_write(world, world_random(world, WORLD_ROWS_MAX));
        break;
    case 22:
        if (world_random(world, 12) == 0)
            world_lose_consumer(world);
        break;
    case 23:
        if (world_random(world, 40) == 0)
            world_crash(world);
        break;
    default:
        break;
    }
    world_check(world);
}
