/*
 * The lock and the epoch. Whoever looks at the lock never queues for it: waiting is polling, so that a wait can be
 * given up, told about, and told from the moment in which an instance hands the lock to its own committer.
 */
#include "instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

/* The number after the migrations' one. */
#define INSTANCE_LOCK_KEY "8101250823046197103"

enum { OWN_END_TRIES = 40, OWN_END_PAUSE_US = 25000 };

/* A host that vanished must not keep the lock for the two hours that the kernel would give it. */
static const char keepalive_sql[] =
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

static const char try_sql[] =
    "SELECT pg_try_advisory_lock(" INSTANCE_LOCK_KEY ")::text, pg_backend_pid()::text, "
    "coalesce((SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()), '')";

static const char unlock_sql[] = "SELECT pg_advisory_unlock(" INSTANCE_LOCK_KEY ")::text";

static const char holder_sql[] =
    "SELECT l.pid::text, coalesce(a.backend_start::text, ''), coalesce(host(a.client_addr), 'local') "
    "FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND l.classid = (" INSTANCE_LOCK_KEY " >> 32)::oid AND l.objid = (" INSTANCE_LOCK_KEY " & 4294967295)::oid";

static const char end_sql[] = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity "
                              "WHERE pid = $1::integer AND backend_start = $2::timestamptz";

/* Nothing where the table is not there or we may not write it. */
static const char writable_sql[] =
    "SELECT (coalesce(has_table_privilege(to_regclass('position_manager_instance'), 'INSERT, UPDATE'), false) "
    "AND NOT current_setting('transaction_read_only')::boolean)::text";
static const char begin_sql[] =
    "INSERT INTO position_manager_instance AS i (id, epoch) VALUES (1, 1) ON CONFLICT (id) DO UPDATE "
    "SET epoch = i.epoch + 1, taken_at = now() AT TIME ZONE 'UTC' RETURNING epoch::text";
static const char epoch_sql[] = "SELECT epoch::text FROM position_manager_instance WHERE id = 1";

struct holder {
    char pid[16];
    char since[40];
    char address[64];
};

static void keep(char *out, size_t size, const char *text)
{
    const size_t len = strnlen(text, size - 1);
    memcpy(out, text, len);
    out[len] = '\0';
}

static enum status try_lock(struct pg_connection *connection, bool *taken, struct instance_session *session)
{
    PGresult *result;
    const enum status status = pg_query(connection, try_sql, 0, NULL, &result);
    if (status != STATUS_OK)
        return status;
    *taken = PQgetvalue(result, 0, 0)[0] == 't';
    if (*taken) {
        keep(session->pid, sizeof session->pid, PQgetvalue(result, 0, 1));
        keep(session->since, sizeof session->since, PQgetvalue(result, 0, 2));
    }
    PQclear(result);
    return *taken ? pg_query(connection, keepalive_sql, 0, NULL, NULL) : STATUS_OK;
}

/* .pid is "" where nobody holds the lock. */
static enum status find_holder(struct pg_connection *connection, struct holder *out)
{
    *out = (struct holder){0};
    PGresult *result;
    const enum status status = pg_query(connection, holder_sql, 0, NULL, &result);
    if (status != STATUS_OK)
        return status;
    if (PQntuples(result) > 0) {
        keep(out->pid, sizeof out->pid, PQgetvalue(result, 0, 0));
        keep(out->since, sizeof out->since, PQgetvalue(result, 0, 1));
        keep(out->address, sizeof out->address, PQgetvalue(result, 0, 2));
    }
    PQclear(result);
    return STATUS_OK;
}

/* ---- a starting instance ---- */

static void tell_waiting(const struct holder *holder, int64_t *told_us)
{
    const int64_t now_us = clock_steady_us();
    if (*told_us != 0 && now_us - *told_us < INSTANCE_TELL_US)
        return;
    *told_us = now_us;
    LOG_EVENT(LOG_LEVEL_WARNING, "instance_waiting", NULL, log_text("holder_pid", holder->pid),
              log_text("holder_address", holder->address), log_text("holder_since", holder->since));
}

enum status instance_wait(struct pg_connection *connection)
{
    struct instance_session session;
    int64_t told_us = 0;
    for (bool must_look_again = false;;) {
        struct holder holder;
        enum status status = find_holder(connection, &holder);
        if (status != STATUS_OK)
            return status;
        const bool is_free = holder.pid[0] == '\0';
        bool taken = false;
        if (is_free && !must_look_again && (status = try_lock(connection, &taken, &session)) != STATUS_OK)
            return status;
        if (taken)
            return STATUS_OK;
        if (!is_free)
            tell_waiting(&holder, &told_us);
        must_look_again = !is_free || !must_look_again;
        if (pg_pause(connection, INSTANCE_POLL_US) != STATUS_OK)
            return STATUS_STOPPING;
    }
}

