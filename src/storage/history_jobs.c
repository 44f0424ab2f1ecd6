/*
 * What is done by the clock: one job at a time, one batch a step. Forgetting may take long and is set aside, between
 * two batches, for a job that has to be on time. A job that was given up because the connection failed is still due;
 * one that something in passing was in the way of is tried again soon; one that the server refused waits for its next
 * time.
 */
#include "history_state.h"

#include <string.h>

#include "clock.h"
#include "log.h"

/* Between two batches, for everybody else's sake. */
enum { PAUSE_US = 20000, PAUSE_ROWS = 1000 };

/* After a lock that did not go away, or a disk that was full. */
enum { TRY_AGAIN_US = 60000000 };

static int64_t interval_us(const struct history *history, enum job_kind kind)
{
    switch (kind) {
    case JOB_SNAPSHOTS:
        return history->settings.snapshot_interval_us;
    case JOB_VALIDATIONS:
        return history->settings.validation_interval_us;
    case JOB_SNAPSHOT_RETENTION:
    case JOB_JOURNAL_RETENTION:
    case JOB_ORDER_RETENTION:
        return DAY_US;
    case JOB_NONE:
        break;
    }
    return 0;
}

void history_jobs_begin(struct history *history)
{
    const int64_t now_us = clock_steady_us();
    for (int i = 0; i < JOB_COUNT; i++) {
        const enum job_kind kind = (enum job_kind)i;
        const int64_t interval = interval_us(history, kind);
        const bool is_at_start = kind != JOB_SNAPSHOTS && kind != JOB_VALIDATIONS;
        history->due_us[i] = interval == 0 ? INT64_MAX : is_at_start ? now_us : now_us + interval;
    }
}

static enum job_kind most_due(const struct history *history)
{
    enum job_kind kind = JOB_NONE;
    int64_t earliest_us = INT64_MAX;
    for (int i = 0; i < JOB_COUNT; i++) {
        if (history->due_us[i] < earliest_us) {
            earliest_us = history->due_us[i];
            kind = (enum job_kind)i;
        }
    }
    return kind;
}

int64_t history_jobs_next_us(const struct history *history)
{
    if (atomic_load(&history->settings.board->stopping))
        return INT64_MAX; /* a service that stops begins nothing more */
    if (history->job.kind != JOB_NONE)
        return history->job_pause_until_us;
    const enum job_kind kind = most_due(history);
    return kind == JOB_NONE ? INT64_MAX : history->due_us[kind];
}

static void forget(struct job *job)
{
    walk_free(&job->walk);
    PQclear(job->folding);
    *job = (struct job){.kind = JOB_NONE};
}

void history_job_abandon(struct history *history)
{
    forget(&history->job);
    forget(&history->set_aside);
}

static bool is_retention(enum job_kind kind)
{
    return kind == JOB_SNAPSHOT_RETENTION || kind == JOB_JOURNAL_RETENTION || kind == JOB_ORDER_RETENTION;
}

/* What a retention has to make room for. */
static enum job_kind urgent(const struct history *history, int64_t now_us)
{
    if (history->due_us[JOB_SNAPSHOTS] <= now_us)
        return JOB_SNAPSHOTS;
    return history->due_us[JOB_VALIDATIONS] <= now_us ? JOB_VALIDATIONS : JOB_NONE;
}

static void begin(struct history *history, enum job_kind kind)
{
    struct job *job = &history->job;
    *job = (struct job){.kind = kind, .at_us = clock_wall_us()};
    history->job_pause_until_us = 0;
    history_new_trace(history, job->trace_id);
    const uint32_t days = kind == JOB_SNAPSHOT_RETENTION ? history->settings.snapshot_retention_days
                                                         : history->settings.journal_retention_days;
    (void)history_time_param(job->at_us - (int64_t)days * DAY_US, "-infinity", job->cut);
}

/* Skips what was missed rather than catching up. */
static void set_next_time(struct history *history, enum job_kind kind, bool is_soon)
{
    const int64_t now_us = clock_steady_us();
    const int64_t interval = interval_us(history, kind);
    history->due_us[kind] += interval;
    if (is_soon && history->due_us[kind] > now_us + TRY_AGAIN_US)
        history->due_us[kind] = now_us + TRY_AGAIN_US;
    if (history->due_us[kind] <= now_us)
        history->due_us[kind] = now_us + interval;
}

static enum status step(struct history *history, struct job *job)
{
    switch (job->kind) {
    case JOB_SNAPSHOTS:
        return job_snapshots_step(history, job);
    case JOB_VALIDATIONS:
        return job_validations_step(history, job);
    case JOB_SNAPSHOT_RETENTION:
        return job_snapshot_retention_step(history, job);
    case JOB_JOURNAL_RETENTION:
        return job_journal_retention_step(history, job);
    case JOB_ORDER_RETENTION:
        return job_order_retention_step(history, job);
    case JOB_NONE:
        break;
    }
    return STATUS_UNCHANGED;
}

/* STATUS_UNCHANGED: it is done; else as the server refused it. */
static void end(struct history *history, enum status status)
{
    struct job *job = &history->job;
    if (status != STATUS_UNCHANGED && job->in_transaction)
        (void)!history_query(history, LINE_JOBS, "rollback", "ROLLBACK", 0, NULL, NULL);
    set_next_time(history, job->kind, status == STATUS_TIMEOUT);
    forget(job);
    *job = history->set_aside;
    history->set_aside = (struct job){.kind = JOB_NONE};
}

/* Takes up what is most due, or what the job under way has to make room for. */
static void choose(struct history *history, int64_t now_us)
{
    struct job *job = &history->job;
    const enum job_kind before = urgent(history, now_us);
    if (job->kind == JOB_NONE) {
        begin(history, most_due(history));
    } else if (is_retention(job->kind) && before != JOB_NONE) {
        history->set_aside = *job;
        begin(history, before);
    }
}

bool history_jobs_step(struct history *history)
{
    struct job *job = &history->job;
    const int64_t now_us = clock_steady_us();
    if (history_jobs_next_us(history) > now_us)
        return false;
    choose(history, now_us);
    const enum status status = step(history, job);
    if (status == STATUS_UNCHANGED || (status != STATUS_OK && history->connected))
        end(history, status);
    else if (status != STATUS_OK)
        history_job_abandon(history);
    else if (job->rows_since_pause >= PAUSE_ROWS) {
        job->rows_since_pause = 0;
        history->job_pause_until_us = clock_steady_us() + PAUSE_US;
    }
    return true;
}
