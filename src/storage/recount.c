#include "recount.h"

#include <stddef.h>
#include <string.h>

#include "execution.h"

/* The figures of a journal line and of a row. */
struct figure {
    const char *column;
    size_t offset;
    bool is_rounded; /* depends on the price */
};

#define FIGURE(field, rounded)                                                                                         \
    {                                                                                                                  \
#field, offsetof(struct position, field), rounded                                                              \
    }

static const struct figure figures[] = {
    FIGURE(size, false),          FIGURE(average_entry_price, true), FIGURE(realized_pnl, true),
    FIGURE(fees_paid, false),     FIGURE(long_size, false),          FIGURE(short_size, false),
    FIGURE(long_avg_price, true), FIGURE(short_avg_price, true),
};

static const struct figure realized_pnl = FIGURE(realized_pnl, true);

enum { FIGURES = sizeof figures / sizeof figures[0] };

static struct decimal value_of(const struct position *position, const struct figure *figure)
{
    return *(const struct decimal *)(const void *)((const char *)position + figure->offset);
}

/* ---- telling ---- */

static struct recount_finding finding_about(const struct position *position, int64_t seq)
{
    return (struct recount_finding){.asset = position->asset,
                                    .mode = position_mode_word((enum position_mode)position->mode),
                                    .seq = seq,
                                    .said = DECIMAL_NONE,
                                    .counted = DECIMAL_NONE};
}

static void tell_note(struct recount *recount, const struct journal_line *line, const char *note)
{
    struct recount_finding finding = finding_about(&line->after, line->seq);
    finding.note = note;
    if (recount->broken_seq == 0)
        recount->broken_seq = line->seq;
    recount->report(recount->context, &finding);
}

static void tell_figure(struct recount *recount, const struct journal_line *line, const char *column,
                        struct decimal said, struct decimal counted)
{
    struct recount_finding finding = finding_about(&line->after, line->seq);
    finding.column = column;
    finding.said = said;
    finding.counted = counted;
    if (recount->broken_seq == 0)
        recount->broken_seq = line->seq;
    recount->report(recount->context, &finding);
}

/* ---- whether a state is one that can be ---- */

static bool is_average_possible(struct decimal size, struct decimal average)
{
    return decimal_is_none(average) || (decimal_sign(average) > 0 && decimal_sign(size) != 0);
}

static bool is_hedge_possible(const struct position *state)
{
    if (decimal_is_none(state->long_size) || decimal_is_none(state->short_size) || decimal_sign(state->long_size) < 0 ||
        decimal_sign(state->short_size) < 0 || state->size.units != state->long_size.units - state->short_size.units ||
        !is_average_possible(state->long_size, state->long_avg_price) ||
        !is_average_possible(state->short_size, state->short_avg_price))
        return false;
    const bool is_long = position_is_long(state), is_short = position_is_short(state);
    const struct decimal only_leg = is_long == is_short ? DECIMAL_NONE
                                    : is_long           ? state->long_avg_price
                                                        : state->short_avg_price;
    return decimal_is_equal(state->average_entry_price, only_leg);
}

static bool is_possible(const struct position *state)
{
    if (decimal_is_none(state->size) || decimal_is_none(state->realized_pnl) || decimal_is_none(state->fees_paid))
        return false;
    if (state->mode == POSITION_MODE_HEDGE)
        return is_hedge_possible(state);
    return is_average_possible(state->size, state->average_entry_price) && decimal_is_none(state->long_size) &&
           decimal_is_none(state->short_size) && decimal_is_none(state->long_avg_price) &&
           decimal_is_none(state->short_avg_price);
}

/* ---- executions ---- */

/* What an execution's line should have come to: at the price as it stands there, and at the ends of its rounding. */
struct expectation {
    struct position exact, low, high;
    bool has_exact, has_low, has_high;
};

/* The line does not name the leg: it is the one that moved. */
static bool find_leg(const struct position *before, const struct position *after, struct fill *fill)
{
    const bool long_moved = !decimal_is_equal(before->long_size, after->long_size);
    const bool short_moved = !decimal_is_equal(before->short_size, after->short_size);
    fill->leg = long_moved ? LEG_LONG : LEG_SHORT;
    return long_moved != short_moved;
}

