/*
 * shard.c: what comes in, and what is sent at the end of a batch.
 */
#include "shard.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "shard_state.h"

enum {
    RECENT_IDENTITIES_MAX = 65536,
    CACHED_ORDERS_MAX = 8192,
    BUSY_GATHER_US = 2000, /* a busy shard keeps its moments; all that comes by message may gather for so long */
};

/* ---- lifecycle ---- */

struct shard *shard_create(const struct shard_settings *settings)
{
    pm_assert(settings->announcement_count > 0);
    pm_assert(settings->commit_pace_us > 0 && settings->announce_hold_us > 0 &&
              settings->announce_hold_us % settings->commit_pace_us == 0);
    struct shard *shard = calloc(1, sizeof *shard);
    pm_assert(shard != NULL);
    shard->settings = *settings;
    shard->identities = identities_create(RECENT_IDENTITIES_MAX);
    shard->orders = orders_create(CACHED_ORDERS_MAX);
    shard->commit = shard->commit_memory = calloc(1, sizeof *shard->commit_memory);
    shard->lookup = shard->lookup_memory = calloc(1, sizeof *shard->lookup_memory);
    shard->announcements = calloc(settings->announcement_count, sizeof *shard->announcements);
    pm_assert(shard->commit != NULL && shard->lookup != NULL && shard->announcements != NULL);
    shard->commit->head.type = MESSAGE_COMMIT;
    shard->lookup->head.type = MESSAGE_LOOKUP;
    shard->commit->shard = shard->lookup->shard = settings->index;
    for (uint32_t i = 0; i < settings->announcement_count; i++) {
        struct announcement *announcement = &shard->announcements[i];
        announcement->head.type = MESSAGE_ANNOUNCEMENT;
        announcement->shard = settings->index;
        announcement->head.next = shard->free_announcement == NULL ? NULL : &shard->free_announcement->head;
        shard->free_announcement = announcement;
    }
    shard->validations = calloc(VALIDATIONS_WANTED_MAX, sizeof *shard->validations);
    pm_assert(shard->validations != NULL);
    for (size_t i = 0; i < VALIDATIONS_WANTED_MAX; i++) {
        struct validation_wanted *wanted = &shard->validations[i];
        wanted->head.type = MESSAGE_VALIDATION_WANTED;
        wanted->shard = settings->index;
        wanted->head.next = shard->free_validation == NULL ? NULL : &shard->free_validation->head;
        shard->free_validation = wanted;
    }
    shard->totals = &shard->totals_memory;
    shard->totals->head.type = MESSAGE_TOTALS;
    shard->totals->shard = settings->index;
    return shard;
}

void shard_destroy(struct shard *shard)
{
    if (shard == NULL)
        return;
    for (size_t i = 0; i < WORK_BUCKETS; i++) {
        while (shard->buckets[i] != NULL) {
            struct work *work = shard->buckets[i];
            shard->buckets[i] = work->bucket_next;
            free(work);
        }
    }
    while (shard->free_work != NULL) {
        struct work *work = shard->free_work;
        shard->free_work = work->bucket_next;
        free(work);
    }
    identities_destroy(shard->identities);
    orders_destroy(shard->orders);
    free(shard->commit_memory);
    free(shard->lookup_memory);
    free(shard->announcements);
    free(shard->validations);
    free(shard);
}

void shard_make_trace_id(struct shard *shard, char out[TRACE_ID_LEN_MAX + 1])
{
    struct uuid uuid = shard->settings.new_uuid(shard->settings.new_uuid_context);
    uuid_format(&uuid, out);
    out[UUID_TEXT_LEN] = '\0';
}

void shard_load(struct shard *shard, const struct position *position)
{
    (void)directory_publish(shard->settings.part, position);
    /* The run before may have ended between a commit and the portfolio_updated that counts it. */
    if (!shard->totals_dirty)
        shard_make_trace_id(shard, shard->totals_trace_id);
    shard->totals_dirty = true;
    if (!position->announcement_due)
        return;
    struct work *work = shard_work(shard, position->asset, position->mode);
    work->base = work->now = work->accounted = *position; /* an earlier call may have brought an older state */
    work->row_exists = true;
    work->committed_source = SOURCE_VALIDATION;
    shard_make_trace_id(shard, work->committed_trace_id);
    shard_announce_later(shard, work, NULL);
}

size_t shard_held_count(const struct shard *shard)
{
    return shard->held_count;
}

/* ---- work ---- */

static size_t work_bucket(const char *asset, enum position_mode mode)
{
    return (size_t)((xhash64(asset, strlen(asset)) + (uint64_t)mode) % WORK_BUCKETS);
}

static struct work *work_begin(struct shard *shard, const char *asset, enum position_mode mode)
{
    struct work *work = shard->free_work;
    if (work != NULL)
        shard->free_work = work->bucket_next;
    else
        work = malloc(sizeof *work);
    pm_assert(work != NULL);
    *work = (struct work){.row_exists = false};
    const struct directory_slot *slot = directory_part_find(shard->settings.part, asset, mode);
    if (slot != NULL) {
        work->base = *directory_slot_position(slot);
        work->row_exists = true;
    } else {
        position_init(&work->base, asset, mode, shard->settings.new_uuid(shard->settings.new_uuid_context),
                      shard->now.wall_us);
    }
    work->now = work->accounted = work->base;
    shard->work_count++;
    return work;
}

