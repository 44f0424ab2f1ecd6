/*
 * Retention by the clock: snapshots, the journal, totals of orders.
 */
#include "history_state.h"

#include "check.h"
#include "log.h"
#include "metrics.h"

/*
 * The walk's next positions, as an array's text: position_snapshots may be somebody else's table, and in this form the
 * server takes them for whatever type the column has.
 */
static void put_position_ids(struct history *history, struct walk *walk)
{
    struct text ids;
    text_init(&ids, history->retention_ids, RETENTION_IDS_LEN_MAX);
    text_char(&ids, '{');
    directory_begin(history->reader);
    for (size_t i = 0; i < RETENTION_POSITIONS_MAX && walk->next < walk->count; i++, walk->next++) {
        const struct position_key *key = &walk->keys[walk->next];
        const struct position *position = directory_find(history->reader, key->asset, (enum position_mode)key->mode);
        if (position == NULL)
            continue;
        if (ids.len > 1)
            text_char(&ids, ',');
        text_uuid(&ids, &position->id);
    }
    directory_end(history->reader);
    text_char(&ids, '}');
    pm_assert(!ids.overflowed);
    history->retention_ids[ids.len] = '\0';
}

enum status job_snapshot_retention_step(struct history *history, struct job *job)
{
    if (!job->has_begun) {
        walk_begin(&job->walk, history->reader);
        put_position_ids(history, &job->walk);
    }
    job->has_begun = true;
    if (!history_line_is_open(history, LINE_JOBS))
        return STATUS_UNAVAILABLE;
    size_t deleted = 0;
    const enum status status =
        history_judge(history, LINE_JOBS, "snapshot_retention",
                      snapshot_retention_step(&history->lines[LINE_JOBS], history->retention_ids, job->cut, &deleted));
    if (status != STATUS_OK)
        return status;
    job->done_count += deleted;
    job->rows_since_pause += deleted;
    metric_add(METRIC_SNAPSHOTS_DELETED, deleted);
    if (deleted == RETENTION_BATCH)
        return STATUS_OK;
    if (job->walk.next < job->walk.count) {
        put_position_ids(history, &job->walk);
        return STATUS_OK;
    }
    LOG_EVENT(LOG_LEVEL_INFO, "snapshots_deleted", job->trace_id, log_int("count", (int64_t)job->done_count),
              log_text("before", job->cut));
    return STATUS_UNCHANGED;
}

/* ---- the journal ---- */

static enum status find_foldable(struct history *history, struct job *job)
{
    put_position_ids(history, &job->walk);
    job->folding_row = 0;
    return history_judge(
        history, LINE_JOBS, "journal_retention",
        journal_retention_find(&history->lines[LINE_JOBS], history->retention_ids, job->cut, &job->folding));
}

static enum status fold_next(struct history *history, struct job *job)
{
    size_t folded = 0;
    const enum status status =
        history_judge(history, LINE_JOBS, "journal_retention",
                      journal_retention_fold(&history->lines[LINE_JOBS], PQgetvalue(job->folding, job->folding_row, 0),
                                             job->cut, &folded));
    if (status != STATUS_OK)
        return status;
    job->done_count += folded;
    job->rows_since_pause += folded;
    if (folded == RETENTION_BATCH)
        return STATUS_OK;
    if (++job->folding_row == PQntuples(job->folding)) {
        PQclear(job->folding);
        job->folding = NULL;
    }
    return STATUS_OK;
}

enum status job_journal_retention_step(struct history *history, struct job *job)
{
    if (!job->has_begun)
        walk_begin(&job->walk, history->reader);
    job->has_begun = true;
    if (!history_line_is_open(history, LINE_JOBS))
        return STATUS_UNAVAILABLE;
    if (job->folding != NULL && PQntuples(job->folding) > 0)
        return fold_next(history, job);
    PQclear(job->folding);
    job->folding = NULL;
    if (job->walk.next < job->walk.count)
        return find_foldable(history, job);
    LOG_EVENT(LOG_LEVEL_INFO, "journal_folded", job->trace_id, log_int("rows", (int64_t)job->done_count),
              log_text("before", job->cut));
    return STATUS_UNCHANGED;
}

/* ---- totals of orders ---- */

enum status job_order_retention_step(struct history *history, struct job *job)
{
    if (!job->has_begun)
        order_retention_begin(&job->orders);
    job->has_begun = true;
    if (!history_line_is_open(history, LINE_JOBS))
        return STATUS_UNAVAILABLE;
    size_t seen = 0, deleted = 0;
    const enum status status =
        history_judge(history, LINE_JOBS, "order_retention",
                      order_retention_step(&history->lines[LINE_JOBS], &job->orders, job->cut, &seen, &deleted));
    if (status != STATUS_OK)
        return status;
    job->done_count += deleted;
    job->rows_since_pause += seen;
    if (seen == RETENTION_BATCH)
        return STATUS_OK;
    LOG_EVENT(LOG_LEVEL_INFO, "order_totals_deleted", job->trace_id, log_int("count", (int64_t)job->done_count),
              log_text("before", job->cut));
    return STATUS_UNCHANGED;
}
