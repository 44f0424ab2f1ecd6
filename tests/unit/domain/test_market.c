#include "market.h"

#include "support.h"

enum { BEFORE_US = 1000, EVENT_US = 5000, NOW_US = 9000 };

static const struct market_policy usual = {
    .average_threshold = {100000}, /* 0.001 */
    .size_threshold = {10000},     /* 0.0001 */
    .use_average_price = true,
    .timestamp_resolution = true,
};

static struct market_event nothing_said(enum position_mode mode)
{
    return (struct market_event){
        .size = DECIMAL_NONE,
        .average_price = DECIMAL_NONE,
        .mark_price = DECIMAL_NONE,
        .unrealized_pnl = DECIMAL_NONE,
        .realized_pnl = DECIMAL_NONE,
        .at_us = EVENT_US,
        .digest = 1,
        .mode = (uint8_t)mode,
    };
}

/* What an event says; NULL: not said. */
struct said {
    const char *size, *average, *mark, *unrealized, *realized;
    enum side side;
    enum leg leg;
};

static struct market_event event_of(const struct said *said, enum position_mode mode)
{
    struct market_event event = nothing_said(mode);
    event.size = dec(said->size);
    event.average_price = dec(said->average);
    event.mark_price = dec(said->mark);
    event.unrealized_pnl = dec(said->unrealized);
    event.realized_pnl = dec(said->realized);
    event.side = (uint8_t)said->side;
    event.leg = (uint8_t)said->leg;
    return event;
}

/* What is stored in one-way mode; NULL: zero for sums, "not said" for averages and prices. */
struct stored {
    const char *size, *average, *price, *unrealized, *realized;
};

static struct position position_of(const struct stored *stored)
{
    struct position position = new_position(POSITION_MODE_ONE_WAY);
    position.size = decimal_or_zero(dec(stored->size));
    position.average_entry_price = dec(stored->average);
    position.current_price = dec(stored->price);
    position.unrealized_pnl = decimal_or_zero(dec(stored->unrealized));
    position.realized_pnl = decimal_or_zero(dec(stored->realized));
    position.version = 3;
    position.opened_at_us = decimal_sign(position.size) ? BEFORE_US : TIME_NONE;
    position.last_updated_us = BEFORE_US;
    return position;
}

/* ---- a position that does not exist yet ---- */