static bool apply(const struct position *before, const struct fill *fill, int128 notional_offset,
                  struct position *after, enum status *status)
{
    struct fill moved = *fill;
    const char *field = NULL;
    moved.notional = wide_add(fill->notional, wide_from(notional_offset));
    *status = position_apply_fill(before, &moved, 0, after, &field);
    return *status == STATUS_OK;
}

static enum status expect(const struct position *before, const struct fill *fill, struct expectation *out)
{
    enum status status, ignored;
    /* A price is rounded by at most half a unit, so the notional by at most half the quantity. */
    const int128 half = (fill->quantity.units + 1) / 2;
    out->has_exact = apply(before, fill, 0, &out->exact, &status);
    out->has_low = apply(before, fill, -half, &out->low, &ignored);
    out->has_high = apply(before, fill, half, &out->high, &ignored);
    if (out->has_exact)
        return STATUS_OK;
    if (!out->has_low && !out->has_high)
        return status;
    out->exact = out->has_high ? out->high : out->low;
    return STATUS_OK;
}

/*
 * Every figure rises or falls with the price, so what rounding explains lies between its two ends. Where one end is no
 * price that could be (one of next to nothing), a figure that depends on it cannot be judged.
 */
static bool is_explained(const struct expectation *expected, const struct figure *figure, struct decimal said)
{
    if (decimal_is_equal(said, value_of(&expected->exact, figure)))
        return true;
    if (!figure->is_rounded || decimal_is_none(said) || decimal_is_none(value_of(&expected->exact, figure)))
        return false;
    if (!expected->has_low || !expected->has_high)
        return true;
    const int128 a = value_of(&expected->low, figure).units, b = value_of(&expected->high, figure).units;
    return said.units >= (a < b ? a : b) && said.units <= (a < b ? b : a);
}

static void check_execution(struct recount *recount, const struct journal_line *line)
{
    const struct position *before = &recount->state;
    if (decimal_is_none(line->quantity) || decimal_sign(line->quantity) == 0) {
        tell_note(recount, line, "an execution without a quantity");
        return;
    }
    const bool has_price = !decimal_is_none(line->price);
    struct fill fill = {.quantity = decimal_absolute(line->quantity),
                        .fees = decimal_or_zero(line->fees),
                        .mode = before->mode,
                        .side = decimal_sign(line->quantity) > 0 ? SIDE_BUY : SIDE_SELL};
    /* Without a price (it did not fit the column) only what does not depend on it is compared. */
    fill.notional = wide_multiply(fill.quantity.units, has_price ? line->price.units : DECIMAL_ONE);
    if (before->mode == POSITION_MODE_HEDGE && !find_leg(before, &line->after, &fill)) {
        tell_note(recount, line, "an execution that does not move exactly one leg");
        return;
    }
    struct expectation expected;
    const enum status status = expect(before, &fill, &expected);
    if (status != STATUS_OK) {
        tell_note(recount, line,
                  status == STATUS_LEG_BELOW_ZERO ? "an execution that reduces more than its leg held"
                                                  : "an execution that cannot follow from the line before it");
        return;
    }
    for (size_t i = 0; i < FIGURES; i++) {
        const struct decimal said = value_of(&line->after, &figures[i]);
        if ((has_price || !figures[i].is_rounded) && !is_explained(&expected, &figures[i], said))
            tell_figure(recount, line, figures[i].column, said, value_of(&expected.exact, &figures[i]));
    }
}

/* ---- the other lines ---- */

/* What took over a size says by how much; a move from one end of the range to the other is not said. */
static void check_move(struct recount *recount, const struct journal_line *line)
{
    const int128 moved = line->after.size.units - recount->state.size.units;
    const struct decimal said = decimal_or_zero(line->quantity);
    if (moved != said.units && (decimal_is_in_range(moved) || !decimal_is_none(line->quantity)))
        tell_figure(recount, line, "size", line->after.size,
                    decimal_from_units(recount->state.size.units + said.units));
}

