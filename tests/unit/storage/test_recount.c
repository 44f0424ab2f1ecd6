/*
 * The recount of one position: what follows from what, by hand-made lines.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "recount.h"

/* Figures as texts: NULL is none. */
struct row {
    enum journal_source source;
    int32_t version;
    const char *quantity, *price, *fees;
    const char *size, *average, *realized, *paid;
    const char *legs[4]; /* long size, short size, long average, short average */
};

struct told {
    size_t count;
    char text[4000];
};

static struct decimal number(const char *text)
{
    struct decimal value = DECIMAL_NONE;
    if (text != NULL)
        cr_assert_eq(decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &value), STATUS_OK, "%s", text);
    return value;
}

static void keep(void *context, const struct recount_finding *finding)
{
    struct told *told = context;
    const size_t len = strlen(told->text);
    told->count++;
    snprintf(told->text + len, sizeof told->text - len, "%s%lld %s;", finding->is_row ? "row " : "",
             (long long)finding->seq, finding->column == NULL ? finding->note : finding->column);
}

static void take_figures(struct position *out, const struct row *row)
{
    out->version = row->version;
    out->size = number(row->size);
    out->average_entry_price = number(row->average);
    out->realized_pnl = number(row->realized);
    out->fees_paid = number(row->paid);
    out->long_size = number(row->legs[0]);
    out->short_size = number(row->legs[1]);
    out->long_avg_price = number(row->legs[2]);
    out->short_avg_price = number(row->legs[3]);
}

/* Lines 1, 2, …; the row is as the last one, unless another is given. */
static struct told recount_rows(enum position_mode mode, const struct row *rows, size_t count, const struct row *stored)
{
    struct told told = {0};
    struct recount recount;
    struct journal_line line;
    recount_begin(&recount, keep, &told);
    for (size_t i = 0; i < count; i++) {
        line = (struct journal_line){.seq = (int64_t)i + 1,
                                     .source = rows[i].source,
                                     .quantity = number(rows[i].quantity),
                                     .price = number(rows[i].price),
                                     .fees = number(rows[i].fees)};
        position_init(&line.after, "BTCUSDT", mode, (struct uuid){{1}}, 0);
        take_figures(&line.after, &rows[i]);
        recount_line(&recount, &line);
    }
    struct position row;
    position_init(&row, "BTCUSDT", mode, (struct uuid){{1}}, 0);
    take_figures(&row, stored != NULL ? stored : &rows[count - 1]);
    recount_finish(&recount, &row);
    return told;
}

#define EXECUTION JOURNAL_EXECUTION

Test(recount, history_by_the_rules_adds_up)
{
    static const struct row rows[] = {
        {EXECUTION, 1, "2", "10", "0.1", "2", "10", "0", "0.1", {0}},
        {EXECUTION, 2, "1", "13", NULL, "3", "11", "0", "0.1", {0}},
        {EXECUTION, 5, "-1", "12", "-0.2", "2", "11", "1.2", "-0.1", {0}},
        {EXECUTION, 6, "-3", "10", "0", "-1", "10", "-0.8", "-0.1", {0}},
        {EXECUTION, 7, "1", "11", "0", "0", NULL, "-1.8", "-0.1", {0}},
        {JOURNAL_MARKET, 8, "4", "9", "0", "4", "9", "7", "-0.1", {0}},
        {JOURNAL_MARKET, 9, NULL, "8", "0", "4", "8", "7", "-0.1", {0}},
        {JOURNAL_VALIDATION, 10, "1", "8.5", "0", "5", "8.5", "7", "-0.1", {0}},
        {JOURNAL_EXTERNAL, 3, NULL, NULL, "0.4", "-6", NULL, "2", "0.3", {0}},
        {EXECUTION, 4, "-2", "5", "0", "-8", "5", "2", "0.3", {0}},
    };
    const struct told told = recount_rows(POSITION_MODE_ONE_WAY, rows, sizeof rows / sizeof rows[0], NULL);
    cr_assert_eq(told.count, 0, "%s", told.text);
}

