/*
 * storage_rig: a database of its own for each test, a committer that the test drives through its mailboxes, and a proxy
 * in front of the server that can cut the line at a chosen moment. Assertions fail the test that calls.
 */
#ifndef PM_STORAGE_RIG_H
#define PM_STORAGE_RIG_H

#include <libpq-fe.h>

#include "committer.h"
#include "message.h"
#include "storage.h"

enum { RIG_SHARDS = 3, RIG_DELIVERIES_MAX = 64, RIG_LOADED_MAX = 64 };
/* For what has to come: longer than a busy machine keeps anybody waiting. */
enum { RIG_WAIT_MS = 60000 };

struct rig {
    struct storage_settings settings;
    struct board board;
    char database[64];
    PGconn *sql; /* the test's own connection to that database */
    struct mailbox *to_committer;
    struct mailbox *from_committer;
    struct committer *committer;
    int64_t others_wait_us; /* committer_create(); before rig_start() */
    struct commit_request *requests[RIG_SHARDS];
    struct lookup_request lookups[RIG_SHARDS];
    struct delivery *deliveries;
    size_t delivery_count;
    struct position loaded[RIG_LOADED_MAX];
    size_t loaded_count;
};

/* An empty database. */
void rig_open(struct rig *rig);
void rig_close(struct rig *rig);

void rig_execute(struct rig *rig, const char *sql);
/* The only value of a query; valid until the next call. "" for NULL or no row. */
const char *rig_value(struct rig *rig, const char *sql);
int rig_number(struct rig *rig, const char *sql);
/* Ends the service's sessions in that database; returns when they are gone. */
void rig_end_sessions(struct rig *rig);

/* storage_prepare(); rows are kept in .loaded. */
enum status rig_prepare(struct rig *rig, enum migrations_mode mode);
const struct position *rig_loaded(const struct rig *rig, const char *asset, enum position_mode mode);

void rig_start(struct rig *rig);
void rig_stop(struct rig *rig);

/* A position with every field set, at this version. */
struct position rig_position(const char *asset, enum position_mode mode, int32_t version);
struct decimal rig_decimal(const char *text);

/* Adds an item to shard's request; the row's version is one more than expected; version 0 is an insert. */
struct commit_item *rig_item(struct rig *rig, size_t shard, const struct position *position);
/* Adds an execution to an item, with its journal note. order: NULL for none. */
struct delivery *rig_execution(struct rig *rig, struct commit_item *item, const char *identity, uint64_t fingerprint,
                               const char *order);

/* Sends shard's request; waits for an answer (any shard's) at most so long, and returns it; NULL: none came. */
void rig_send(struct rig *rig, size_t shard);
struct message *rig_receive(struct rig *rig, int timeout_ms);
/* Both; asserts that the answer came. Empties nothing: items hold their outcomes. */
void rig_commit(struct rig *rig, size_t shard);
/* Forgets the items of all requests. */
void rig_clear(struct rig *rig);

/* ---- the proxy ---- */

enum proxy_mode {
    PROXY_OPEN,
    PROXY_REFUSE,             /* every connection is cut, and new ones too */
    PROXY_LOSE_COMMIT,        /* cuts when COMMIT comes by, which never arrives; then it is as proxy_set_after() says */
    PROXY_LOSE_COMMIT_ANSWER, /* cuts after the server has done COMMIT; then the same */
};

struct proxy;

/* rig->settings lead through it from now on. */
struct proxy *proxy_start(struct rig *rig);
void proxy_set(struct proxy *proxy, enum proxy_mode mode);
/* What it becomes when it has lost a COMMIT; else open. */
void proxy_set_after(struct proxy *proxy, enum proxy_mode mode);
enum proxy_mode proxy_mode(const struct proxy *proxy);
void proxy_stop(struct proxy *proxy);

#endif
