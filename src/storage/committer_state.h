/*
 * committer_state: what the committer's files share. Nobody outside of committer*.c includes it.
 *
 * committer.c: the thread, its mailbox, the answers. committer_group.c: a group from its requests to its outcomes:
 * which rows are tried together. committer_transaction.c: one transaction in the pipeline. committer_refresh.c: what is
 * committed: identities, order totals, rows. committer_connection.c: the connection's coming and going.
 * committer_pulse.c: whether the server answers. Thread: the committer's own, but for the atomics.
 */
#ifndef PM_COMMITTER_STATE_H
#define PM_COMMITTER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backoff.h"
#include "binary_array.h"
#include "chain.h"
#include "committer.h"
#include "instance.h"
#include "message.h"
#include "order_sums.h"
#include "pg.h"
#include "position_rows.h"

enum {
    JOURNAL_PARAM_COUNT = 20,
    ORDER_PARAM_COUNT = 6,
    FIND_ORDER_PARAM_COUNT = 3,
    FIND_ROW_PARAM_COUNT = 2,
    SUSPECTS_MAX = 64, /* rows remembered as locked or refused; more are tried with the others again */
};

/* How far a member of the group has come. */
enum member_state {
    MEMBER_TODO,
    MEMBER_DONE,      /* committed */
    MEMBER_SET_ASIDE, /* a repeat or a conflict: the others go ahead without it */
    MEMBER_HELD,      /* its row is locked or refused by the server just now */
    MEMBER_TRIAL,     /* was held, and is to be tried by itself */
};

/* A commit item of a shard, as one of the group that is committed together. */
struct group_member {
    struct commit_item *item;
    enum member_state state;
    /* what refresh found */
    bool has_known_identity;
    bool row_differs;  /* from what the item expects */
    bool row_unusable; /* it holds what our types cannot */
    bool unexplained;  /* the server would not take it, and no reason is visible */
    bool is_refused;   /* the server does not take its values (committer_is_row_refused()) */
};

/* A delivery about which the database is asked; .member is NULL for a lookup. */
struct asked {
    struct delivery *delivery;
    struct group_member *member;
};

struct asked_list {
    struct asked *entries;
    size_t count;
    size_t capacity;
};

/* A row that could not be written for a reason that may last. */
struct suspect {
    struct uuid id;
    int64_t until_us; /* not tried before */
    int64_t hold_us;
};

/* One shard's place. */
struct committer_slot {
    struct commit_request *commit; /* waiting, in the group, or answered late */
    struct lookup_request *lookup;
    int64_t moment_us;    /* of its last request; 0: it is not busy, or was waited for in vain */
    bool is_finished;     /* only its answer is outstanding */
    int64_t answer_at_us; /* steady */
};

struct committer {
    /* others touch these */
    atomic_bool stopping;
    atomic_int_fast64_t stop_deadline_us;
    pthread_t thread;
    bool started;

    /* fixed */
    struct board *board;
    struct mailbox *mailbox;
    const struct outlet *answers;
    size_t shard_count;
    int64_t others_wait_us;

    /* its thread's */
    struct pg_connection connection;
    struct position_sql sql;
    struct instance_session session;
    bool was_connected;  /* for telling a loss once */
    bool is_silent;      /* the server owes an answer for too long */
    int64_t pulse_at_us; /* when it is asked again */
    struct backoff backoff;
    struct reminder failures; /* to connect, in a row */
    struct reminder refusals; /* of all that is to be written, in a row */
    bool is_quiet;            /* for once: this loss comes of a refusal that was told already */
    struct committer_slot *slots;
    struct group_member *members; /* the group; array */
    size_t member_count;
    int64_t others_until_us; /* steady: until then the group waits for other shards' requests; 0: it does not */
    struct suspect suspects[SUSPECTS_MAX];
    size_t suspect_count;
    size_t lock_failures; /* in this group */
    bool has_stale_statements;
    int64_t repeats_until_us; /* steady: until then entries may be in the journal already, though none is marked */