Test(market, a_position_is_made_of_what_says_something_about_a_holding)
{
    static const struct {
        const char *name;
        struct said said;
        enum status status;
        struct stored wanted;
    } rows[] = {
        {"all of it", {"1.5", "100", "110", "14", "3", SIDE_BUY}, STATUS_OK, {"1.5", "100", "110", "14", "3"}},
        {"short", {"1.5", "100", "110", .side = SIDE_SELL}, STATUS_OK, {"-1.5", "100", "110", "-15", "0"}},
        {"no side: positive", {"1.5"}, STATUS_OK, {"1.5", NULL, NULL, "0", "0"}},
        {"zero average is not said", {"1.5", "0"}, STATUS_OK, {"1.5", NULL, NULL, "0", "0"}},
        {"flat, and PnL was realized", {"0", "0", "110", "0", "42"}, STATUS_OK, {"0", NULL, "110", "0", "42"}},
        {"unrealized PnL alone", {.unrealized = "5"}, STATUS_OK, {"0", NULL, NULL, "5", "0"}},
        {"an average alone: a flat position takes none", {.average = "100"}, STATUS_OK, {"0", NULL, NULL, "0", "0"}},
        {"nothing", {NULL}, STATUS_IGNORED, {NULL}},
        {"a mark price alone", {.mark = "110"}, STATUS_IGNORED, {NULL}},
        {"flat", {"0"}, STATUS_IGNORED, {NULL}},
        {"flat with zeros", {"0", "0", "110", "0", "0"}, STATUS_IGNORED, {NULL}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *name = rows[i].name;
        struct position before = new_position(POSITION_MODE_ONE_WAY);
        struct market_event event = event_of(&rows[i].said, POSITION_MODE_ONE_WAY);
        struct position after = before;
        struct market_effect effect;
        const char *field = "";
        expect_status(position_apply_market(&before, &event, &usual, NOW_US, &after, &effect, &field), rows[i].status,
                      name);
        cr_expect(!effect.size_differs, "%s: what was not there cannot differ", name);
        if (rows[i].status != STATUS_OK) {
            cr_expect(memcmp(&before, &after, sizeof before) == 0, "%s: changed", name);
            continue;
        }
        position_check(&after);
        expect_decimal(after.size, rows[i].wanted.size, name, "size");
        expect_decimal(after.average_entry_price, rows[i].wanted.average, name, "average");
        expect_decimal(after.current_price, rows[i].wanted.price, name, "price");
        expect_decimal(after.unrealized_pnl, rows[i].wanted.unrealized, name, "unrealized PnL");
        expect_decimal(after.realized_pnl, rows[i].wanted.realized, name, "realized PnL");
        cr_expect(after.version == 1 && after.last_updated_us == NOW_US, "%s: version", name);
        cr_expect(after.opened_at_us == (position_is_open(&after) ? EVENT_US : TIME_NONE), "%s: opened_at", name);
        cr_expect(after.closed_at_us == TIME_NONE, "%s: closed_at", name);
        cr_expect(effect.size_taken == position_is_open(&after), "%s: size taken", name);
    }
}

/* ---- a position that is there, one-way, no execution yet ---- */

enum { SIZE_TAKEN = 1, AVERAGE_TAKEN = 2, REALIZED_STATED = 4, SIZE_DIFFERS = 8 };

static int effect_bits(const struct market_effect *effect)
{
    return (effect->size_taken ? SIZE_TAKEN : 0) | (effect->average_taken ? AVERAGE_TAKEN : 0) |
           (effect->realized_stated ? REALIZED_STATED : 0) | (effect->size_differs ? SIZE_DIFFERS : 0);
}

static const struct {
    const char *name;
    struct stored stored;
    struct said said;
    enum status status;
    int effect;
    struct stored wanted;
} one_way_rows[] = {
    {"nothing", {"1", "100", "110", "10"}, {NULL}, STATUS_UNCHANGED, 0, {"1", "100", "110", "10", "0"}},
    {"what is stored already",
     {"1", "100", "110", "10", "5"},
     {"1", "100", "110", "10", "5", SIDE_BUY},
     STATUS_UNCHANGED,
     0,
     {"1", "100", "110", "10", "5"}},
    /* price and unrealized PnL */
    {"price: recomputed", {"1", "100", "110", "10"}, {.mark = "120"}, STATUS_OK, 0, {"1", "100", "120", "20", "0"}},
    {"price: a short", {"-1", "100"}, {.mark = "120"}, STATUS_OK, 0, {"-1", "100", "120", "-20", "0"}},
    {"price without an average: as last said",
     {"1", NULL, "110", "10"},
     {.mark = "120"},
     STATUS_OK,
     0,
     {"1", NULL, "120", "10", "0"}},
    {"unrealized said beside a price: it stands",
     {"1", "100"},
     {.mark = "120", .unrealized = "19.5"},
     STATUS_OK,
     0,
     {"1", "100", "120", "19.5", "0"}},
    {"unrealized alone", {"1", "100", "110", "10"}, {.unrealized = "-3"}, STATUS_OK, 0, {"1", "100", "110", "-3", "0"}},
    {"zero replaces",
     {"1", "100", "110", "10", "5"},
     {.unrealized = "0", .realized = "0"},
     STATUS_OK,
     REALIZED_STATED,
     {"1", "100", "110", "0", "0"}},
    {"realized",
     {"1", "100", .realized = "5"},
     {.realized = "-7"},
     STATUS_OK,
     REALIZED_STATED,
     {"1", "100", NULL, "0", "-7"}},
    {"realized, said the same",
     {"1", "100", .realized = "5"},
     {.realized = "5"},
     STATUS_UNCHANGED,
     0,
     {"1", "100", NULL, "0", "5"}},
    {"the same price again with another distance: recomputed",
     {"1", "100", "110", "3"},
     {.mark = "110"},
     STATUS_OK,
     0,
     {"1", "100", "110", "10", "0"}},
    /* average: replaced where the difference is greater than a thousandth of what is stored */
    {"average at the threshold stays",
     {"1", "100"},
     {.average = "100.1"},
     STATUS_UNCHANGED,
     0,
     {"1", "100", NULL, "0", "0"}},
    {"average beyond the threshold by one unit",
     {"1", "100"},
     {.average = "100.10000001"},
     STATUS_OK,
     AVERAGE_TAKEN,
     {"1", "100.10000001", NULL, "0", "0"}},
    {"average below, at the threshold",
     {"1", "100"},
     {.average = "99.9"},
     STATUS_UNCHANGED,
     0,
     {"1", "100", NULL, "0", "0"}},
    {"average below the threshold by one unit",
     {"1", "100"},
     {.average = "99.89999999"},
     STATUS_OK,
     AVERAGE_TAKEN,
     {"1", "99.89999999", NULL, "0", "0"}},
    {"a third of a threshold that no decimal holds",
     {"1", "0.00000999"},
     {.average = "0.000010"},
     STATUS_OK,
     AVERAGE_TAKEN,
     {"1", "0.00001", NULL, "0", "0"}},
    {"a new average: revalued at the price that is known",
     {"1", "100", "110", "10"},
     {.average = "90"},
     STATUS_OK,
     AVERAGE_TAKEN,
     {"1", "90", "110", "20", "0"}},
    {"a new average beside a stated unrealized PnL",
     {"1", "100", "110", "10"},
     {.average = "90", .unrealized = "19"},
     STATUS_OK,
     AVERAGE_TAKEN,
     {"1", "90", "110", "19", "0"}},
    {"none stored: taken", {"1"}, {.average = "100"}, STATUS_OK, AVERAGE_TAKEN, {"1", "100", NULL, "0", "0"}},
    {"zero is not said", {"1", "100"}, {.average = "0"}, STATUS_UNCHANGED, 0, {"1", "100", NULL, "0", "0"}},
    {"a flat position takes none",
     {.realized = "5"},
     {.average = "100"},
     STATUS_UNCHANGED,
     0,
     {"0", NULL, NULL, "0", "5"}},
    {"largest average",
     {"1", "0.00000001"},
     {.average = "999999999999.99999999"},
     STATUS_OK,
     AVERAGE_TAKEN,
     {"1", "999999999999.99999999", NULL, "0", "0"}},
    /* size */
    {"grows",
     {"1", "100", "110", "10"},
     {"2", .side = SIDE_BUY},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"2", "100", "110", "20", "0"}},
    {"differs by the threshold: taken, no discrepancy",
     {"1", "100"},
     {"1.0001", .side = SIDE_BUY},
     STATUS_OK,
     SIZE_TAKEN,
     {"1.0001", "100", NULL, "0", "0"}},
    {"differs by a unit more",
     {"1", "100"},
     {"0.99989999", .side = SIDE_BUY},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"0.99989999", "100", NULL, "0", "0"}},
    {"no side: positive", {"1", "100"}, {"2"}, STATUS_OK, SIZE_TAKEN | SIZE_DIFFERS, {"2", "100", NULL, "0", "0"}},
    {"becomes flat",
     {"1", "100", "110", "10", "5"},
     {"0", "0"},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"0", NULL, "110", "0", "5"}},
    {"becomes flat and takes no average",
     {"1", "100"},
     {"0", "105"},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"0", NULL, NULL, "0", "0"}},
    {"becomes flat, unrealized PnL is said",
     {"1", "100", "110", "10"},
     {"0", .unrealized = "0.5"},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"0", NULL, "110", "0.5", "0"}},
    {"opens and takes the average with it",
     {.realized = "5"},
     {"2", "100", "90", .side = SIDE_SELL},
     STATUS_OK,
     SIZE_TAKEN | AVERAGE_TAKEN | SIZE_DIFFERS,
     {"-2", "100", "90", "20", "5"}},
    {"through zero without an average: the stored one stays",
     {"1", "100", "110", "10"},
     {"1", .side = SIDE_SELL},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"-1", "100", "110", "-10", "0"}},
    {"through zero with an average at the threshold: the stored one stays",
     {"1", "100", "110", "10"},
     {"1", "100.1", .side = SIDE_SELL},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"-1", "100", "110", "-10", "0"}},
    {"through zero with an average beyond the threshold by one unit",
     {"-1", "100", "110", "-10"},
     {"2", "100.10000001", .side = SIDE_BUY},
     STATUS_OK,
     SIZE_TAKEN | AVERAGE_TAKEN | SIZE_DIFFERS,
     {"2", "100.10000001", "110", "19.79999998", "0"}},
    {"through zero, none stored: taken",
     {"1", NULL, "110", "10"},
     {"1", "100.05", .side = SIDE_SELL},
     STATUS_OK,
     SIZE_TAKEN | AVERAGE_TAKEN | SIZE_DIFFERS,
     {"-1", "100.05", "110", "-9.95", "0"}},
    {"largest difference",
     {"999999999999.99999999", "1"},
     {"999999999999.99999999", .side = SIDE_SELL},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"-999999999999.99999999", "1", NULL, "0", "0"}},
};

