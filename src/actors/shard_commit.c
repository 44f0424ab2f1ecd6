/*
 * shard_commit.c: what the committer is asked, and what its answers mean.
 */
#include <string.h>

#include "check.h"
#include "fail_point.h"
#include "log.h"
#include "metrics.h"
#include "shard_state.h"

/* ---- requests ---- */

/* Repeats that only waited for what they repeat: nothing to write, so they are settled by the next announcement. */
static void settle_repeats(struct shard *shard, struct work *work)
{
    struct delivery *delivery;
    while ((delivery = chain_take(&work->pending)) != NULL) {
        pm_assert(!delivery->applied);
        if (delivery->kind == DELIVERY_EXECUTION)
            metric_add(METRIC_EXECUTIONS_REPEATED, 1);
        shard_put_order(shard, delivery);
        chain_append(&work->settling, delivery);
    }
    if (!chain_is_empty(&work->settling))
        shard_announce_later(shard, work, work->settling.first);
}

static void add_item(struct shard *shard, struct work *work)
{
    struct commit_item *item = &shard->commit->items[shard->commit->count++];
    item->row = work->now;
    item->expected_version = work->base.version;
    item->insert = !work->row_exists;
    item->reload = work->base_is_old;
    work->base_is_old = false;
    item->external = work->external;
    item->entry = work;
    item->outcome = COMMIT_REDO;
    work->in_flight = work->pending;
    work->pending = (struct chain){NULL, NULL};
    item->deliveries = work->in_flight.first;
    for (struct delivery *delivery = item->deliveries; delivery != NULL; delivery = delivery_next(delivery)) {
        delivery->looked_up = false; /* from here on: whether the committer asked again */
        shard->commit->delivery_count++;
    }
    work->commit_in_flight = true;
    work->row_changed = false;
    if (item->row.version == item->expected_version) /* what can be announced is someone else's change alone */
        work->source = SOURCE_VALIDATION;
    if (work->trace_id[0] == '\0')
        shard_make_trace_id(shard, work->trace_id);
    work->flight_source = work->source;
    memcpy(work->flight_trace_id, work->trace_id, sizeof work->flight_trace_id);
}

static bool is_full(const struct shard *shard)
{
    const struct commit_request *request = shard->commit;
    return request->count == COMMIT_ITEMS_MAX || request->delivery_count >= shard->settings.commit_deliveries_max;
}

/*
 * Each transaction and each row of it costs the database as much as several events. So a busy shard commits at most
 * once from one whole multiple of commit_pace_us to the next, as a rule at the multiple: a commit carries more events
 * of each row, and busy shards, which all come to the same moments, share a transaction. Not while the last request had
 * no room for all that waited, nor while so many deliveries wait that the broker would run out of credit: then waiting
 * saves nothing.
 */
static bool is_paced(const struct shard *shard)
{
    return shard_is_busy(shard) && !shard->has_left_over && shard->held_count < shard->settings.full_count;
}

/* The last moment at that time. */
static int64_t moment_of(const struct shard *shard, int64_t steady_us)
{
    return steady_us / shard->settings.commit_pace_us * shard->settings.commit_pace_us;
}

static bool waits_for_moment(struct shard *shard)
{
    const int64_t next_us = moment_of(shard, shard->commit_sent_at_us) + shard->settings.commit_pace_us;
    if (!is_paced(shard) || shard->now.steady_us >= next_us)
        return false;
    shard_wake_at(shard, next_us);
    return true;
}

void shard_send_commits(struct shard *shard)
{
    if (shard->commit == NULL || shard->commit_queue.first == NULL || waits_for_moment(shard))
        return;
    shard->commit->moment_us = is_paced(shard) ? moment_of(shard, shard->now.steady_us) : 0;
    shard->commit->count = shard->commit->delivery_count = 0;
    struct work *last = shard->commit_queue.last;
    shard->has_left_over = true;
    while (shard->has_left_over && !is_full(shard)) {
        struct work *work = work_queue_take(&shard->commit_queue, offsetof(struct work, commit_next));
        shard->has_left_over = work != last;
        work->in_commit_queue = false;
        pm_assert(!work->commit_in_flight); /* the one request is home */
        shard_work_pin(work);
        if (work->not_before_us > shard->now.steady_us) {
            shard_queue_commit(shard, work);
            shard_wake_at(shard, work->not_before_us);
        } else if (work->row_changed || work->external.wanted) {
            add_item(shard, work);
        } else {
            settle_repeats(shard, work);
        }
        shard_work_unpin(shard, work);
    }
    if (shard->commit->count == 0)
        return;
    struct message *message = &shard->commit->head;
    shard->commit = NULL;
    shard->commit_sent_at_us = shard->now.steady_us;
    mailbox_send_reserved(shard->settings.committer.mailbox, shard->settings.committer.lane, &message);
}

