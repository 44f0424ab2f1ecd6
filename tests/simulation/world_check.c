/*
 * world_check.c: the invariants, as far as one can look at them from outside the service.
 */
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

/* ---- at every moment ---- */

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
    if (recount->strict && view->version < row->known_version)
        world_break(recount->world, "views", "%s shows version %d of %d", view->asset, (int)view->version,
                    (int)row->known_version);
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

/* Invariant 8: totals are the sum of what is shown; at rest that is what is stored, and what was last announced. */
static void check_views(struct world *world, bool strict)
{
    struct recount recount = {.world = world, .strict = strict};
    struct portfolio_totals totals;
    directory_begin(world->reader);
    directory_visit(world->reader, check_view, &recount);
    directory_totals(world->reader, &totals);
    directory_end(world->reader);
    if (!totals_equal(&totals, &recount.totals))
        world_break(world, "exact", "the running totals differ from a recount of the views");
    if (!strict || totals.positions == 0)
        return;
    if (world->portfolio_count == 0)
        world_break(world, "portfolio announced", "there are positions, and no portfolio_updated was ever sent");
    else if (!totals_equal(&totals, &world->last_portfolio))
        world_break(world, "portfolio announced", "the last portfolio_updated does not say the present totals");
}

static size_t lane_room(const struct world *world, size_t lane)
{
    const size_t rooms[] = {world->prefetch, 2, world->announcement_count_max, 1};
    return rooms[lane];
}

/* Invariant 5: what was reserved is enough (a ring is a little larger than what was asked for). */
static void check_bounds(struct world *world)
{
    if (world->deliveries_about > world->prefetch)
        world_break(world, "bounded", "%zu deliveries are about", world->deliveries_about);
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        for (size_t lane = 0; lane < mailbox_lane_count(world->shard_mailboxes[i]); lane++)
            if (mailbox_depth(world->shard_mailboxes[i], lane) > lane_room(world, lane))
                world_break(world, "bounded", "lane %zu of shard %zu holds more than was reserved", lane, i);
}

void world_check(struct world *world)
{
    bool any_ran = false;
    for (size_t i = 0; i < WORLD_SHARDS; i++) {
        if (world->shard_ran[i])
            shard_check(world->shards[i]);
        any_ran |= world->shard_ran[i];
        world->shard_ran[i] = false;
    }
    if (any_ran || world->rows_changed)
        check_views(world, false);
    world->rows_changed = false;
    check_bounds(world);
}

/* ---- when something leaves the service ---- */

/* Whether an order's stored total has at least what a cumulative message says. */
static bool is_in_order(struct world *world, const struct delivery *said)
{
    if (said->said.execution.quantity.units == 0)
        return true;
    const struct world_order *order = world_find_order(world, said);
    return order != NULL && order->total.filled.units >= said->said.execution.quantity.units;
}

static void check_acknowledged_execution(struct world *world, const struct world_delivery *about)
{
    const struct delivery *said = &world->messages[about->message].template;
    if (said->identity[0] == '\0' && !said->said.execution.cumulative && !about->counted)
        world_break(world, "acknowledge last", "message %zu is acknowledged and not committed", about->message);
    if (said->identity[0] == '\0')
        return;
    const struct world_journal_entry *entry = world_find_identity(world, said->identity);
    if (entry == NULL || (said->said.execution.cumulative && entry->fingerprint != said->fingerprint)) {
        /* A cumulative total that did not increase leaves no line; its order must have it. */
        if (!said->said.execution.cumulative || !is_in_order(world, said))
            world_break(world, "acknowledge last", "message %zu is acknowledged and not committed", about->message);
        return;
    }
    if (entry->fingerprint != said->fingerprint)
        world_break(world, "once", "message %zu was taken for a repeat of another content", about->message);
    const struct world_row *row = &world->rows[entry->row];
    if (entry->note.version > row->announced_version)
        world_break(world, "acknowledge last", "message %zu is acknowledged, its version %d not announced (%d)",
                    about->message, (int)entry->note.version, (int)row->announced_version);
}

