#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

uint64_t world_random_next(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* Each another one; which does not depend on what else happens by chance. */
static struct uuid next_uuid(void *context)
{
    struct world *world = context;
    struct uuid uuid;
    uint64_t halves[2] = {++world->id_count, 0};
    halves[1] = halves[0] * 0x9e3779b97f4a7c15U;
    memcpy(uuid.bytes, halves, sizeof uuid.bytes);
    return uuid;
}

static void start_mailboxes(struct world *world)
{
    /* As narrow as the service has them: whoever sends more than was reserved runs into an assert. */
    uint32_t pool = (uint32_t)world->prefetch;
    uint32_t announced = world->announcement_count_max;
    uint32_t shard[] = {pool, 2, announced, 1};
    uint32_t committer[WORLD_SHARDS] = {2, 2};
    uint32_t publisher[WORLD_SHARDS + 1] = {pool + announced, pool + announced, 1};
    uint32_t consumer[WORLD_SHARDS] = {pool, pool};
    uint32_t aggregator[WORLD_SHARDS] = {1, 1};
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        world->shard_mailboxes[i] = mailbox_create("shard", shard, 4);
    world->committer_mailbox = mailbox_create("committer", committer, WORLD_SHARDS);
    world->publisher_mailbox = mailbox_create("publisher", publisher, WORLD_SHARDS + 1);
    world->consumer_mailbox = mailbox_create("consumer", consumer, WORLD_SHARDS);
    world->aggregator_mailbox = mailbox_create("aggregator", aggregator, WORLD_SHARDS);
}

struct market_policy world_market_policy(void)
{
    struct decimal threshold = decimal_from_units(DECIMAL_ONE / 10000);
    return (struct market_policy){
        .average_threshold = threshold, .size_threshold = threshold, .use_average_price = true};
}

static void start_shard(struct world *world, size_t i)
{
    world->readers[i] = directory_reader_register(world->directory);
    struct shard_settings settings = {
        .index = (uint32_t)i,
        .market = world_market_policy(),
        .conflict_tries_max = WORLD_CONFLICT_TRIES_MAX,
        .conflict_backoff_us = 1000,
        .announcement_count = world->announcement_count_max,
        .announce_hold_us = 2000,
        .commit_pace_us = 500,
        .commit_deliveries_max = 10,
        .busy_count = 20,
        .full_count = 60,
        .committer = {world->committer_mailbox, i},
        .publisher = {world->publisher_mailbox, i},
        .consumer = {world->consumer_mailbox, i},
        .aggregator = {world->aggregator_mailbox, i},
        .part = directory_part(world->directory, i),
        .reader = world->readers[i],
        .board = &world->board,
        .new_uuid = next_uuid,
        .new_uuid_context = world,
    };
    world->shards[i] = shard_create(&settings);
    world->shard_deadlines[i] = ACTOR_NO_DEADLINE;
}

static void start_service(struct world *world)
{
    memset(&world->board, 0, sizeof world->board);
    world_catch_up(world);
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
                                             .new_uuid = next_uuid,
                                             .new_uuid_context = world};
    world->aggregator = aggregator_create(&aggregator);
    world->aggregator_deadline = ACTOR_NO_DEADLINE;
    for (size_t i = 0; i < WORLD_ROWS_MAX; i++) {
        struct world_row *row = &world->rows[i];
        row->published_version = 0;
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

void world_init(struct world *world, uint32_t prefetch, uint32_t announcements)
{
    memset(world, 0, sizeof *world);
    world->now = (struct actor_time){.wall_us = 1736935200000000, .steady_us = 1000000};
    world->prefetch = prefetch;
    world->announcement_count_max = announcements;
    world->settle_batch = WORLD_BATCH_MAX;
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
    world->deliveries_about = 0;
    memset(world->requests, 0, sizeof world->requests);
    world->published_count = 0;
    world->generation++;
    start_service(world);
}

static int64_t run_actor(struct world *world, void *actor, actor_receive_fn *receive, struct mailbox *mailbox,
                         size_t max)
{
    struct message *batch[WORLD_BATCH_MAX];
    size_t count = mailbox_receive(mailbox, batch, max < WORLD_BATCH_MAX ? max : WORLD_BATCH_MAX);
    return receive(actor, batch, count, world->now).deadline_us;
}

void world_run_shard(struct world *world, size_t index, size_t max)
{
    world->shard_ran[index] = true;
    world->shard_deadlines[index] =
        run_actor(world, world->shards[index], shard_receive, world->shard_mailboxes[index], max);
}

void world_run_aggregator(struct world *world, size_t max)
{
    world->aggregator_deadline =
        run_actor(world, world->aggregator, aggregator_receive, world->aggregator_mailbox, max);
}

void world_pass_time(struct world *world, int64_t us)
{
    world->now.steady_us += us;
    world->now.wall_us += us;
}

/* ---- rest ---- */

static bool is_empty(const struct mailbox *mailbox)
{
    for (size_t lane = 0; lane < mailbox_lane_count(mailbox); lane++)
        if (mailbox_depth(mailbox, lane) > 0)
            return false;
    return true;
}

static bool is_idle(const struct world *world)
{
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        if (!is_empty(world->shard_mailboxes[i]) || world->shard_deadlines[i] != ACTOR_NO_DEADLINE)
            return false;
    for (size_t i = 0; i < WORLD_REQUESTS; i++)
        if (world->requests[i] != NULL)
            return false;
    return is_empty(world->committer_mailbox) && is_empty(world->publisher_mailbox) &&
           is_empty(world->consumer_mailbox) && is_empty(world->aggregator_mailbox);
}

static bool is_quiet(const struct world *world)
{
    size_t published = world->upstream_holds ? world->next_message : world->message_count;
    for (size_t i = world->first_open; i < published; i++)
        if (!world->messages[i].acked)
            return false;
    return world->deliveries_about == 0 && is_idle(world) && world->published_count == 0 &&
           world->aggregator_deadline == ACTOR_NO_DEADLINE;
}

static void run_round(struct world *world)
{
    while (world_deliver(world)) {
    }
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        world_run_shard(world, i, world->settle_batch);
    world_take_requests(world);
    for (size_t i = 0; i < WORLD_REQUESTS; i++) {
        world_carry_out(world, i);
        world_answer(world, i);
    }
    world_run_publisher(world);
    world_confirm(world, SIZE_MAX, 0);
    world_run_consumer(world);
    world_run_aggregator(world, SIZE_MAX);
    world_pass_time(world, 500);
    world_check(world);
}

void world_settle(struct world *world)
{
    enum { ROUNDS_MAX = 8000, QUIET_ROUNDS = 3 };
    world->database_holds = world->publisher_holds = false;
    size_t quiet_rounds = 0;
    for (size_t round = 0; quiet_rounds < QUIET_ROUNDS && world->broken == NULL; round++) {
        if (round == ROUNDS_MAX)
            world_break(world, "liveness", "it does not come to rest in %zu rounds", round);
        run_round(world);
        quiet_rounds = is_quiet(world) ? quiet_rounds + 1 : 0;
    }
    if (world->broken == NULL)
        world_check_settled(world);
}

void world_rest(struct world *world)
{
    world->upstream_holds = true;
    world_settle(world);
    world->upstream_holds = false;
}
