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

size_t world_add_execution(struct world *world, const char *asset, const char *identity, enum side side,
                           const char *quantity, const char *price)
{
    struct delivery *delivery = new_message(world, asset);
    delivery->kind = DELIVERY_EXECUTION;
    (void)snprintf(delivery->identity, sizeof delivery->identity, "%s", identity);
    delivery->said.execution = (struct execution){.quantity = parsed(quantity),
                                                  .price = parsed(price),
                                                  .fees = parsed("0.01"),
                                                  .executed_at_us = world->now.wall_us,
                                                  .side = (uint8_t)side};
    delivery->fingerprint = fingerprint_of(delivery);
    return world->message_count - 1;
}

static const char *const assets[WORLD_ASSETS_MAX] = {"AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT", "FUSDT"};

static void make_execution(struct world *world, const char *asset)
{
    char identity[40];
    (void)snprintf(identity, sizeof identity, "x:%zu", world->message_count);
    size_t index =
        world_add_execution(world, asset, identity, world_random(world, 2) == 0 ? SIDE_BUY : SIDE_SELL, "1", "1");
    struct delivery *delivery = &world->messages[index].template;
    struct execution *execution = &delivery->said.execution;
    execution->quantity = decimal_from_units((int128)(1 + world_random(world, 500)) * 1000000);
    execution->price = decimal_from_units((int128)(1 + world_random(world, 100000)) * 1234567);
    execution->mode = world_random(world, 3) == 0 ? POSITION_MODE_HEDGE : POSITION_MODE_ONE_WAY;
    execution->reduce_only = execution->mode == POSITION_MODE_HEDGE && world_random(world, 4) == 0;
    if (world_random(world, 8) == 0)
        delivery->identity[0] = '\0';
    if (world_random(world, 3) == 0) /* an order that cumulative messages may speak of too */
        (void)snprintf(delivery->order_key, sizeof delivery->order_key, "order-%llu",
                       (unsigned long long)world_random(world, 20));
    delivery->fingerprint = fingerprint_of(delivery);
}

static void make_cumulative(struct world *world, const char *asset)
{
    make_execution(world, asset);
    struct delivery *delivery = &world->messages[world->message_count - 1].template;
    struct execution *execution = &delivery->said.execution;
    uint64_t order = world_random(world, 20);
    (void)snprintf(delivery->order_key, sizeof delivery->order_key, "order-%llu", (unsigned long long)order);
    (void)snprintf(delivery->identity, sizeof delivery->identity, "e:%zu", world->message_count);
    execution->cumulative = true;
    execution->side = order % 2 == 0 ? SIDE_BUY : SIDE_SELL;
    execution->quantity = decimal_from_units((int128)(world_random(world, 60)) * 50000000);
    execution->reduce_only = false;
    delivery->fingerprint = fingerprint_of(delivery);
}

static void make_market(struct world *world, const char *asset)
{
    struct delivery *delivery = new_message(world, asset);
    delivery->kind = DELIVERY_MARKET;
    delivery->queue_name = "market";
    delivery->said.market = (struct market_event){
        .size = DECIMAL_NONE,
        .average_price = DECIMAL_NONE,
        .mark_price = decimal_from_units((int128)(1 + world_random(world, 50)) * 100000000),
        .unrealized_pnl = DECIMAL_NONE,
        .realized_pnl =
            world_random(world, 5) == 0 ? decimal_from_units((int128)world_random(world, 1000)) : DECIMAL_NONE,
        .at_us =
            world_random(world, 6) == 0 ? TIME_NONE : world->now.wall_us + (int64_t)world_random(world, 200) * 1000,
        .digest = world_random(world, UINT64_MAX),
        .mode = world_random(world, 3) == 0 ? POSITION_MODE_HEDGE : POSITION_MODE_ONE_WAY,
    };
}

static void make_repeat(struct world *world, bool other_content)
{
    size_t original = world_random(world, world->message_count);
    struct delivery copy = world->messages[original].template;
    if (other_content && (copy.kind != DELIVERY_EXECUTION || copy.identity[0] == '\0'))
        return;
    struct delivery *delivery = new_message(world, copy.asset);
    *delivery = copy;
    if (other_content) {
        delivery->said.execution.quantity.units += 1;
        delivery->fingerprint = fingerprint_of(delivery);
    }
}