enum status instance_begin(struct pg_connection *connection, int64_t *epoch)
{
    *epoch = 0;
    PGresult *result;
    enum status status = pg_query(connection, writable_sql, 0, NULL, &result);
    if (status != STATUS_OK)
        return status;
    const bool is_writable = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    if (is_writable)
        status = pg_query(connection, begin_sql, 0, NULL, &result);
    if (!is_writable || status == STATUS_INVALID) {
        LOG_EVENT(LOG_LEVEL_WARNING, "instance_epoch_unknown", NULL, log_text("sqlstate", connection->sqlstate));
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        *epoch = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
        PQclear(result);
    }
    return status;
}

/* ---- a committer ---- */

/*
 * The server does not know yet that our last connection is gone. A backend that is held up in a disk does not end as
 * long as that lasts: nobody else has the tables, so that is no reason to give them up.
 */
static enum status end_own(struct pg_connection *connection, struct instance_session *session, bool *taken)
{
    const struct pg_param params[] = {pg_text(session->pid), pg_text(session->since)};
    LOG_EVENT(session->is_own_ending ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "instance_old_session_ended", NULL,
              log_text("pid", session->pid));
    session->is_own_ending = true;
    session->refused_since_us = 0;
    enum status status = pg_query(connection, end_sql, 2, params, NULL);
    for (int i = 0; i < OWN_END_TRIES && status == STATUS_OK && !*taken; i++) {
        status = pg_pause(connection, OWN_END_PAUSE_US);
        if (status == STATUS_OK)
            status = try_lock(connection, taken, session);
    }
    if (status != STATUS_OK || *taken)
        return status;
    snprintf(connection->error, sizeof connection->error, "our old session still holds the tables");
    return STATUS_UNAVAILABLE;
}

static enum status take_or_tell(struct pg_connection *connection, struct instance_session *session, bool *taken)
{
    enum status status = try_lock(connection, taken, session);
    if (status != STATUS_OK || *taken)
        return status;
    struct holder holder;
    status = find_holder(connection, &holder);
    if (status != STATUS_OK)
        return status;
    if (session->pid[0] != '\0' && strcmp(holder.pid, session->pid) == 0 && strcmp(holder.since, session->since) == 0)
        return end_own(connection, session, taken);
    LOG_EVENT(LOG_LEVEL_WARNING, "instance_refused", NULL, log_text("holder_pid", holder.pid),
              log_text("holder_address", holder.address), log_text("holder_since", holder.since));
    return STATUS_OK;
}

/* Whether a starting instance took the tables since ours did. A table that cannot be read tells nothing. */
static enum status compare_epochs(struct pg_connection *connection, struct instance_session *session, int64_t epoch)
{
    PGresult *result;
    const enum status status = pg_query(connection, epoch_sql, 0, NULL, &result);
    if (status == STATUS_INVALID)
        return STATUS_OK;
    if (status != STATUS_OK)
        return status;
    const int64_t found = PQntuples(result) == 0 ? epoch : strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    if (found == epoch)
        return STATUS_OK;
    session->is_overtaken = true;
    snprintf(connection->error, sizeof connection->error, "another instance has had the tables since");
    return STATUS_UNAVAILABLE;
}

enum status instance_take(struct pg_connection *connection, struct instance_session *session, int64_t epoch)
{
    bool taken = false;
    const enum status status = take_or_tell(connection, session, &taken);
    if (status != STATUS_OK)
        return status;
    if (taken) {
        session->refused_since_us = 0;
        session->is_own_ending = false;
        return epoch == 0 ? STATUS_OK : compare_epochs(connection, session, epoch);
    }
    const int64_t now_us = clock_steady_us();
    if (session->refused_since_us == 0)
        session->refused_since_us = now_us;
    session->is_overtaken = now_us - session->refused_since_us >= INSTANCE_PATIENCE_US;
    snprintf(connection->error, sizeof connection->error, "another instance has the tables");
    return STATUS_UNAVAILABLE;
}

void instance_leave(struct pg_connection *connection)
{
    if (pg_query(connection, unlock_sql, 0, NULL, NULL) != STATUS_OK)
        LOG_EVENT(LOG_LEVEL_DEBUG, "instance_lock_kept", NULL, log_text("reason", connection->error));
}
