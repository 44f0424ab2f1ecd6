/*
 * POST /api/v1/positions/{asset}/validate (also without /validate) and /snapshot, GET …/snapshots (contract §2.3).
 *
 * Parameters are judged and unknown positions refused here; everything else is the history's (inquiries.h). A body is
 * read and ignored.
 */
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "inquiries.h"
#include "loop.h"
#include "request.h"

enum { LIMIT_DEFAULT = 100 };

static bool is_known(struct loop *loop, const char *asset, enum position_mode mode)
{
    directory_begin(loop->reader);
    bool found = directory_find(loop->reader, asset, mode) != NULL;
    directory_end(loop->reader);
    return found;
}

/* Completes a question and sends it; answers 404 itself where there is no such position. */
static void ask(struct request *request, const struct history_request *question)
{
    struct history_request *asked = malloc(sizeof *asked);
    if (asked == NULL) {
        request_fail(request, PROBLEM_INTERNAL, "the answer could not be made");
        return;
    }
    *asked = *question;
    asked->head.type = MESSAGE_HISTORY;
    memcpy(asked->trace_id, request->trace_id, sizeof asked->trace_id);
    const struct asset_pattern *assets = request->loop->shared->settings.assets;
    if (asset_parse(assets, request->asset, request->asset_len, asked->asset) != STATUS_OK ||
        !is_known(request->loop, asked->asset, (enum position_mode)asked->mode)) {
        free(asked);
        request_fail(request, PROBLEM_NOT_FOUND, "there is no position of this asset in this mode");
        return;
    }
    inquiry_send(request, &asked);
}

/* A question of this kind with the mode that was asked for. Fails: answers 400 itself. */
static bool question_begin(struct request *request, enum history_kind kind, struct history_request *question)
{
    enum position_mode mode = POSITION_MODE_ONE_WAY;
    bool is_given;
    *question = (struct history_request){.kind = (uint8_t)kind, .at_us = TIME_NONE};
    if (!request_query_mode(request, &mode, &is_given))
        return false;
    question->mode = (uint8_t)mode;
    return true;
}

void answer_validate(struct request *request)
{
    struct history_request question;
    if (!question_begin(request, HISTORY_VALIDATE, &question))
        return;
    question.fix = true;
    if (request_query_bool(request, "fix_discrepancies", &question.fix))
        ask(request, &question);
}

void answer_snapshot(struct request *request)
{
    struct history_request question;
    if (question_begin(request, HISTORY_SNAPSHOT_TAKE, &question))
        ask(request, &question);
}

/* All parameters must be well-formed; with at= the others then say nothing. */
void answer_snapshots(struct request *request)
{
    static const struct query_range limits = {1, HISTORY_LIMIT_MAX};
    static const struct query_range offsets = {0, INT32_MAX};
    struct history_request question;
    if (!question_begin(request, HISTORY_SNAPSHOT_LIST, &question))
        return;
    question.limit = LIMIT_DEFAULT;
    if (!request_query_integer(request, "limit", &limits, &question.limit) ||
        !request_query_integer(request, "offset", &offsets, &question.offset) ||
        !request_query_time(request, "from", &question.from_us) ||
        !request_query_time(request, "to", &question.to_us) || !request_query_time(request, "at", &question.at_us))
        return;
    if (question.at_us != TIME_NONE)
        question.kind = HISTORY_SNAPSHOT_AT;
    ask(request, &question);
}
