/*
 * Validation of all positions in one pass over the orders, sorted by asset: every asset's orders are folded, and when
 * the next asset begins its positions are compared. What has no orders has nothing to compare.
 */
#include "history_state.h"

#include <string.h>

#include "log.h"
#include "metrics.h"

static enum status begin(struct history *history, struct job *job)
{
    bool readable;
    job->has_begun = true;
    const enum status status = history_orders_open(history, LINE_JOBS, NULL, &readable);
    job->in_transaction = readable;
    return status == STATUS_OK && !readable ? STATUS_UNCHANGED : status;
}

static void compare_asset(struct history *history, struct job *job)
{
    static const uint8_t modes[] = {POSITION_MODE_ONE_WAY, POSITION_MODE_HEDGE};
    const char *asset = job->fold_asset;
    for (size_t i = 0; i < sizeof modes && asset[0] != '\0'; i++) {
        struct check check = {.key.mode = modes[i], .is_periodic = true};
        struct position position;
        struct position_context context;
        memcpy(check.key.asset, asset, sizeof check.key.asset);
        memcpy(check.trace_id, job->trace_id, sizeof check.trace_id);
        if (history_find(history, &check.key, &position, &context) != STATUS_OK)
            continue;
        history_check_compare(history, &check, &job->fold);
        job->done_count++;
        job->found_count += check.result.is_valid ? 0 : 1;
        /* Reading all orders takes long, and executions come meanwhile: what is to be fixed is looked at by itself. */
        if (!check.result.is_valid && history->settings.validation_fix && check.key.mode != POSITION_MODE_HEDGE)
            history_want_check(history, &check.key, check.trace_id);
    }
}

static void add_row(struct history *history, struct job *job, const PGresult *result, int row)
{
    const char *asset = PQgetvalue(result, row, 0);
    const size_t len = strlen(asset);
    if (len == 0 || len > ASSET_LEN_MAX)
        return; /* no position can have such an asset */
    if (strcmp(asset, job->fold_asset) != 0) {
        compare_asset(history, job);
        orders_fold_begin(&job->fold);
        memcpy(job->fold_asset, asset, len + 1);
    }
    history_orders_add(&job->fold, result, row);
}

static void finish(struct history *history, struct job *job)
{
    compare_asset(history, job);
    history_orders_close(history, LINE_JOBS);
    job->in_transaction = false;
    LOG_EVENT(LOG_LEVEL_INFO, "validations_done", job->trace_id, log_int("compared", (int64_t)job->done_count),
              log_int("discrepancies", (int64_t)job->found_count));
}

enum status job_validations_step(struct history *history, struct job *job)
{
    if (!job->has_begun)
        return begin(history, job);
    PGresult *result;
    const enum status status = history_orders_fetch(history, LINE_JOBS, &result);
    if (status != STATUS_OK)
        return status;
    const int count = PQntuples(result);
    for (int row = 0; row < count; row++)
        add_row(history, job, result, row);
    PQclear(result);
    if (count > 0)
        return STATUS_OK;
    finish(history, job);
    return STATUS_UNCHANGED;
}
