/*
 * One PostgreSQL connection. Everything is non-blocking underneath: a server that is frozen, a network that swallows
 * packets or an owner that wants to stop must never leave a thread inside libpq.
 */
#include "pg.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "tcp.h"

/* After a lost connection PQgetResult() answers NULL for ever; a healthy pipeline never gives more than two in a row.
 */
enum { NULL_RESULTS_MAX = 16 };

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static void note_error(struct pg_connection *connection, const char *sqlstate, const char *text)
{
    size_t len = text == NULL ? 0 : strcspn(text, "\n");
    if (len >= sizeof connection->error)
        len = sizeof connection->error - 1;
    if (len > 0)
        memcpy(connection->error, text, len);
    connection->error[len] = '\0';
    snprintf(connection->sqlstate, sizeof connection->sqlstate, "%s", sqlstate == NULL ? "" : sqlstate);
}

static void note_result_error(struct pg_connection *connection, const PGresult *result)
{
    note_error(connection, PQresultErrorField(result, PG_DIAG_SQLSTATE),
               PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

static enum status lost(struct pg_connection *connection)
{
    note_error(connection, connection->sqlstate, PQerrorMessage(connection->conn));
    return STATUS_LOST;
}

void pg_init(struct pg_connection *connection, const struct storage_settings *settings, pg_give_up_fn *give_up,
             void *context)
{
    *connection = (struct pg_connection){.settings = settings, .give_up = give_up, .context = context};
}

bool pg_is_open(const struct pg_connection *connection)
{
    return connection->conn != NULL;
}

void pg_close(struct pg_connection *connection)
{
    PQfinish(connection->conn);
    connection->conn = NULL;
}

static bool wants_to_give_up(const struct pg_connection *connection)
{
    return connection->give_up != NULL && connection->give_up(connection->context);
}

/* Waits until the socket is ready, the deadline (steady time) has passed, or it is plain that nothing will come. */
static enum status wait_socket(struct pg_connection *connection, short events, int64_t deadline_us)
{
    const int64_t since_us = clock_steady_us();
    for (;;) {
        if (wants_to_give_up(connection))
            return STATUS_STOPPING;
        const int64_t now_us = clock_steady_us();
        if (now_us >= deadline_us) {
            note_error(connection, "", "no answer in time");
            return STATUS_TIMEOUT;
        }
        if (now_us - since_us >= TCP_UNHEARD_MS * 1000 && tcp_is_unheard(PQsocket(connection->conn))) {
            note_error(connection, "", "nothing that is sent arrives");
            return STATUS_LOST;
        }
        struct pollfd descriptor = {.fd = PQsocket(connection->conn), .events = events};
        if (descriptor.fd < 0)
            return lost(connection);
        const int ready = poll(&descriptor, 1, PG_WAIT_SLICE_MS);
        if (ready > 0)
            return STATUS_OK;
        if (ready < 0 && errno != EINTR)
            return STATUS_LOST;
    }
}

static int64_t answer_deadline_us(const struct pg_connection *connection)
{
    return connection->timeout_ms == 0 ? INT64_MAX : clock_steady_us() + (int64_t)connection->timeout_ms * 1000;
}

enum status pg_pause(const struct pg_connection *connection, int64_t pause_us)
{
    const int64_t until_us = clock_steady_us() + pause_us;
    for (;;) {
        if (wants_to_give_up(connection))
            return STATUS_STOPPING;
        const int64_t left_us = until_us - clock_steady_us();
        if (left_us <= 0)
            return STATUS_OK;
        const int64_t slice_us = left_us < PG_WAIT_SLICE_MS * 1000 ? left_us : PG_WAIT_SLICE_MS * 1000;
        poll(NULL, 0, (int)((slice_us + 999) / 1000));
    }
}

static enum status start_connecting(struct pg_connection *connection)
{
    const struct storage_settings *settings = connection->settings;
    const bool with_password = settings->password != NULL && settings->password[0] != '\0';
    /* The password stands last, so that without one the list simply ends before it. */
    const char *keywords[] = {"host",
                              "port",
                              "dbname",
                              "user",
                              "application_name",
                              "keepalives",
                              "keepalives_idle",
                              "keepalives_interval",
                              "keepalives_count",
                              "client_encoding",
                              with_password ? "password" : NULL,
                              NULL};
    const char *values[] = {settings->host,
                            settings->port,
                            settings->database,
                            settings->user,
                            "position-manager",
                            "1",
                            "2",
                            "1",
                            "3",
                            "UTF8",
                            settings->password,
                            NULL};
    connection->conn = PQconnectStartParams(keywords, values, 0);
    pm_assert(connection->conn != NULL);
    PQsetNoticeReceiver(connection->conn, ignore_notice, NULL);
    return PQstatus(connection->conn) == CONNECTION_BAD ? lost(connection) : STATUS_OK;
}

static enum status finish_connecting(struct pg_connection *connection)
{
    const int64_t deadline_us = clock_steady_us() + (int64_t)PG_CONNECT_TIMEOUT_MS * 1000;
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next != PGRES_POLLING_OK) {
        if (next == PGRES_POLLING_FAILED)
            return lost(connection);
        const enum status status =
            wait_socket(connection, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_us);
        if (status != STATUS_OK)
            return status;
        next = PQconnectPoll(connection->conn);
    }
    return PQsetnonblocking(connection->conn, 1) == 0 ? STATUS_OK : lost(connection);
}

/* Values are read through casts whose text depends on these settings. */
static enum status set_session_up(struct pg_connection *connection, int lock_timeout_ms)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET standard_conforming_strings = on; "
             "SET extra_float_digits = 1; SET jit = off; SET lock_timeout = %d",
             lock_timeout_ms);
    return pg_query(connection, sql, 0, NULL, NULL);
}