/* Invariant 3: what is acknowledged is committed and announced, or refused and its copy confirmed. */
void world_check_acknowledgement(struct world *world, const struct world_delivery *about)
{
    const struct world_message *message = &world->messages[about->message];
    /* What has no identity may have counted before it was refused; its row remembers that an announcement is due. */
    if (message->dead_lettered)
        return;
    if (message->committed_version > world->rows[message->committed_row].announced_version)
        world_break(world, "acknowledge last", "message %zu is acknowledged, its version %d not announced (%d)",
                    about->message, (int)message->committed_version,
                    (int)world->rows[message->committed_row].announced_version);
    if (message->template.kind == DELIVERY_EXECUTION)
        check_acknowledged_execution(world, about);
}

static bool is_same_place(const struct position *a, const struct position *b)
{
    return a->mode == b->mode && strcmp(a->asset, b->asset) == 0;
}

/* Invariant 2 for messages; and at most one of a position is unconfirmed, each newer than the one before. */
void world_check_announcement(struct world *world, const struct announcement *announcement)
{
    const struct position *position = &announcement->position;
    struct world_row *row = &world->rows[world_row_index(position->asset, position->mode)];
    if (!row->exists || row->position.version < position->version ||
        (row->position.version == position->version && !position_is_same_figures(position, &row->position)))
        world_break(world, "nothing shown that a crash could take back", "%s version %d announced, not committed",
                    position->asset, (int)position->version);
    if (announcement->trace_id[0] == '\0')
        world_break(world, "trace", "an announcement of %s without a trace id", position->asset);
    if (position->version < row->published_version)
        world_break(world, "announced", "%s: version %d after %d", position->asset, (int)position->version,
                    (int)row->published_version);
    row->published_version = position->version;
    for (size_t i = 0; i < world->published_count; i++) {
        const struct message *other = world->published[i];
        if (other->type == MESSAGE_ANNOUNCEMENT &&
            is_same_place(position, &((const struct announcement *)other)->position))
            world_break(world, "bounded", "two announcements of %s are unconfirmed", position->asset);
    }
}

void world_check_portfolio(struct world *world, const struct portfolio_announcement *portfolio)
{
    if (portfolio->trace_id[0] == '\0')
        world_break(world, "trace", "a portfolio_updated without a trace id");
    if (portfolio->limit_exceeded != exposure_is_over(portfolio->totals.exposure, &world->exposure_limit))
        world_break(world, "exact", "portfolio_updated is wrong about the limit");
}

static bool has_another_content(const struct world *world, const struct delivery *said)
{
    for (size_t i = 0; i < world->message_count; i++)
        if (said->identity[0] != '\0' && strcmp(world->messages[i].template.identity, said->identity) == 0 &&
            world->messages[i].template.fingerprint != said->fingerprint)
            return true;
    return false;
}

/* It reduces no more than its leg has held, in the table, ever since it was delivered. */
static bool fits_its_leg(const struct world_row *row, const struct world_delivery *about, const struct execution *said)
{
    if (said->cumulative || row->position.version != about->row_version)
        return false;
    bool is_long = said->leg != LEG_NONE ? said->leg == LEG_LONG : (said->side == SIDE_BUY) != said->reduce_only;
    struct decimal held = is_long ? row->position.long_size : row->position.short_size;
    return row->exists && said->quantity.units <= held.units;
}

/* Invariants 10 and 4: a refusal has a reason, and the reason is there; a repeat is no reason. */
void world_check_refusal(struct world *world, const struct world_delivery *about)
{
    const struct delivery *said = &world->messages[about->message].template;
    const struct world_row *row = &world->rows[world_row_of(said)];
    enum status reason = about->delivery.refusal;
    bool is_execution = said->kind == DELIVERY_EXECUTION;
    bool is_true =
        (reason == STATUS_IDENTITY_CONFLICT && has_another_content(world, said)) ||
        (reason == STATUS_VERSION_CONFLICT && row->setbacks > WORLD_CONFLICT_TRIES_MAX) ||
        (reason == STATUS_LEG_BELOW_ZERO && is_execution && said->said.execution.mode == POSITION_MODE_HEDGE) ||
        /* averages and totals of an order that cannot be */
        ((reason == STATUS_NOT_POSITIVE || reason == STATUS_OUT_OF_RANGE) && is_execution &&
         said->said.execution.cumulative);
    if (is_execution && reason != STATUS_VERSION_CONFLICT && about->was_counted)
        world_break(world, "once", "message %zu was counted, and its repeat is refused as %s", about->message,
                    status_word(reason));
    if (reason == STATUS_LEG_BELOW_ZERO && fits_its_leg(row, about, &said->said.execution))
        world_break(world, "exact", "message %zu is refused for a state that was never committed", about->message);
    if (!is_true)
        world_break(world, "every failure has a name", "message %zu is refused as %s without reason", about->message,
                    status_is_refusal(reason) ? status_word(reason) : "nothing");
}

