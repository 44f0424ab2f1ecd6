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
    REQUEST_DELIVERIES_MAX = 3000,
    DELIVERIES = REQUEST_DELIVERIES_MAX * 2,
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
        .commit_deliveries_max = REQUEST_DELIVERIES_MAX,
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
    (void)snprintf(delivery->asset, sizeof delivery->asset, "A%zuUSDT", position % 1000);
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

/* Delivers this many events of the first positions in turn, at once. */
static void deliver_in_turn(size_t count, size_t positions)
{
    struct message **batch = calloc(count, sizeof *batch);
    cr_assert_not_null(batch);
    for (size_t i = 0; i < count; i++)
        batch[i] = make_event(i, i % positions);
    (void)receive(batch, count);
    free(batch);
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

static void expect_to_wait_for_the_next_moment(void)
{
    cr_expect_null(take_request());
    cr_expect_eq(receive(NULL, 0).deadline_us, START_US / PACE_US * PACE_US + PACE_US);
}

Test(shard_rows, what_a_full_request_left_over_does_not_wait_for_the_next_moment)
{
    deliver_in_turn(ROWS - 1, ROWS - 1);
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
    struct message *last = make_event(ROWS - 1, ROWS - 1);
    (void)receive(&last, 1);
    expect_to_wait_for_the_next_moment();
}

static void expect_order_of_delivery(const struct commit_item *item)
{
    int64_t last_us = 0;
    for (const struct message *message = &item->deliveries->head; message != NULL; message = message->next) {
        const int64_t at_us = ((const struct delivery *)(const void *)message)->said.market.at_us;
        cr_assert_gt(at_us, last_us);
        last_us = at_us;
    }
}

Test(shard_rows, request_takes_no_further_position_once_it_has_enough_deliveries)
{
    enum { POSITIONS = 4, EACH = REQUEST_DELIVERIES_MAX / 3 };
    deliver_in_turn((size_t)POSITIONS * EACH, POSITIONS);
    struct commit_request *request = take_request();
    cr_assert_not_null(request);
    cr_expect_eq(request->count, POSITIONS - 1);
    cr_expect_eq(request->delivery_count, REQUEST_DELIVERIES_MAX);
    answer(request);
    request = take_request();
    cr_assert_not_null(request, "at the same moment");
    cr_expect_eq(request->moment_us, 0, "nobody comes along with it");
    cr_assert_eq(request->count, 1);
    cr_expect_str_eq(request->items[0].row.asset, "A3USDT");
    cr_expect_eq(request->delivery_count, EACH);
    expect_order_of_delivery(&request->items[0]);
    answer(request);
}

/* Of such a one nothing is left over, so waiting still makes the next one fuller. */
Test(shard_rows, position_that_fills_a_request_alone_waits_for_the_next_moment)
{
    enum { COUNT = REQUEST_DELIVERIES_MAX + 10 };
    deliver_in_turn(COUNT, 1);
    struct commit_request *request = take_request();
    cr_assert_not_null(request);
    cr_expect_eq(request->count, 1);
    cr_expect_eq(request->delivery_count, COUNT);
    struct message *next = make_event(COUNT, 0);
    (void)receive(&next, 1);
    answer(request);
    expect_to_wait_for_the_next_moment();
}

/* Its row may be locked for long: PostgreSQL is not asked about all of them again at once. */
Test(shard_rows, position_that_fills_a_request_alone_is_not_redone_before_the_next_moment)
{
    deliver_in_turn(REQUEST_DELIVERIES_MAX + 10, 1);
    struct commit_request *request = take_request();
    cr_assert_not_null(request);
    request->items[0].outcome = COMMIT_REDO;
    struct message *message = &request->head;
    (void)receive(&message, 1);
    expect_to_wait_for_the_next_moment();
}