void shard_send_lookups(struct shard *shard)
{
    if (shard->lookup == NULL || shard->lookup_queue.first == NULL)
        return;
    struct chain asked = {NULL, NULL};
    while (shard->lookup_queue.first != NULL) {
        struct work *work = work_queue_take(&shard->lookup_queue, offsetof(struct work, lookup_next));
        work->in_lookup_queue = false;
        shard_work_pin(work);
        work->lookup_in_flight = !chain_is_empty(&work->waiting); /* a redo may have emptied it meanwhile */
        chain_concat(&asked, &work->waiting);
        shard_work_unpin(shard, work);
    }
    if (chain_is_empty(&asked))
        return;
    struct message *message = &shard->lookup->head;
    shard->lookup->deliveries = asked.first;
    shard->lookup = NULL;
    mailbox_send_reserved(shard->settings.committer.mailbox, shard->settings.committer.lane, &message);
}

/* ---- answers ---- */

void shard_handle_lookup(struct shard *shard, struct lookup_request *request)
{
    shard->lookup = request;
    struct chain answered = chain_of(request->deliveries);
    request->deliveries = NULL;
    struct delivery *delivery;
    while ((delivery = chain_take(&answered)) != NULL) {
        enum position_mode mode = delivery_mode(delivery);
        struct work *work = shard_work(shard, delivery->asset, mode);
        /* The answered ones of this position stand together and before whatever came meanwhile. */
        struct chain later = work->waiting;
        work->waiting = work->ahead;
        work->ahead = (struct chain){NULL, NULL};
        chain_append(&work->waiting, delivery);
        while (answered.first != NULL && strcmp(answered.first->asset, delivery->asset) == 0 &&
               delivery_mode(answered.first) == mode)
            chain_append(&work->waiting, chain_take(&answered));
        chain_concat(&work->waiting, &later);
        work->lookup_in_flight = false;
        shard_work_pin(work);
        shard_drain_waiting(shard, work);
        shard_work_unpin(shard, work);
    }
}

static void log_change(const struct work *work, const struct position *row, int32_t changes)
{
    if (!log_is_enabled(LOG_LEVEL_INFO))
        return;
    char size[DECIMAL_TEXT_LEN_MAX];
    char realized[DECIMAL_TEXT_LEN_MAX];
    (void)decimal_format(row->size, 1, size);
    (void)decimal_format(row->realized_pnl, 2, realized);
    LOG_EVENT(LOG_LEVEL_INFO, "position_changed", work->committed_trace_id, log_text("asset", row->asset),
              log_text("mode", position_mode_word(row->mode)), log_int("version", row->version),
              log_int("changes", changes), log_text("size", size), log_text("realized_pnl", realized),
              log_text("source", update_source_word(work->committed_source)));
}

/* A delivery whose effect is durable now. */
static void settle_committed(struct shard *shard, struct work *work, struct delivery *delivery, bool announced)
{
    bool was_applied = delivery->applied;
    if (was_applied) {
        atomic_fetch_sub_explicit(&shard->settings.board->pending_commits, 1, memory_order_relaxed);
        int64_t delay_us = shard->now.steady_us - delivery->received_steady_us;
        histogram_observe(HISTOGRAM_EVENT_VISIBLE_SECONDS, delay_us > 0 ? (uint64_t)delay_us : 0);
    }
    if (delivery_is_wish(delivery)) {
        shard->held_count--;
        shard_wish_done(delivery, STATUS_OK);
        return;
    }
    if (delivery->kind == DELIVERY_EXECUTION) {
        metric_add(was_applied ? METRIC_EXECUTIONS_APPLIED : METRIC_EXECUTIONS_REPEATED, 1);
        if (was_applied && delivery->order != NULL)
            order_commit(delivery->order, &delivery->fill);
        if (was_applied && delivery->identity[0] != '\0') {
            identities_remove_pending(shard->identities, delivery);
            identities_add_recent(shard->identities, delivery->identity_hash, delivery->fingerprint);
        }
        shard_put_order(shard, delivery);
    } else if (was_applied) {
        metric_add(announced ? METRIC_MARKET_APPLIED : METRIC_MARKET_UNCHANGED, 1);
    }
    delivery->applied = false;
    shard_admit_joined(shard, delivery);
    if (announced || delivery->kind == DELIVERY_EXECUTION || delivery->redelivered) /* see settle_without_effect */
        chain_append(&work->settling, delivery);
    else
        shard_settle(shard, delivery);
}

