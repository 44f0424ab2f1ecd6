/*
 * history_state: what the history's files share. Nobody outside of history*.c includes it.
 *
 * history.c: the thread, its mailbox, the answers. history_connection.c: the connections' coming and going.
 * history_snapshot.c: taking snapshots; history_snapshot_sql.c: the statement for the table that is there.
 * history_list.c: reading them. history_outbox.c: announcing them. history_wish.c: what is wanted of shards.
 * history_check.c: validation of one position; history_orders.c: reading the orders table. history_jobs.c: what is done
 * by the clock; history_job_*.c: the jobs. Thread: the history's own, but for the atomics.
 */
#ifndef PM_HISTORY_STATE_H
#define PM_HISTORY_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backoff.h"
#include "binary_array.h"
#include "encode.h"
#include "history.h"
#include "orders_fold.h"
#include "pg.h"
#include "retention.h"

enum {
    WANTED_MAX = 256,     /* positions of which a validation is wanted; more are dropped, they are seen again */
    WISHES_RESERVED = 64, /* for requests: the periodic marks leave them alone */
    SNAPSHOT_PARAM_COUNT = 6,
    SNAPSHOT_CHUNK = 500,          /* positions a batch */
    RETENTION_POSITIONS_MAX = 500, /* asked about at once */
    RETENTION_IDS_LEN_MAX = 2 + RETENTION_POSITIONS_MAX * (UUID_TEXT_LEN + 3),
    TIME_PARAM_LEN = TIME_TEXT_LEN_MAX + 1,
};

#define DAY_US (INT64_C(86400) * 1000000)

/*
 * The connections, from the quickest work to the slowest. While one of the slower waits for the server, requests for
 * the quicker are served: its give-up question is the moment.
 */
enum history_line { LINE_QUICK, LINE_CHECKS, LINE_JOBS, LINE_COUNT };

struct request_queue {
    struct history_request *first, *last; /* by head.next */
};

struct position_key {
    char asset[ASSET_LEN_MAX + 1];
    uint8_t mode;
};

/* All positions as of one moment, to be worked through in batches. */
struct walk {
    struct position_key *keys; /* heap */
    size_t count, next, capacity;
};

/* The validation of one position. */
struct check {
    struct position_key key;
    char trace_id[TRACE_ID_LEN_MAX + 1];
    struct decimal size, average_entry_price; /* of the position, as compared */
    bool is_periodic;                         /* one of many, which are told of together */
    struct validation_result result;
};

/* A delivery of the history's own; the delivery stands first. */
struct wish {
    struct delivery delivery;
    struct wish *next;               /* while free */
    struct history_request *request; /* who waits for it; NULL: nobody, or no longer */
    int64_t wait_until_us;           /* steady */
    struct check check;              /* DELIVERY_CORRECTION: what was found */
};

enum slot_state { SLOT_FREE, SLOT_SENT, SLOT_CONFIRMED };

struct outbox_slot {
    struct snapshot_announcement announcement;
    struct uuid snapshot_id; /* the announcement's may come home as zeros */
    enum slot_state state;
};

enum job_kind {
    JOB_SNAPSHOTS,
    JOB_VALIDATIONS,
    JOB_SNAPSHOT_RETENTION,
    JOB_JOURNAL_RETENTION,
    JOB_ORDER_RETENTION,
    JOB_COUNT,
    JOB_NONE = JOB_COUNT,
};

/* The job under way; a job that is given up begins anew. */
struct job {
    enum job_kind kind;
    bool has_begun;
    bool in_transaction;
    struct walk walk;
    char trace_id[TRACE_ID_LEN_MAX + 1];
    int64_t at_us;            /* of the snapshots */
    char cut[TIME_PARAM_LEN]; /* of a retention */
    size_t done_count;
    size_t found_count;
    size_t rows_since_pause;            /* retention */
    struct orders_fold fold;            /* of the asset that the validations are reading */
    char fold_asset[ASSET_LEN_MAX + 1]; /* empty: none yet */
    struct order_retention orders;
    PGresult *folding; /* the journal's positions of this batch */
    int folding_row;
};

struct history {
    /* others touch these */
    atomic_bool stopping;
    pthread_t thread;
    bool started;