Test(recount, hedge_legs_are_told_from_what_moved)
{
    static const struct row rows[] = {
        {JOURNAL_OPENING, 7, NULL, NULL, "1", "2", "10", "3", "1", {"2", "0", "10", NULL}},
        {EXECUTION, 8, "-1", "20", "0", "1", NULL, "3", "1", {"2", "1", "10", "20"}},
        {EXECUTION, 9, "-1", "12", "0", "0", NULL, "5", "1", {"1", "1", "10", "20"}},
        {EXECUTION, 10, "1", "18", "1", "1", "10", "6", "2", {"1", "0", "10", NULL}},
    };
    struct told told = recount_rows(POSITION_MODE_HEDGE, rows, 4, NULL);
    cr_assert_eq(told.count, 0, "%s", told.text);
    struct row wrong[4];
    memcpy(wrong, rows, sizeof wrong);
    wrong[1] = (struct row){EXECUTION, 8, "-1", "20", "0", "2", "10", "3", "1", {"2", "0", "10", NULL}};
    told = recount_rows(POSITION_MODE_HEDGE, wrong, 2, NULL);
    cr_assert_str_eq(told.text, "2 an execution that does not move exactly one leg;");
    wrong[1] = (struct row){EXECUTION, 8, "-3", "10", "0", "1", "10", "3", "1", {"1", "0", "10", NULL}};
    told = recount_rows(POSITION_MODE_HEDGE, wrong, 2, NULL);
    cr_assert_str_eq(told.text, "2 an execution that reduces more than its leg held;");
}

Test(recount, rounded_price_explains_its_share_and_no_more)
{
    /* 30000 at 1.00000000333… are noted at 1.00000000; realized PnL may differ by 30000 halves of 10^-8. */
    static const struct {
        const char *average, *realized;
        const char *told;
    } cases[] = {
        {"1", "0", ""},
        {"1", "0.00015", ""},
        {"1", "-0.00015", ""},
        {"1", "0.00015001", "2 realized_pnl;row 2 realized_pnl;"},
        {"1.00000001", "0", "2 average_entry_price;row 2 average_entry_price;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct row rows[] = {
            {EXECUTION, 1, "60000", "1", "0", "60000", "1", "0", "0", {0}},
            {EXECUTION, 2, "-30000", "1", "0", "30000", cases[i].average, cases[i].realized, "0", {0}},
        };
        struct row stored = rows[1];
        stored.average = "1";
        stored.realized = cases[i].told[0] == '\0' ? cases[i].realized : "0";
        const struct told told = recount_rows(POSITION_MODE_ONE_WAY, rows, 2, &stored);
        cr_expect_str_eq(told.text, cases[i].told, "row %zu: %s", i, told.text);
    }
    /* Opening 3 at 10 / 3. */
    const struct row opening = {EXECUTION, 1, "3", "3.33333333", "0", "3", "3.33333334", "0", "0", {0}};
    cr_expect_eq(recount_rows(POSITION_MODE_ONE_WAY, &opening, 1, NULL).count, 0);
    const struct row beyond = {EXECUTION, 1, "3", "3.33333333", "0", "3", "3.33333335", "0", "0", {0}};
    cr_expect_eq(recount_rows(POSITION_MODE_ONE_WAY, &beyond, 1, NULL).count, 1);
}