Test(market, an_event_replaces_what_it_says_and_leaves_the_rest)
{
    for (size_t i = 0; i < sizeof one_way_rows / sizeof one_way_rows[0]; i++) {
        const char *name = one_way_rows[i].name;
        const struct stored *wanted = &one_way_rows[i].wanted;
        struct position before = position_of(&one_way_rows[i].stored);
        struct market_event event = event_of(&one_way_rows[i].said, POSITION_MODE_ONE_WAY);
        struct position after;
        struct market_effect effect;
        const char *field = "";
        enum status status = position_apply_market(&before, &event, &usual, NOW_US, &after, &effect, &field);
        expect_status(status, one_way_rows[i].status, name);
        position_check(&after);
        cr_expect(effect_bits(&effect) == one_way_rows[i].effect, "%s: effect %d", name, effect_bits(&effect));
        expect_decimal(after.size, wanted->size, name, "size");
        expect_decimal(after.average_entry_price, wanted->average, name, "average");
        expect_decimal(after.current_price, wanted->price, name, "price");
        expect_decimal(after.unrealized_pnl, wanted->unrealized, name, "unrealized PnL");
        expect_decimal(after.realized_pnl, wanted->realized, name, "realized PnL");
        bool changed = status == STATUS_OK;
        cr_expect(after.version == (changed ? 4 : 3), "%s: version", name);
        cr_expect(after.last_updated_us == (changed ? NOW_US : BEFORE_US), "%s: last_updated", name);
        bool priced = !decimal_is_none(event.mark_price);
        cr_expect(after.price_updated_at_us == (priced ? NOW_US : TIME_NONE), "%s: price's age", name);
        cr_expect(after.market_event_at_us == EVENT_US && after.market_digest_count == 1, "%s: order", name);
        cr_expect(after.last_execution_at_us == TIME_NONE, "%s: executions", name);
        if (effect.size_differs) {
            expect_decimal(effect.size_stored, one_way_rows[i].stored.size ? one_way_rows[i].stored.size : "0", name,
                           "stored size");
            expect_decimal(effect.size_said, wanted->size, name, "said size");
        }
    }
}

