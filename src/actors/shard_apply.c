/*
 * shard_apply.c: from a delivery to a position's working state, and back again when a commit has to be redone.
 */
#include <string.h>

#include "check.h"
#include "log.h"
#include "metrics.h"
#include "shard_state.h"

/* What became of a delivery that was tried. */
enum admission {
    ADMITTED,  /* disposed of, or in one of the position's chains */
    MUST_ASK,  /* the database is to be asked first */
    MUST_WAIT, /* for the commit of what is applied so far */
};

void shard_put_order(struct shard *shard, struct delivery *delivery)
{
    if (delivery->order == NULL)
        return;
    orders_put(shard->orders, delivery->order);
    delivery->order = NULL;
}

void shard_admit_joined(struct shard *shard, struct delivery *delivery)
{
    struct chain joined = chain_of(delivery->joined);
    delivery->joined = NULL;
    struct delivery *next;
    while ((next = chain_take(&joined)) != NULL)
        shard_admit(shard, next);
}

enum position_mode delivery_mode(const struct delivery *delivery)
{
    switch ((enum delivery_kind)delivery->kind) {
    case DELIVERY_EXECUTION:
        return delivery->said.execution.mode;
    case DELIVERY_MARKET:
        return delivery->said.market.mode;
    case DELIVERY_CORRECTION:
        return delivery->said.correction.mode;
    case DELIVERY_PRICE:
        return delivery->said.price.mode;
    case DELIVERY_SNAPSHOT_MARK:
        return delivery->said.snapshot_mark.mode;
    }
    pm_assert(!"a delivery of no kind");
    return POSITION_MODE_ONE_WAY;
}

/* Without an identity it may have been counted before a crash, and is refused now: that change is still to be
 * announced. */
static void announce_again(struct shard *shard, const struct delivery *delivery)
{
    struct work *work = shard_work(shard, delivery->asset, delivery_mode(delivery));
    shard_work_pin(work);
    if (work->row_exists)
        shard_announce_later(shard, work, delivery);
    shard_work_unpin(shard, work);
}

void shard_refuse(struct shard *shard, struct delivery *delivery, enum status reason, const char *field)
{
    pm_assert(status_is_refusal(reason));
    if (delivery_is_wish(delivery)) {
        shard->held_count--;
        shard_wish_done(delivery, reason);
        return;
    }
    shard_put_order(shard, delivery);
    delivery->refusal = reason;
    delivery->refusal_field = field;
    metric_refused(reason);
    LOG_EVENT(LOG_LEVEL_WARNING, "message_refused", delivery->trace_id, log_text("reason", status_word(reason)),
              log_text("field", field), log_text("asset", delivery->asset), log_text("queue", delivery->queue_name));
    shard_admit_joined(shard, delivery);
    if (delivery->redelivered)
        announce_again(shard, delivery);
    shard->held_count--;
    delivery->head.type = MESSAGE_DEAD_LETTER;
    delivery->head.next = NULL;
    struct message *message = &delivery->head;
    mailbox_send_reserved(shard->settings.publisher.mailbox, shard->settings.publisher.lane, &message);
}

/* A committed execution came again: the present state is announced, and that settles it. */
static void accept_repeat(struct shard *shard, struct work *work, struct delivery *delivery)
{
    metric_add(METRIC_EXECUTIONS_REPEATED, 1);
    LOG_EVENT(LOG_LEVEL_INFO, "execution_repeated", delivery->trace_id, log_text("asset", delivery->asset),
              log_text("identity", delivery->identity));
    shard_put_order(shard, delivery);
    if (!work->row_exists) {
        /* Nothing there to announce: a total of an order that never filled. */
        shard_settle(shard, delivery);
        return;
    }
    chain_append(&work->settling, delivery);
    shard_announce_later(shard, work, delivery);
}

/* What it repeats may not be committed yet: it waits for the same commit, without an effect of its own. */
static void go_along(struct shard *shard, struct work *work, struct delivery *delivery)
{
    chain_append(&work->pending, delivery);
    shard_queue_commit(shard, work);
}

static void note_state(struct journal_note *note, const struct position *position)
{
    note->wanted = true;
    note->size = position->size;
    note->average_entry_price = position->average_entry_price;
    note->realized_pnl = position->realized_pnl;
    note->fees_paid = position->fees_paid;
    note->long_size = position->long_size;
    note->short_size = position->short_size;
    note->long_avg_price = position->long_avg_price;
    note->short_avg_price = position->short_avg_price;
    note->version = position->version;
}

