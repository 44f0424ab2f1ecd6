/*
 * shard_announce.c: what goes out of a shard: announcements, settled deliveries, news for the aggregator.
 *
 * The broker is the slowest neighbour: an announcement costs it as much as several deliveries, and each delivery that
 * is out costs it some work again and again. At most one announcement of a position is unconfirmed, the pool bounds
 * them all, and while the shard is busy a change waits for the next one to overtake it: until the next whole multiple
 * of announce_hold_us, which is the same moment for all positions and shards, so that their deliveries are settled
 * together and acknowledged in a row; or until so many deliveries wait along that the broker would run out of credit.
 * What the commit of that moment changed is announced with the rest: so the least is left over for the next one.
 */
#include <string.h>

#include "check.h"
#include "shard_state.h"

/*
 * When a busy shard announces what is queued now. Up to commit_pace_us after a moment it may come of the commit of that
 * moment and belongs to it, unless its announcements went out already.
 */
static int64_t announcement_moment(const struct shard *shard)
{
    const int64_t period_us = shard->settings.announce_hold_us;
    int64_t at_us = ((shard->now.steady_us - shard->settings.commit_pace_us) / period_us + 1) * period_us;
    return shard->announced_at_us < at_us ? at_us : at_us + period_us;
}

static void queue_announcement(struct shard *shard, struct work *work)
{
    if (work->in_announce_queue || work->announcing)
        return; /* when the one on its way is confirmed, it is queued again */
    if (shard->announce_queue.first == NULL)
        shard->announce_at_us = announcement_moment(shard);
    work->in_announce_queue = true;
    work_queue_append(&shard->announce_queue, work, offsetof(struct work, announce_next));
}

void shard_announce_later(struct shard *shard, struct work *work, const struct delivery *cause)
{
    if (cause != NULL && work->committed_trace_id[0] == '\0') {
        work->committed_source = cause->kind == DELIVERY_EXECUTION ? SOURCE_ORDER_EXECUTION : SOURCE_WEBSOCKET;
        memcpy(work->committed_trace_id, cause->trace_id, sizeof work->committed_trace_id);
    }
    work->announce_due = true;
    queue_announcement(shard, work);
}

/* Whether what is queued should go on waiting for later changes to overtake it. */
static bool is_holding_back(struct shard *shard)
{
    if (!shard_is_busy(shard) || shard->held_count >= shard->settings.full_count)
        return false;
    int64_t until_us = shard->announce_at_us;
    const bool commit_is_out = shard->commit == NULL;
    if (shard->now.steady_us >= until_us && commit_is_out)
        until_us += shard->settings.commit_pace_us;
    if (shard->now.steady_us >= until_us)
        return false;
    shard_wake_at(shard, until_us);
    return true;
}

static void send_announcement(struct shard *shard, struct work *work, struct wide total_exposure)
{
    struct announcement *announcement = shard->free_announcement;
    shard->free_announcement = (struct announcement *)announcement->head.next;
    announcement->head.next = NULL;
    announcement->source = work->committed_source;
    memcpy(announcement->trace_id, work->committed_trace_id, sizeof announcement->trace_id);
    announcement->message_id = shard->settings.new_uuid(shard->settings.new_uuid_context);
    announcement->at_us = shard->now.wall_us;
    announcement->position = work->base;
    announcement->size_norm = position_size_norm(&work->base, total_exposure);
    announcement->settles = work->settling.first;
    announcement->settles_count = 0;
    announcement->confirmed = false;
    for (struct delivery *delivery = work->settling.first; delivery != NULL; delivery = delivery_next(delivery))
        announcement->settles_count++;
    work->settling = (struct chain){NULL, NULL};
    announcement->work = work;
    work->announcing = true;
    work->announce_due = false;
    struct message *message = &announcement->head;
    mailbox_send_reserved(shard->settings.publisher.mailbox, shard->settings.publisher.lane, &message);
}

void shard_send_announcements(struct shard *shard)
{
    if (shard->announce_queue.first == NULL || shard->free_announcement == NULL || is_holding_back(shard))
        return;
    shard->announced_at_us = shard->now.steady_us;
    struct portfolio_totals totals;
    directory_begin(shard->settings.reader);
    directory_totals(shard->settings.reader, &totals);
    directory_end(shard->settings.reader);
    while (shard->announce_queue.first != NULL && shard->free_announcement != NULL) {
        struct work *work = work_queue_take(&shard->announce_queue, offsetof(struct work, announce_next));
        work->in_announce_queue = false;
        send_announcement(shard, work, totals.exposure);
    }
}

/* Confirmed: the row need not remember any more that this state is to be announced. */
static void forget_due(struct shard *shard, struct work *work, const struct position *announced)
{
    if (!work->now.announcement_due || work->now.version != announced->version)
        return;
    work->now.announcement_due = false;
    work->row_changed = true;
    shard_queue_commit(shard, work);
}

void shard_handle_announcement(struct shard *shard, struct announcement *announcement)
{
    struct work *work = announcement->work;
    work->announcing = false;
    shard->held_count -= announcement->settles_count;
    if (announcement->confirmed)
        forget_due(shard, work, &announcement->position);
    if (announcement->settles != NULL) {
        /* It was not confirmed (the publisher stops): it is due again. */
        struct chain back = chain_of(announcement->settles);
        announcement->settles = NULL;
        shard->held_count += announcement->settles_count;
        chain_concat(&back, &work->settling);
        work->settling = back;
        shard_announce_later(shard, work, NULL);
    }
    announcement->head.next = shard->free_announcement == NULL ? NULL : &shard->free_announcement->head;
    shard->free_announcement = announcement;
    shard_work_pin(work);
    if (work->announce_due)
        queue_announcement(shard, work);
    shard_work_unpin(shard, work);
}

void shard_settle(struct shard *shard, struct delivery *delivery)
{
    shard_put_order(shard, delivery);
    shard->held_count--;
    chain_append(&shard->settled, delivery);
}

void shard_send_settled(struct shard *shard)
{
    if (chain_is_empty(&shard->settled))
        return;
    struct message *message = &shard->settled.first->head;
    message->type = MESSAGE_SETTLED;
    shard->settled = (struct chain){NULL, NULL};
    mailbox_send_reserved(shard->settings.consumer.mailbox, shard->settings.consumer.lane, &message);
}

void shard_send_totals(struct shard *shard)
{
    if (!shard->totals_dirty || shard->totals == NULL)
        return;
    shard->totals_dirty = false;
    memcpy(shard->totals->trace_id, shard->totals_trace_id, sizeof shard->totals->trace_id);
    struct message *message = &shard->totals->head;
    shard->totals = NULL;
    mailbox_send_reserved(shard->settings.aggregator.mailbox, shard->settings.aggregator.lane, &message);
}
