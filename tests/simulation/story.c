/*
 * story.c: from a seed to a story, and from a story to what happens.
 */
#include "story.h"

#include <string.h>

#include "check.h"

/* ---- chance ---- */

struct author {
    struct story *story;
    uint64_t random_state;
    uint64_t favourite_row; /* of others who write */
};

static uint64_t chance(struct author *author, uint64_t bound)
{
    return world_random_next(&author->random_state) % bound;
}

static bool one_in(struct author *author, uint64_t bound)
{
    return chance(author, bound) == 0;
}

/* ---- messages ---- */

enum { ORDERS = 20 };

static struct story_message *new_message(struct author *author)
{
    struct story *story = author->story;
    pm_assert(story->message_count < WORLD_MESSAGES_MAX);
    struct story_message *message = &story->messages[story->message_count++];
    *message = (struct story_message){
        .asset = (int64_t)chance(author, WORLD_ASSETS_MAX),
        .hedge = one_in(author, 3),
        .quantity = STORY_NONE,
        .price = STORY_NONE,
        .fee = STORY_NONE,
        .identity = STORY_NONE,
        .order = STORY_NONE,
        .mark = STORY_NONE,
        .realized = STORY_NONE,
        .at = STORY_NONE,
        .digest = STORY_NONE,
    };
    return message;
}

static struct story_message *make_execution(struct author *author)
{
    struct story_message *message = new_message(author);
    message->sell = one_in(author, 2);
    message->quantity = (int64_t)(1 + chance(author, 500)) * 1000000;
    message->price = (int64_t)(1 + chance(author, 100000)) * 1234567;
    message->fee = DECIMAL_ONE / 100;
    message->reduce_only = message->hedge && one_in(author, 4);
    if (!one_in(author, 8))
        message->identity = (int64_t)author->story->message_count;
    if (one_in(author, 3)) /* an order that cumulative messages may speak of too */
        message->order = (int64_t)chance(author, ORDERS);
    return message;
}

static void make_cumulative(struct author *author)
{
    struct story_message *message = make_execution(author);
    message->order = (int64_t)chance(author, ORDERS);
    message->identity = (int64_t)author->story->message_count;
    message->cumulative = 1;
    message->sell = message->order % 2;
    message->quantity = (int64_t)chance(author, 60) * 50000000;
    message->reduce_only = 0;
}

static void make_market(struct author *author)
{
    struct story_message *message = new_message(author);
    message->market = 1;
    message->mark = (int64_t)(1 + chance(author, 50)) * DECIMAL_ONE;
    if (one_in(author, 5))
        message->realized = (int64_t)chance(author, 1000);
    if (!one_in(author, 6))
        message->at = (int64_t)chance(author, 200) * 1000;
    message->digest = (int64_t)chance(author, 1000000);
}

static void make_repeat(struct author *author, bool other_content)
{
    struct story *story = author->story;
    struct story_message copy = story->messages[chance(author, story->message_count)];
    if (other_content && (copy.market || copy.identity == STORY_NONE))
        return;
    if (other_content && one_in(author, 3))
        copy.asset = (copy.asset + 1) % WORLD_ASSETS_MAX;
    else if (other_content)
        copy.quantity++;
    *new_message(author) = copy;
}

static void make_messages(struct author *author, size_t count)
{
    (void)make_execution(author);
    while (author->story->message_count < count) {
        uint64_t kind = chance(author, 20);
        if (kind < 9)
            (void)make_execution(author);
        else if (kind < 13)
            make_cumulative(author);
        else if (kind < 17)
            make_market(author);
        else
            make_repeat(author, kind == 19);
    }
}

/* ---- steps ---- */

/* How often each comes, in ordinary weather. What one story has none of another has plenty of. */
static const uint64_t ordinary[OP_COUNT] = {
    [OP_DELIVER] = 500,     [OP_SHARD] = 400,   [OP_AGGREGATOR] = 100, [OP_TAKE_REQUESTS] = 200, [OP_CARRY_OUT] = 200,
    [OP_ANSWER] = 200,      [OP_PUBLISH] = 150, [OP_CONFIRM] = 150,    [OP_ACKNOWLEDGE] = 100,   [OP_TIME] = 100,
    [OP_FOREIGN] = 8,       [OP_REFUSE] = 4,    [OP_DISK] = 8,         [OP_BROKER] = 8,          [OP_LOSE_DATABASE] = 8,
    [OP_LOSE_CONSUMER] = 8, [OP_CRASH] = 3,     [OP_QUIET] = 4,
};

