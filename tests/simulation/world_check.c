#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "world.h"

void world_break(struct world *world, const char *invariant, const char *format, ...)
{
    if (world->broken != NULL)
        return;
    world->broken = invariant;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(world->broken_detail, sizeof world->broken_detail, format, arguments);
    va_end(arguments);
}

struct recount {
    struct world *world;
    struct portfolio_totals totals;
    bool strict; /* views must equal rows */
};

/* Invariant 2: a view is a state that was committed. */
static void check_view(void *context, const struct position *view)
{
    struct recount *recount = context;
    struct world_row *row = &recount->world->rows[world_row_index(view->asset, view->mode)];
    if (!row->exists || view->version > row->position.version ||
        (view->version == row->position.version && !position_is_same_figures(view, &row->position)))
        world_break(recount->world, "nothing shown that a crash could take back", "%s version %d is shown, %d stored",
                    view->asset, (int)view->version, (int)row->position.version);
    if (recount->strict && view->version != row->position.version)
        world_break(recount->world, "views", "%s shows version %d of %d", view->asset, (int)view->version,
                    (int)row->position.version);
    struct portfolio_totals addend;
    portfolio_contribution(view, &addend);
    portfolio_add(&recount->totals, &addend);
}

static bool totals_equal(const struct portfolio_totals *a, const struct portfolio_totals *b)
{
    return wide_compare(a->exposure, b->exposure) == 0 && wide_compare(a->net_exposure, b->net_exposure) == 0 &&
           a->unrealized_pnl == b->unrealized_pnl && a->realized_pnl == b->realized_pnl &&
           a->positions == b->positions && a->open == b->open && a->longs == b->longs && a->shorts == b->shorts &&
           a->unpriced == b->unpriced;
}

static void check_views(struct world *world, bool strict)
{
    struct recount recount = {.world = world, .strict = strict};
    memset(&recount.totals, 0, sizeof recount.totals);
    struct portfolio_totals totals;
    directory_begin(world->reader);
    directory_visit(world->reader, check_view, &recount);
    directory_totals(world->reader, &totals);
    directory_end(world->reader);
    if (!totals_equal(&totals, &recount.totals))
        world_break(world, "exact", "the running totals differ from a recount of the views");
    if (strict && world->portfolio_count > 0 && !totals_equal(&totals, &world->last_portfolio))
        world_break(world, "announced", "the last portfolio_updated does not say the present totals");
}

void world_check(struct world *world)
{
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        shard_check(world->shards[i]);
    check_views(world, false);
}

/* Invariant 4: each identity has one line at most; what was applied is in the journal, in the order of its versions. */
static void check_journal(struct world *world)
{
    int32_t last_version[WORLD_ROWS_MAX] = {0};
    for (size_t i = 0; i < world->journal_count; i++) {
        const struct world_journal_entry *entry = &world->journal[i];
        if (entry->note.version <= last_version[entry->row] && entry->note.source != SOURCE_EXTERNAL)
            world_break(world, "journal", "row %zu: version %d after %d", entry->row, (int)entry->note.version,
                        (int)last_version[entry->row]);
        last_version[entry->row] = entry->note.version;
        if (entry->identity[0] == '\0')
            continue;
        for (size_t j = i + 1; j < world->journal_count; j++)
            if (strcmp(world->journal[j].identity, entry->identity) == 0)
                world_break(world, "once", "%s was counted twice", entry->identity);
    }
}

/* The journal alone explains every row: its last line of a row holds the row's size, average, realized PnL and fees. */
static void check_rows_from_journal(struct world *world)
{
    for (size_t row = 0; row < WORLD_ROWS_MAX; row++) {
        if (!world->rows[row].exists)
            continue;
        const struct position *position = &world->rows[row].position;
        const struct journal_note *last = NULL;
        int128 fees = 0;
        for (size_t i = 0; i < world->journal_count; i++) {
            if (world->journal[i].row != row)
                continue;
            last = &world->journal[i].note;
            fees += last->fees.units;
        }
        if (world->rows[row].announced_version < position->version && last != NULL &&
            last->version > world->rows[row].announced_version)
            world_break(world, "announced", "%s: version %d, announced %d", position->asset, (int)position->version,
                        (int)world->rows[row].announced_version);
        if (last == NULL || position->version > last->version + 1000)
            continue;
        if (fees != position->fees_paid.units)
            world_break(world, "replayable", "%s: the journal's fees do not add up", position->asset);
    }
}

/* Every execution that was acknowledged counted, unless it was refused, and all but those without identity only once.
 */
static void check_messages(struct world *world)
{
    size_t anonymous_lines = 0;
    size_t anonymous_messages = 0;
    for (size_t i = 0; i < world->journal_count; i++)
        anonymous_lines +=
            world->journal[i].note.source == SOURCE_ORDER_EXECUTION && world->journal[i].identity[0] == '\0';
    for (size_t i = 0; i < world->message_count; i++) {
        const struct world_message *message = &world->messages[i];
        const struct delivery *said = &message->template;
        if (!message->acked)
            world_break(world, "liveness", "message %zu was never acknowledged", i);
        if (said->kind != DELIVERY_EXECUTION || message->dead_lettered)
            continue;
        if (said->identity[0] == '\0')
            anonymous_messages++;
        else if (world_find_identity(world, said->identity) == NULL && !said->said.execution.cumulative)
            world_break(world, "once", "message %zu was lost", i);
    }
    if (anonymous_lines < anonymous_messages)
        world_break(world, "once", "executions without identity were lost: %zu of %zu counted", anonymous_lines,
                    anonymous_messages);
}

/* A cumulative order contributed at least the largest total that was not refused; flat ones may add to it. */
static void check_orders(struct world *world)
{
    for (size_t i = 0; i < world->message_count; i++) {
        const struct delivery *said = &world->messages[i].template;
        if (said->kind != DELIVERY_EXECUTION || !said->said.execution.cumulative || world->messages[i].dead_lettered ||
            said->said.execution.quantity.units == 0)
            continue;
        size_t row = world_row_index(said->asset, said->said.execution.mode);
        bool found = false;
        for (size_t j = 0; j < world->order_count && !found; j++)
            found = world->orders[j].row == row && strcmp(world->orders[j].key, said->order_key) == 0 &&
                    world->orders[j].total.filled.units >= said->said.execution.quantity.units;
        if (!found)
            world_break(world, "once", "message %zu: its order's total was lost", i);
    }
}

void world_check_settled(struct world *world)
{
    check_journal(world);
    check_messages(world);
    check_orders(world);
    check_rows_from_journal(world);
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        if (shard_held_count(world->shards[i]) != 0)
            world_break(world, "bounded", "shard %zu still holds %zu deliveries", i,
                        shard_held_count(world->shards[i]));
    if (atomic_load(&world->board.pending_commits) != 0)
        world_break(world, "health", "pending_commits is not 0");
}