Test(market, averages_of_the_exchange_can_be_switched_off)
{
    struct market_policy off = usual;
    off.use_average_price = false;
    struct said said = {.average = "200"};
    struct market_event event = event_of(&said, POSITION_MODE_ONE_WAY);
    struct market_effect effect;
    const char *field;
    struct position position = position_of(&(struct stored){"1", "100"});
    expect_status(position_apply_market(&position, &event, &off, NOW_US, &position, &effect, &field), STATUS_UNCHANGED,
                  "stored");
    expect_decimal(position.average_entry_price, "100", "stored", "average");
    const struct said turned = {"1", "200", .side = SIDE_SELL};
    struct market_event turning = event_of(&turned, POSITION_MODE_ONE_WAY);
    turning.at_us++;
    expect_status(position_apply_market(&position, &turning, &off, NOW_US, &position, &effect, &field), STATUS_OK,
                  "through zero");
    expect_decimal(position.size, "-1", "through zero", "size");
    expect_decimal(position.average_entry_price, "100", "through zero", "average");
    position = position_of(&(struct stored){"1", NULL});
    expect_status(position_apply_market(&position, &event, &off, NOW_US, &position, &effect, &field), STATUS_OK,
                  "none stored");
    expect_decimal(position.average_entry_price, "200", "none stored: taken all the same", "average");
}

/* ---- executions are the authority for the size ---- */