    /* fixed */
    struct history_settings settings;
    struct outlet *shards;

    /* its thread's */
    struct directory_reader *reader;
    struct pg_connection lines[LINE_COUNT];
    bool connected;  /* all of them */
    bool connecting; /* just now: whoever asks is told so, after a moment */
    int64_t connecting_since_us;
    int64_t connected_at_us; /* the last time */
    struct backoff backoff;
    struct reminder failures; /* to connect, in a row */
    bool was_connected;       /* ever */
    char *insert_sql;         /* NULL: not yet made for the table that is there */

    struct request_queue quick, checks;
    bool is_checking;
    struct check wanted[WANTED_MAX];
    size_t wanted_count;

    struct wish *wishes; /* array */
    struct wish *free_wishes;
    size_t free_wish_count;
    struct walk marks; /* of the last periodic snapshot, still to be sent */
    int64_t marks_at_us;
    char marks_trace_id[TRACE_ID_LEN_MAX + 1];

    struct outbox_slot *slots; /* array */
    size_t sent_count, confirmed_count;
    bool outbox_may_hold_more;
    bool publisher_is_gone;

    struct job job, set_aside; /* set_aside: a retention that goes on afterwards */
    int64_t due_us[JOB_COUNT]; /* steady */
    int64_t job_pause_until_us;

    struct binary_array params[SNAPSHOT_PARAM_COUNT];
    struct binary_array ids;                       /* the outbox's */
    char retention_ids[RETENTION_IDS_LEN_MAX + 1]; /* of the positions that a retention is at; an array's text */
};

/* ---- history.c ---- */

/* Sorts what has come into its queues. Never asks the database. */
void history_receive(struct history *history);
void history_serve_quick(struct history *history);
void history_serve_checks(struct history *history);
/* Answers all requests that wait for the database: it is not there. */
void history_refuse_waiting(struct history *history);
/* The one way in which a request is answered; body: malloc'ed, given away, NULL unless STATUS_OK. */
void history_answer(struct history_request *request, enum status status, char *body, size_t body_len);

/* Copies a committed position with what its JSON needs beside it. Fails: STATUS_NOT_FOUND. */
enum status history_find(struct history *history, const struct position_key *key, struct position *out,
                         struct position_context *context) PM_MUST_USE;
void history_new_trace(struct history *history, char out[TRACE_ID_LEN_MAX + 1]);
/* A time as a parameter. TIME_NONE: `none`, "-infinity" or "infinity". */
const char *history_time_param(int64_t wall_us, const char *none, char out[TIME_PARAM_LEN]);

/* All positions of the directory. */
void walk_begin(struct walk *walk, struct directory_reader *reader);
void walk_free(struct walk *walk);

/* ---- history_connection.c ---- */

/* Looks whether the idle connections still live, and connects where it is time to. Blocks: while connecting. */
void history_keep_connected(struct history *history);
void history_close_lines(struct history *history);
/*
 * pg_query() on a line; a failure is logged under what was to be done, and where the connection is to blame it is
 * closed. Fails: STATUS_UNAVAILABLE (the connection), STATUS_INVALID (refused), STATUS_TIMEOUT (refused for a reason
 * that passes: a lock, room), STATUS_STOPPING.
 */
enum status history_query(struct history *history, enum history_line line, const char *what, const char *sql, int count,
                          const struct pg_param *params, PGresult **out) PM_MUST_USE;
/* Judges and logs the status of any pg function. The same failures. */
enum status history_judge(struct history *history, enum history_line line, const char *what,
                          enum status status) PM_MUST_USE;
bool history_line_is_open(const struct history *history, enum history_line line);

/* ---- history_snapshot.c ---- */

void history_take(struct history *history, struct history_request *request);
/* What a group of snapshots has in common. */
struct snapshot_group {
    enum history_line line;
    int64_t at_us;
    const char *trace_id;
};
/* Renders and inserts snapshots of these positions and their announcements. Fails: as history_query(). */
enum status history_insert_snapshots(struct history *history, const struct snapshot_group *group,
                                     const struct position_key *keys, size_t count, size_t *inserted) PM_MUST_USE;

/* ---- history_snapshot_sql.c ---- */

