#include "history_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

enum { LANE_LOOP, LANE_SHARD, LANE_PUBLISHER = LANE_SHARD + HISTORY_RIG_SHARDS, LANE_COUNT };
enum { REQUESTS_MAX = 500 }; /* at once, however long neither side runs */

static struct uuid new_uuid(void *context)
{
    (void)context;
    return uuid_generate();
}

void history_rig_open(struct history_rig *rig)
{
    memset(rig, 0, sizeof *rig);
    rig_open(&rig->base);
    cr_assert(rig_prepare(&rig->base, MIGRATIONS_APPLY) == STATUS_OK);
    rig->directory = directory_create(HISTORY_RIG_SHARDS);
    rig->settings = (struct history_settings){
        .storage = &rig->base.settings,
        .directory = rig->directory,
        .board = &rig->base.board,
        .shard_lane = LANE_SHARD,
        .shards = rig->shards,
        .shard_count = HISTORY_RIG_SHARDS,
        .snapshot_retention_days = 365,
        .journal_retention_days = 365,
        .size_threshold = rig_decimal("0.0001"),
        .average_threshold = rig_decimal("0.001"),
        .staleness_us = 300000000,
        .new_uuid = new_uuid,
    };
}

void history_rig_start(struct history_rig *rig)
{
    uint32_t in[LANE_COUNT] = {REQUESTS_MAX, 300, 300, HISTORY_ANNOUNCEMENTS_MAX};
    uint32_t shards[HISTORY_RIG_SHARDS] = {300, 300};
    uint32_t publisher[1] = {HISTORY_ANNOUNCEMENTS_MAX}, loop[1] = {REQUESTS_MAX};
    rig->to_history = mailbox_create("history", in, LANE_COUNT);
    rig->to_shards = mailbox_create("shards", shards, HISTORY_RIG_SHARDS);
    rig->to_publisher = mailbox_create("publisher", publisher, 1);
    rig->to_loop = mailbox_create("loop", loop, 1);
    for (size_t i = 0; i < HISTORY_RIG_SHARDS; i++)
        rig->shards[i] = (struct outlet){rig->to_shards, i};
    rig->settings.mailbox = rig->to_history;
    rig->settings.publisher = (struct outlet){rig->to_publisher, 0};
    rig->history = history_create(&rig->settings);
    cr_assert(history_start(rig->history) == STATUS_OK);
}

static void receive_answers(struct history_rig *rig)
{
    struct message *message;
    while (mailbox_receive(rig->to_loop, &message, 1) == 1) {
        rig->answered = (struct history_request *)(void *)message;
        rig->answered->loop_private = rig;
        rig->answers++;
    }
}

void history_rig_stop(struct history_rig *rig)
{
    struct message *message;
    history_stop(rig->history);
    if (getenv("PM_TEST_LOG") != NULL)
        (void)log_drain(2, "test");
    while (mailbox_receive(rig->to_shards, &message, 1) == 1 || mailbox_receive(rig->to_publisher, &message, 1) == 1)
        ;
    history_destroy(rig->history);
    rig->history = NULL;
    receive_answers(rig);
    mailbox_destroy(rig->to_history);
    mailbox_destroy(rig->to_shards);
    mailbox_destroy(rig->to_publisher);
    mailbox_destroy(rig->to_loop);
}

void history_rig_close(struct history_rig *rig)
{
    if (rig->history != NULL)
        history_rig_stop(rig);
    directory_destroy(rig->directory);
    rig_close(&rig->base);
}

/* ---- positions ---- */

static struct directory_part *part_of(const struct history_rig *rig, const char *asset)
{
    return directory_part(rig->directory, directory_part_index(rig->directory, asset));
}

void history_rig_publish(struct history_rig *rig, const struct position *position)
{
    (void)directory_publish(part_of(rig, position->asset), position);
}

struct position history_rig_view(const struct history_rig *rig, const char *asset, enum position_mode mode)
{
    const struct directory_slot *slot = directory_part_find(part_of(rig, asset), asset, mode);
    cr_assert(slot != NULL, "%s", asset);
    return *directory_slot_position(slot);
}

