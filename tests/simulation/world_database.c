#include <stdio.h>
#include <string.h>

#include "chain.h"
#include "check.h"
#include "world.h"

size_t world_row_index(const char *asset, enum position_mode mode)
{
    return (size_t)(asset[0] - 'A') * 2 + (mode == POSITION_MODE_HEDGE);
}

const struct world_journal_entry *world_find_identity(const struct world *world, const char *identity)
{
    for (size_t i = 0; i < world->journal_count; i++)
        if (strcmp(world->journal[i].identity, identity) == 0)
            return &world->journal[i];
    return NULL;
}

static struct world_order *find_order(struct world *world, const struct delivery *delivery)
{
    size_t row = world_row_index(delivery->asset, delivery->said.execution.mode);
    for (size_t i = 0; i < world->order_count; i++)
        if (world->orders[i].row == row && strcmp(world->orders[i].key, delivery->order_key) == 0)
            return &world->orders[i];
    return NULL;
}

static bool has_identity(const struct delivery *delivery)
{
    return delivery->kind == DELIVERY_EXECUTION && delivery->identity[0] != '\0' && delivery->applied;
}

/* What LOOKUP promises, and what an item that was not done gets too. */
static void look_up(struct world *world, struct delivery *first)
{
    for (struct delivery *delivery = first; delivery != NULL; delivery = delivery_next(delivery)) {
        delivery->looked_up = true;
        if (delivery->kind != DELIVERY_EXECUTION)
            continue;
        const struct world_journal_entry *entry =
            delivery->identity[0] == '\0' ? NULL : world_find_identity(world, delivery->identity);
        delivery->identity_known = entry != NULL;
        if (entry != NULL)
            delivery->known_fingerprint = entry->fingerprint;
        const struct world_order *order = delivery->order_key[0] == '\0' ? NULL : find_order(world, delivery);
        delivery->order_before = order == NULL ? ORDER_TOTAL_ZERO : order->total;
    }
}

static bool has_repeat(const struct world *world, const struct commit_request *request, size_t index)
{
    for (const struct delivery *d = request->items[index].deliveries; d != NULL; d = delivery_next(d)) {
        if (!has_identity(d))
            continue;
        if (world_find_identity(world, d->identity) != NULL)
            return true;
        for (size_t i = 0; i < index; i++)
            for (const struct delivery *e = request->items[i].deliveries; e != NULL; e = delivery_next(e))
                if (has_identity(e) && strcmp(e->identity, d->identity) == 0)
                    return true;
    }
    return false;
}

static void add_journal(struct world *world, size_t row, const char *identity, uint64_t fingerprint,
                        const struct journal_note *note)
{
    pm_assert(world->journal_count < WORLD_JOURNAL_MAX);
    struct world_journal_entry *entry = &world->journal[world->journal_count++];
    (void)snprintf(entry->identity, sizeof entry->identity, "%s", identity);
    entry->fingerprint = fingerprint;
    entry->row = row;
    entry->note = *note;
}

static void write_item(struct world *world, struct commit_item *item)
{
    size_t index = world_row_index(item->row.asset, item->row.mode);
    if (item->external.wanted)
        add_journal(world, index, "", 0, &item->external);
    for (struct delivery *delivery = item->deliveries; delivery != NULL; delivery = delivery_next(delivery)) {
        if (delivery->journal.wanted)
            add_journal(world, index, delivery->kind == DELIVERY_EXECUTION ? delivery->identity : "",
                        delivery->fingerprint, &delivery->journal);
        if (delivery->kind != DELIVERY_EXECUTION || !delivery->applied || delivery->order_key[0] == '\0')
            continue;
        struct world_order *order = find_order(world, delivery);
        if (order == NULL) {
            pm_assert(world->order_count < WORLD_ORDERS_MAX);
            order = &world->orders[world->order_count++];
            *order = (struct world_order){.row = index, .total = ORDER_TOTAL_ZERO};
            (void)snprintf(order->key, sizeof order->key, "%s", delivery->order_key);
        }
        order->total.notional = wide_add(order->total.notional, delivery->fill.notional);
        order->total.filled.units += delivery->fill.quantity.units;
        order->total.fees.units += delivery->fill.fees.units;
    }
    world->rows[index].exists = true;
    world->rows[index].position = item->row;
    item->outcome = COMMIT_DONE;
}

static void commit(struct world *world, struct commit_request *request)
{
    bool repeats[COMMIT_ITEMS_MAX];
    for (size_t i = 0; i < request->count; i++)
        repeats[i] = has_repeat(world, request, i);
    for (size_t i = 0; i < request->count; i++) {
        struct commit_item *item = &request->items[i];
        struct world_row *row = &world->rows[world_row_index(item->row.asset, item->row.mode)];
        bool at_version = item->insert ? !row->exists : row->exists && row->position.version == item->expected_version;
        if (at_version && !repeats[i]) {
            write_item(world, item);
            continue;
        }
        item->outcome = at_version ? COMMIT_REDO : COMMIT_CONFLICT;
        world->conflict_count += !at_version;
        world->repeat_count += repeats[i];
        item->found_exists = row->exists;
        item->found = row->position;
    }
    for (size_t i = 0; i < request->count; i++)
        if (request->items[i].outcome != COMMIT_DONE)
            look_up(world, request->items[i].deliveries);
}

void world_take_requests(struct world *world)
{
    for (size_t i = 0; i < WORLD_SHARDS * 2; i++) {
        if (world->requests[i] != NULL)
            continue;
        if (mailbox_receive_lane(world->committer_mailbox, i / 2, &world->requests[i], 1) == 1)
            world->request_done[i] = false;
        else
            world->requests[i] = NULL;
    }
}

/* A look-up is answered at once, before the next commit is carried out. */
static bool is_behind_a_lookup(const struct world *world, size_t request)
{
    const struct message *other = world->requests[request ^ 1];
    return other != NULL && other->type == MESSAGE_LOOKUP && world->request_done[request ^ 1];
}

void world_carry_out(struct world *world, size_t request)
{
    struct message *message = world->requests[request];
    if (message == NULL || world->request_done[request] || world->database_holds || is_behind_a_lookup(world, request))
        return;
    if (message->type == MESSAGE_LOOKUP)
        look_up(world, ((struct lookup_request *)message)->deliveries);
    else
        commit(world, (struct commit_request *)message);
    world->request_done[request] = true;
}

void world_answer(struct world *world, size_t request)
{
    if (world->requests[request] == NULL || !world->request_done[request])
        return;
    /* A commit's answer may be late; what a look-up saw since may hold it already, so the shard hears of it first. */
    if (world->requests[request]->type == MESSAGE_LOOKUP && world->requests[request ^ 1] != NULL &&
        world->request_done[request ^ 1])
        world_answer(world, request ^ 1);
    mailbox_send_reserved(world->shard_mailboxes[request / 2], 1, &world->requests[request]);
}

void world_foreign_write(struct world *world, size_t index)
{
    struct world_row *row = &world->rows[index];
    if (!row->exists || row->position.mode == POSITION_MODE_HEDGE || row->position.size.units == 0)
        return;
    row->position.version++;
    if (world_random(world, 2) == 0 && row->position.size.units > 0)
        row->position.size.units += 100000000;
    else
        row->position.realized_pnl.units += 7;
}