/* What the database said of an order before this commit is not its total any more. */
static void forget_answers(const struct chain *deliveries)
{
    for (struct delivery *delivery = deliveries->first; delivery != NULL; delivery = delivery_next(delivery))
        delivery->looked_up = false;
}

static void commit_done(struct shard *shard, struct work *work, const struct commit_item *item)
{
    const struct position *row = &item->row;
    int32_t changes = row->version - work->base.version;
    bool announced = changes != 0 || item->external.wanted;
    work->base = work->accounted = *row;
    work->row_exists = true;
    work->external.wanted = false;
    work->conflict_tries = 0;
    work->not_before_us = 0;
    FAIL_POINT(FAIL_POINT_BEFORE_VIEW, -1);
    (void)directory_publish(shard->settings.part, row);
    if (announced) {
        shard->totals_dirty = true;
        work->committed_source = work->flight_source;
        memcpy(work->committed_trace_id, work->flight_trace_id, sizeof work->committed_trace_id);
        memcpy(shard->totals_trace_id, work->flight_trace_id, sizeof shard->totals_trace_id);
        log_change(work, row, changes);
        if (work->announce_due)
            metric_add(METRIC_ANNOUNCEMENTS_CONFLATED, 1);
    }
    struct chain committed = work->in_flight;
    work->in_flight = (struct chain){NULL, NULL};
    struct delivery *delivery;
    while ((delivery = chain_take(&committed)) != NULL)
        settle_committed(shard, work, delivery, announced);
    if (announced || !chain_is_empty(&work->settling))
        shard_announce_later(shard, work, work->settling.first);
    if (!chain_is_empty(&work->pending))
        shard_queue_commit(shard, work);
    forget_answers(&work->ahead);
    forget_answers(&work->waiting);
    if (!work->lookup_in_flight) /* what waited for this commit's outcome */
        shard_drain_waiting(shard, work);
}

/* Takes over the order totals that the committer read again. */
static void refresh_orders(const struct chain *deliveries)
{
    for (struct delivery *delivery = deliveries->first; delivery != NULL; delivery = delivery_next(delivery))
        if (delivery->kind == DELIVERY_EXECUTION && delivery->order != NULL && delivery->looked_up)
            order_set_committed(delivery->order, &delivery->order_before);
}

static void commit_redo(struct shard *shard, struct work *work)
{
    refresh_orders(&work->in_flight);
    shard_rebuild(shard, work);
}

/* The row as someone else left it is where the events start from again; what differs is journalled as theirs. */
static void take_found(struct shard *shard, struct work *work, const struct commit_item *item)
{
    struct position found = work->base;
    if (item->found_exists) {
        found = item->found;
    } else {
        /* Someone deleted the row: it is flat again under its old identifier, and its versions go on. */
        position_init(&found, work->base.asset, work->base.mode, work->base.id, shard->now.wall_us);
        found.version = work->base.version;
    }
    work->external.wanted = false;
    if (!position_is_same_figures(&found, &work->accounted)) {
        int128 fees_units = found.fees_paid.units - work->accounted.fees_paid.units;
        work->external = (struct journal_note){
            .wanted = true,
            .source = SOURCE_EXTERNAL,
            .quantity = DECIMAL_NONE,
            .price = DECIMAL_NONE,
            .fees = decimal_is_in_range(fees_units) ? decimal_from_units(fees_units) : DECIMAL_NONE,
            .at_us = shard->now.wall_us,
            .size = found.size,
            .average_entry_price = found.average_entry_price,
            .realized_pnl = found.realized_pnl,
            .fees_paid = found.fees_paid,
            .long_size = found.long_size,
            .short_size = found.short_size,
            .long_avg_price = found.long_avg_price,
            .short_avg_price = found.short_avg_price,
            .version = found.version,
        };
        found.announcement_due = true; /* nobody would send it again */
    }
    work->base = found;
    work->row_exists = item->found_exists;
    if (item->found_exists) {
        (void)directory_publish(shard->settings.part, &found);
        shard->totals_dirty = true;
        memcpy(shard->totals_trace_id, work->flight_trace_id, sizeof shard->totals_trace_id);
    }
}

/*
 * Tries again with back-off what is in flight, on top of work->base; when all tries are used up it is refused, after
 * the rest was applied without it, so that what waited for its outcome is tried against the right state.
 */
