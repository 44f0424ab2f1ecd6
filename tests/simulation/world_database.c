#include <stdio.h>
#include <string.h>

#include "chain.h"
#include "check.h"
#include "world.h"

size_t world_row_index(const char *asset, enum position_mode mode)
{
    return (size_t)(asset[0] - 'A') * 2 + (mode == POSITION_MODE_HEDGE);
}

size_t world_row_of(const struct delivery *delivery)
{
    uint8_t mode = delivery->kind == DELIVERY_EXECUTION ? delivery->said.execution.mode : delivery->said.market.mode;
    return world_row_index(delivery->asset, mode);
}

const struct world_journal_entry *world_find_identity(const struct world *world, const char *identity)
{
    uint64_t hash = xhash64(identity, strlen(identity));
    for (size_t i = 0; i < world->journal_count; i++)
        if (world->journal[i].identity_hash == hash && strcmp(world->journal[i].identity, identity) == 0)
            return &world->journal[i];
    return NULL;
}

struct world_order *world_find_order(struct world *world, const struct delivery *delivery)
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
        const struct world_order *order = delivery->order_key[0] == '\0' ? NULL : world_find_order(world, delivery);
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

void world_add_journal(struct world *world, size_t row, const char *identity, uint64_t fingerprint,
                       const struct journal_note *note)
{
    pm_assert(world->journal_count < WORLD_JOURNAL_MAX);
    struct world_journal_entry *entry = &world->journal[world->journal_count++];
    (void)snprintf(entry->identity, sizeof entry->identity, "%s", identity);
    entry->identity_hash = xhash64(identity, strlen(identity));
    entry->fingerprint = fingerprint;
    entry->row = row;
    entry->note = *note;
}

static void write_order(struct world *world, size_t row, const struct delivery *delivery)
{
    struct world_order *order = world_find_order(world, delivery);
    if (order == NULL) {
        pm_assert(world->order_count < WORLD_ORDERS_MAX);
        order = &world->orders[world->order_count++];
        *order = (struct world_order){.row = row, .total = ORDER_TOTAL_ZERO};
        (void)snprintf(order->key, sizeof order->key, "%s", delivery->order_key);
    }
    struct order_total before = order->total;
    order->total.notional = wide_add(order->total.notional, delivery->fill.notional);
    order->total.filled.units += delivery->fill.quantity.units;
    order->total.fees.units += delivery->fill.fees.units;
    world_fold_order(world, delivery, &before, &order->total);
}

static void write_item(struct world *world, uint32_t shard, struct commit_item *item)
{
    size_t index = world_row_index(item->row.asset, item->row.mode);
    struct world_row *row = &world->rows[index];
    world_fold_item(world, shard, item);
    if (item->external.wanted)
        world_add_journal(world, index, "", 0, &item->external);
    for (struct delivery *delivery = item->deliveries; delivery != NULL; delivery = delivery_next(delivery)) {
        if (delivery->journal.wanted)
            world_add_journal(world, index, delivery->kind == DELIVERY_EXECUTION ? delivery->identity : "",
                              delivery->fingerprint, &delivery->journal);
        if (delivery->kind == DELIVERY_EXECUTION && delivery->applied && delivery->order_key[0] != '\0')
            write_order(world, index, delivery);
    }
    row->exists = true;
    row->position = item->row;
    row->known_version = item->row.version;
    if (item->row.version > item->expected_version || item->external.wanted)
        row->written_version = item->row.version;
    item->outcome = COMMIT_DONE;
}

/* The answer of an item that was not written: what the table holds. */
static void tell_found(struct world *world, struct commit_item *item, enum commit_outcome outcome)
{
    struct world_row *row = &world->rows[world_row_index(item->row.asset, item->row.mode)];
    item->outcome = outcome;
    item->found_exists = row->exists;
    item->found = row->position;
    if (outcome == COMMIT_CONFLICT)
        row->known_version = row->position.version;
    row->setbacks += outcome != COMMIT_REDO && !item->reload;
    world->conflict_count += outcome == COMMIT_CONFLICT;
}