/* ---- at rest ---- */

/* Invariant 4: each identity has one line at most; lines of a row stand in the order of its versions. */
static void check_journal(struct world *world)
{
    int32_t last_version[WORLD_ROWS_MAX] = {0};
    for (size_t i = 0; i < world->journal_count; i++) {
        const struct world_journal_entry *entry = &world->journal[i];
        if (entry->note.version <= last_version[entry->row] && entry->note.source != SOURCE_EXTERNAL)
            world_break(world, "journal", "row %zu: version %d after %d", entry->row, (int)entry->note.version,
                        (int)last_version[entry->row]);
        last_version[entry->row] = entry->note.version;
        if (entry->identity[0] != '\0' && world_find_identity(world, entry->identity) != entry)
            world_break(world, "once", "%s was counted twice", entry->identity);
    }
}

/*
 * The journal alone explains every row, as far as the service knows it: the last line of a row holds its size and
 * realized PnL, and the lines' fees add up. And what the service wrote is announced.
 */
static void check_rows(struct world *world)
{
    for (size_t i = 0; i < WORLD_ROWS_MAX; i++) {
        const struct world_row *row = &world->rows[i];
        const struct journal_note *last = NULL;
        int128 fees = 0;
        for (size_t j = 0; j < world->journal_count; j++) {
            if (world->journal[j].row != i)
                continue;
            last = &world->journal[j].note;
            fees += last->fees.units;
        }
        if (row->announced_version < row->written_version)
            world_break(world, "announced", "%s: version %d, announced %d", row->position.asset,
                        (int)row->written_version, (int)row->announced_version);
        if (last == NULL || row->position.version > row->known_version)
            continue;
        if (fees != row->position.fees_paid.units || !decimal_is_equal(last->size, row->position.size) ||
            !decimal_is_equal(last->realized_pnl, row->position.realized_pnl))
            world_break(world, "explained", "%s: the journal does not explain the row", row->position.asset);
    }
}

/* Every message that was delivered is acknowledged, and counted unless it was refused. */
static void check_messages(struct world *world)
{
    for (size_t i = 0; i < world->next_message; i++) {
        const struct world_message *message = &world->messages[i];
        const struct delivery *said = &message->template;
        if (!message->acked)
            world_break(world, "liveness", "message %zu was never acknowledged", i);
        if (said->kind != DELIVERY_EXECUTION || message->dead_lettered)
            continue;
        if (said->said.execution.cumulative ? !is_in_order(world, said)
                                            : said->identity[0] != '\0' && !world_find_identity(world, said->identity))
            world_break(world, "once", "message %zu was lost", i);
    }
}

void world_check_settled(struct world *world)
{
    check_journal(world);
    check_messages(world);
    check_rows(world);
    check_views(world, true);
    for (size_t i = 0; i < WORLD_SHARDS; i++)
        if (shard_held_count(world->shards[i]) != 0)
            world_break(world, "bounded", "shard %zu still holds %zu deliveries", i,
                        shard_held_count(world->shards[i]));
    if (atomic_load(&world->board.pending_commits) != 0)
        world_break(world, "health", "pending_commits is not 0");
}

uint64_t world_digest(const struct world *world)
{
    uint64_t digest = world->journal_count + 1000 * world->announcement_count;
    for (size_t i = 0; i < WORLD_ROWS_MAX; i++) {
        const struct position *position = &world->rows[i].position;
        const int64_t numbers[] = {(int64_t)position->size.units, (int64_t)position->realized_pnl.units,
                                   position->version, position->last_updated_us};
        digest = digest * 31 + xhash64(numbers, sizeof numbers);
    }
    return digest;
}