Test(market, a_size_is_taken_over_only_when_later_than_the_last_execution)
{
    static const struct {
        const char *name;
        bool resolution;
        int64_t tolerance_us, last_execution_us, event_us;
        bool taken;
    } rows[] = {
        {"no execution ever", true, 0, TIME_NONE, 5000, true},
        {"no execution ever, resolution off", false, 0, TIME_NONE, 5000, true},
        {"no execution ever, no time", true, 0, TIME_NONE, TIME_NONE, true},
        {"later", true, 0, 4999, 5000, true},
        {"at the same time", true, 0, 5000, 5000, false},
        {"earlier", true, 0, 5001, 5000, false},
        {"later, resolution off", false, 0, 4999, 5000, false},
        {"no time", true, 0, 4999, TIME_NONE, false},
        {"within the tolerance", true, 1000, 4000, 5000, false},
        {"beyond the tolerance", true, 1000, 3999, 5000, true},
        {"ends of time", true, INT64_MAX, INT64_MIN + 1, INT64_MAX, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct market_policy policy = usual;
        policy.timestamp_resolution = rows[i].resolution;
        policy.timestamp_tolerance_us = rows[i].tolerance_us;
        struct position before = position_of(&(struct stored){"1", "100"});
        before.last_execution_at_us = rows[i].last_execution_us;
        struct said said = {"3", .side = SIDE_BUY};
        struct market_event event = event_of(&said, POSITION_MODE_ONE_WAY);
        event.at_us = rows[i].event_us;
        struct position after;
        struct market_effect effect;
        const char *field;
        expect_status(position_apply_market(&before, &event, &policy, NOW_US, &after, &effect, &field),
                      rows[i].taken ? STATUS_OK : STATUS_UNCHANGED, rows[i].name);
        expect_decimal(after.size, rows[i].taken ? "3" : "1", rows[i].name, "size");
        cr_expect(effect.size_taken == rows[i].taken, "%s", rows[i].name);
        cr_expect(effect.size_differs, "%s: a discrepancy either way", rows[i].name);
        expect_decimal(effect.size_stored, "1", rows[i].name, "stored size");
        expect_decimal(effect.size_said, "3", rows[i].name, "said size");
    }
}

Test(market, a_size_that_is_not_taken_over_decides_about_no_average)
{
    /* The event says flat, but an execution was later: the position is open still, and takes the average. */
    struct position position = position_of(&(struct stored){"1", NULL});
    position.last_execution_at_us = EVENT_US;
    struct said said = {"0", "100"};
    struct market_event event = event_of(&said, POSITION_MODE_ONE_WAY);
    struct market_effect effect;
    const char *field;
    cr_assert(position_apply_market(&position, &event, &usual, NOW_US, &position, &effect, &field) == STATUS_OK);
    expect_decimal(position.size, "1", "kept", "size");
    expect_decimal(position.average_entry_price, "100", "taken", "average");
    cr_expect(effect.size_differs && !effect.size_taken && effect.average_taken);
}

/* ---- opening and closing ---- */

static enum status say(struct position *position, const char *size, enum side side, int64_t at_us)
{
    struct said said = {size, .side = side};
    struct market_event event = event_of(&said, (enum position_mode)position->mode);
    event.at_us = at_us;
    struct market_effect effect;
    const char *field;
    return position_apply_market(position, &event, &usual, NOW_US, position, &effect, &field);
}

Test(market, opening_and_closing_are_dated_by_the_event_or_its_arrival)
{
    struct position position = new_position(POSITION_MODE_ONE_WAY);
    cr_assert(say(&position, "1", SIDE_BUY, 100) == STATUS_OK);
    cr_expect(position.opened_at_us == 100 && position.closed_at_us == TIME_NONE);
    cr_assert(say(&position, "2", SIDE_BUY, 200) == STATUS_OK);
    cr_expect(position.opened_at_us == 100);
    cr_assert(say(&position, "1", SIDE_SELL, 300) == STATUS_OK);
    cr_expect(position.opened_at_us == 300, "through zero is opened anew");
    cr_assert(say(&position, "0", SIDE_NONE, TIME_NONE) == STATUS_OK);
    cr_expect(position.opened_at_us == 300 && position.closed_at_us == NOW_US);
    cr_assert(say(&position, "1", SIDE_BUY, 500) == STATUS_OK);
    cr_expect(position.opened_at_us == 500 && position.closed_at_us == TIME_NONE);
    cr_expect(position.version == 5 && position.created_at_us == 1000);
}

/* ---- order ---- */

static enum status say_price(struct position *position, const char *price, int64_t at_us, uint64_t digest)
{
    struct said said = {.mark = price};
    struct market_event event = event_of(&said, (enum position_mode)position->mode);
    event.at_us = at_us;
    event.digest = digest;
    struct market_effect effect;
    const char *field;
    return position_apply_market(position, &event, &usual, NOW_US, position, &effect, &field);
}

Test(market, older_events_and_repeats_change_nothing_and_the_rest_is_applied)
{
    struct position position = position_of(&(struct stored){"1", "100"});
    expect_status(say_price(&position, "110", 50, 1), STATUS_OK, "first");
    struct position kept = position;
    expect_status(say_price(&position, "120", 49, 2), STATUS_STALE, "older");
    expect_status(say_price(&position, "110", 50, 1), STATUS_REPEAT, "the same again");
    cr_expect(memcmp(&kept, &position, sizeof kept) == 0, "a stale event or a repeat changed something");
    expect_status(say_price(&position, "111", 50, 2), STATUS_OK, "same time, other content");
    expect_status(say_price(&position, "110", 50, 1), STATUS_REPEAT, "the first is still known");
    expect_status(say_price(&position, "112", TIME_NONE, 1), STATUS_OK, "no time");
    cr_expect(position.market_event_at_us == 50 && position.market_digest_count == 2, "no time leaves the order alone");
    expect_status(say_price(&position, "113", TIME_NONE, 1), STATUS_OK, "no time, same digest");
    expect_status(say_price(&position, "114", 51, 1), STATUS_OK, "newer, same digest as an older one");
    cr_expect(position.market_event_at_us == 51 && position.market_digest_count == 1);
    expect_status(say_price(&position, "111", 50, 2), STATUS_STALE, "overtaken");
    expect_decimal(position.current_price, "114", "last", "price");
}

Test(market, an_event_that_changes_no_figure_takes_its_place_in_the_order)
{
    struct position position = position_of(&(struct stored){"1", "100", "110", "10"});
    expect_status(say_price(&position, "110", 50, 1), STATUS_UNCHANGED, "same price");
    cr_expect(position.version == 3 && position.last_updated_us == BEFORE_US);
    cr_expect(position.price_updated_at_us == NOW_US && position.market_event_at_us == 50);
    expect_status(say_price(&position, "110", 50, 1), STATUS_REPEAT, "again");
    expect_status(say_price(&position, "110", 49, 2), STATUS_STALE, "older");
}

Test(market, the_oldest_of_too_many_events_of_one_time_is_forgotten)
{
    struct position position = position_of(&(struct stored){"1", "100"});
    for (uint64_t digest = 1; digest <= MARKET_DIGESTS_MAX; digest++)
        expect_status(say_price(&position, digest % 2 ? "110" : "111", 50, digest), STATUS_OK, "fill up");
    expect_status(say_price(&position, "110", 50, 1), STATUS_REPEAT, "the oldest is known");
    expect_status(say_price(&position, "112", 50, MARKET_DIGESTS_MAX + 1), STATUS_OK, "one more");
    cr_expect(position.market_digest_count == MARKET_DIGESTS_MAX);
    expect_status(say_price(&position, "111", 50, 2), STATUS_REPEAT, "the second is known");
    expect_status(say_price(&position, "112", 50, MARKET_DIGESTS_MAX + 1), STATUS_REPEAT, "the newest is known");
    expect_status(say_price(&position, "110", 50, 1), STATUS_OK, "the oldest was forgotten");
}

/* ---- hedge ---- */

struct legs {
    const char *long_size, *long_average, *short_size, *short_average;
};

static struct position hedge_of(const struct legs *legs, const char *price)
{
    struct position position = new_position(POSITION_MODE_HEDGE);
    position.long_size = dec(legs->long_size);
    position.short_size = dec(legs->short_size);
    position.long_avg_price = dec(legs->long_average);
    position.short_avg_price = dec(legs->short_average);
    position.size = decimal_from_units(position.long_size.units - position.short_size.units);
    if (decimal_sign(position.long_size) == 0 || decimal_sign(position.short_size) == 0)
        position.average_entry_price =
            decimal_sign(position.long_size) ? position.long_avg_price : position.short_avg_price;
    position.current_price = dec(price);
    position.version = 3;
    return position;
}

static const struct {
    const char *name;
    struct legs legs;
    const char *price;
    struct said said;
    enum status status;
    int effect;
    struct legs wanted;
    const char *size, *average, *unrealized;
} hedge_rows[] = {
    {"Buy speaks of the long leg",
     {"1", "100", "2", "90"},
     NULL,
     {"3", .side = SIDE_BUY},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"3", "100", "2", "90"},
     "1",
     NULL,
     "0"},
    {"Sell speaks of the short leg, unsigned",
     {"1", "100", "2", "90"},
     NULL,
     {"3", .side = SIDE_SELL},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"1", "100", "3", "90"},
     "-2",
     NULL,
     "0"},
    {"a named leg, whatever the side",
     {"1", "100", "2", "90"},
     NULL,
     {"0", .side = SIDE_NONE, .leg = LEG_SHORT},
     STATUS_OK,
     SIZE_TAKEN | SIZE_DIFFERS,
     {"1", "100", "0", NULL},
     "1",
     "100",
     "0"},
    {"no side with a size: positive, so long",
     {"0", NULL, "2", "90"},
     NULL,
     {"1", "80"},
     STATUS_OK,
     SIZE_TAKEN | AVERAGE_TAKEN | SIZE_DIFFERS,
     {"1", "80", "2", "90"},
     "-1",
     NULL,
     "0"},
    {"no leg at all: only the price is taken",
     {"1", "100", "2", "90"},
     NULL,
     {"0", "70", "95"},
     STATUS_OK,
     0,
     {"1", "100", "2", "90"},
     "-1",
     NULL,
     "-15"},
    {"PnL of one leg is not taken over",
     {"1", "100", "2", "90"},
     "95",
     {"2", .unrealized = "77", .realized = "78", .side = SIDE_SELL},
     STATUS_UNCHANGED,
     0,
     {"1", "100", "2", "90"},
     "-1",
     NULL,
     "0"},
    {"ours is computed from the mark price",
     {"1", "100", "2", "90"},
     "95",
     {"2", .mark = "110", .unrealized = "77", .side = SIDE_SELL},
     STATUS_OK,
     0,
     {"1", "100", "2", "90"},
     "-1",
     NULL,
     "-30"},
    {"a leg's average beyond the threshold",
     {"1", "100", "2", "90"},
     "95",
     {.average = "80", .leg = LEG_SHORT},
     STATUS_OK,
     AVERAGE_TAKEN,
     {"1", "100", "2", "80"},
     "-1",
     NULL,
     "-35"},
    {"a leg's average within it",
     {"1", "100", "2", "90"},
     "95",
     {.average = "90.09", .leg = LEG_SHORT},
     STATUS_UNCHANGED,
     0,
     {"1", "100", "2", "90"},
     "-1",
     NULL,
     "0"},
    {"a flat leg takes no average",
     {"0", NULL, "2", "90"},
     NULL,
     {.average = "80", .leg = LEG_LONG},
     STATUS_UNCHANGED,
     0,
     {"0", NULL, "2", "90"},
     "-2",
     "90",
     "0"},
    {"the only leg's average becomes the position's",
     {"0", NULL, "2", "90"},
     NULL,
     {.average = "80", .leg = LEG_SHORT},
     STATUS_OK,
     AVERAGE_TAKEN,
     {"0", NULL, "2", "80"},
     "-2",
     "80",
     "0"},
};

