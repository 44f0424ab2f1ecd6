#include <stdio.h>
#include <string.h>

#include "chain.h"
#include "check.h"
#include "world.h"

/* ---- upstream ---- */

static struct decimal parsed(const char *text)
{
    struct decimal d;
    enum status status = decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &d);
    pm_assert(status == STATUS_OK);
    return d;
}

static uint64_t fingerprint_of(const struct delivery *delivery)
{
    struct {
        char asset[ASSET_LEN_MAX + 1];
        char order[ORDER_KEY_LEN_MAX + 1];
        uint8_t mode, side;
        struct decimal quantity, price;
    } said;
    memset(&said, 0, sizeof said);
    memcpy(said.asset, delivery->asset, sizeof said.asset);
    memcpy(said.order, delivery->order_key, sizeof said.order);
    said.mode = delivery->said.execution.mode;
    said.side = delivery->said.execution.side;
    said.quantity = delivery->said.execution.quantity;
    said.price = delivery->said.execution.price;
    return xhash64(&said, sizeof said);
}

static struct delivery *new_message(struct world *world, const char *asset)
{
    pm_assert(world->message_count < WORLD_MESSAGES_MAX);
    struct delivery *delivery = &world->messages[world->message_count].template;
    memset(delivery, 0, sizeof *delivery);
    (void)snprintf(delivery->asset, sizeof delivery->asset, "%s", asset);
    (void)snprintf(delivery->trace_id, sizeof delivery->trace_id, "trace-%zu", world->message_count);
    delivery->queue_name = "orders";
    world->message_count++;
    return delivery;
}

size_t world_add(struct world *world, const char *asset, const char *identity, const char *order_key,
                 const struct execution *execution)
{
    struct delivery *delivery = new_message(world, asset);
    delivery->kind = DELIVERY_EXECUTION;
    (void)snprintf(delivery->identity, sizeof delivery->identity, "%s", identity);
    (void)snprintf(delivery->order_key, sizeof delivery->order_key, "%s", order_key);
    delivery->said.execution = *execution;
    delivery->fingerprint = fingerprint_of(delivery);
    return world->message_count - 1;
}

size_t world_add_execution(struct world *world, const char *asset, const char *identity, enum side side,
                           const char *quantity, const char *price)
{
    struct execution execution = {.quantity = parsed(quantity),
                                  .price = parsed(price),
                                  .fees = parsed("0.01"),
                                  .executed_at_us = world->now.wall_us,
                                  .side = (uint8_t)side};
    return world_add(world, asset, identity, "", &execution);
}

size_t world_add_market(struct world *world, const char *asset, const struct market_event *event)
{
    struct delivery *delivery = new_message(world, asset);
    delivery->kind = DELIVERY_MARKET;
    delivery->queue_name = "market";
    delivery->said.market = *event;
    return world->message_count - 1;
}

/* ---- broker and consumer ---- */

static bool is_counted(const struct world *world, const struct delivery *said)
{
    const struct world_journal_entry *entry =
        said->identity[0] == '\0' ? NULL : world_find_identity(world, said->identity);
    return entry != NULL && entry->fingerprint == said->fingerprint;
}

static void deliver_message(struct world *world, size_t index)
{
    size_t slot = 0;
    while (slot < WORLD_POOL_MAX && world->pool[slot].in_use)
        slot++;
    pm_assert(slot < WORLD_POOL_MAX);
    struct world_delivery *about = &world->pool[slot];
    about->delivery = world->messages[index].template;
    about->message = index;
    about->in_use = true;
    about->counted = false;
    about->row_version = world->rows[world_row_of(&about->delivery)].position.version;
    about->was_counted = is_counted(world, &about->delivery);
    world->deliveries_about++;
    about->delivery.head.type = MESSAGE_DELIVERY;
    about->delivery.generation = world->generation;
    about->delivery.tag = ++world->next_tag;
    about->delivery.received_wall_us = world->now.wall_us;
    about->delivery.received_steady_us = world->now.steady_us;
    about->delivery.redelivered = world->messages[index].delivered;
    world->messages[index].delivered = true;
    world->messages[index].on_the_way++;
    struct message *message = &about->delivery.head;
    mailbox_send_reserved(world->shard_mailboxes[directory_part_index(world->directory, about->delivery.asset)], 0,
                          &message);
}