enum status pg_open(struct pg_connection *connection, int lock_timeout_ms)
{
    pm_assert(connection->conn == NULL);
    note_error(connection, "", "");
    enum status status = start_connecting(connection);
    if (status == STATUS_OK)
        status = finish_connecting(connection);
    if (status == STATUS_OK)
        status = set_session_up(connection, lock_timeout_ms);
    if (status == STATUS_OK)
        return STATUS_OK;
    pg_close(connection);
    return status == STATUS_STOPPING ? STATUS_STOPPING : STATUS_UNAVAILABLE;
}

static enum status wait_for_result(struct pg_connection *connection, PGresult **out)
{
    const int64_t deadline_us = answer_deadline_us(connection);
    for (;;) {
        const int unsent = PQflush(connection->conn);
        if (unsent < 0)
            return lost(connection);
        if (PQisBusy(connection->conn) == 0) {
            *out = PQgetResult(connection->conn);
            return *out == NULL && PQstatus(connection->conn) == CONNECTION_BAD ? lost(connection) : STATUS_OK;
        }
        const short events = (short)(POLLIN | (unsent == 1 ? POLLOUT : 0));
        const enum status status = wait_socket(connection, events, deadline_us);
        if (status != STATUS_OK)
            return status;
        if (PQconsumeInput(connection->conn) == 0)
            return lost(connection);
    }
}

static bool is_good(const PGresult *result)
{
    const ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

/* The next result, which may be NULL (the end of a statement's results). */
static enum status next_result(struct pg_connection *connection, PGresult **out)
{
    if (PQisBusy(connection->conn) == 1)
        connection->waits_since_us = clock_steady_us();
    const enum status status = wait_for_result(connection, out);
    connection->waits_since_us = 0;
    return status;
}

/* Reads results up to the NULL that ends them; keeps the first failed one, else the last. */
static enum status collect(struct pg_connection *connection, PGresult **out)
{
    PGresult *kept = NULL;
    for (;;) {
        PGresult *result = NULL;
        const enum status status = next_result(connection, &result);
        if (status != STATUS_OK) {
            PQclear(kept);
            return status;
        }
        if (result == NULL)
            break;
        if (kept != NULL && !is_good(kept)) {
            PQclear(result);
            continue;
        }
        PQclear(kept);
        kept = result;
    }
    *out = kept;
    return STATUS_OK;
}

/* Judges a collected result and gives it to the caller if it is good. */
static enum status deliver(struct pg_connection *connection, PGresult *result, PGresult **out)
{
    enum status status = STATUS_OK;
    if (!is_good(result)) {
        note_result_error(connection, result);
        status = PQstatus(connection->conn) == CONNECTION_BAD ? STATUS_LOST : STATUS_INVALID;
    }
    if (status == STATUS_OK && out != NULL)
        *out = result;
    else
        PQclear(result);
    return status;
}

/* Parameters as libpq takes them. */
struct libpq_params {
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX], formats[PG_PARAMS_MAX];
};

