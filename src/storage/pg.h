/*
 * pg: one PostgreSQL connection that never waits without end, for every user of the database in this folder.
 *
 * Connecting and waiting for results look every PG_WAIT_SLICE_MS whether the owner wants to give up, and whether what
 * was sent arrives at all (tcp.h); a server that stands still is waited for, up to .timeout_ms. After STATUS_LOST,
 * STATUS_TIMEOUT or STATUS_STOPPING the connection is of no more use: pg_close() it. What the server said stands in
 * .sqlstate and .error until the next call; it is for the log only. Thread: one at a time per connection.
 */
#ifndef PM_PG_H
#define PM_PG_H

#include <libpq-fe.h>

#include "storage.h"

enum { PG_WAIT_SLICE_MS = 50, PG_CONNECT_TIMEOUT_MS = 3000, PG_SQLSTATE_LEN = 5 };

/* Whether the owner wants to give up waiting. */
typedef bool pg_give_up_fn(void *context);

struct pg_connection {
    PGconn *conn; /* NULL: closed */
    const struct storage_settings *settings;
    pg_give_up_fn *give_up; /* may be NULL */
    void *context;
    int timeout_ms;         /* for one answer; 0: none */
    int64_t waits_since_us; /* steady: an answer is waited for; 0: none is */
    char sqlstate[PG_SQLSTATE_LEN + 1];
    char error[200];
};

/* Starts nothing. */
void pg_init(struct pg_connection *connection, const struct storage_settings *settings, pg_give_up_fn *give_up,
             void *context);

/*
 * Connects and sets the session up: UTC, ISO dates, the given lock timeout.
 * Fails: STATUS_UNAVAILABLE (closed again, .error says why), STATUS_STOPPING. Blocks: up to PG_CONNECT_TIMEOUT_MS and
 * one answer's timeout_ms; the look-up of the host's name takes what the resolver takes.
 */
enum status pg_open(struct pg_connection *connection, int lock_timeout_ms) PM_MUST_USE;
void pg_close(struct pg_connection *connection);
bool pg_is_open(const struct pg_connection *connection);

/* A parameter of a statement. */
struct pg_param {
    const char *value; /* NULL: SQL's NULL */
    int len;           /* of a binary one; a text is terminated */
    bool is_binary;    /* in the protocol's binary form of the type that the statement declares */
};

static inline struct pg_param pg_text(const char *text)
{
    return (struct pg_param){.value = text};
}

enum { PG_PARAMS_MAX = 32 };

/*
 * Runs one statement with up to PG_PARAMS_MAX parameters (with NULL for them also several statements) and waits. *out
 * is the caller's to PQclear; out may be NULL. Fails: STATUS_INVALID (the server refused: .sqlstate), STATUS_LOST,
 * STATUS_TIMEOUT, STATUS_STOPPING; *out is NULL then. Outside of pipeline mode.
 */
enum status pg_query(struct pg_connection *connection, const char *sql, int count, const struct pg_param *params,
                     PGresult **out) PM_MUST_USE;

/* One row: row 0 of a result that ends with the call. */
typedef void pg_row_fn(void *context, const PGresult *row);

/*
 * Runs one SELECT and hands over its rows as they come: while the server makes the next ones, and with no more than a
 * few of them in memory. Fails: as pg_query(), then some rows may have been handed over.
 */
enum status pg_query_each(struct pg_connection *connection, const char *sql, pg_row_fn *each,
                          void *context) PM_MUST_USE;

/* Prepares a statement. Fails: as pg_query(). Outside of pipeline mode. */
enum status pg_prepare(struct pg_connection *connection, const char *name, const char *sql) PM_MUST_USE;

/*
 * Sends a prepared statement with up to PG_PARAMS_MAX parameters into the pipeline; their values may be reused at once.
 * Fails: STATUS_LOST.
 */
enum status pg_send(struct pg_connection *connection, const char *name, int count,
                    const struct pg_param *params) PM_MUST_USE;

/* Asks the server to answer what was sent, without ending the transaction or the pipeline's segment. Fails:
 * STATUS_LOST. */
enum status pg_send_flush(struct pg_connection *connection) PM_MUST_USE;

/* Ends a segment of the pipeline. Fails: STATUS_LOST. */
enum status pg_send_sync(struct pg_connection *connection) PM_MUST_USE;

/* Waits for one statement's result in the pipeline. *out and failures as pg_query(). */
enum status pg_receive(struct pg_connection *connection, PGresult **out) PM_MUST_USE;

/* Discards results up to the end of the segment. Fails: STATUS_LOST, STATUS_TIMEOUT, STATUS_STOPPING. */
enum status pg_receive_sync(struct pg_connection *connection) PM_MUST_USE;

/* Sleeps, giving up early. Returns STATUS_STOPPING then. */
enum status pg_pause(const struct pg_connection *connection, int64_t pause_us) PM_MUST_USE;

/* Whether .sqlstate begins with these characters. */
bool pg_error_is(const struct pg_connection *connection, const char *prefix);

/* The number of rows a command touched. */
size_t pg_affected(const PGresult *result);

#endif