static struct position make_position(const char *asset, enum position_mode mode)
{
    const int64_t now_us = 1763815000123456;
    struct position position;
    position_init(&position, asset, mode, uuid_generate(), now_us);
    position.version = 1;
    position.size = rig_decimal("2");
    position.average_entry_price = rig_decimal("100");
    position.current_price = rig_decimal("110");
    position.unrealized_pnl = rig_decimal("20");
    position.opened_at_us = now_us;
    if (mode == POSITION_MODE_HEDGE) {
        position.long_size = position.size;
        position.short_size = DECIMAL_ZERO;
        position.long_avg_price = position.average_entry_price;
    }
    position_check(&position);
    return position;
}

const char *history_rig_position(struct history_rig *rig, const char *asset, enum position_mode mode)
{
    static char id[UUID_TEXT_LEN + 1];
    char sql[512];
    const struct position position = make_position(asset, mode);
    uuid_format(&position.id, id);
    snprintf(sql, sizeof sql,
             "INSERT INTO positions (id, asset, mode, size, average_entry_price, version) "
             "VALUES ('%s', '%s', '%s', 2, 100, 1)",
             id, asset, position_mode_word(mode));
    rig_execute(&rig->base, sql);
    history_rig_publish(rig, &position);
    return id;
}

void history_rig_positions(struct history_rig *rig, int count)
{
    rig_execute(&rig->base, "BEGIN");
    for (int i = 0; i < count; i++) {
        char asset[ASSET_LEN_MAX + 1];
        snprintf(asset, sizeof asset, "P%05dUSDT", i);
        (void)history_rig_position(rig, asset, POSITION_MODE_ONE_WAY);
    }
    rig_execute(&rig->base, "COMMIT");
}

/* ---- the others ---- */

static enum status apply_wish(struct history_rig *rig, const struct delivery *delivery)
{
    const char *field;
    if (delivery->kind == DELIVERY_SNAPSHOT_MARK) {
        struct position position =
            history_rig_view(rig, delivery->asset, (enum position_mode)delivery->said.snapshot_mark.mode);
        position.last_snapshot_at_us = delivery->said.snapshot_mark.at_us;
        history_rig_publish(rig, &position);
        rig->marks++;
        return STATUS_OK;
    }
    cr_assert(delivery->kind == DELIVERY_CORRECTION);
    rig->corrections++;
    rig->last_correction = delivery->said.correction;
    if (rig->correction_outcome != STATUS_OK)
        return rig->correction_outcome;
    struct position position =
        history_rig_view(rig, delivery->asset, (enum position_mode)delivery->said.correction.mode);
    cr_assert(position_apply_correction(&position, &delivery->said.correction, 0, &position, &field) == STATUS_OK);
    history_rig_publish(rig, &position);
    return STATUS_OK;
}

static void play_shards(struct history_rig *rig)
{
    struct message *message;
    while (!rig->shards_are_deaf && mailbox_receive(rig->to_shards, &message, 1) == 1) {
        if (message->type == MESSAGE_VALIDATION_WANTED) {
            rig->validations_home++;
            continue;
        }
        struct delivery *delivery = (struct delivery *)(void *)message;
        cr_assert(message->type == MESSAGE_DELIVERY && delivery->trace_id[0] != '\0');
        delivery->refusal = apply_wish(rig, delivery);
        mailbox_send_reserved(delivery->home.mailbox, delivery->home.lane, &message);
    }
}

static void play_publisher(struct history_rig *rig)
{
    struct message *message;
    while (!rig->publisher_is_deaf && mailbox_receive(rig->to_publisher, &message, 1) == 1) {
        const struct snapshot_announcement *announcement = (const struct snapshot_announcement *)(void *)message;
        cr_assert(message->type == MESSAGE_SNAPSHOT);
        if (rig->announced_count < HISTORY_RIG_ANNOUNCED_MAX)
            rig->announced[rig->announced_count] = announcement->snapshot_id;
        rig->announced_count++;
        snprintf(rig->last_message, sizeof rig->last_message, "%.*s", (int)announcement->body_len, announcement->body);
        mailbox_send_reserved(rig->to_history, LANE_PUBLISHER, &message);
    }
}

