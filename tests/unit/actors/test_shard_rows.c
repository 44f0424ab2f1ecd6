/* A busy shard with more than a request holds. The test plays its neighbours. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "directory.h"
#include "log.h"
#include "shard.h"
#include "uuid.h"

enum {
    ROWS = COMMIT_ITEMS_MAX + 88,
    DELIVERIES = COMMIT_DELIVERIES_MAX * 2,
    PACE_US = 100,
    HOLD_US = 1000,
    START_US = HOLD_US * 1000 + 10, /* a little after a moment */
};

static struct board board;
static struct directory *directory;
static struct mailbox *committer, *others;
static struct shard *shard;
static struct delivery *deliveries;

static struct uuid new_uuid(void *context)
{
    (void)context;
    return uuid_generate();
}

static void start(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const uint32_t capacity = DELIVERIES;
    committer = mailbox_create("committer", &capacity, 1);
    others = mailbox_create("others", &capacity, 1);
    directory = directory_create(1);
    const struct outlet outlet = {others, 0};
    const struct shard_settings settings = {
        .announcement_count = 8,
        .announce_hold_us = HOLD_US,
        .commit_pace_us = PACE_US,
        .busy_count = ROWS / 2,
        .full_count = DELIVERIES + 1,
        .committer = {committer, 0},
        .publisher = outlet,
        .consumer = outlet,
        .aggregator = outlet,
        .history = outlet,
        .part = directory_part(directory, 0),
        .reader = directory_reader_register(directory),
        .board = &board,
        .new_uuid = new_uuid,
    };
    shard = shard_create(&settings);
    deliveries = calloc(DELIVERIES, sizeof *deliveries);
    cr_assert_not_null(deliveries);
}

static void stop(void)
{
    struct message *message;
    while (mailbox_receive(committer, &message, 1) + mailbox_receive(others, &message, 1) > 0) {
    }
    shard_destroy(shard);
    directory_destroy(directory);
    mailbox_destroy(committer);
    mailbox_destroy(others);
    free(deliveries);
}

TestSuite(shard_rows, .init = start, .fini = stop);

static struct actor_plan receive(struct message **batch, size_t count)
{
    return shard_receive(shard, batch, count, (struct actor_time){.wall_us = START_US, .steady_us = START_US});
}

static struct message *make_event(size_t i, size_t position)
{
    struct delivery *delivery = &deliveries[i];
    delivery->head.type = MESSAGE_DELIVERY;
    delivery->kind = DELIVERY_MARKET;
    (void)snprintf(delivery->asset, sizeof delivery->asset, "A%zuUSDT", position);
    (void)snprintf(delivery->trace_id, sizeof delivery->trace_id, "t%zu", i);
    delivery->said.market = (struct market_event){.size = decimal_from_units(DECIMAL_ONE),
                                                  .average_price = DECIMAL_ZERO,
                                                  .mark_price = decimal_from_units(DECIMAL_ONE),
                                                  .unrealized_pnl = DECIMAL_NONE,
                                                  .realized_pnl = DECIMAL_NONE,
                                                  .at_us = START_US + (int64_t)i,
                                                  .digest = i + 1};
    return &delivery->head;
}

static void deliver(size_t first, size_t last)
{
    struct message *batch[ACTOR_BATCH_MAX];
    for (size_t i = first; i < last; i++)
        batch[i - first] = make_event(i, i);
    (void)receive(batch, last - first);
}

static struct commit_request *take_request(void)
{
    struct message *message;
    return mailbox_receive(committer, &message, 1) == 0 ? NULL : (struct commit_request *)(void *)message;
}

static void answer(struct commit_request *request)
{
    for (size_t i = 0; i < request->count; i++)
        request->items[i].outcome = COMMIT_DONE;
    struct message *message = &request->head;
    (void)receive(&message, 1);
}

Test(shard_rows, what_a_full_request_left_over_does_not_wait_for_the_next_moment)
{
    deliver(0, COMMIT_ITEMS_MAX);
    deliver(COMMIT_ITEMS_MAX, ROWS - 1);
    struct commit_request *request = take_request();
    cr_assert_not_null(request);
    cr_assert_eq(request->count, COMMIT_ITEMS_MAX);
    cr_expect_eq(request->moment_us, START_US / PACE_US * PACE_US);
    answer(request);
    request = take_request();
    cr_assert_not_null(request, "at the same moment");
    cr_assert_eq(request->count, ROWS - 1 - COMMIT_ITEMS_MAX);
    cr_expect_eq(request->moment_us, 0, "nobody comes along with it");
    answer(request);
    deliver(ROWS - 1, ROWS);
    cr_expect_null(take_request(), "that one was not full");
    cr_expect_eq(receive(NULL, 0).deadline_us, START_US / PACE_US * PACE_US + PACE_US);
}

Test(shard_rows, request_takes_no_further_position_once_it_has_enough_deliveries)
{
    enum { POSITIONS = 4, EACH = COMMIT_DELIVERIES_MAX / 3 };
    struct message **batch = calloc((size_t)POSITIONS * EACH, sizeof *batch);
    cr_assert_not_null(batch);
    for (size_t i = 0; i < (size_t)POSITIONS * EACH; i++)
        batch[i] = make_event(i, i % POSITIONS);
    (void)receive(batch, (size_t)POSITIONS * EACH);
    struct commit_request *request = take_request();
    cr_assert_not_null(request);
    cr_expect_eq(request->count, POSITIONS - 1);
    cr_expect_eq(request->delivery_count, COMMIT_DELIVERIES_MAX);
    answer(request);
    request = take_request();
    cr_assert_not_null(request, "at the same moment");
    cr_expect_eq(request->count, 1);
    cr_expect_eq(request->delivery_count, EACH);
    answer(request);
    free(batch);
}