Test(market, a_hedge_event_speaks_of_one_leg)
{
    for (size_t i = 0; i < sizeof hedge_rows / sizeof hedge_rows[0]; i++) {
        const char *name = hedge_rows[i].name;
        const struct legs *wanted = &hedge_rows[i].wanted;
        struct position before = hedge_of(&hedge_rows[i].legs, hedge_rows[i].price);
        position_check(&before);
        struct market_event event = event_of(&hedge_rows[i].said, POSITION_MODE_HEDGE);
        struct position after;
        struct market_effect effect;
        const char *field = "";
        expect_status(position_apply_market(&before, &event, &usual, NOW_US, &after, &effect, &field),
                      hedge_rows[i].status, name);
        position_check(&after);
        cr_expect(effect_bits(&effect) == hedge_rows[i].effect, "%s: effect %d", name, effect_bits(&effect));
        expect_decimal(after.long_size, wanted->long_size, name, "long size");
        expect_decimal(after.long_avg_price, wanted->long_average, name, "long average");
        expect_decimal(after.short_size, wanted->short_size, name, "short size");
        expect_decimal(after.short_avg_price, wanted->short_average, name, "short average");
        expect_decimal(after.size, hedge_rows[i].size, name, "size");
        expect_decimal(after.average_entry_price, hedge_rows[i].average, name, "average");
        expect_decimal(after.unrealized_pnl, hedge_rows[i].unrealized, name, "unrealized PnL");
        expect_decimal(after.realized_pnl, "0", name, "realized PnL");
    }
}

