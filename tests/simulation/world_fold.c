/*
 * world_fold.c: the truth. What the service wants written is compared with what comes of the row as it is stored and
 * of the messages as upstream sent them, by the plain rules. So, step by step, a row is the fold of the distinct
 * executions and market events that were counted, on top of what others wrote (invariants 1, 4 and 8).
 */
#include <string.h>

#include "chain.h"
#include "world.h"

static const struct delivery *truth_of(const struct world *world, const struct delivery *delivery)
{
    return &world->messages[((const struct world_delivery *)delivery)->message].template;
}

static enum status fold_execution(struct world *world, struct position *position, const struct delivery *delivery,
                                  struct order_total *total)
{
    const struct delivery *said = truth_of(world, delivery);
    struct fill fill;
    const char *field = NULL;
    enum status status = fill_from_execution(&said->said.execution, total, &fill, total);
    if (status == STATUS_OK)
        status = position_apply_fill(position, &fill, world->now.wall_us, position, &field);
    return status;
}

static enum status fold_market(struct world *world, struct position *position, const struct delivery *delivery)
{
    const struct market_policy policy = world_market_policy();
    struct market_effect effect;
    const char *field = NULL;
    enum status status = position_apply_market(position, &truth_of(world, delivery)->said.market, &policy,
                                               world->now.wall_us, position, &effect, &field);
    /* One that changes no figure raises no version, so a group that is done again may write it again. */
    return status == STATUS_UNCHANGED || status == STATUS_REPEAT ? STATUS_OK : status;
}

/* What the order had contributed before this delivery: as stored, and with those of the same item before it. */
static struct order_total total_before(struct world *world, const struct commit_item *item,
                                       const struct delivery *delivery)
{
    const struct world_order *order = world_find_order(world, delivery);
    struct order_total total = order == NULL ? ORDER_TOTAL_ZERO : order->total;
    for (const struct delivery *d = item->deliveries; d != delivery; d = delivery_next(d)) {
        struct fill fill;
        if (d->applied && d->kind == DELIVERY_EXECUTION && strcmp(d->order_key, delivery->order_key) == 0 &&
            fill_from_execution(&truth_of(world, d)->said.execution, &total, &fill, &total) != STATUS_OK)
            world_break(world, "exact", "%s: a message that adds nothing is written as applied", d->order_key);
    }
    return total;
}

static void count_once(struct world *world, struct world_delivery *about)
{
    const struct delivery *said = &world->messages[about->message].template;
    if (said->kind != DELIVERY_EXECUTION)
        return;
    if (said->identity[0] == '\0' ? about->counted : world_find_identity(world, said->identity) != NULL)
        world_break(world, "once", "message %zu was counted twice", about->message);
    if (strcmp(said->identity, about->delivery.identity) != 0 || !about->delivery.journal.wanted)
        world_break(world, "once", "message %zu is written without its identity", about->message);
}

static void fold_delivery(struct world *world, struct position *position, const struct commit_item *item,
                          struct delivery *delivery)
{
    struct world_delivery *about = (struct world_delivery *)delivery;
    struct world_message *message = &world->messages[about->message];
    const int32_t version_before = position->version;
    count_once(world, about);
    struct order_total total = ORDER_TOTAL_ZERO;
    if (delivery->kind == DELIVERY_EXECUTION && delivery->order_key[0] != '\0')
        total = total_before(world, item, delivery);
    enum status status = delivery->kind == DELIVERY_EXECUTION ? fold_execution(world, position, delivery, &total)
                                                              : fold_market(world, position, delivery);
    if (status != STATUS_OK)
        world_break(world, "exact", "message %zu is written as applied, the rules say %s", about->message,
                    status_word(status));
    if (message->acked && delivery->identity[0] != '\0')
        world_break(world, "acknowledge last", "message %zu was acknowledged before its commit", about->message);
    about->counted = true;
    if (position->version == version_before) /* a market event that says what is known */
        return;
    message->committed_row = world_row_index(position->asset, position->mode);
    message->committed_version = position->version;
}

void world_fold_item(struct world *world, uint32_t shard, const struct commit_item *item)
{
    const struct world_row *row = &world->rows[world_row_index(item->row.asset, item->row.mode)];
    if (directory_part_index(world->directory, item->row.asset) != shard)
        world_break(world, "one writer", "shard %u writes %s", shard, item->row.asset);
    struct position position = row->position;
    if (!row->exists) {
        position_init(&position, item->row.asset, item->row.mode, item->row.id, world->now.wall_us);
        position.version = item->expected_version;
    }
    for (struct delivery *delivery = item->deliveries; delivery != NULL; delivery = delivery_next(delivery))
        if (delivery->applied)
            fold_delivery(world, &position, item, delivery);
    if (!position_is_same_figures(&position, &item->row) || position.version != item->row.version)
        world_break(world, "exact", "%s: version %d is not what its executions make of version %d", item->row.asset,
                    (int)item->row.version, (int)item->expected_version);
    if (row->exists && !uuid_is_equal(&row->position.id, &item->row.id))
        world_break(world, "exact", "%s changes its identifier", item->row.asset);
}

void world_fold_order(struct world *world, const struct delivery *delivery, const struct order_total *before,
                      const struct order_total *after)
{
    struct order_total truth;
    struct fill fill;
    if (fill_from_execution(&truth_of(world, delivery)->said.execution, before, &fill, &truth) != STATUS_OK ||
        !decimal_is_equal(truth.filled, after->filled) || !decimal_is_equal(truth.fees, after->fees) ||
        wide_compare(truth.notional, after->notional) != 0)
        world_break(world, "exact", "%s: its total is not what was said", delivery->order_key);
}
