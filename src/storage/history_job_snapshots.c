/*
 * Snapshots of all positions, in batches within one transaction.
 */
#include "history_state.h"

#include "fail_point.h"
#include "log.h"

static enum status begin(struct history *history, struct job *job)
{
    walk_begin(&job->walk, history->reader);
    job->has_begun = true;
    if (job->walk.count == 0)
        return STATUS_UNCHANGED;
    const enum status status = history_query(history, LINE_JOBS, "snapshots", "BEGIN", 0, NULL, NULL);
    job->in_transaction = status == STATUS_OK;
    return status;
}

static enum status commit(struct history *history, struct job *job)
{
    const enum status status = history_query(history, LINE_JOBS, "snapshots", "COMMIT", 0, NULL, NULL);
    if (status != STATUS_OK)
        return status;
    job->in_transaction = false;
    FAIL_POINT(FAIL_POINT_SNAPSHOT_TAKEN, PQsocket(history->lines[LINE_JOBS].conn));
    LOG_EVENT(LOG_LEVEL_INFO, "snapshots_taken", job->trace_id, log_int("count", (int64_t)job->done_count));
    history_outbox_filled(history);
    history_marks_begin(history, &job->walk, job->at_us, job->trace_id);
    return STATUS_UNCHANGED;
}

enum status job_snapshots_step(struct history *history, struct job *job)
{
    struct walk *walk = &job->walk;
    if (!job->has_begun)
        return begin(history, job);
    if (walk->next == walk->count)
        return commit(history, job);
    const size_t left = walk->count - walk->next;
    const size_t count = left < SNAPSHOT_CHUNK ? left : SNAPSHOT_CHUNK;
    const struct snapshot_group group = {.line = LINE_JOBS, .at_us = job->at_us, .trace_id = job->trace_id};
    size_t inserted = 0;
    const enum status status = history_insert_snapshots(history, &group, &walk->keys[walk->next], count, &inserted);
    walk->next += count;
    job->done_count += inserted;
    return status;
}
