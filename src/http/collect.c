#include "collect.h"

#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "directory.h"
#include "encode.h"
#include "request.h"

enum { SEEN_CAPACITY_MIN = 256 };

static void seen_add(struct seen_positions *seen, const struct position *position)
{
    if (seen->count == seen->capacity) {
        size_t capacity = seen->capacity == 0 ? SEEN_CAPACITY_MIN : 2 * seen->capacity;
        const struct position **items = realloc(seen->items, capacity * sizeof *items);
        pm_assert(items != NULL);
        seen->items = items;
        seen->capacity = capacity;
    }
    seen->items[seen->count++] = position;
}

static void on_position(void *context, const struct position *position)
{
    seen_add(context, position);
}

void collect_all(struct loop *loop)
{
    loop->seen.count = 0;
    directory_visit(loop->reader, on_position, &loop->seen);
}

void collect_asset(struct loop *loop, const char *asset)
{
    static const enum position_mode modes[] = {POSITION_MODE_HEDGE, POSITION_MODE_ONE_WAY}; /* by their words */
    loop->seen.count = 0;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        const struct position *position = directory_find(loop->reader, asset, modes[i]);
        if (position != NULL)
            seen_add(&loop->seen, position);
    }
}

void collect_render(struct request *request, struct wide total_exposure)
{
    struct loop *loop = request->loop;
    struct position_context context = {.total_exposure = total_exposure,
                                       .now_us = clock_wall_us(),
                                       .staleness_us = loop->shared->settings.staleness_us};
    BODY_LITERAL(&loop->body, "[");
    for (size_t i = 0; i < loop->seen.count; i++) {
        struct text text = body_open(&loop->body, POSITION_JSON_LEN_MAX + 1);
        if (i > 0)
            text_char(&text, ',');
        encode_position(&text, loop->seen.items[i], &context);
        body_close(&loop->body, &text);
    }
    BODY_LITERAL(&loop->body, "]");
}