struct work *shard_work(struct shard *shard, const char *asset, enum position_mode mode)
{
    struct work **bucket = &shard->buckets[work_bucket(asset, mode)];
    struct work *work = *bucket;
    while (work != NULL && !(work->now.mode == mode && strcmp(work->now.asset, asset) == 0))
        work = work->bucket_next;
    if (work == NULL) {
        work = work_begin(shard, asset, mode);
        work->bucket_next = *bucket;
        *bucket = work;
    }
    return work;
}

static bool work_is_idle(const struct work *work)
{
    return chain_is_empty(&work->pending) && chain_is_empty(&work->in_flight) && chain_is_empty(&work->waiting) &&
           chain_is_empty(&work->ahead) && chain_is_empty(&work->settling) && !work->lookup_in_flight &&
           !work->commit_in_flight && !work->announcing && !work->announce_due && !work->in_commit_queue &&
           !work->in_lookup_queue && !work->in_announce_queue && work->pins == 0;
}

void shard_work_pin(struct work *work)
{
    work->pins++;
}

void shard_work_unpin(struct shard *shard, struct work *work)
{
    pm_assert(work->pins > 0);
    work->pins--;
    if (!work_is_idle(work))
        return;
    struct work **link = &shard->buckets[work_bucket(work->now.asset, work->now.mode)];
    while (*link != work)
        link = &(*link)->bucket_next;
    *link = work->bucket_next;
    work->bucket_next = shard->free_work;
    shard->free_work = work;
    shard->work_count--;
}

void shard_queue_commit(struct shard *shard, struct work *work)
{
    if (work->in_commit_queue)
        return;
    work->in_commit_queue = true;
    work_queue_append(&shard->commit_queue, work, offsetof(struct work, commit_next));
}

void shard_queue_lookup(struct shard *shard, struct work *work)
{
    if (work->in_lookup_queue)
        return;
    work->in_lookup_queue = true;
    work_queue_append(&shard->lookup_queue, work, offsetof(struct work, lookup_next));
}

void shard_wake_at(struct shard *shard, int64_t steady_us)
{
    if (steady_us < shard->deadline_us)
        shard->deadline_us = steady_us;
}

bool shard_is_busy(const struct shard *shard)
{
    return shard->now.steady_us < shard->busy_until_us;
}

/* ---- messages ---- */

static void handle_delivery(struct shard *shard, struct delivery *delivery)
{
    delivery->joined = NULL;
    delivery->order = NULL;
    delivery->applied = false;
    delivery->told = false;
    delivery->looked_up = false;
    delivery->identity_known = false;
    delivery->journal.wanted = false;
    delivery->refusal = STATUS_OK;
    delivery->refusal_field = NULL;
    if (delivery->identity[0] != '\0')
        delivery->identity_hash = xhash128(delivery->identity, strlen(delivery->identity));
    shard->held_count++;
    shard_admit(shard, delivery);
}

static void dispatch(struct shard *shard, struct message *message)
{
    switch ((enum message_type)message->type) {
    case MESSAGE_DELIVERY:
        handle_delivery(shard, (struct delivery *)message);
        return;
    case MESSAGE_COMMIT:
        shard_handle_commit(shard, (struct commit_request *)message);
        return;
    case MESSAGE_LOOKUP:
        shard_handle_lookup(shard, (struct lookup_request *)message);
        return;
    case MESSAGE_ANNOUNCEMENT:
        shard_handle_announcement(shard, (struct announcement *)message);
        return;
    case MESSAGE_TOTALS:
        shard->totals = (struct totals_token *)message;
        return;
    case MESSAGE_VALIDATION_WANTED:
        message->next = shard->free_validation == NULL ? NULL : &shard->free_validation->head;
        shard->free_validation = (struct validation_wanted *)message;
        return;
    case MESSAGE_DEAD_LETTER:
    case MESSAGE_SETTLED:
    case MESSAGE_PORTFOLIO:
    case MESSAGE_HISTORY:
    case MESSAGE_SNAPSHOT:
        break;
    }
    pm_assert(!"a message that no shard is sent");
}

struct actor_plan shard_receive(void *actor, struct message **batch, size_t count, struct actor_time now)
{
    struct shard *shard = actor;
    shard->now = now;
    shard->deadline_us = ACTOR_NO_DEADLINE;
    for (size_t i = 0; i < count; i++)
        dispatch(shard, batch[i]);
    if (shard->held_count >= shard->settings.busy_count)
        shard->busy_until_us = now.steady_us + shard->settings.announce_hold_us;
    shard_send_lookups(shard);
    shard_send_commits(shard);
    shard_send_totals(shard);
    shard_send_announcements(shard);
    shard_send_settled(shard);
    return (struct actor_plan){.deadline_us = shard->deadline_us,
                               .gather_us = shard_is_busy(shard) ? BUSY_GATHER_US : 0};
}

static size_t chain_count(const struct chain *chain)
{
    size_t count = 0;
    for (const struct delivery *delivery = chain->first; delivery != NULL; delivery = delivery_next(delivery))
        count++;
    return count;
}

void shard_check(const struct shard *shard)
{
    size_t works = 0;
    size_t in_flight = 0;
    for (size_t i = 0; i < WORK_BUCKETS; i++) {
        for (const struct work *work = shard->buckets[i]; work != NULL; work = work->bucket_next) {
            works++;
            in_flight += chain_count(&work->in_flight);
            position_check(&work->now);
            pm_assert(!work_is_idle(work));
            pm_assert(work->commit_in_flight || chain_is_empty(&work->in_flight));
            pm_assert(work->now.version >= work->base.version);
        }
    }
    pm_assert(works == shard->work_count);
    pm_assert(in_flight <= shard->held_count);
    pm_assert(chain_is_empty(&shard->settled));
}
