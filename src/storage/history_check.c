/*
 * Validation of one position: the orders are folded, the committed view is compared, and what differs is reported or
 * corrected through the owning shard.
 */
#include "history_state.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log.h"
#include "metrics.h"

enum {
    FIX_WAIT_US = 10000000,
    COMPARE_TRIES = 3, /* while executions change the position between two looks at it */
};

static const char hedge_message[] = "a hedge position cannot be fixed: orders name no legs";
static const char misfit_message[] = "what was found could not be fixed: the position would not fit";
static const char overtaken_message[] = "what was found was not fixed: the position has changed meanwhile; ask again";
static const char restless_message[] =
    "nothing to compare: executions come in faster than the orders of this asset can be read; ask again later";
static const char unreadable_message[] = "nothing to compare: the orders table cannot be read";
static const char no_table_message[] = "nothing to compare: there is no orders table";

static struct check check_of(const char *asset, uint8_t mode, const char *trace_id)
{
    struct check check = {.key.mode = mode};
    memcpy(check.key.asset, asset, sizeof check.key.asset);
    memcpy(check.trace_id, trace_id, sizeof check.trace_id);
    return check;
}

static void answer_check(const struct check *check, struct history_request *request, const struct position *updated,
                         const struct position_context *context)
{
    char *bytes = malloc(VALIDATION_JSON_LEN_MAX);
    pm_assert(bytes != NULL);
    struct validation_result result = check->result;
    struct text text;
    result.updated_position = updated;
    text_init(&text, bytes, VALIDATION_JSON_LEN_MAX);
    encode_validation(&text, &result, context);
    pm_assert(!text.overflowed);
    history_answer(request, STATUS_OK, text.bytes, text.len);
}

static void report(const struct check *check)
{
    const char *mode = position_mode_word((enum position_mode)check->key.mode);
    metric_add(METRIC_VALIDATIONS, 1);
    if (check->result.is_valid) {
        LOG_EVENT(check->is_periodic ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "validation_passed", check->trace_id,
                  log_text("asset", check->key.asset), log_text("mode", mode),
                  log_text("message", check->result.error_message));
        return;
    }
    char stored[DECIMAL_TEXT_LEN_MAX] = "", computed[DECIMAL_TEXT_LEN_MAX] = "";
    const struct validation_finding *first =
        check->result.size.differs ? &check->result.size : &check->result.average_entry_price;
    if (!decimal_is_none(first->stored))
        decimal_format(first->stored, 1, stored);
    if (!decimal_is_none(first->computed))
        decimal_format(first->computed, 1, computed);
    metric_add(METRIC_VALIDATION_DISCREPANCIES, 1);
    LOG_EVENT(LOG_LEVEL_WARNING, "validation_discrepancy", check->trace_id, log_text("asset", check->key.asset),
              log_text("mode", mode), log_text("message", check->result.error_message), log_text("stored", stored),
              log_text("computed", computed));
}

void history_check_compare(struct history *history, struct check *check, const struct orders_fold *fold)
{
    const struct orders_tolerance tolerance = {history->settings.size_threshold, history->settings.average_threshold};
    struct position stored;
    struct position_context context;
    check->result = (struct validation_result){.is_valid = true, .error_message = "nothing to compare"};
    if (history_find(history, &check->key, &stored, &context) == STATUS_OK) {
        check->size = stored.size;
        check->average_entry_price = stored.average_entry_price;
        orders_fold_compare(fold, &stored, &tolerance, &check->result);
    }
    report(check);
}

/* ---- fixing ---- */

static bool send_fix(struct history *history, const struct check *check, struct history_request *request)
{
    struct wish *wish = history_wish_get(history, &check->key, DELIVERY_CORRECTION, check->trace_id);
    if (wish == NULL)
        return false;
    struct correction *correction = &wish->delivery.said.correction;
    const struct validation_result *result = &check->result;
    correction->mode = check->key.mode;
    correction->compared_size = check->size;
    correction->compared_average_price = check->average_entry_price;
    correction->size = result->size.differs ? result->size.computed : DECIMAL_NONE;
    correction->average_price =
        result->average_entry_price.differs ? result->average_entry_price.computed : DECIMAL_NONE;
    wish->check = *check;
    history_wish_send(history, wish, request, FIX_WAIT_US);
    return true;
}

static void finish_check(struct history *history, struct check *check, struct history_request *request, bool fix)
{
    if (fix && !check->result.is_valid) {
        if (check->key.mode == POSITION_MODE_HEDGE)
            check->result.error_message = hedge_message;
        else if (send_fix(history, check, request))
            return;
        else if (request != NULL) {
            history_answer(request, STATUS_UNAVAILABLE, NULL, 0);
            return;
        }
    }
    if (request != NULL) {
        const struct position_context none = {0};
        answer_check(check, request, NULL, &none);
    }
}