static void split(struct libpq_params *out, int count, const struct pg_param *params)
{
    pm_assert(count <= PG_PARAMS_MAX);
    for (int i = 0; i < count; i++) {
        out->values[i] = params[i].value;
        out->lengths[i] = params[i].len;
        out->formats[i] = params[i].is_binary;
    }
}

static int send_query(struct pg_connection *connection, const char *sql, int count, const struct pg_param *params)
{
    if (params == NULL)
        return PQsendQuery(connection->conn, sql);
    struct libpq_params libpq;
    split(&libpq, count, params);
    return PQsendQueryParams(connection->conn, sql, count, NULL, libpq.values, libpq.lengths, libpq.formats, 0);
}

enum status pg_query(struct pg_connection *connection, const char *sql, int count, const struct pg_param *params,
                     PGresult **out)
{
    if (out != NULL)
        *out = NULL;
    if (send_query(connection, sql, count, params) == 0)
        return lost(connection);
    PGresult *result = NULL;
    const enum status status = collect(connection, &result);
    return status == STATUS_OK ? deliver(connection, result, out) : status;
}

enum status pg_query_each(struct pg_connection *connection, const char *sql, pg_row_fn *each, void *context)
{
    if (PQsendQuery(connection->conn, sql) == 0 || PQsetSingleRowMode(connection->conn) == 0)
        return lost(connection);
    PGresult *last = NULL; /* the end, with no rows, or the refusal */
    for (;;) {
        PGresult *result = NULL;
        const enum status status = next_result(connection, &result);
        if (status != STATUS_OK) {
            PQclear(last);
            return status;
        }
        if (result == NULL)
            return deliver(connection, last, NULL);
        if (PQresultStatus(result) == PGRES_SINGLE_TUPLE) {
            each(context, result);
            PQclear(result);
            continue;
        }
        PQclear(last);
        last = result;
    }
}

enum status pg_prepare(struct pg_connection *connection, const char *name, const char *sql)
{
    if (PQsendPrepare(connection->conn, name, sql, 0, NULL) == 0)
        return lost(connection);
    PGresult *result = NULL;
    const enum status status = collect(connection, &result);
    return status == STATUS_OK ? deliver(connection, result, NULL) : status;
}

enum status pg_send(struct pg_connection *connection, const char *name, int count, const struct pg_param *params)
{
    struct libpq_params libpq;
    split(&libpq, count, params);
    const int sent = PQsendQueryPrepared(connection->conn, name, count, libpq.values, libpq.lengths, libpq.formats, 0);
    return sent == 1 ? STATUS_OK : lost(connection);
}

enum status pg_send_flush(struct pg_connection *connection)
{
    return PQsendFlushRequest(connection->conn) == 1 ? STATUS_OK : lost(connection);
}

enum status pg_send_sync(struct pg_connection *connection)
{
    return PQpipelineSync(connection->conn) == 1 ? STATUS_OK : lost(connection);
}

enum status pg_receive(struct pg_connection *connection, PGresult **out)
{
    if (out != NULL)
        *out = NULL;
    for (int nulls = 0; nulls < NULL_RESULTS_MAX; nulls++) {
        PGresult *result = NULL;
        const enum status status = collect(connection, &result);
        if (status != STATUS_OK)
            return status;
        if (result != NULL)
            return deliver(connection, result, out);
    }
    return lost(connection);
}

enum status pg_receive_sync(struct pg_connection *connection)
{
    for (int nulls = 0; nulls < NULL_RESULTS_MAX;) {
        PGresult *result = NULL;
        const enum status status = next_result(connection, &result);
        if (status != STATUS_OK)
            return status;
        if (result == NULL) {
            nulls++;
            continue;
        }
        nulls = 0;
        const ExecStatusType kind = PQresultStatus(result);
        PQclear(result);
        if (kind == PGRES_PIPELINE_SYNC)
            return STATUS_OK;
    }
    return lost(connection);
}

bool pg_error_is(const struct pg_connection *connection, const char *prefix)
{
    return strncmp(connection->sqlstate, prefix, strlen(prefix)) == 0;
}

size_t pg_affected(const PGresult *result)
{
    /* libpq takes the result without const, though it changes nothing. */
    union {
        const PGresult *given;
        PGresult *taken;
    } same = {.given = result};
    return (size_t)strtoull(PQcmdTuples(same.taken), NULL, 10);
}