static uint64_t make_weather(struct author *author, uint64_t weights[OP_COUNT])
{
    static const uint64_t of_faults[] = {0, 1, 1, 4};
    static const uint64_t of_actors[] = {1, 4, 4, 4};
    uint64_t sum = 0;
    for (size_t op = 0; op < OP_COUNT; op++) {
        const uint64_t *factors = op < OP_FOREIGN ? of_actors : of_faults;
        weights[op] = ordinary[op] * factors[chance(author, 4)] * (op < OP_FOREIGN ? 1 : 4);
        sum += weights[op];
    }
    return sum;
}

static uint64_t some_row(struct author *author)
{
    return one_in(author, 2) ? author->favourite_row : chance(author, WORLD_ROWS_MAX);
}

static void make_numbers(struct author *author, struct story_step *step)
{
    switch ((enum story_op)step->op) {
    case OP_DELIVER:
        step->a = 1 + chance(author, 11);
        break;
    case OP_SHARD:
        step->a = chance(author, WORLD_SHARDS);
        step->b = 1 + chance(author, one_in(author, 2) ? 3 : WORLD_BATCH_MAX);
        break;
    case OP_AGGREGATOR:
        step->a = 1 + chance(author, 4);
        break;
    case OP_CARRY_OUT:
    case OP_ANSWER:
        step->a = chance(author, WORLD_REQUESTS);
        break;
    case OP_CONFIRM:
        step->a = 1 + chance(author, 19);
        step->b = one_in(author, 2) ? 0 : 1 + chance(author, 1000);
        break;
    case OP_TIME:
        step->a = 1 + chance(author, 3000);
        break;
    case OP_FOREIGN:
        step->a = some_row(author);
        step->b = chance(author, WORLD_FOREIGN_COUNT);
        break;
    case OP_REFUSE:
        step->a = some_row(author);
        break;
    case OP_DISK:
    case OP_BROKER:
    case OP_LOSE_DATABASE:
        step->a = chance(author, 2);
        break;
    case OP_CRASH:
        step->a = 1 + chance(author, 8);
        break;
    case OP_TAKE_REQUESTS:
    case OP_PUBLISH:
    case OP_ACKNOWLEDGE:
    case OP_LOSE_CONSUMER:
    case OP_QUIET:
    case OP_COUNT:
        break;
    }
}

static void make_steps(struct author *author, size_t count)
{
    uint64_t weights[OP_COUNT];
    uint64_t sum = make_weather(author, weights);
    while (author->story->step_count < count) {
        struct story_step *step = &author->story->steps[author->story->step_count++];
        uint64_t at = chance(author, sum);
        step->op = 0;
        while (at >= weights[step->op])
            at -= weights[step->op++];
        make_numbers(author, step);
    }
}

void story_make(struct story *story, uint64_t seed)
{
    memset(story, 0, sizeof *story);
    struct author author = {.story = story, .random_state = seed};
    bool narrow = one_in(&author, 4);
    story->prefetch = narrow ? 1 + chance(&author, 8) : 16 + chance(&author, 120);
    story->announcements = 1 + chance(&author, 8);
    story->batch = one_in(&author, 2) ? 1 + chance(&author, 4) : WORLD_BATCH_MAX;
    author.favourite_row = chance(&author, WORLD_ROWS_MAX);
    bool is_long = one_in(&author, 8);
    make_messages(&author, is_long ? 200 + chance(&author, 380) : 3 + chance(&author, 120));
    make_steps(&author, is_long ? 1000 + chance(&author, STORY_STEPS_MAX - 1000) : 40 + chance(&author, 700));
}

/* ---- playing ---- */

static void add_execution(struct world *world, const struct story_message *from, const char *asset)
{
    char identity[32] = "";
    if (from->identity != STORY_NONE)
        (void)snprintf(identity, sizeof identity, "x:%lld", (long long)from->identity);
    struct execution execution = {
        .quantity = decimal_from_units(from->quantity),
        .price = decimal_from_units(from->price),
        .fees = from->fee == STORY_NONE ? DECIMAL_ZERO : decimal_from_units(from->fee),
        .executed_at_us = world->now.wall_us,
        .cumulative = from->cumulative != 0,
        .mode = from->hedge ? POSITION_MODE_HEDGE : POSITION_MODE_ONE_WAY,
        .side = from->sell ? SIDE_SELL : SIDE_BUY,
        .reduce_only = from->reduce_only != 0,
    };
    char order[32] = "";
    if (from->order != STORY_NONE)
        (void)snprintf(order, sizeof order, "order-%lld", (long long)from->order);
    (void)world_add(world, asset, identity, order, &execution);
}

static struct decimal said(int64_t units)
{
    return units == STORY_NONE ? DECIMAL_NONE : decimal_from_units(units);
}