static void try_again(struct shard *shard, struct work *work)
{
    struct chain failed = {NULL, NULL};
    if (work->conflict_tries > shard->settings.conflict_tries_max) {
        failed = work->in_flight;
        work->in_flight = (struct chain){NULL, NULL};
        for (struct delivery *delivery = failed.first; delivery != NULL; delivery = delivery_next(delivery))
            shard_take_back(shard, delivery);
        work->conflict_tries = 0;
        work->not_before_us = 0;
    } else {
        metric_add(METRIC_CONFLICT_RETRIES, 1);
        work->not_before_us =
            shard->now.steady_us + (shard->settings.conflict_backoff_us << (work->conflict_tries - 1));
    }
    shard_rebuild(shard, work);
    struct delivery *delivery;
    while ((delivery = chain_take(&failed)) != NULL)
        shard_refuse(shard, delivery, STATUS_VERSION_CONFLICT, "version");
}

/*
 * Whether the row that was found is the one to be written: the group was committed, nobody could tell, and it was done
 * again (committer.h). Then nothing is left to do, and nobody else has changed anything.
 */
static bool is_written_already(const struct commit_item *item)
{
    if (!item->found_exists || item->found.version != item->row.version ||
        item->found.last_updated_us != item->row.last_updated_us || !uuid_is_equal(&item->found.id, &item->row.id) ||
        !position_is_same_figures(&item->found, &item->row))
        return false;
    for (const struct delivery *delivery = item->deliveries; delivery != NULL; delivery = delivery_next(delivery))
        if (delivery->kind == DELIVERY_EXECUTION && delivery->applied && delivery->identity[0] != '\0' &&
            !(delivery->identity_known && delivery->known_fingerprint == delivery->fingerprint))
            return false;
    return true;
}

/* What was known of the row, and of its events' orders, is old. */
static void start_from_found(struct shard *shard, struct work *work, const struct commit_item *item)
{
    for (struct delivery *delivery = work->pending.first; delivery != NULL; delivery = delivery_next(delivery)) {
        if (delivery->kind == DELIVERY_EXECUTION && delivery->order != NULL)
            order_forget(delivery->order);
        delivery->looked_up = false;
    }
    refresh_orders(&work->in_flight);
    orders_drop_cached(shard->orders);
    take_found(shard, work, item);
}

static void commit_conflict(struct shard *shard, struct work *work, const struct commit_item *item)
{
    if (is_written_already(item)) {
        commit_done(shard, work, item);
        return;
    }
    metric_add(METRIC_CONFLICTS, 1);
    work->conflict_tries++;
    LOG_EVENT(LOG_LEVEL_WARNING, "position_conflict", work->flight_trace_id, log_text("asset", work->now.asset),
              log_text("mode", position_mode_word(work->now.mode)), log_int("expected_version", item->expected_version),
              log_int("found_version", item->found_exists ? item->found.version : -1),
              log_int("tries", work->conflict_tries),
              log_bool("given_up", work->conflict_tries > shard->settings.conflict_tries_max));
    start_from_found(shard, work, item);
    try_again(shard, work);
    work->base_is_old = work->not_before_us > shard->now.steady_us;
}

/* After a back-off: the row has changed once more meanwhile. The try that was waited for begins from there. */
static void reload_found(struct shard *shard, struct work *work, const struct commit_item *item)
{
    start_from_found(shard, work, item);
    shard_rebuild(shard, work);
}

/* The row cannot be written as it is, for a reason of the database's or of somebody's hand in it. */
static void commit_refused(struct shard *shard, struct work *work)
{
    work->conflict_tries++;
    LOG_EVENT(LOG_LEVEL_ERROR, "position_not_written", work->flight_trace_id, log_text("asset", work->now.asset),
              log_text("mode", position_mode_word(work->now.mode)), log_int("tries", work->conflict_tries),
              log_bool("given_up", work->conflict_tries > shard->settings.conflict_tries_max));
    refresh_orders(&work->in_flight);
    try_again(shard, work);
}

void shard_handle_commit(struct shard *shard, struct commit_request *request)
{
    shard->commit = request;
    for (size_t i = 0; i < request->count; i++) {
        struct commit_item *item = &request->items[i];
        struct work *work = item->entry;
        work->commit_in_flight = false;
        shard_work_pin(work);
        switch (item->outcome) {
        case COMMIT_DONE:
            commit_done(shard, work, item);
            break;
        case COMMIT_REDO:
            commit_redo(shard, work);
            break;
        case COMMIT_REFUSED:
            commit_refused(shard, work);
            break;
        case COMMIT_CONFLICT:
            (item->reload ? reload_found : commit_conflict)(shard, work, item);
            break;
        }
        shard_work_unpin(shard, work);
    }
}