static void commit(struct world *world, struct commit_request *request)
{
    bool repeats[COMMIT_ITEMS_MAX];
    world->rows_changed = true;
    for (size_t i = 0; i < request->count; i++)
        repeats[i] = has_repeat(world, request, i);
    for (size_t i = 0; i < request->count; i++) {
        struct commit_item *item = &request->items[i];
        struct world_row *row = &world->rows[world_row_index(item->row.asset, item->row.mode)];
        bool at_version = item->insert ? !row->exists : row->exists && row->position.version == item->expected_version;
        world->repeat_count += repeats[i];
        if (item->reload)
            tell_found(world, item, at_version ? COMMIT_REDO : COMMIT_CONFLICT);
        else if (row->refuse_next && at_version)
            tell_found(world, item, COMMIT_REFUSED);
        else if (at_version && !repeats[i])
            write_item(world, request->shard, item);
        else
            tell_found(world, item, at_version ? COMMIT_REDO : COMMIT_CONFLICT);
        row->refuse_next = row->refuse_next && item->reload;
    }
    for (size_t i = 0; i < request->count; i++)
        if (request->items[i].outcome != COMMIT_DONE)
            look_up(world, request->items[i].deliveries);
}

void world_take_requests(struct world *world)
{
    for (size_t i = 0; i < WORLD_REQUESTS; i++) {
        if (world->requests[i] != NULL)
            continue;
        if (mailbox_receive_lane(world->committer_mailbox, i / 2, &world->requests[i], 1) == 1)
            world->request_done[i] = false;
        else
            world->requests[i] = NULL;
    }
}

/* A look-up is answered at once, before the next commit is carried out, or the last one again. */
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

/*
 * Whether somebody wrote to one of its rows after it was carried out. Together with a server that cannot tell the
 * outcome nobody could say any more whose change is whose; the figures hold all the same, the journal's words do not.
 */
static bool is_overwritten(const struct world *world, const struct commit_request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        const struct position *row = &request->items[i].row;
        if (world->rows[world_row_index(row->asset, row->mode)].position.version !=
            world->rows[world_row_index(row->asset, row->mode)].known_version)
            return true;
    }
    return false;
}

void world_lose_database(struct world *world, bool cannot_tell)
{
    for (size_t i = 0; i < WORLD_REQUESTS && cannot_tell; i++) {
        if (world->requests[i] == NULL || !world->request_done[i] || world->requests[i]->type != MESSAGE_COMMIT)
            continue;
        if (!is_overwritten(world, (const struct commit_request *)world->requests[i]) && !is_behind_a_lookup(world, i))
            commit(world, (struct commit_request *)world->requests[i]);
    }
}

/* ---- others who write ---- */

static void insert_foreign(struct world_row *row, size_t index, int64_t now_us)
{
    const char asset[] = {(char)('A' + index / 2), 'U', 'S', 'D', 'T', '\0'};
    struct uuid id = {.bytes = {0xf0, (uint8_t)index}};
    position_init(&row->position, asset, index % 2 == 0 ? POSITION_MODE_ONE_WAY : POSITION_MODE_HEDGE, id, now_us);
    row->position.version = 1;
    row->exists = true;
}

void world_foreign_write(struct world *world, size_t index, enum world_foreign kind)
{
    struct world_row *row = &world->rows[index];
    if (row->exists == (kind == WORLD_FOREIGN_INSERT))
        return;
    world->rows_changed = true;
    if (kind == WORLD_FOREIGN_INSERT) {
        insert_foreign(row, index, world->now.wall_us);
        return;
    }
    row->position.version++;
    if (kind == WORLD_FOREIGN_REALIZED)
        row->position.realized_pnl.units += 7;
    if (kind == WORLD_FOREIGN_SIZE && row->position.mode == POSITION_MODE_ONE_WAY && row->position.size.units > 0)
        row->position.size.units += DECIMAL_ONE;
}

static const struct journal_note *last_note(const struct world *world, size_t row)
{
    for (size_t i = world->journal_count; i > 0; i--)
        if (world->journal[i - 1].row == row)
            return &world->journal[i - 1].note;
    return NULL;
}

void world_catch_up(struct world *world)
{
    for (size_t i = 0; i < WORLD_ROWS_MAX; i++) {
        struct world_row *row = &world->rows[i];
        const struct position *position = &row->position;
        if (!row->exists)
            continue;
        row->known_version = position->version;
        const struct journal_note *last = last_note(world, i);
        if (last != NULL && decimal_is_equal(last->size, position->size) &&
            decimal_is_equal(last->realized_pnl, position->realized_pnl))
            continue;
        struct journal_note note = {.source = SOURCE_EXTERNAL,
                                    .fees = DECIMAL_ZERO,
                                    .size = position->size,
                                    .average_entry_price = position->average_entry_price,
                                    .realized_pnl = position->realized_pnl,
                                    .fees_paid = position->fees_paid,
                                    .version = position->version};
        world_add_journal(world, i, "", 0, &note);
    }
}