static void applied(struct shard *shard, struct work *work, struct delivery *delivery)
{
    delivery->applied = true;
    work->row_changed = true;
    chain_append(&work->pending, delivery);
    atomic_fetch_add_explicit(&shard->settings.board->pending_commits, 1, memory_order_relaxed);
    shard_queue_commit(shard, work);
}

static void changed_by(struct work *work, enum update_source source, const struct delivery *delivery)
{
    work->source = (uint8_t)source;
    memcpy(work->trace_id, delivery->trace_id, sizeof work->trace_id);
}

/* ---- market events ---- */

static void log_size_discrepancy(const struct delivery *delivery, const struct market_effect *effect)
{
    char stored[DECIMAL_TEXT_LEN_MAX];
    char said[DECIMAL_TEXT_LEN_MAX];
    (void)decimal_format(effect->size_stored, 1, stored);
    (void)decimal_format(effect->size_said, 1, said);
    metric_add(METRIC_SIZE_DISCREPANCIES, 1);
    LOG_EVENT(LOG_LEVEL_WARNING, "size_discrepancy", delivery->trace_id, log_text("asset", delivery->asset),
              log_text("stored", stored), log_text("said", said), log_bool("taken_over", effect->size_taken));
}

static void note_market(struct work *work, struct delivery *delivery, const struct position *before,
                        const struct market_effect *effect)
{
    if (!effect->size_taken && !effect->average_taken && !effect->realized_stated)
        return;
    const struct market_event *event = &delivery->said.market;
    delivery->journal = (struct journal_note){
        .source = SOURCE_WEBSOCKET,
        .quantity = effect->size_taken ? decimal_from_units(work->now.size.units - before->size.units) : DECIMAL_NONE,
        .price = event->average_price,
        .fees = DECIMAL_ZERO,
        .at_us = event->at_us == TIME_NONE ? delivery->received_wall_us : event->at_us,
    };
    if (!decimal_is_none(delivery->journal.quantity) && !decimal_is_in_range(delivery->journal.quantity.units))
        delivery->journal.quantity = DECIMAL_NONE; /* from one end of the range to the other: the sizes tell */
    note_state(&delivery->journal, &work->now);
}

/*
 * A market event that changes nothing needs no announcement, unless it comes again after a lost connection or a crash:
 * its change may have been committed then and not announced, so the present state is.
 */
static void settle_without_effect(struct shard *shard, struct work *work, struct delivery *delivery)
{
    if (delivery->redelivered && (!chain_is_empty(&work->pending) || work->commit_in_flight)) {
        go_along(shard, work, delivery);
        return;
    }
    if (!delivery->redelivered || !work->row_exists) {
        shard_settle(shard, delivery);
        return;
    }
    chain_append(&work->settling, delivery);
    shard_announce_later(shard, work, delivery);
}

/*
 * Whether a delivery may be refused for the state it meets. What is not committed yet may be a repeat of before a
 * crash, whose effect is taken out again: then it would be refused for something that never was.
 */
static bool is_state_certain(const struct work *work)
{
    return !work->row_changed && !work->commit_in_flight;
}

static enum admission admit_market(struct shard *shard, struct work *work, struct delivery *delivery)
{
    struct market_effect effect;
    memset(&effect, 0, sizeof effect);
    const char *field = NULL;
    struct position before = work->now;
    enum status status = position_apply_market(&before, &delivery->said.market, &shard->settings.market,
                                               shard->now.wall_us, &work->now, &effect, &field);
    if (status_is_refusal(status)) {
        if (!is_state_certain(work))
            return MUST_WAIT;
        shard_refuse(shard, delivery, status, field);
        return ADMITTED;
    }
    if (status == STATUS_STALE || status == STATUS_REPEAT || status == STATUS_IGNORED) {
        metric_add(status == STATUS_STALE    ? METRIC_MARKET_STALE
                   : status == STATUS_REPEAT ? METRIC_MARKET_REPEATED
                                             : METRIC_MARKET_UNCHANGED,
                   1);
        settle_without_effect(shard, work, delivery);
        return ADMITTED;
    }
    pm_assert(status == STATUS_OK || status == STATUS_UNCHANGED);
    if (effect.size_differs && !delivery->told) {
        delivery->told = true;
        log_size_discrepancy(delivery, &effect);
        if (!effect.size_taken)
            shard_want_validation(shard, delivery);
    }
    delivery->journal.wanted = false;
    if (status == STATUS_OK) {
        note_market(work, delivery, &before, &effect);
        changed_by(work, SOURCE_WEBSOCKET, delivery);
    }
    applied(shard, work, delivery);
    return ADMITTED;
}