/*
 * Makes the statement that inserts snapshots and announcements: $1 ids, $2 position ids, $3 assets, $4 modes, $5
 * snapshot_data, $6 messages, all arrays; $7 created_at, $8 trace id. Heap. Fails: STATUS_INVALID (the table cannot be
 * used: logged), or as pg_query().
 */
enum status snapshot_sql_open(struct pg_connection *connection, char **out) PM_MUST_USE;

/* ---- history_list.c ---- */

void history_list(struct history *history, struct history_request *request);
void history_at(struct history *history, struct history_request *request);

/* ---- history_outbox.c ---- */

void history_outbox_create(struct history *history);
void history_outbox_free(struct history *history);
/* There are, or may be, rows to announce. */
void history_outbox_filled(struct history *history);
void history_outbox_home(struct history *history, struct snapshot_announcement *announcement);
/* Deletes what is confirmed and sends what there is room for. */
void history_outbox_pump(struct history *history);

/* ---- history_wish.c ---- */

void history_wishes_create(struct history *history);
/* NULL: all are about. The caller fills in what is wanted and sends it. */
struct wish *history_wish_get(struct history *history, const struct position_key *key, enum delivery_kind kind,
                              const char *trace_id);
/* Gives it to its shard; request (may be NULL) waits for it until the time is over. */
void history_wish_send(struct history *history, struct wish *wish, struct history_request *request, int64_t wait_us);
void history_wish_home(struct history *history, struct wish *wish);
/* Answers those that waited long enough; all: everybody. Returns when the next has (steady), or INT64_MAX. */
int64_t history_wishes_expire(struct history *history, int64_t now_us, bool all);
/* Marks the positions of a periodic snapshot, as wishes come free; takes the walk's keys over. */
void history_marks_begin(struct history *history, struct walk *walk, int64_t at_us, const char *trace_id);
void history_marks_pump(struct history *history);

/* ---- history_check.c ---- */

void history_check_request(struct history *history, struct history_request *request);
void history_check_wanted(struct history *history);
/* Has a position validated by itself soon; dropped where WANTED_MAX are wanted already. */
void history_want_check(struct history *history, const struct position_key *key, const char *trace_id);
/* Compares a position as it is now with its asset's orders, logs and counts. */
void history_check_compare(struct history *history, struct check *check, const struct orders_fold *fold);
void history_fix_home(struct history *history, struct wish *wish, struct history_request *request);

/* ---- history_orders.c ---- */

/*
 * Opens a cursor over the filled orders of one asset, or of all (NULL) sorted by asset, in the order of execution, in a
 * transaction of its own. *readable: false if there is no table of that shape; nothing is open then.
 * Fails: as history_query().
 */
enum status history_orders_open(struct history *history, enum history_line line, const char *asset,
                                bool *readable) PM_MUST_USE;
/* The next rows: asset (upper case), "buy" or "sell", quantity, price. None: the end. Fails: as history_query(). */
enum status history_orders_fetch(struct history *history, enum history_line line, PGresult **out) PM_MUST_USE;
void history_orders_close(struct history *history, enum history_line line);
void history_orders_add(struct orders_fold *fold, const PGresult *result, int row);

/* ---- history_jobs.c ---- */

void history_jobs_begin(struct history *history);
/* Does one batch of what is due. Returns whether there is more to do at once. */
bool history_jobs_step(struct history *history);
/* When the next is due (steady), or INT64_MAX. */
int64_t history_jobs_next_us(const struct history *history);
/* Forgets the job under way; it is still due. */
void history_job_abandon(struct history *history);

/* ---- the jobs: one batch each. STATUS_OK: more to do; STATUS_UNCHANGED: done; else as history_query(). ---- */

enum status job_snapshots_step(struct history *history, struct job *job) PM_MUST_USE;
enum status job_validations_step(struct history *history, struct job *job) PM_MUST_USE;
enum status job_snapshot_retention_step(struct history *history, struct job *job) PM_MUST_USE;
enum status job_journal_retention_step(struct history *history, struct job *job) PM_MUST_USE;
enum status job_order_retention_step(struct history *history, struct job *job) PM_MUST_USE;

#endif
