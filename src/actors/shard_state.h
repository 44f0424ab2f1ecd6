/*
 * shard_state: the inside of a shard, shared by the files that make it up (shard.c: messages in and the batch's end;
 * shard_apply.c: rules to working state; shard_wish.c: the service's own wishes; shard_commit.c: requests and answers;
 * shard_announce.c: what goes out).
 *
 * Thread: the shard's.
 */
#ifndef PM_SHARD_STATE_H
#define PM_SHARD_STATE_H

#include <stddef.h>

#include "chain.h"
#include "identities.h"
#include "orders.h"
#include "shard.h"

enum { WORK_BUCKETS = 4096 };

/*
 * A position with something going on. It exists from the first delivery that touches an idle position until everything
 * is committed, announced and settled; the committed state is the directory's.
 */
struct work {
    struct work *bucket_next;
    struct position now;       /* committed, with in-flight and pending effects applied */
    struct position accounted; /* as last journalled: what others changed since is told from it */
    struct position base;      /* what a redo starts from: the row as committed, or as found */
    bool row_exists;           /* base is a row of the table */
    bool row_changed;          /* now differs from what is in flight or committed, in any field */
    bool commit_in_flight;
    bool lookup_in_flight;        /* some of its deliveries are with the committer */
    struct chain pending;         /* applied, to go with the next commit */
    struct chain in_flight;       /* applied, in the commit under way */
    struct chain ahead;           /* not applied, before those that are with the committer */
    struct chain waiting;         /* not applied: the database is to be asked, or to answer, first */
    struct chain settling;        /* committed, to be settled by the next announcement */
    struct journal_note external; /* someone else's change, to be journalled with the next commit */

    uint32_t pins; /* held by a function on the stack: not to be released */
    bool in_commit_queue, in_lookup_queue, in_announce_queue;
    struct work *commit_next, *lookup_next, *announce_next;

    uint32_t conflict_tries;
    int64_t not_before_us; /* steady: no commit earlier (back-off after a conflict) */
    bool base_is_old;      /* found before a back-off: to be asked for again before anything is written */

    bool announce_due; /* a committed change, or a repeat, has not been announced */
    bool announcing;   /* an announcement of it is unconfirmed */
    uint8_t source;    /* enum update_source of the last change */
    char trace_id[TRACE_ID_LEN_MAX + 1];
    uint8_t flight_source; /* the same of what is in flight */
    char flight_trace_id[TRACE_ID_LEN_MAX + 1];
    uint8_t committed_source; /* and of the last committed change */
    char committed_trace_id[TRACE_ID_LEN_MAX + 1];
};

/*
 * A first-in-first-out queue of work. A work can be in several at once: next_offset is that of the link which the queue
 * goes through, offsetof(struct work, …_next).
 */
struct work_queue {
    struct work *first, *last;
};

static inline struct work **work_link(struct work *work, size_t next_offset)
{
    return (struct work **)(void *)((char *)work + next_offset);
}

/* It must not be in the queue already. */
static inline void work_queue_append(struct work_queue *queue, struct work *work, size_t next_offset)
{
    *work_link(work, next_offset) = NULL;
    if (queue->last != NULL)
        *work_link(queue->last, next_offset) = work;
    else
        queue->first = work;
    queue->last = work;
}

/* The queue must not be empty. */
static inline struct work *work_queue_take(struct work_queue *queue, size_t next_offset)
{
    struct work *work = queue->first;
    struct work **next = work_link(work, next_offset);
    queue->first = *next;
    if (queue->first == NULL)
        queue->last = NULL;
    *next = NULL;
    return work;
}

struct shard {
    struct shard_settings settings;
    struct work *buckets[WORK_BUCKETS];
    struct work *free_work; /* by bucket_next */
    size_t work_count;
    struct work_queue commit_queue, lookup_queue, announce_queue;
    struct identities *identities;
    struct orders *orders;
    struct commit_request *commit; /* NULL while it is lent */
    bool has_left_over;            /* the last one had no room for all that waited */
    struct lookup_request *lookup; /* NULL while it is lent */
    struct commit_request *commit_memory;
    struct lookup_request *lookup_memory;
    struct validation_wanted *validations;     /* array, VALIDATIONS_WANTED_MAX */
    struct validation_wanted *free_validation; /* by head.next */
    struct announcement *announcements;        /* array, announcement_count */
    struct announcement *free_announcement;    /* by head.next */
    struct totals_token *totals;               /* NULL while it is lent */
    struct totals_token totals_memory;
    bool totals_dirty;
    char totals_trace_id[TRACE_ID_LEN_MAX + 1];
    struct chain settled; /* to go to the consumer at the end of the batch */
    size_t held_count;
    int64_t announce_at_us;    /* steady: until when a busy shard holds back what is in announce_queue */
    int64_t announced_at_us;   /* steady: when announcements went out last */
    int64_t busy_until_us;     /* steady; see shard_is_busy() */
    int64_t commit_sent_at_us; /* steady */
    struct actor_time now;     /* of the batch */
    int64_t deadline_us;       /* the earliest of what waits for time */
};