/* ---- executions ---- */

/* Whether the execution's identity was seen before, and what follows. Returns true if it was disposed of. */
static bool admit_known_identity(struct shard *shard, struct work *work, struct delivery *delivery)
{
    if (delivery->identity[0] == '\0')
        return false;
    uint64_t fingerprint = delivery->known_fingerprint;
    if (delivery->identity_known || identities_find_recent(shard->identities, delivery->identity_hash, &fingerprint)) {
        if (delivery->identity_known)
            identities_add_recent(shard->identities, delivery->identity_hash, fingerprint);
        shard_admit_joined(shard, delivery);
        if (fingerprint == delivery->fingerprint)
            accept_repeat(shard, work, delivery);
        else
            shard_refuse(shard, delivery, STATUS_IDENTITY_CONFLICT, "identity");
        return true;
    }
    struct delivery *pending = identities_find_pending(shard->identities, delivery);
    if (pending == NULL)
        return false;
    delivery->head.next = pending->joined == NULL ? NULL : &pending->joined->head;
    pending->joined = delivery;
    return true;
}

static void note_execution(struct work *work, struct delivery *delivery)
{
    const struct fill *fill = &delivery->fill;
    struct decimal signed_quantity = fill->side == SIDE_SELL ? decimal_negate(fill->quantity) : fill->quantity;
    delivery->journal = (struct journal_note){
        .source = SOURCE_ORDER_EXECUTION,
        .quantity = signed_quantity,
        .price = fill_price(fill),
        .fees = fill->fees,
        .at_us = fill->executed_at_us,
    };
    note_state(&delivery->journal, &work->now);
}

static enum admission admit_execution(struct shard *shard, struct work *work, struct delivery *delivery)
{
    if (admit_known_identity(shard, work, delivery))
        return ADMITTED;
    struct order_total before = ORDER_TOTAL_ZERO;
    if (delivery->order_key[0] != '\0') {
        if (delivery->order == NULL)
            delivery->order = orders_get(shard->orders, delivery);
        if (delivery->said.execution.cumulative && !order_is_known(delivery->order)) {
            if (!delivery->looked_up)
                return MUST_ASK;
            order_set_committed(delivery->order, &delivery->order_before);
        }
        before = order_total_now(delivery->order);
    }
    struct order_total after;
    const char *field = "fees"; /* of what was decoded, nothing else can be wrong with an order's totals */
    enum status status = fill_from_execution(&delivery->said.execution, &before, &delivery->fill, &after);
    if (status == STATUS_REPEAT) {
        /* The total has it already. Before it is dropped: is its identity known with another content? */
        if (!delivery->looked_up && delivery->identity[0] != '\0')
            return MUST_ASK;
        if (chain_is_empty(&work->pending) && !work->commit_in_flight) {
            accept_repeat(shard, work, delivery);
            return ADMITTED;
        }
        go_along(shard, work, delivery);
        return ADMITTED;
    }
    if (status == STATUS_OK)
        status = position_apply_fill(&work->now, &delivery->fill, shard->now.wall_us, &work->now, &field);
    if (status != STATUS_OK) {
        /* One that was counted before no longer fits what it made of the position: then it is a repeat. */
        if (!delivery->looked_up && delivery->identity[0] != '\0')
            return MUST_ASK;
        if (!is_state_certain(work))
            return MUST_WAIT;
        shard_refuse(shard, delivery, status, field);
        return ADMITTED;
    }
    if (delivery->order != NULL)
        order_apply(delivery->order, &delivery->fill);
    if (delivery->identity[0] != '\0')
        identities_add_pending(shard->identities, delivery);
    else
        work->now.announcement_due = true; /* if it comes again, it does not stand for this change */
    note_execution(work, delivery);
    changed_by(work, SOURCE_ORDER_EXECUTION, delivery);
    applied(shard, work, delivery);
    return ADMITTED;
}

/* ---- wishes of the service's own ---- */