void history_fix_home(struct history *history, struct wish *wish, struct history_request *request)
{
    struct check *check = &wish->check;
    struct position updated;
    struct position_context context = {0};
    const bool is_fixed = wish->delivery.refusal == STATUS_OK || wish->delivery.refusal == STATUS_UNCHANGED;
    const char *mode = position_mode_word((enum position_mode)check->key.mode);
    if (is_fixed) {
        check->result.is_valid = true;
        check->result.error_message = NULL;
        metric_add(METRIC_VALIDATION_FIXES, 1);
        LOG_EVENT(LOG_LEVEL_INFO, "validation_fixed", check->trace_id, log_text("asset", check->key.asset),
                  log_text("mode", mode));
    } else {
        check->result.error_message =
            wish->delivery.refusal == STATUS_OUT_OF_RANGE ? misfit_message : overtaken_message;
        LOG_EVENT(LOG_LEVEL_WARNING, "validation_fix_refused", check->trace_id, log_text("asset", check->key.asset),
                  log_text("mode", mode), log_text("reason", status_word(wish->delivery.refusal)));
    }
    if (request == NULL)
        return;
    if (history_find(history, &check->key, &updated, &context) != STATUS_OK)
        history_answer(request, STATUS_NOT_FOUND, NULL, 0);
    else
        answer_check(check, request, is_fixed ? &updated : NULL, &context);
}

/* ---- one position ---- */

/* Fails: as history_query(). */
static enum status fold_orders(struct history *history, const char *asset, struct orders_fold *fold, bool *readable)
{
    orders_fold_begin(fold);
    enum status status = history_orders_open(history, LINE_CHECKS, asset, readable);
    bool at_end = false;
    while (status == STATUS_OK && *readable && !at_end) {
        PGresult *result;
        status = history_orders_fetch(history, LINE_CHECKS, &result);
        if (status != STATUS_OK)
            break;
        const int count = PQntuples(result);
        for (int row = 0; row < count; row++)
            history_orders_add(fold, result, row);
        at_end = count == 0;
        PQclear(result);
    }
    if (*readable)
        history_orders_close(history, LINE_CHECKS);
    return status;
}

/* Size and average, as the position has them now. Fails: STATUS_NOT_FOUND. */
static enum status look_at_position(struct history *history, struct check *check)
{
    struct position position;
    struct position_context context;
    const enum status status = history_find(history, &check->key, &position, &context);
    check->size = status == STATUS_OK ? position.size : DECIMAL_NONE;
    check->average_entry_price = status == STATUS_OK ? position.average_entry_price : DECIMAL_NONE;
    return status;
}

/* Whether size or average have changed since check looked; it has looked again then. */
static bool has_moved(struct history *history, struct check *check)
{
    const struct decimal size = check->size, average = check->average_entry_price;
    return look_at_position(history, check) != STATUS_OK || !decimal_is_equal(size, check->size) ||
           !decimal_is_equal(average, check->average_entry_price);
}

static void report_nothing_compared(struct check *check, const char *message)
{
    check->result = (struct validation_result){.is_valid = true, .error_message = message};
    report(check);
}

/*
 * The orders are those of the moment in which reading began. An execution that came while they were read is in the
 * position and not in them: comparing the two would find a discrepancy that is none, and fixing that would lose it. So
 * the position must be the same before and after.
 */
static enum status run_check(struct history *history, struct check *check)
{
    for (int i = 0; i < COMPARE_TRIES; i++) {
        struct orders_fold fold;
        bool readable;
        (void)!look_at_position(history, check);
        const enum status status = fold_orders(history, check->key.asset, &fold, &readable);
        if (status != STATUS_OK && status != STATUS_INVALID)
            return status;
        if (status == STATUS_INVALID || !readable) {
            report_nothing_compared(check, status == STATUS_OK ? no_table_message : unreadable_message);
            return STATUS_OK;
        }
        if (!has_moved(history, check)) {
            history_check_compare(history, check, &fold);
            return STATUS_OK;
        }
    }
    report_nothing_compared(check, restless_message);
    return STATUS_OK;
}

void history_check_request(struct history *history, struct history_request *request)
{
    struct check check = check_of(request->asset, request->mode, request->trace_id);
    if (run_check(history, &check) != STATUS_OK) {
        history_answer(request, STATUS_UNAVAILABLE, NULL, 0);
        return;
    }
    finish_check(history, &check, request, request->fix);
}

void history_want_check(struct history *history, const struct position_key *key, const char *trace_id)
{
    for (size_t i = 0; i < history->wanted_count; i++) {
        const struct position_key *wanted = &history->wanted[i].key;
        if (wanted->mode == key->mode && strcmp(wanted->asset, key->asset) == 0)
            return;
    }
    if (history->wanted_count < WANTED_MAX)
        history->wanted[history->wanted_count++] = check_of(key->asset, key->mode, trace_id);
}

void history_check_wanted(struct history *history)
{
    if (history->wanted_count == 0)
        return;
    struct check check = history->wanted[0];
    /* Where the connection failed it stays wanted; others may be wanted behind it meanwhile. */
    if (run_check(history, &check) != STATUS_OK)
        return;
    history->wanted_count--;
    memmove(&history->wanted[0], &history->wanted[1], history->wanted_count * sizeof history->wanted[0]);
    finish_check(history, &check, NULL, history->settings.validation_fix);
}