Test(market, a_short_legs_discrepancy_is_told_signed)
{
    struct position position = hedge_of(&(struct legs){"1", "100", "2", "90"}, NULL);
    struct said said = {"3", .side = SIDE_SELL};
    struct market_event event = event_of(&said, POSITION_MODE_HEDGE);
    struct market_effect effect;
    const char *field;
    cr_assert(position_apply_market(&position, &event, &usual, NOW_US, &position, &effect, &field) == STATUS_OK);
    expect_decimal(effect.size_stored, "-2", "short leg", "stored size");
    expect_decimal(effect.size_said, "-3", "short leg", "said size");
}

Test(market, a_hedge_position_is_made_of_a_leg)
{
    static const struct {
        const char *name;
        struct said said;
        enum status status;
        const char *size, *average;
    } rows[] = {
        {"long", {"2", "90", .side = SIDE_BUY}, STATUS_OK, "2", "90"},
        {"short", {"2", "90", .leg = LEG_SHORT}, STATUS_OK, "-2", "90"},
        {"no side", {"2", "90"}, STATUS_OK, "2", "90"},
        {"a flat leg that realized PnL", {"0", .realized = "5", .leg = LEG_SHORT}, STATUS_IGNORED, NULL, NULL},
        {"no leg", {"0", "90"}, STATUS_IGNORED, NULL, NULL},
        {"flat", {"0", "0", "95", "0", .side = SIDE_SELL}, STATUS_IGNORED, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position before = new_position(POSITION_MODE_HEDGE);
        struct market_event event = event_of(&rows[i].said, POSITION_MODE_HEDGE);
        struct position after;
        struct market_effect effect;
        const char *field;
        expect_status(position_apply_market(&before, &event, &usual, NOW_US, &after, &effect, &field), rows[i].status,
                      rows[i].name);
        if (rows[i].status != STATUS_OK)
            continue;
        position_check(&after);
        expect_decimal(after.size, rows[i].size, rows[i].name, "size");
        expect_decimal(after.average_entry_price, rows[i].average, rows[i].name, "average");
    }
}

/* ---- a row that another service inserted, with version 0 ---- */

Test(market, a_position_of_version_0_that_holds_something_is_there)
{
    struct position position = position_of(&(struct stored){"1", "100", "110", "10"});
    position.version = 0;
    expect_status(say_price(&position, "110", 50, 1), STATUS_UNCHANGED, "the same price");
    cr_expect(position.version == 0);
    expect_status(say_price(&position, "120", 51, 1), STATUS_OK, "another price");
    cr_expect(position.version == 1);
    position = position_of(&(struct stored){"1", "100"});
    position.version = 0;
    struct said said = {"3", .side = SIDE_BUY};
    struct market_event event = event_of(&said, POSITION_MODE_ONE_WAY);
    struct market_effect effect;
    const char *field;
    expect_status(position_apply_market(&position, &event, &usual, NOW_US, &position, &effect, &field), STATUS_OK,
                  "another size");
    cr_expect(effect.size_differs, "a discrepancy like any other");
    static const struct stored rows[] = {{.price = "5"}, {.unrealized = "5"}, {.realized = "5"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        position = position_of(&rows[i]);
        position.version = 0;
        expect_status(say_price(&position, "7", 50, 1), STATUS_OK, "flat, but not new");
    }
    position = position_of(&(struct stored){NULL});
    position.version = 0;
    position.fees_paid = dec("1");
    expect_status(say_price(&position, "7", 50, 1), STATUS_OK, "fees were paid");
}

/* ---- what does not fit ---- */

Test(market, what_does_not_fit_is_refused_by_name_and_changes_nothing)
{
    struct position position = position_of(&(struct stored){"1000000", "1"});
    struct position kept = position;
    struct said said = {.mark = "2000000"};
    struct market_event event = event_of(&said, POSITION_MODE_ONE_WAY);
    struct market_effect effect;
    const char *field = "";
    expect_status(position_apply_market(&position, &event, &usual, NOW_US, &position, &effect, &field),
                  STATUS_OUT_OF_RANGE, "unrealized");
    cr_expect(strcmp(field, "unrealized_pnl") == 0 && memcmp(&position, &kept, sizeof kept) == 0);
    position.version = INT32_MAX;
    kept = position;
    event.mark_price = dec("2");
    expect_status(position_apply_market(&position, &event, &usual, NOW_US, &position, &effect, &field),
                  STATUS_OUT_OF_RANGE, "version");
    cr_expect(strcmp(field, "version") == 0 && memcmp(&position, &kept, sizeof kept) == 0);
    /* What changes no figure needs no version. */
    position.current_price = event.mark_price;
    position.unrealized_pnl = dec("1000000");
    expect_status(position_apply_market(&position, &event, &usual, NOW_US, &position, &effect, &field),
                  STATUS_UNCHANGED, "last version");
}

/* ---- a price that came by itself ---- */

Test(market, a_price_by_itself_is_taken_and_leaves_the_order_of_events_alone)
{
    struct position position = position_of(&(struct stored){"2", "100"});
    position.market_event_at_us = 50;
    const char *field = "";
    expect_status(position_apply_price(&position, dec("110"), NOW_US, &position, &field), STATUS_OK, "price");
    expect_decimal(position.current_price, "110", "price", "price");
    expect_decimal(position.unrealized_pnl, "20", "price", "unrealized PnL");
    cr_expect(position.version == 4 && position.price_updated_at_us == NOW_US && position.market_event_at_us == 50);
    expect_status(position_apply_price(&position, dec("110"), NOW_US + 1, &position, &field), STATUS_UNCHANGED,
                  "again");
    cr_expect(position.version == 4 && position.price_updated_at_us == NOW_US + 1);
    struct position kept = position;
    expect_status(position_apply_price(&position, dec("0"), NOW_US, &position, &field), STATUS_NOT_POSITIVE, "zero");
    expect_status(position_apply_price(&position, DECIMAL_NONE, NOW_US, &position, &field), STATUS_NOT_POSITIVE,
                  "none");
    expect_status(position_apply_price(&position, dec("999999999999"), NOW_US, &position, &field), STATUS_OUT_OF_RANGE,
                  "too high");
    cr_expect(memcmp(&kept, &position, sizeof kept) == 0);
    struct position none = new_position(POSITION_MODE_HEDGE);
    expect_status(position_apply_price(&none, dec("110"), NOW_US, &none, &field), STATUS_IGNORED, "no position");
    cr_expect(none.version == 0 && decimal_is_none(none.current_price));
}