/* ---- shard.c ---- */
struct work *shard_work(struct shard *shard, const char *asset, enum position_mode mode); /* found or made */
/* Between pin and unpin it stays; unpin gives it back to the pool if nothing is going on with it. */
void shard_work_pin(struct work *work);
void shard_work_unpin(struct shard *shard, struct work *work);
void shard_queue_commit(struct shard *shard, struct work *work);
void shard_queue_lookup(struct shard *shard, struct work *work);
void shard_wake_at(struct shard *shard, int64_t steady_us);
/* Whether it had busy_count deliveries at once, now or within the last announce_hold_us. */
bool shard_is_busy(const struct shard *shard);
/* A trace id for what no message caused. */
void shard_make_trace_id(struct shard *shard, char out[TRACE_ID_LEN_MAX + 1]);

/* ---- shard_wish.c: corrections, prices, snapshot marks (enum delivery_kind) ---- */
bool delivery_is_wish(const struct delivery *delivery);
/* Applies a wish to the working state: STATUS_OK (a new version), STATUS_UNCHANGED (in *changed whether a field is to
 * be written all the same), STATUS_NOT_FOUND, or a refusal with *field. */
enum status shard_apply_wish(struct shard *shard, struct work *work, struct delivery *delivery, bool *changed,
                             const char **field);
/* Sends a wish home with its outcome. */
void shard_wish_done(struct delivery *delivery, enum status outcome);
/* Asks the history to validate a position soon; dropped where it is asked too often. */
void shard_want_validation(struct shard *shard, const struct delivery *delivery);

/* ---- shard_apply.c ---- */
enum position_mode delivery_mode(const struct delivery *delivery);
/* A delivery that came, or that waited for another's outcome: applies it, or lets it wait, or disposes of it. */
void shard_admit(struct shard *shard, struct delivery *delivery);
/* Applies what waits, in order, until one must wait again. */
void shard_drain_waiting(struct shard *shard, struct work *work);
/* Takes every uncommitted effect back and applies the deliveries again on top of work->base. */
void shard_rebuild(struct shard *shard, struct work *work);
/* Undoes what the shard remembers of an applied delivery: pending identity, pending order total. */
void shard_take_back(struct shard *shard, struct delivery *delivery);
/* Gives its order's slot back. */
void shard_put_order(struct shard *shard, struct delivery *delivery);
/* Admits those that waited for its outcome. */
void shard_admit_joined(struct shard *shard, struct delivery *delivery);
/* Sends it to the dead letters; the position stays untouched. Those that waited for its outcome are admitted anew. */
void shard_refuse(struct shard *shard, struct delivery *delivery, enum status reason, const char *field);

/* ---- shard_commit.c ---- */
void shard_send_commits(struct shard *shard);
void shard_send_lookups(struct shard *shard);
void shard_handle_commit(struct shard *shard, struct commit_request *request);
void shard_handle_lookup(struct shard *shard, struct lookup_request *request);

/* ---- shard_announce.c ---- */
/*
 * A change was committed, or a repeat came, that is to be announced; what is in work->settling goes with it. cause
 * gives the trace id where no change did, and may be NULL.
 */
void shard_announce_later(struct shard *shard, struct work *work, const struct delivery *cause);
void shard_send_announcements(struct shard *shard);
void shard_handle_announcement(struct shard *shard, struct announcement *announcement);
/* Settles a delivery that causes no announcement. */
void shard_settle(struct shard *shard, struct delivery *delivery);
void shard_send_settled(struct shard *shard);
/* The part's totals changed: tells the aggregator, or notes it for when the token is home. */
void shard_send_totals(struct shard *shard);

#endif