static void note_correction(struct work *work, struct delivery *delivery, const struct position *before)
{
    int128 moved = work->now.size.units - before->size.units;
    delivery->journal = (struct journal_note){
        .source = SOURCE_VALIDATION,
        .quantity = moved != 0 && decimal_is_in_range(moved) ? decimal_from_units(moved) : DECIMAL_NONE,
        .price = delivery->said.correction.average_price,
        .fees = DECIMAL_ZERO,
        .at_us = work->now.last_updated_us,
    };
    note_state(&delivery->journal, &work->now);
}

static void admit_wish(struct shard *shard, struct work *work, struct delivery *delivery)
{
    struct position before = work->now;
    bool changed = false;
    const char *field = NULL;
    enum status status = shard_apply_wish(shard, work, delivery, &changed, &field);
    if (!changed) {
        shard->held_count--;
        shard_wish_done(delivery, status == STATUS_UNCHANGED ? STATUS_OK : status);
        return;
    }
    if (status == STATUS_OK) {
        work->now.announcement_due = true;
        changed_by(work, delivery->kind == DELIVERY_CORRECTION ? SOURCE_VALIDATION : SOURCE_PRICE_API, delivery);
        if (delivery->kind == DELIVERY_CORRECTION)
            note_correction(work, delivery, &before);
    }
    applied(shard, work, delivery);
}

static enum admission try_admit(struct shard *shard, struct work *work, struct delivery *delivery)
{
    if (delivery->kind == DELIVERY_EXECUTION)
        return admit_execution(shard, work, delivery);
    if (delivery->kind == DELIVERY_MARKET)
        return admit_market(shard, work, delivery);
    admit_wish(shard, work, delivery);
    return ADMITTED;
}

/* Tries one that none before it keeps waiting. False: it is to wait. */
static bool admit_or_ask(struct shard *shard, struct work *work, struct delivery *delivery)
{
    enum admission admission = try_admit(shard, work, delivery);
    if (admission == MUST_ASK)
        shard_queue_lookup(shard, work);
    return admission == ADMITTED;
}

void shard_admit(struct shard *shard, struct delivery *delivery)
{
    struct work *work = shard_work(shard, delivery->asset, delivery_mode(delivery));
    shard_work_pin(work);
    if (work->lookup_in_flight || !chain_is_empty(&work->ahead) || !chain_is_empty(&work->waiting)) {
        chain_append(&work->waiting, delivery); /* behind those before it */
    } else if (!admit_or_ask(shard, work, delivery)) {
        chain_append(&work->waiting, delivery);
    }
    shard_work_unpin(shard, work);
}

void shard_drain_waiting(struct shard *shard, struct work *work)
{
    struct delivery *delivery;
    while ((delivery = chain_take(&work->waiting)) != NULL) {
        if (!admit_or_ask(shard, work, delivery)) {
            chain_prepend(&work->waiting, delivery);
            return;
        }
    }
}

void shard_take_back(struct shard *shard, struct delivery *delivery)
{
    if (!delivery->applied)
        return;
    delivery->applied = false;
    delivery->journal.wanted = false;
    atomic_fetch_sub_explicit(&shard->settings.board->pending_commits, 1, memory_order_relaxed);
    if (delivery->kind != DELIVERY_EXECUTION)
        return;
    if (delivery->order != NULL)
        order_take_back(delivery->order, &delivery->fill);
    if (delivery->identity[0] != '\0')
        identities_remove_pending(shard->identities, delivery);
}

void shard_rebuild(struct shard *shard, struct work *work)
{
    pm_assert(!work->commit_in_flight);
    struct chain again = work->in_flight;
    work->in_flight = (struct chain){NULL, NULL};
    chain_concat(&again, &work->pending);
    for (struct delivery *delivery = again.first; delivery != NULL; delivery = delivery_next(delivery))
        shard_take_back(shard, delivery);
    work->now = work->base;
    work->row_changed = false;
    /* What waits came later, and some of what came in between may be with the committer. */
    struct chain later = work->waiting;
    work->waiting = again;
    shard_drain_waiting(shard, work);
    if (work->lookup_in_flight) {
        chain_concat(&work->waiting, &work->ahead);
        work->ahead = work->waiting;
        work->waiting = later;
    } else {
        bool asks = !chain_is_empty(&work->waiting);
        chain_concat(&work->waiting, &later);
        if (!asks)
            shard_drain_waiting(shard, work);
    }
    if (work->external.wanted)
        shard_queue_commit(shard, work);
}