void world_make_stream(struct world *world, size_t count)
{
    make_execution(world, assets[0]);
    while (world->message_count < count) {
        const char *asset = assets[world_random(world, WORLD_ASSETS_MAX)];
        uint64_t kind = world_random(world, 20);
        if (kind < 9)
            make_execution(world, asset);
        else if (kind < 13)
            make_cumulative(world, asset);
        else if (kind < 17)
            make_market(world, asset);
        else
            make_repeat(world, kind == 19);
    }
}

/* ---- broker and consumer ---- */

static size_t deliveries_about(const struct world *world)
{
    size_t count = 0;
    for (size_t i = 0; i < WORLD_POOL_MAX; i++)
        count += world->pool[i].in_use;
    return count;
}

void world_deliver_message(struct world *world, size_t index)
{
    size_t slot = 0;
    while (slot < WORLD_POOL_MAX && world->pool[slot].in_use)
        slot++;
    pm_assert(slot < WORLD_POOL_MAX);
    struct world_delivery *about = &world->pool[slot];
    about->delivery = world->messages[index].template;
    about->message = index;
    about->in_use = true;
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
    if (deliveries_about(world) >= world->prefetch)
        return false;
    for (size_t i = 0; i < world->next_message; i++) { /* what came back goes first */
        if (!world->messages[i].acked && world->messages[i].on_the_way == 0) {
            world->redelivery_count++;
            world_deliver_message(world, i);
            return true;
        }
    }
    if (world->next_message == world->message_count)
        return false;
    world_deliver_message(world, world->next_message++);
    return true;
}

/* Invariant 3: what is acknowledged is committed and announced, or refused and its copy confirmed. */
static void check_acknowledgement(struct world *world, const struct world_delivery *about)
{
    const struct delivery *said = &world->messages[about->message].template;
    const struct world_message *message = &world->messages[about->message];
    if (message->dead_lettered || said->kind != DELIVERY_EXECUTION || said->identity[0] == '\0')
        return;
    const struct world_journal_entry *entry = world_find_identity(world, said->identity);
    if (entry == NULL) {
        /* A cumulative total that did not increase leaves no line; its order must have it. */
        if (!said->said.execution.cumulative)
            world_break(world, "acknowledge last", "message %zu is acknowledged and not committed", about->message);
        return;
    }
    /* A cumulative one may have been a repeat of its order's total before another content took the identity. */
    if (entry->fingerprint != said->fingerprint && said->said.execution.cumulative)
        return;
    if (entry->fingerprint != said->fingerprint)
        world_break(world, "once", "message %zu was taken for a repeat of another content", about->message);
    const struct world_row *row = &world->rows[entry->row];
    if (entry->note.version > row->announced_version)
        world_break(world, "acknowledge last", "message %zu is acknowledged, its version %d not announced (%d)",
                    about->message, (int)entry->note.version, (int)row->announced_version);
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
            if (delivery->generation != world->generation)
                continue;
            struct world_message *message = &world->messages[about->message];
            message->on_the_way--;
            message->acked = true;
            check_acknowledgement(world, about);
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
    while (!world->publisher_holds && mailbox_receive(world->publisher_mailbox, &message, 1) == 1)
        world->published[world->published_count++] = message;
}

static void confirm_announcement(struct world *world, struct announcement *announcement)
{
    const struct position *position = &announcement->position;
    struct world_row *row = &world->rows[world_row_index(position->asset, position->mode)];
    if (!row->exists || row->position.version < position->version)
        world_break(world, "nothing shown that a crash could take back", "%s version %d announced, not committed",
                    position->asset, (int)position->version);
    if (announcement->trace_id[0] == '\0')
        world_break(world, "trace", "an announcement without a trace id");
    if (row->announced_version < position->version)
        row->announced_version = position->version;
    world->announcement_count++;
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
    if (!status_is_refusal(delivery->refusal))
        world_break(world, "every failure has a name", "a dead letter without a reason");
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
    world->aggregator_deadline = aggregator_receive(world->aggregator, batch, 1, world->now);
}

void world_confirm(struct world *world, size_t count)
{
    while (count-- > 0 && world->published_count > 0) {
        size_t index = world_random(world, world->published_count);
        struct message *message = world->published[index];
        world->published[index] = world->published[--world->published_count];
        if (message->type == MESSAGE_ANNOUNCEMENT)
            confirm_announcement(world, (struct announcement *)message);
        else if (message->type == MESSAGE_DEAD_LETTER)
            confirm_dead_letter(world, (struct delivery *)message);
        else
            confirm_portfolio(world, (struct portfolio_announcement *)message);
    }
}
