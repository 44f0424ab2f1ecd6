/*
 * What the exchange says of a position, in the order of the contract's §3.1: its place among the events, whether it
 * makes a position, then price, size, average, and the PnL that follows.
 */
#include "market.h"

#include "check.h"
#include "position_change.h"

#include <string.h>

/* The side of the position that an event speaks of, as pointers into it: the whole of it, or a leg. */
struct spoken_of {
    struct decimal *size;
    struct decimal *average;
    int leg_sign; /* hedge: 1 long, -1 short; one-way: 0, the size has a sign of its own */
};

/*
 * Hedge (contract §3.1): Buy or positionIdx 1 speaks of the long leg, Sell or 2 of the short one, and no side with a
 * size above zero is positive: long. What names no leg (a flat event without a side) speaks of none.
 */
static enum leg leg_of_event(const struct market_event *event)
{
    if (event->leg != LEG_NONE)
        return (enum leg)event->leg;
    if (event->side != SIDE_NONE)
        return event->side == SIDE_BUY ? LEG_LONG : LEG_SHORT;
    return !decimal_is_none(event->size) && decimal_sign(event->size) > 0 ? LEG_LONG : LEG_NONE;
}

/* False: a hedge event that names no leg; only its price can be taken. */
static bool find_spoken_of(struct position *position, const struct market_event *event, struct spoken_of *out)
{
    if (position->mode == POSITION_MODE_ONE_WAY) {
        *out = (struct spoken_of){&position->size, &position->average_entry_price, 0};
        return true;
    }
    enum leg leg = leg_of_event(event);
    *out = (struct spoken_of){&position->long_size, &position->long_avg_price, 1};
    if (leg == LEG_SHORT)
        *out = (struct spoken_of){&position->short_size, &position->short_avg_price, -1};
    return leg != LEG_NONE;
}

static bool is_said_nonzero(struct decimal value)
{
    return !decimal_is_none(value) && decimal_sign(value) != 0;
}

/*
 * Whether an event says something about a holding, so that a position is made of it (contract §3.1). A mark price is no
 * holding; in hedge mode PnL is not taken over and makes none either.
 */
static bool says_holding(const struct market_event *event, uint8_t mode)
{
    if (mode == POSITION_MODE_HEDGE)
        return leg_of_event(event) != LEG_NONE &&
               (is_said_nonzero(event->size) || is_said_nonzero(event->average_price));
    return is_said_nonzero(event->size) || is_said_nonzero(event->average_price) ||
           is_said_nonzero(event->unrealized_pnl) || is_said_nonzero(event->realized_pnl);
}

/*
 * Whether there is a position yet. A row that another service inserted may be of version 0 and hold something all the
 * same: then it is there, and what changes nothing of it makes no new one.
 */
static bool exists(const struct position *position)
{
    return position->version > 0 || position_is_open(position) || !decimal_is_none(position->current_price) ||
           decimal_sign(position->unrealized_pnl) != 0 || decimal_sign(position->realized_pnl) != 0 ||
           decimal_sign(position->fees_paid) != 0;
}

static bool is_known_digest(const struct position *position, uint64_t digest)
{
    for (size_t i = 0; i < position->market_digest_count; i++)
        if (position->market_digests[i] == digest)
            return true;
    return false;
}

/* Order by the inner timestamp (contract §3.1): an older event and the same one again change nothing. */
static enum status place_in_order(const struct position *position, const struct market_event *event)
{
    if (event->at_us == TIME_NONE || event->at_us > position->market_event_at_us)
        return STATUS_OK;
    if (event->at_us < position->market_event_at_us)
        return STATUS_STALE;
    return is_known_digest(position, event->digest) ? STATUS_REPEAT : STATUS_OK;
}

/* Remembers the event as the newest, or as one more of the newest timestamp; the oldest digest makes room. */
static void note_in_order(struct position *position, const struct market_event *event)
{
    if (event->at_us == TIME_NONE)
        return;
    if (event->at_us != position->market_event_at_us)
        position->market_digest_count = 0;
    position->market_event_at_us = event->at_us;
    if (position->market_digest_count == MARKET_DIGESTS_MAX) {
        memmove(position->market_digests, position->market_digests + 1,
                (MARKET_DIGESTS_MAX - 1) * sizeof position->market_digests[0]);
        position->market_digest_count--;
    }
    position->market_digests[position->market_digest_count++] = event->digest;
}

/*
 * Order executions are the authority for the size (contract §3.1): the event's is taken over when none ever touched the
 * position, or when it is later than the last one by more than the tolerance.
 */
static bool may_take_size(const struct position *position, const struct market_event *event,
                          const struct market_policy *policy)
{
    if (position->last_execution_at_us == TIME_NONE)
        return true;
    return policy->timestamp_resolution && event->at_us != TIME_NONE &&
           (int128)event->at_us - position->last_execution_at_us > policy->timestamp_tolerance_us;
}

/* Signs (contract §3.1): Sell makes a one-way size negative, no side is positive; legs are stored unsigned. */
static struct decimal size_said(const struct market_event *event, const struct spoken_of *spoken_of)
{
    bool negative = spoken_of->leg_sign == 0 && event->side == SIDE_SELL;
    return negative ? decimal_negate(event->size) : event->size;
}