static void check_fees(struct recount *recount, const struct journal_line *line)
{
    const int128 counted = recount->state.fees_paid.units + decimal_or_zero(line->fees).units;
    if (counted != line->after.fees_paid.units)
        tell_figure(recount, line, "fees_paid", line->after.fees_paid, decimal_from_units(counted));
}

static void check_kept(struct recount *recount, const struct journal_line *line, const struct figure *figure)
{
    const struct decimal said = value_of(&line->after, figure), before = value_of(&recount->state, figure);
    if (!decimal_is_equal(said, before))
        tell_figure(recount, line, figure->column, said, before);
}

static void check_change(struct recount *recount, const struct journal_line *line)
{
    switch (line->source) {
    case JOURNAL_OPENING:
        if (recount->line_count > 0)
            tell_note(recount, line, "an opening line that is not the first");
        return;
    case JOURNAL_EXECUTION:
        check_execution(recount, line);
        return;
    case JOURNAL_MARKET:
        check_move(recount, line);
        check_fees(recount, line);
        return;
    case JOURNAL_VALIDATION:
        check_move(recount, line);
        check_fees(recount, line);
        check_kept(recount, line, &realized_pnl);
        return;
    case JOURNAL_EXTERNAL:
        if (!decimal_is_none(line->fees))
            check_fees(recount, line);
        return;
    case JOURNAL_SOURCE_COUNT:
        tell_note(recount, line, "a source that is not known");
        return;
    }
}

/* Our own changes raise the version; others may do with it what they like. */
static void check_version(struct recount *recount, const struct journal_line *line)
{
    const bool is_own = line->source != JOURNAL_OPENING && line->source != JOURNAL_EXTERNAL;
    if (is_own && line->after.version <= recount->state.version)
        tell_note(recount, line, "a version that does not rise");
}

static bool is_same_position(const struct position *a, const struct position *b)
{
    return a->mode == b->mode && strcmp(a->asset, b->asset) == 0;
}

void recount_begin(struct recount *recount, recount_report_fn *report, void *context)
{
    *recount = (struct recount){.report = report, .context = context, .is_known = true};
}

void recount_line(struct recount *recount, const struct journal_line *line)
{
    if (recount->line_count == 0)
        position_init(&recount->state, line->after.asset, (enum position_mode)line->after.mode, line->after.id, 0);
    const bool is_same = is_same_position(&recount->state, &line->after);
    const bool is_sound = is_possible(&line->after);
    if (!is_same)
        tell_note(recount, line, "another asset or mode than in the line before");
    else if (!is_sound)
        tell_note(recount, line, "figures that cannot be");
    else if (recount->is_known) {
        check_version(recount, line);
        check_change(recount, line);
    }
    recount->state = line->after;
    recount->is_known = is_sound;
    recount->line_count++;
    recount->last_seq = line->seq;
}

void recount_finish(struct recount *recount, const struct position *row)
{
    if (recount->line_count == 0 && row != NULL)
        position_init(&recount->state, row->asset, (enum position_mode)row->mode, row->id, 0);
    struct recount_finding finding = finding_about(row != NULL ? row : &recount->state,
                                                   recount->broken_seq != 0 ? recount->broken_seq : recount->last_seq);
    finding.is_row = true;
    if (row == NULL || !is_same_position(&recount->state, row) || row->version < recount->state.version) {
        finding.note = row == NULL                             ? "the journal knows it, and there is no row"
                       : row->version < recount->state.version ? "the row's version is below the journal's"
                                                               : "the journal has its identifier for another position";
        recount->report(recount->context, &finding);
    }
    finding.note = NULL;
    for (size_t i = 0; row != NULL && i < FIGURES; i++) {
        finding.column = figures[i].column;
        finding.said = value_of(row, &figures[i]);
        finding.counted = value_of(&recount->state, &figures[i]);
        if (!decimal_is_equal(finding.said, finding.counted))
            recount->report(recount->context, &finding);
    }
}