Test(recount, each_thing_that_does_not_add_up_is_told_where_it_is)
{
    static const struct row first = {EXECUTION, 1, "2", "10", "0.1", "2", "10", "0", "0.1", {0}};
    static const struct {
        struct row second;
        const char *told;
    } cases[] = {
        {{EXECUTION, 2, "1", "13", "0", "4", "11", "0", "0.1", {0}}, "2 size;"},
        {{EXECUTION, 2, "1", "13", "0", "3", "12", "0", "0.1", {0}}, "2 average_entry_price;"},
        {{EXECUTION, 2, "1", "13", "0", "3", NULL, "0", "0.1", {0}}, "2 average_entry_price;"},
        {{EXECUTION, 2, "1", "13", "0", "3", "11", "1", "0.1", {0}}, "2 realized_pnl;"},
        {{EXECUTION, 2, "1", "13", "5", "3", "11", "0", "0.1", {0}}, "2 fees_paid;"},
        {{EXECUTION, 1, "1", "13", "0", "3", "11", "0", "0.1", {0}}, "2 a version that does not rise;"},
        {{EXECUTION, 2, NULL, "13", "0", "3", "11", "0", "0.1", {0}}, "2 an execution without a quantity;"},
        {{EXECUTION, 2, "1", "-50", "0", "3", "11", "0", "0.1", {0}},
         "2 an execution that cannot follow from the line before it;"},
        {{EXECUTION, 2, "1", NULL, "0", "3", "99", "0", "0.1", {0}}, ""},
        {{EXECUTION, 2, "1", NULL, "0", "5", "99", "0", "0.1", {0}}, "2 size;"},
        {{JOURNAL_OPENING, 2, NULL, NULL, "0", "3", "11", "0", "0.1", {0}}, "2 an opening line that is not the first;"},
        {{JOURNAL_MARKET, 2, "2", "13", "0", "3", "11", "0", "0.1", {0}}, "2 size;"},
        {{JOURNAL_MARKET, 2, NULL, "13", "0", "3", "11", "0", "0.1", {0}}, "2 size;"},
        {{JOURNAL_MARKET, 2, NULL, "13", "0", "2", "11", "0", "0.2", {0}}, "2 fees_paid;"},
        {{JOURNAL_VALIDATION, 2, NULL, "13", "0", "2", "11", "9", "0.1", {0}}, "2 realized_pnl;"},
        {{JOURNAL_EXTERNAL, 2, NULL, NULL, "1", "2", "11", "9", "0.1", {0}}, "2 fees_paid;"},
        {{JOURNAL_SOURCE_COUNT, 2, NULL, NULL, "0", "2", "10", "0", "0.1", {0}}, "2 a source that is not known;"},
        {{JOURNAL_EXTERNAL, 2, NULL, NULL, "0", "0", "11", "9", "0.1", {0}}, "2 figures that cannot be;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct row rows[] = {first, cases[i].second};
        const struct told told = recount_rows(POSITION_MODE_ONE_WAY, rows, 2, NULL);
        cr_expect_str_eq(told.text, cases[i].told, "row %zu: %s", i, told.text);
    }
}

Test(recount, after_a_break_the_next_line_is_judged_from_what_was_said)
{
    static const struct row rows[] = {
        {EXECUTION, 1, "2", "10", "0", "2", "10", "0", "0", {0}},
        {EXECUTION, 3, "1", "10", "0", "5", "10", "0", "0", {0}},
        {EXECUTION, 4, "1", "10", "0", "6", "10", "0", "0", {0}},
    };
    struct row stored = rows[2];
    stored.realized = "1";
    const struct told told = recount_rows(POSITION_MODE_ONE_WAY, rows, 3, &stored);
    cr_assert_str_eq(told.text, "2 size;row 2 realized_pnl;", "the row is told with the line where it broke");
}

Test(recount, row_without_lines_must_be_flat_and_lines_need_a_row)
{
    static const struct row flat = {EXECUTION, 1, NULL, NULL, NULL, "0", NULL, "0", "0", {0}};
    static const struct row open = {EXECUTION, 1, NULL, NULL, NULL, "1", NULL, "0", "2", {0}};
    cr_expect_eq(recount_rows(POSITION_MODE_ONE_WAY, NULL, 0, &flat).count, 0);
    cr_expect_str_eq(recount_rows(POSITION_MODE_ONE_WAY, NULL, 0, &open).text, "row 0 size;row 0 fees_paid;");
    struct row older = {EXECUTION, 3, "2", "10", "0", "2", "10", "0", "0", {0}}, row = older;
    row.version = 2;
    cr_expect_str_eq(recount_rows(POSITION_MODE_ONE_WAY, &older, 1, &row).text,
                     "row 1 the row's version is below the journal's;");
    row.version = 9;
    cr_expect_eq(recount_rows(POSITION_MODE_ONE_WAY, &older, 1, &row).count, 0, "mark prices raise versions too");
}