static void add_message(struct world *world, const struct story_message *from)
{
    const char asset[] = {(char)('A' + from->asset), 'U', 'S', 'D', 'T', '\0'};
    if (!from->market) {
        add_execution(world, from, asset);
        return;
    }
    struct market_event event = {
        .size = DECIMAL_NONE,
        .average_price = DECIMAL_NONE,
        .mark_price = said(from->mark),
        .unrealized_pnl = DECIMAL_NONE,
        .realized_pnl = said(from->realized),
        .at_us = from->at == STORY_NONE ? TIME_NONE : world->now.wall_us + from->at,
        .digest = (uint64_t)from->digest,
        .mode = from->hedge ? POSITION_MODE_HEDGE : POSITION_MODE_ONE_WAY,
    };
    world_add_market(world, asset, &event);
}

typedef void play_fn(struct world *world, const struct story_step *step);

static void play_deliver(struct world *world, const struct story_step *step)
{
    for (uint64_t i = 0; i < step->a && world_deliver(world); i++) {
    }
}

static void play_shard(struct world *world, const struct story_step *step)
{
    world_run_shard(world, step->a % WORLD_SHARDS, step->b);
}

static void play_aggregator(struct world *world, const struct story_step *step)
{
    world_run_aggregator(world, step->a);
}

static void play_take_requests(struct world *world, const struct story_step *step)
{
    (void)step;
    world_take_requests(world);
}

static void play_carry_out(struct world *world, const struct story_step *step)
{
    world_carry_out(world, step->a % WORLD_REQUESTS);
}

static void play_answer(struct world *world, const struct story_step *step)
{
    world_answer(world, step->a % WORLD_REQUESTS);
}

static void play_publish(struct world *world, const struct story_step *step)
{
    (void)step;
    world_run_publisher(world);
}

static void play_confirm(struct world *world, const struct story_step *step)
{
    world_confirm(world, step->a, step->b);
}

static void play_acknowledge(struct world *world, const struct story_step *step)
{
    (void)step;
    world_run_consumer(world);
}

static void play_time(struct world *world, const struct story_step *step)
{
    world_pass_time(world, (int64_t)step->a);
}

static void play_foreign(struct world *world, const struct story_step *step)
{
    world_foreign_write(world, step->a % WORLD_ROWS_MAX, (enum world_foreign)(step->b % WORLD_FOREIGN_COUNT));
}

static void play_refuse(struct world *world, const struct story_step *step)
{
    world->rows[step->a % WORLD_ROWS_MAX].refuse_next = true;
}

static void play_disk(struct world *world, const struct story_step *step)
{
    world->database_holds = step->a != 0;
}

static void play_broker(struct world *world, const struct story_step *step)
{
    world->publisher_holds = step->a != 0;
}

static void play_lose_database(struct world *world, const struct story_step *step)
{
    world_lose_database(world, step->a != 0);
}

static void play_lose_consumer(struct world *world, const struct story_step *step)
{
    (void)step;
    world_lose_consumer(world);
}

static void play_crash(struct world *world, const struct story_step *step)
{
    if (step->a > 0)
        world->announcement_count_max = (uint32_t)(1 + (step->a - 1) % WORLD_ANNOUNCED_MAX);
    world_crash(world);
}

static void play_quiet(struct world *world, const struct story_step *step)
{
    (void)step;
    world_rest(world);
}

static play_fn *const players[OP_COUNT] = {
    [OP_DELIVER] = play_deliver,
    [OP_SHARD] = play_shard,
    [OP_AGGREGATOR] = play_aggregator,
    [OP_TAKE_REQUESTS] = play_take_requests,
    [OP_CARRY_OUT] = play_carry_out,
    [OP_ANSWER] = play_answer,
    [OP_PUBLISH] = play_publish,
    [OP_CONFIRM] = play_confirm,
    [OP_ACKNOWLEDGE] = play_acknowledge,
    [OP_TIME] = play_time,
    [OP_FOREIGN] = play_foreign,
    [OP_REFUSE] = play_refuse,
    [OP_DISK] = play_disk,
    [OP_BROKER] = play_broker,
    [OP_LOSE_DATABASE] = play_lose_database,
    [OP_LOSE_CONSUMER] = play_lose_consumer,
    [OP_CRASH] = play_crash,
    [OP_QUIET] = play_quiet,
};

void story_play(const struct story *story, struct world *world, size_t *played)
{
    world_init(world, (uint32_t)story->prefetch, (uint32_t)story->announcements);
    world->settle_batch = story->batch;
    for (size_t i = 0; i < story->message_count; i++)
        add_message(world, &story->messages[i]);
    *played = 0;
    while (*played < story->step_count && world->broken == NULL) {
        const struct story_step *step = &story->steps[(*played)++];
        players[step->op](world, step);
        world_check(world);
    }
    if (world->broken == NULL)
        world_settle(world);
}