bool world_deliver(struct world *world)
{
    if (world->deliveries_about >= world->prefetch)
        return false;
    while (world->first_open < world->next_message && world->messages[world->first_open].acked)
        world->first_open++;
    for (size_t i = world->first_open; i < world->next_message; i++) { /* what came back goes first */
        if (!world->messages[i].acked && world->messages[i].on_the_way == 0) {
            world->redelivery_count++;
            deliver_message(world, i);
            return true;
        }
    }
    if (world->upstream_holds || world->next_message == world->message_count)
        return false;
    deliver_message(world, world->next_message++);
    return true;
}

void world_run_consumer(struct world *world)
{
    struct message *first;
    while (mailbox_receive(world->consumer_mailbox, &first, 1) == 1) {
        pm_assert(first->type == MESSAGE_SETTLED);
        struct chain settled = chain_of((struct delivery *)first);
        struct delivery *delivery;
        while ((delivery = chain_take(&settled)) != NULL) {
            struct world_delivery *about = (struct world_delivery *)delivery;
            pm_assert(about->in_use);
            about->in_use = false;
            world->deliveries_about--;
            if (delivery->generation != world->generation)
                continue;
            struct world_message *message = &world->messages[about->message];
            message->on_the_way--;
            message->acked = true;
            world_check_acknowledgement(world, about);
        }
    }
}

void world_lose_consumer(struct world *world)
{
    world->generation++;
    for (size_t i = 0; i < world->message_count; i++)
        world->messages[i].on_the_way = 0;
}

/* ---- publisher ---- */

void world_run_publisher(struct world *world)
{
    struct message *message;
    while (!world->publisher_holds && mailbox_receive(world->publisher_mailbox, &message, 1) == 1) {
        pm_assert(world->published_count < sizeof world->published / sizeof world->published[0]);
        if (message->type == MESSAGE_ANNOUNCEMENT)
            world_check_announcement(world, (const struct announcement *)message);
        else if (message->type == MESSAGE_PORTFOLIO)
            world_check_portfolio(world, (const struct portfolio_announcement *)message);
        else
            world_check_refusal(world, (const struct world_delivery *)message);
        world->published[world->published_count++] = message;
    }
}

static void confirm_announcement(struct world *world, struct announcement *announcement)
{
    const struct position *position = &announcement->position;
    struct world_row *row = &world->rows[world_row_index(position->asset, position->mode)];
    if (row->announced_version < position->version)
        row->announced_version = position->version;
    world->announcement_count++;
    world->last_source = (enum update_source)announcement->source;
    struct message *settled = announcement->settles == NULL ? NULL : &announcement->settles->head;
    announcement->settles = NULL;
    announcement->confirmed = true;
    if (settled != NULL) {
        settled->type = MESSAGE_SETTLED;
        mailbox_send_reserved(world->consumer_mailbox, announcement->shard, &settled);
    }
    struct message *home = &announcement->head;
    mailbox_send_reserved(world->shard_mailboxes[announcement->shard], 2, &home);
}

static void confirm_dead_letter(struct world *world, struct delivery *delivery)
{
    struct world_delivery *about = (struct world_delivery *)delivery;
    world->messages[about->message].dead_lettered = true;
    delivery->head.type = MESSAGE_SETTLED;
    struct message *message = &delivery->head;
    mailbox_send_reserved(world->consumer_mailbox, directory_part_index(world->directory, delivery->asset), &message);
}

static void confirm_portfolio(struct world *world, struct portfolio_announcement *portfolio)
{
    world->last_portfolio = portfolio->totals;
    world->portfolio_count++;
    /* The publisher's lane of the aggregator's mailbox is the first shard's here: both are one thread. */
    struct message *batch[1] = {&portfolio->head};
    world->aggregator_deadline = aggregator_receive(world->aggregator, batch, 1, world->now).deadline_us;
}

static void confirm(struct world *world, struct message *message)
{
    if (message->type == MESSAGE_ANNOUNCEMENT)
        confirm_announcement(world, (struct announcement *)message);
    else if (message->type == MESSAGE_DEAD_LETTER)
        confirm_dead_letter(world, (struct delivery *)message);
    else
        confirm_portfolio(world, (struct portfolio_announcement *)message);
}

void world_confirm(struct world *world, size_t count, uint64_t picked_by)
{
    uint64_t state = picked_by;
    while (count-- > 0 && world->published_count > 0) {
        size_t index = picked_by == 0 ? 0 : (size_t)(world_random_next(&state) % world->published_count);
        struct message *message = world->published[index];
        world->published_count--;
        memmove(&world->published[index], &world->published[index + 1],
                (world->published_count - index) * sizeof(struct message *));
        confirm(world, message);
    }
}
