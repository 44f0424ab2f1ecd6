/*
 * shard_wish.c: what the service itself wants of a position: a validation's fix, a mark price that was asked for, the
 * mark of a snapshot. They go the way of every delivery, so they are committed, redone after conflicts and journalled
 * alike.
 */
#include <string.h>

#include "check.h"
#include "shard_state.h"

bool delivery_is_wish(const struct delivery *delivery)
{
    return delivery->kind != DELIVERY_EXECUTION && delivery->kind != DELIVERY_MARKET;
}

enum status shard_apply_wish(struct shard *shard, struct work *work, struct delivery *delivery, bool *changed,
                             const char **field)
{
    *changed = false;
    if (!work->row_exists && work->now.version == 0)
        return STATUS_NOT_FOUND;
    enum status status = STATUS_UNCHANGED;
    switch ((enum delivery_kind)delivery->kind) {
    case DELIVERY_CORRECTION:
        status =
            position_apply_correction(&work->now, &delivery->said.correction, shard->now.wall_us, &work->now, field);
        *changed = status == STATUS_OK;
        return status;
    case DELIVERY_PRICE:
        status = position_apply_price(&work->now, delivery->said.price.price, shard->now.wall_us, &work->now, field);
        *changed = status == STATUS_OK || status == STATUS_UNCHANGED; /* the price's age is news */
        return status;
    case DELIVERY_SNAPSHOT_MARK:
        *changed = work->now.last_snapshot_at_us < delivery->said.snapshot_mark.at_us;
        if (*changed)
            work->now.last_snapshot_at_us = delivery->said.snapshot_mark.at_us;
        return STATUS_UNCHANGED;
    case DELIVERY_EXECUTION:
    case DELIVERY_MARKET:
        break;
    }
    pm_assert(!"not a wish");
    return STATUS_INVALID;
}

void shard_wish_done(struct delivery *delivery, enum status outcome)
{
    delivery->refusal = outcome;
    struct outlet home = delivery->home;
    struct message *message = &delivery->head;
    message->next = NULL;
    mailbox_send_reserved(home.mailbox, home.lane, &message);
}

void shard_want_validation(struct shard *shard, const struct delivery *delivery)
{
    if (shard->free_validation == NULL || shard->settings.history.mailbox == NULL)
        return;
    struct validation_wanted *wanted = shard->free_validation;
    shard->free_validation = (struct validation_wanted *)wanted->head.next;
    wanted->head.next = NULL;
    wanted->mode = (uint8_t)delivery_mode(delivery);
    memcpy(wanted->asset, delivery->asset, sizeof wanted->asset);
    memcpy(wanted->trace_id, delivery->trace_id, sizeof wanted->trace_id);
    struct message *message = &wanted->head;
    mailbox_send_reserved(shard->settings.history.mailbox, shard->settings.history.lane, &message);
}