void history_rig_pump(struct history_rig *rig, int timeout_ms)
{
    play_shards(rig);
    play_publisher(rig);
    mailbox_wait(rig->to_loop, timeout_ms);
    receive_answers(rig);
}

/* ---- requests ---- */

struct history_request *history_rig_request(enum history_kind kind, const char *asset)
{
    struct history_request *request = calloc(1, sizeof *request);
    cr_assert(request != NULL);
    request->head.type = MESSAGE_HISTORY;
    request->kind = (uint8_t)kind;
    snprintf(request->asset, sizeof request->asset, "%s", asset);
    snprintf(request->trace_id, sizeof request->trace_id, "trace-1");
    request->limit = 100;
    request->from_us = request->to_us = request->at_us = TIME_NONE;
    request->status = STATUS_COUNT;
    return request;
}

void history_rig_send(struct history_rig *rig, struct history_request *request)
{
    request->home = (struct outlet){rig->to_loop, 0};
    struct message *message = &request->head;
    mailbox_send_reserved(rig->to_history, LANE_LOOP, &message);
}

void history_rig_await(struct history_rig *rig, struct history_request *request)
{
    const int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    while (request->loop_private == NULL) {
        cr_assert(clock_steady_us() < until_us, "no answer within %d ms", RIG_WAIT_MS);
        history_rig_pump(rig, 1);
    }
}

struct history_request *history_rig_ask(struct history_rig *rig, enum history_kind kind, const char *asset)
{
    struct history_request *request = history_rig_request(kind, asset);
    history_rig_send(rig, request);
    history_rig_await(rig, request);
    if (request->status == STATUS_OK) { /* terminated, for the tests' sake */
        request->body = realloc(request->body, request->body_len + 1);
        request->body[request->body_len] = '\0';
    }
    return request;
}

void history_rig_until_served(struct history_rig *rig, const char *asset)
{
    const int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    enum status status = STATUS_UNAVAILABLE;
    while (status == STATUS_UNAVAILABLE && clock_steady_us() < until_us) {
        struct history_request *request = history_rig_ask(rig, HISTORY_SNAPSHOT_LIST, asset);
        status = request->status;
        history_rig_free(request);
        history_rig_pump(rig, 20);
    }
    cr_assert(status == STATUS_OK, "%s: %s", asset, status_word(status));
}

void history_rig_free(struct history_request *request)
{
    free(request->body);
    free(request);
}

void history_rig_want(struct history_rig *rig, size_t shard, size_t which, const char *asset)
{
    struct validation_wanted *wanted = &rig->wanted[shard][which];
    *wanted = (struct validation_wanted){.head.type = MESSAGE_VALIDATION_WANTED, .shard = (uint32_t)shard};
    snprintf(wanted->asset, sizeof wanted->asset, "%s", asset);
    snprintf(wanted->trace_id, sizeof wanted->trace_id, "trace-2");
    struct message *message = &wanted->head;
    mailbox_send_reserved(rig->to_history, LANE_SHARD + shard, &message);
}

void history_rig_until(struct history_rig *rig, const char *sql, int number)
{
    const int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    int found;
    while ((found = rig_number(&rig->base, sql)) != number) {
        cr_assert(clock_steady_us() < until_us, "%s: %d, not %d", sql, found, number);
        for (int i = 0; i < 20; i++)
            history_rig_pump(rig, 1);
    }
}

void history_rig_expect(struct history_rig *rig, enum history_kind kind, const char *asset, enum status status)
{
    struct history_request *request = history_rig_ask(rig, kind, asset);
    cr_expect_eq(request->status, status, "%s: %s", asset, status_word(request->status));
    history_rig_free(request);
}

void history_rig_take(struct history_rig *rig, const char *asset)
{
    history_rig_expect(rig, HISTORY_SNAPSHOT_TAKE, asset, STATUS_OK);
}
