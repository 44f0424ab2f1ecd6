/*
 * GET /api/v1/portfolio, /exposure and /pnl (contract §2.3).
 *
 * An answer's totals are the sums of the very positions in its by_asset, so it never contradicts itself while positions
 * change. With ?asset= all figures are that asset's; only limit_exceeded still speaks of the whole portfolio, as the
 * limit does.
 */
#include <string.h>

#include "aggregator.h"
#include "clock.h"
#include "collect.h"
#include "directory.h"
#include "encode.h"
#include "loop.h"
#include "request.h"

enum portfolio_part { PART_ALL, PART_EXPOSURE, PART_PNL };

struct portfolio_question {
    enum portfolio_part part;
    bool include_positions;
    char asset[ASSET_LEN_MAX + 1]; /* empty: all */
};

/* price_stale and time_held_minutes of included positions move with the time alone. */
#define POSITIONS_TTL_US 1000000LL

/* One asset's sums over both modes. */
struct asset_sums {
    const char *asset;
    struct portfolio_totals totals;
    int128 size_units;
};

static void render_asset(struct body *body, const struct asset_sums *sums, bool is_first)
{
    struct text text = body_open(body, ASSET_JSON_LEN_MAX + 1);
    if (!is_first)
        text_char(&text, ',');
    encode_by_asset_member(&text, sums->asset, &sums->totals, sums->size_units);
    body_close(body, &text);
}

/* Renders "by_asset" of what was collected, which is ordered by asset, and sums it up. */
static void render_by_asset(struct loop *loop, struct portfolio_totals *totals)
{
    const struct seen_positions *seen = &loop->seen;
    bool is_first = true;
    *totals = (struct portfolio_totals){0};
    BODY_LITERAL(&loop->body, "\"by_asset\":{");
    for (size_t i = 0; i < seen->count;) {
        struct asset_sums sums = {.asset = seen->items[i]->asset};
        for (; i < seen->count && strcmp(seen->items[i]->asset, sums.asset) == 0; i++) {
            struct portfolio_totals contribution;
            portfolio_contribution(seen->items[i], &contribution);
            portfolio_add(&sums.totals, &contribution);
            sums.size_units += seen->items[i]->size.units;
        }
        portfolio_add(totals, &sums.totals);
        render_asset(&loop->body, &sums, is_first);
        is_first = false;
    }
    BODY_LITERAL(&loop->body, "}");
}

static void render_exposure(struct text *text, const struct portfolio_totals *totals, bool limit_exceeded)
{
    TEXT_LITERAL(text, "\"total_exposure_usdt\":");
    text_units(text, portfolio_round(totals->exposure), 2);
    TEXT_LITERAL(text, ",\"net_exposure_usdt\":");
    text_units(text, portfolio_round(totals->net_exposure), 2);
    TEXT_LITERAL(text, ",\"limit_exceeded\":");
    text_bool(text, limit_exceeded);
}

static void render_pnl(struct text *text, const struct portfolio_totals *totals)
{
    TEXT_LITERAL(text, "\"total_unrealized_pnl_usdt\":");
    text_units(text, totals->unrealized_pnl, 2);
    TEXT_LITERAL(text, ",\"total_realized_pnl_usdt\":");
    text_units(text, totals->realized_pnl, 2);
    TEXT_LITERAL(text, ",\"total_pnl_usdt\":");
    text_units(text, totals->unrealized_pnl + totals->realized_pnl, 2);
}

static void render_totals(struct request *request, const struct portfolio_question *question,
                          const struct portfolio_totals *totals, bool limit_exceeded)
{
    struct text text = body_open(&request->loop->body, PORTFOLIO_JSON_LEN_MAX);
    text_char(&text, ',');
    switch (question->part) {
    case PART_ALL:
        encode_portfolio_members(&text, totals, limit_exceeded);
        break;
    case PART_EXPOSURE:
        render_exposure(&text, totals, limit_exceeded);
        break;
    case PART_PNL:
        render_pnl(&text, totals);
        break;
    }
    TEXT_LITERAL(&text, ",\"calculated_at\":");
    text_time(&text, clock_wall_us());
    body_close(&request->loop->body, &text);
}

/* Inside a section. */
static void render_portfolio(struct request *request, const struct portfolio_question *question)
{
    struct loop *loop = request->loop;
    struct portfolio_totals totals;
    struct portfolio_totals whole;
    bool is_restricted = question->asset[0] != '\0';
    if (is_restricted)
        collect_asset(loop, question->asset);
    else
        collect_all(loop);
    body_clear(&loop->body);
    BODY_LITERAL(&loop->body, "{");
    render_by_asset(loop, &totals);
    if (is_restricted)
        directory_totals(loop->reader, &whole);
    else
        whole = totals;
    render_totals(request, question, &totals, exposure_is_over(whole.exposure, loop->shared->settings.exposure_limit));
    if (question->include_positions) {
        BODY_LITERAL(&loop->body, ",\"positions\":");
        collect_render(request, whole.exposure);
    }
    BODY_LITERAL(&loop->body, "}");
}

static struct kept_body *kept_for(struct loop *loop, const struct portfolio_question *question)
{
    if (question->asset[0] != '\0')
        return NULL;
    switch (question->part) {
    case PART_ALL:
        return &loop->kept[question->include_positions ? KEPT_PORTFOLIO_POSITIONS : KEPT_PORTFOLIO];
    case PART_EXPOSURE:
        return &loop->kept[KEPT_EXPOSURE];
    case PART_PNL:
        break;
    }
    return &loop->kept[KEPT_PNL];
}

static void count_one(atomic_uint_fast64_t *count)
{
    /* Only this loop writes it. */
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void answer_question(struct request *request, const struct portfolio_question *question)
{
    struct loop *loop = request->loop;
    struct kept_body *kept = kept_for(loop, question);
    int64_t ttl_us = loop->shared->settings.portfolio_ttl_us;
    if (question->include_positions && ttl_us > POSITIONS_TTL_US)
        ttl_us = POSITIONS_TTL_US;
    uint64_t change_count = directory_change_count(loop->shared->directory);
    if (kept != NULL && kept_body_is_fresh(kept, change_count, request->steady_us, ttl_us)) {
        count_one(&loop->portfolio_hits);
        request_send_kept(request, kept);
        return;
    }
    count_one(&loop->portfolio_misses);
    directory_begin(loop->reader);
    render_portfolio(request, question);
    directory_end(loop->reader);
    if (kept == NULL || loop->body.failed) {
        request_send_body(request, 200, "application/json", &loop->body);
        return;
    }
    kept_body_set(kept, &loop->body, change_count, request->steady_us);
    request_send_kept(request, kept);
}

void answer_portfolio(struct request *request)
{
    struct portfolio_question question = {.part = PART_ALL};
    if (request_query_bool(request, "include_positions", &question.include_positions) &&
        request_query_asset(request, question.asset))
        answer_question(request, &question);
}

void answer_exposure(struct request *request)
{
    answer_question(request, &(struct portfolio_question){.part = PART_EXPOSURE});
}

void answer_pnl(struct request *request)
{
    answer_question(request, &(struct portfolio_question){.part = PART_PNL});
}