/* A difference above the threshold is a discrepancy, taken over or not (contract §3.1); told signed, also of a leg. */
static void note_discrepancy(const struct market_event *event, const struct market_policy *policy,
                             const struct spoken_of *spoken_of, struct market_effect *effect)
{
    if (decimal_is_none(event->size))
        return;
    struct decimal stored = *spoken_of->size;
    struct decimal said = size_said(event, spoken_of);
    if (decimal_absolute(decimal_from_units(said.units - stored.units)).units <= policy->size_threshold.units)
        return;
    effect->size_differs = true;
    effect->size_stored = spoken_of->leg_sign < 0 ? decimal_negate(stored) : stored;
    effect->size_said = spoken_of->leg_sign < 0 ? decimal_negate(said) : said;
}

static void take_size(const struct position *before, const struct market_event *event,
                      const struct market_policy *policy, const struct spoken_of *spoken_of,
                      struct market_effect *effect)
{
    if (decimal_is_none(event->size) || !may_take_size(before, event, policy))
        return;
    struct decimal stored = *spoken_of->size;
    struct decimal said = size_said(event, spoken_of);
    effect->size_taken = !decimal_is_equal(said, stored);
    *spoken_of->size = said;
}

/*
 * Average price (contract §3.1): zero means "not said", a flat position takes none, none stored: taken; else it
 * replaces the stored one where that is switched on and the difference is greater than the threshold. That the event
 * turns the position to the other side makes no difference.
 */
static void take_average(const struct market_event *event, const struct market_policy *policy,
                         const struct spoken_of *spoken_of, struct market_effect *effect)
{
    struct decimal said = event->average_price;
    struct decimal stored = *spoken_of->average;
    if (decimal_is_none(said) || decimal_sign(said) <= 0 || decimal_sign(*spoken_of->size) == 0)
        return;
    if (!decimal_is_none(stored) &&
        (!policy->use_average_price || !position_average_differs(said, stored, policy->average_threshold)))
        return;
    effect->average_taken = !decimal_is_equal(said, stored);
    *spoken_of->average = said;
}

/* The exchange is the authority for realized PnL; in hedge mode it speaks of one leg only and ours stands (contract
 * §3.1). */
static void take_realized(struct position *position, const struct market_event *event, struct market_effect *effect)
{
    if (position->mode == POSITION_MODE_HEDGE || decimal_is_none(event->realized_pnl))
        return;
    effect->realized_stated = !decimal_is_equal(position->realized_pnl, event->realized_pnl);
    position->realized_pnl = event->realized_pnl;
}

/*
 * Unrealized PnL (contract §3.1): what is said stands, in one-way mode; else it is recomputed where what it follows
 * from was said or has changed.
 */
static enum status take_unrealized(struct position *position, const struct market_event *event,
                                   const struct market_effect *effect)
{
    if (position->mode == POSITION_MODE_ONE_WAY && !decimal_is_none(event->unrealized_pnl)) {
        position->unrealized_pnl = event->unrealized_pnl;
        return STATUS_OK;
    }
    if (decimal_is_none(event->mark_price) && !effect->size_taken && !effect->average_taken)
        return STATUS_OK;
    return position_revalue(position);
}

/* The price, with its own arrival: it refreshes the age also where the figure is the same (contract §2.4, §3.1). */
static void take_price(struct position *position, const struct market_event *event, int64_t now_us)
{
    if (decimal_is_none(event->mark_price) || decimal_sign(event->mark_price) <= 0)
        return;
    position->current_price = event->mark_price;
    position->price_updated_at_us = now_us;
}

enum status position_apply_market(const struct position *before, const struct market_event *event,
                                  const struct market_policy *policy, int64_t now_us, struct position *after,
                                  struct market_effect *effect, const char **field)
{
    pm_assert(event->mode == before->mode);
    *effect = (struct market_effect){.size_stored = DECIMAL_ZERO, .size_said = DECIMAL_ZERO};
    enum status status = place_in_order(before, event);
    if (status != STATUS_OK)
        return status;
    bool is_new = !exists(before);
    if (is_new && !says_holding(event, before->mode))
        return STATUS_IGNORED;
    struct position next = *before;
    struct spoken_of spoken_of;
    take_price(&next, event, now_us);
    if (find_spoken_of(&next, event, &spoken_of)) {
        if (!is_new)
            note_discrepancy(event, policy, &spoken_of, effect);
        take_size(before, event, policy, &spoken_of, effect);
        take_average(event, policy, &spoken_of, effect);
    }
    position_settle_sides(&next);
    take_realized(&next, event, effect);
    *field = "unrealized_pnl";
    if ((status = take_unrealized(&next, event, effect)) != STATUS_OK)
        return status;
    position_note_opening(&next, before, event->at_us != TIME_NONE ? event->at_us : now_us);
    note_in_order(&next, event);
    bool changed = is_new || !position_is_same_figures(before, &next);
    if (changed && (status = position_raise_version(&next, now_us, field)) != STATUS_OK)
        return status;
    *after = next;
    return changed ? STATUS_OK : STATUS_UNCHANGED;
}

enum status position_apply_price(const struct position *before, struct decimal price, int64_t now_us,
                                 struct position *after, const char **field)
{
    *field = "current_price";
    if (decimal_is_none(price) || decimal_sign(price) <= 0)
        return STATUS_NOT_POSITIVE;
    const struct market_event event = {
        .size = DECIMAL_NONE,
        .average_price = DECIMAL_NONE,
        .mark_price = price,
        .unrealized_pnl = DECIMAL_NONE,
        .realized_pnl = DECIMAL_NONE,
        .at_us = TIME_NONE,
        .mode = before->mode,
    };
    /* Nothing but a price is said, so no setting is asked for. */
    static const struct market_policy no_policy;
    struct market_effect effect;
    return position_apply_market(before, &event, &no_policy, now_us, after, &effect, field);
}