    /* the transaction's parameters */
    struct binary_array journal[JOURNAL_PARAM_COUNT];
    bool may_repeat; /* some of them may be there already: the statement is the one that leaves those out */
    struct order_sums order_sums;
    struct binary_array orders[ORDER_PARAM_COUNT];
    struct position_params updates;
    struct position_params inserts;
    char transaction_id[24];

    /* the questions' */
    struct asked_list asked;
    struct binary_array find_identities;
    struct binary_array find_orders[FIND_ORDER_PARAM_COUNT];
    struct binary_array find_rows[FIND_ROW_PARAM_COUNT];
};

/* Market events have neither identity nor order. */
static inline bool committer_has_identity(const struct delivery *delivery)
{
    return delivery->kind == DELIVERY_EXECUTION && delivery->identity[0] != '\0';
}
static inline bool committer_has_order(const struct delivery *delivery)
{
    return delivery->kind == DELIVERY_EXECUTION && delivery->order_key[0] != '\0';
}

/* ---- committer_connection.c ---- */

/* Tries once. Fails: STATUS_UNAVAILABLE, STATUS_STOPPING. */
enum status committer_connect(struct committer *committer) PM_MUST_USE;
/* Tries until it is there. Fails: STATUS_STOPPING. */
enum status committer_reconnect(struct committer *committer) PM_MUST_USE;
/* The one way in which a connection ends; logs the reason, keeps the board. */
void committer_drop_connection(struct committer *committer, const char *reason);
/* At the end of the thread: gives the tables up, drops the connection. Blocks: for one answer, 500 ms at most. */
void committer_end_session(struct committer *committer);
/* After a failed committer_connect(): waits until it is time for the next try. Fails: STATUS_STOPPING. */
enum status committer_pause(struct committer *committer) PM_MUST_USE;
/* Something else failed: waits with back-off. Fails: STATUS_STOPPING. */
enum status committer_back_off(struct committer *committer) PM_MUST_USE;
/* Something worked. */
void committer_reset_back_off(struct committer *committer);

/* ---- committer_pulse.c ---- */

/* Looks whether the server keeps us waiting, and keeps the board. Cheap. */
void committer_look_at_silence(struct committer *committer);
/* For a connection on which nothing is under way: asks the server to say that it is there, if it is time to. */
void committer_feel_pulse(struct committer *committer);

/* ---- committer_transaction.c ---- */

enum attempt {
    ATTEMPT_DONE,
    ATTEMPT_MISMATCH, /* rolled back: an identity is there, or a row is not as expected */
    ATTEMPT_BLOCKED,  /* rolled back: a lock was not to be had, or the server refuses a value */
    ATTEMPT_AGAIN,    /* nothing written; what was in the way has been waited for */
    ATTEMPT_STOPPING, /* given up; the outcome may be unknown */
};

/* Writes the members [first, last) that are MEMBER_TODO in one transaction. Connects where needed. lock_timeout:
 * milliseconds. */
enum attempt committer_attempt(struct committer *committer, size_t first, size_t last, const char *lock_timeout);
/* Whether the error says that what was to be written is not taken: by a type, a constraint, or somebody's trigger
 * (SQLSTATE classes 21 to 23, 27, 38, 39, 44 and P0). Other rows may be. */
bool committer_is_row_refused(const struct pg_connection *connection);

/* ---- committer_refresh.c ---- */

void asked_list_add(struct asked_list *list, struct delivery *delivery, struct group_member *member);

/*
 * Asks about all of committer->asked: fills identity_known, known_fingerprint, order_before, looked_up, and
 * has_known_identity of their members. With rows: also about the rows of the members [first, last) in that state:
 * found, found_exists, row_differs, row_unusable. Asks again on another connection where one is lost. Fails:
 * STATUS_STOPPING.
 */
enum status committer_ask(struct committer *committer) PM_MUST_USE;
enum status committer_ask_with_rows(struct committer *committer, size_t first, size_t last,
                                    enum member_state state) PM_MUST_USE;

/* ---- committer_group.c ---- */

/* Takes the group of committer->members to its outcomes. They are sorted. */
void committer_run_group(struct committer *committer);

#endif
