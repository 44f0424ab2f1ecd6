/*
 * Whether the server answers. A server that stands still keeps its connections open, and the kernel acknowledges for
 * it: only an answer that does not come tells. So an idle connection is asked for the cheapest of answers from time to
 * time, and whoever waits for any answer for too long tells the board; the connection stays until its own time-out.
 */
#include "committer_state.h"

#include "clock.h"
#include "log.h"
#include "metrics.h"

enum {
    PULSE_US = 500000,   /* between two questions of an idle connection */
    SILENT_US = 1000000, /* without an answer: twice as long as one lock is waited for */
};

void committer_look_at_silence(struct committer *committer)
{
    const int64_t since_us = committer->connection.waits_since_us;
    if (since_us == 0 && !committer->is_silent)
        return;
    const int64_t waited_us = since_us == 0 ? 0 : clock_steady_us() - since_us;
    const bool is_silent = waited_us >= SILENT_US;
    if (is_silent == committer->is_silent || !committer->was_connected)
        return;
    committer->is_silent = is_silent;
    atomic_store(&committer->board->database_connected, !is_silent);
    if (is_silent) {
        metric_add(METRIC_DATABASE_SILENCES, 1);
        LOG_EVENT(LOG_LEVEL_WARNING, "database_silent", NULL, log_int("silent_ms", waited_us / 1000));
    } else {
        LOG_EVENT(LOG_LEVEL_INFO, "database_answers", NULL);
    }
}

void committer_feel_pulse(struct committer *committer)
{
    struct pg_connection *connection = &committer->connection;
    const int64_t now_us = clock_steady_us();
    if (now_us < committer->pulse_at_us)
        return;
    committer->pulse_at_us = now_us + PULSE_US;
    enum status status = pg_send_sync(connection);
    if (status == STATUS_OK)
        status = pg_receive_sync(connection);
    committer_look_at_silence(committer);
    if (status != STATUS_OK)
        committer_drop_connection(committer, status_word(status));
}
