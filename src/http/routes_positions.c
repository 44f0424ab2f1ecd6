/* GET /api/v1/positions and /api/v1/positions/{asset} (contract §2.3). */
#include <string.h>

#include "clock.h"
#include "collect.h"
#include "directory.h"
#include "encode.h"
#include "loop.h"
#include "request.h"

/* time_held_minutes and price_stale move with the time alone. */
#define LIST_TTL_US 1000000LL

struct position_filter {
    char asset[ASSET_LEN_MAX + 1]; /* empty: all */
    bool has_mode;
    enum position_mode mode;
    struct decimal size_min; /* signed, inclusive; none: no bound */
    struct decimal size_max;
};

/* Bounds that exclude each other are no mistake: nothing lies between them. */
static bool filter_read(struct request *request, struct position_filter *filter)
{
    *filter = (struct position_filter){.size_min = DECIMAL_NONE, .size_max = DECIMAL_NONE};
    return request_query_asset(request, filter->asset) &&
           request_query_mode(request, &filter->mode, &filter->has_mode) &&
           request_query_decimal(request, "size_min", &filter->size_min) &&
           request_query_decimal(request, "size_max", &filter->size_max);
}

static bool filter_is_empty(const struct position_filter *filter)
{
    return filter->asset[0] == '\0' && !filter->has_mode && decimal_is_none(filter->size_min) &&
           decimal_is_none(filter->size_max);
}

static bool filter_takes(const struct position_filter *filter, const struct position *position)
{
    if (filter->has_mode && position->mode != filter->mode)
        return false;
    if (!decimal_is_none(filter->size_min) && position->size.units < filter->size_min.units)
        return false;
    return decimal_is_none(filter->size_max) || position->size.units <= filter->size_max.units;
}

static void collect_filtered(struct loop *loop, const struct position_filter *filter)
{
    size_t kept = 0;
    if (filter->asset[0] != '\0')
        collect_asset(loop, filter->asset);
    else
        collect_all(loop);
    for (size_t i = 0; i < loop->seen.count; i++)
        if (filter_takes(filter, loop->seen.items[i]))
            loop->seen.items[kept++] = loop->seen.items[i];
    loop->seen.count = kept;
}

/* Inside a section: the positions first, then totals that include them. */
static void render_list(struct request *request, const struct position_filter *filter)
{
    struct loop *loop = request->loop;
    struct portfolio_totals totals;
    collect_filtered(loop, filter);
    directory_totals(loop->reader, &totals);
    body_clear(&loop->body);
    BODY_LITERAL(&loop->body, "{\"positions\":");
    collect_render(request, totals.exposure);
    struct text text = body_open(&loop->body, 64);
    TEXT_LITERAL(&text, ",\"count\":");
    text_int(&text, (int64_t)loop->seen.count);
    text_char(&text, '}');
    body_close(&loop->body, &text);
}

void answer_positions(struct request *request)
{
    struct loop *loop = request->loop;
    struct kept_body *kept = &loop->kept[KEPT_POSITIONS];
    struct position_filter filter;
    if (!filter_read(request, &filter))
        return;
    bool is_plain = filter_is_empty(&filter);
    uint64_t change_count = directory_change_count(loop->shared->directory);
    if (is_plain && kept_body_is_fresh(kept, change_count, request->steady_us, LIST_TTL_US)) {
        request_send_kept(request, kept);
        return;
    }
    directory_begin(loop->reader);
    render_list(request, &filter);
    directory_end(loop->reader);
    if (!is_plain || loop->body.failed) {
        request_send_body(request, 200, "application/json", &loop->body);
        return;
    }
    kept_body_set(kept, &loop->body, change_count, request->steady_us);
    request_send_kept(request, kept);
}

/* ---- one position ---- */

/* Renders it into the loop's body. Inside a section. Returns false where there is no such position. */
static bool render_position(struct request *request, const char *asset, enum position_mode mode)
{
    struct loop *loop = request->loop;
    struct portfolio_totals totals;
    const struct position *position = directory_find(loop->reader, asset, mode);
    if (position == NULL)
        return false;
    directory_totals(loop->reader, &totals);
    struct position_context context = {.total_exposure = totals.exposure,
                                       .now_us = clock_wall_us(),
                                       .staleness_us = loop->shared->settings.staleness_us};
    body_clear(&loop->body);
    struct text text = body_open(&loop->body, POSITION_JSON_LEN_MAX);
    encode_position(&text, position, &context);
    body_close(&loop->body, &text);
    return true;
}

/* The place in which a position's body may be kept. */
static struct kept_position *place_of(struct loop *loop, const char *asset, size_t len, enum position_mode mode)
{
    size_t hash = (size_t)mode;
    for (size_t i = 0; i < len; i++)
        hash = hash * 31 + (unsigned char)asset[i];
    return &loop->kept_positions[hash % KEPT_POSITION_PLACES];
}

/* Answers with the body that is kept, if one is and it is fresh. asset: as it is kept, or any text. */
static bool send_kept_position(struct request *request, const char *asset, size_t len, enum position_mode mode,
                               uint64_t change_count)
{
    const struct kept_position *place = place_of(request->loop, asset, len, mode);
    if (place->mode != mode || strlen(place->asset) != len || memcmp(place->asset, asset, len) != 0 ||
        !kept_body_is_fresh(&place->body, change_count, request->steady_us, LIST_TTL_US))
        return false;
    request_send_kept(request, &place->body);
    return true;
}

/* change_count: from before the rendering. */
static void send_position(struct request *request, const char *asset, enum position_mode mode, uint64_t change_count)
{
    struct loop *loop = request->loop;
    struct kept_position *place = place_of(loop, asset, strlen(asset), mode);
    if (loop->body.failed) {
        request_send_body(request, 200, "application/json", &loop->body);
        return;
    }
    kept_body_set(&place->body, &loop->body, change_count, request->steady_us);
    memcpy(place->asset, asset, sizeof place->asset);
    place->mode = mode;
    request_send_kept(request, &place->body);
}

void answer_position(struct request *request)
{
    struct loop *loop = request->loop;
    char asset[ASSET_LEN_MAX + 1];
    enum position_mode mode = POSITION_MODE_ONE_WAY;
    bool is_given;
    bool is_found = false;
    if (!request_query_mode(request, &mode, &is_given))
        return;
    /* What is kept under the very text that was asked for is an asset. */
    uint64_t change_count = directory_change_count(loop->shared->directory);
    if (send_kept_position(request, request->asset, request->asset_len, mode, change_count))
        return;
    if (asset_parse(loop->shared->settings.assets, request->asset, request->asset_len, asset) == STATUS_OK) {
        if (send_kept_position(request, asset, strlen(asset), mode, change_count))
            return;
        directory_begin(loop->reader);
        is_found = render_position(request, asset, mode);
        directory_end(loop->reader);
        if (is_found)
            send_position(request, asset, mode, change_count);
    }
    if (!is_found)
        request_fail(request, PROBLEM_NOT_FOUND, "there is no position of this asset in this mode");
}
