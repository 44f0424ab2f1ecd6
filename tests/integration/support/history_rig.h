/*
 * history_rig: a history on a database of its own, with shards, publisher and HTTP loop played by the test through
 * mailboxes. The played shards apply what they are sent to the directory. Assertions fail the test that calls.
 */
#ifndef PM_HISTORY_RIG_H
#define PM_HISTORY_RIG_H

#include "directory.h"
#include "history.h"
#include "storage_rig.h"

enum { HISTORY_RIG_SHARDS = 2, HISTORY_RIG_ANNOUNCED_MAX = 8192 };

struct history_rig {
    struct rig base;
    struct history_settings settings; /* may be changed before history_rig_start() */
    struct directory *directory;
    struct mailbox *to_history, *to_shards, *to_publisher, *to_loop;
    struct outlet shards[HISTORY_RIG_SHARDS];
    struct history *history;
    struct validation_wanted wanted[HISTORY_RIG_SHARDS][4];
    /* how the others behave */
    bool shards_are_deaf;   /* wishes stay in their mailbox */
    bool publisher_is_deaf; /* announcements too */
    enum status correction_outcome;
    /* what they saw */
    size_t marks, corrections, validations_home, announced_count, answers; /* .announced has the first of them */
    struct correction last_correction;
    struct uuid announced[HISTORY_RIG_ANNOUNCED_MAX];
    char last_message[4096];
    struct history_request *answered; /* the last */
};

/* An empty database with all tables, nothing started. */
void history_rig_open(struct history_rig *rig);
void history_rig_start(struct history_rig *rig);
/* Stops and destroys the history; mailboxes are emptied, what was lent to the others is gone with it. */
void history_rig_stop(struct history_rig *rig);
void history_rig_close(struct history_rig *rig);

/* A position in the table and in the directory: size 2, average 100, price 110. Returns its identifier's text. */
const char *history_rig_position(struct history_rig *rig, const char *asset, enum position_mode mode);
void history_rig_positions(struct history_rig *rig, int count); /* P00000USDT and so on */
/* As committed. */
struct position history_rig_view(const struct history_rig *rig, const char *asset, enum position_mode mode);
void history_rig_publish(struct history_rig *rig, const struct position *position);

/* Receives for all played actors what is there, at most so long until something came. */
void history_rig_pump(struct history_rig *rig, int timeout_ms);

struct history_request *history_rig_request(enum history_kind kind, const char *asset);
void history_rig_send(struct history_rig *rig, struct history_request *request);
/* Waits for the answer to it; fails where none comes. */
void history_rig_await(struct history_rig *rig, struct history_request *request);
/* All three; the caller frees the answer. */
struct history_request *history_rig_ask(struct history_rig *rig, enum history_kind kind, const char *asset);
void history_rig_free(struct history_request *request);
/* Asks, and expects that answer; take: a snapshot, which works. */
void history_rig_expect(struct history_rig *rig, enum history_kind kind, const char *asset, enum status status);
void history_rig_take(struct history_rig *rig, const char *asset);
/* Waits until the history has made its connections, by asking about that position. */
void history_rig_until_served(struct history_rig *rig, const char *asset);
/* Sends MESSAGE_VALIDATION_WANTED. */
void history_rig_want(struct history_rig *rig, size_t shard, size_t which, const char *asset);

/* Pumps until the query yields the number; fails where it does not. */
void history_rig_until(struct history_rig *rig, const char *sql, int number);

#endif
