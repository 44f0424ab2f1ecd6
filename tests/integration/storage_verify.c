/*
 * --verify against a database that a committer wrote by the rules, whole and tampered with.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage_rig.h"
#include "verify.h"

static struct rig rig;

static void open_rig(void)
{
    rig_open(&rig);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_start(&rig);
}
static void close_rig(void)
{
    rig_close(&rig);
}

TestSuite(storage_verify, .init = open_rig, .fini = close_rig, .timeout = 300);

struct report {
    enum status status;
    struct verify_totals totals;
    char *out, *err;
    size_t out_len, err_len;
};

static struct report verify(void)
{
    struct report report = {0};
    FILE *out = open_memstream(&report.out, &report.out_len), *err = open_memstream(&report.err, &report.err_len);
    report.status = storage_verify(&rig.settings, out, err, &report.totals);
    fclose(out);
    fclose(err);
    return report;
}

static void report_free(struct report *report)
{
    free(report->out);
    free(report->err);
}

static void assert_agrees(void)
{
    struct report report = verify();
    cr_assert_eq(report.status, STATUS_OK, "%s", report.err);
    cr_assert_eq(report.totals.discrepancies, 0, "%s", report.out);
    report_free(&report);
}

static struct position flat(const char *asset, enum position_mode mode)
{
    struct position position;
    position_init(&position, asset, mode, uuid_generate(), 1763815000000000);
    return position;
}

/* As a shard does: the fill is booked, and noted with the state after it. */
static void fill(struct commit_item *item, const char *quantity, const char *notional, const char *fees,
                 const char *order)
{
    const char *field;
    struct delivery *delivery = rig_execution(&rig, item, "", 0, order);
    const struct decimal amount = rig_decimal(quantity);
    delivery->fill = (struct fill){.quantity = decimal_absolute(amount),
                                   .fees = rig_decimal(fees),
                                   .notional = wide_multiply(rig_decimal(notional).units, DECIMAL_ONE),
                                   .mode = item->row.mode,
                                   .side = decimal_sign(amount) > 0 ? SIDE_BUY : SIDE_SELL};
    cr_assert_eq(position_apply_fill(&item->row, &delivery->fill, 1763815000000001, &item->row, &field), STATUS_OK);
    struct journal_note *note = &delivery->journal;
    note->quantity = amount;
    note->price = fill_price(&delivery->fill);
    note->fees = delivery->fill.fees;
    note->size = item->row.size;
    note->average_entry_price = item->row.average_entry_price;
    note->realized_pnl = item->row.realized_pnl;
    note->fees_paid = item->row.fees_paid;
    note->long_size = item->row.long_size;
    note->short_size = item->row.short_size;
    note->long_avg_price = item->row.long_avg_price;
    note->short_avg_price = item->row.short_avg_price;
    note->version = item->row.version;
}

static struct commit_item *begin(const struct position *position)
{
    struct commit_item *item = rig_item(&rig, 0, position);
    item->row.version--; /* every fill raises it */
    return item;
}

/* Six lines of two positions, of two orders and without one; prices that do not end. */
static void write_history(void)
{
    struct position one_way = flat("BTCUSDT", POSITION_MODE_ONE_WAY), hedge = flat("BTCUSDT", POSITION_MODE_HEDGE);
    /* Written in the order of their identifiers: lines 1 to 3, and 4 to 6. */
    one_way.id = (struct uuid){{1}};
    hedge.id = (struct uuid){{2}};
    struct commit_item *items[] = {begin(&one_way), begin(&hedge)};
    fill(items[0], "3", "10", "0.1", "o\x1b[31m");
    fill(items[0], "0.7", "3", "0", "o\x1b[31m");
    fill(items[0], "-7", "22.22222222", "-0.2", "p");
    fill(items[1], "3", "10", "0", "p");
    fill(items[1], "-1", "7", "0", NULL);
    fill(items[1], "-1", "3.4", "0.3", NULL);
    rig_commit(&rig, 0);
    cr_assert_eq(items[0]->outcome, COMMIT_DONE);
    cr_assert_eq(items[1]->outcome, COMMIT_DONE);
    rig_clear(&rig);
}

Test(storage_verify, empty_database_agrees)
{
    struct report report = verify();
    cr_assert_eq(report.status, STATUS_OK, "%s", report.err);
    cr_assert_str_eq(report.out, "0 positions, 0 journal lines, 0 orders: all agree\n");
    report_free(&report);
}

Test(storage_verify, what_a_committer_wrote_agrees_also_after_others_changed_it)
{
    write_history();
    struct report report = verify();
    cr_assert_str_eq(report.out, "2 positions, 6 journal lines, 3 orders: all agree\n");
    report_free(&report);
    rig_stop(&rig);
    rig_execute(&rig, "INSERT INTO positions (asset, size, average_entry_price, version) VALUES ('OLDUSDT', 5, 2, 8); "
                      "UPDATE positions SET size = 1, average_entry_price = 7 WHERE mode = 'one-way'");
    report = verify();
    cr_assert_gt(report.totals.discrepancies, 0);
    report_free(&report);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    assert_agrees();
}

/* Fresh for each: the tables are copied back. */
Test(storage_verify, each_tampering_is_found_and_named)
{
    static const struct {
        const char *sql;
        const char *told[3];
    } cases[] = {
        {"UPDATE positions SET realized_pnl = realized_pnl + 0.00000001 WHERE mode = 'one-way'",
         {"BTCUSDT one-way: realized_pnl is ", " in the journal (journal line 3)\n", "orders: 1 discrepancies\n"}},
        {"UPDATE positions SET long_avg_price = 4 WHERE mode = 'hedge'",
         {"BTCUSDT hedge: long_avg_price is 4 in the row and 3.33333333 in the journal (journal line 6)\n"}},
        {"UPDATE positions SET version = 1 WHERE mode = 'hedge'",
         {"BTCUSDT hedge: the row's version is below the journal's (journal line 6)\n"}},
        {"UPDATE position_manager_journal SET size = 4 WHERE seq = 2",
         {"BTCUSDT one-way: journal line 2: size is 4, recounted it is 3.7\n", "journal line 3: size is "}},
        {"UPDATE position_manager_journal SET realized_pnl = realized_pnl - 1 WHERE seq = 3",
         {"journal line 3: realized_pnl is ", "in the journal (journal line 3)\n"}},
        {"DELETE FROM position_manager_journal WHERE seq = 2",
         {"journal line 3: size is -3.3, recounted it is -4\n",
          "its journal lines add up to 3.00000000 and 0.10000000"}},
        {"DELETE FROM position_manager_journal WHERE seq = 6", {"BTCUSDT hedge: size is ", "(journal line 5)\n"}},
        {"DELETE FROM position_manager_journal WHERE seq = 1",
         {"journal line 2: fees_paid is 0.1, recounted it is 0\n"}},
        {"DELETE FROM positions WHERE mode = 'hedge'",
         {"BTCUSDT hedge: the journal knows it, and there is no row (journal line 6)\n",
          "1 positions, 6 journal lines"}},
        {"DELETE FROM position_manager_journal WHERE mode = 'hedge'",
         {"BTCUSDT hedge: size is 1 in the row and 0 in the journal\n"}},
        {"UPDATE position_manager_orders SET filled_quantity = 4 WHERE order_id LIKE 'o%'",
         {"BTCUSDT one-way: order o?[31m: filled_quantity is 4.00000000 and fees are 0.10000000; "
          "its journal lines add up to 3.70000000 and 0.10000000\n"}},
        {"UPDATE position_manager_orders SET fees = 4 WHERE order_id = 'p' AND mode = 'hedge'",
         {"BTCUSDT hedge: order p: "}},
        {"UPDATE positions SET size = 'NaN' WHERE mode = 'one-way'",
         {"the row of BTCUSDT: it holds what cannot be read"}},
        {"UPDATE position_manager_journal SET price = 'NaN' WHERE seq = 5",
         {"journal line 5: it holds what cannot be read\n"}},
        {"UPDATE position_manager_journal SET mode = 'one-way' WHERE seq = 5",
         {"journal line 5: another asset or mode than in the line before\n"}},
        {"UPDATE position_manager_journal SET version = 1 WHERE seq = 2",
         {"journal line 2: a version that does not rise\n"}},
    };
    write_history();
    rig_execute(&rig, "CREATE TABLE p AS TABLE positions; CREATE TABLE o AS TABLE position_manager_orders; "
                      "CREATE TABLE j AS TABLE position_manager_journal");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_execute(&rig, cases[i].sql);
        struct report report = verify();
        cr_expect_eq(report.status, STATUS_OK, "%s: %s", cases[i].sql, report.err);
        cr_expect_gt(report.totals.discrepancies, 0, "%s", cases[i].sql);
        for (size_t told = 0; told < 3 && cases[i].told[told] != NULL; told++)
            cr_expect_not_null(strstr(report.out, cases[i].told[told]), "%s: %s", cases[i].sql, report.out);
        report_free(&report);
        rig_execute(&rig, "DELETE FROM position_snapshots; DELETE FROM positions; DELETE FROM position_manager_orders; "
                          "DELETE FROM position_manager_journal; INSERT INTO positions TABLE p; "
                          "INSERT INTO position_manager_orders TABLE o; "
                          "INSERT INTO position_manager_journal OVERRIDING SYSTEM VALUE TABLE j");
        assert_agrees();
    }
}

Test(storage_verify, folded_lines_are_no_discrepancy_and_too_many_lines_are)
{
    write_history();
    rig_execute(&rig, "DELETE FROM position_manager_journal WHERE seq = 1; "
                      "UPDATE position_manager_journal SET source = 'opening', order_id = NULL, quantity = NULL, "
                      "price = NULL, fees = fees_paid WHERE seq = 2");
    assert_agrees();
    rig_execute(&rig,
                "UPDATE position_manager_orders SET filled_quantity = 6 WHERE order_id = 'p' AND mode = 'one-way'");
    struct report report = verify();
    cr_assert_not_null(strstr(report.out, "order p: filled_quantity is 6.00000000"), "%s", report.out);
    report_free(&report);
}

Test(storage_verify, many_pages_are_read_and_discrepancies_beyond_the_shown_are_counted)
{
    rig_execute(
        &rig, "INSERT INTO positions (asset, mode, size, average_entry_price) SELECT 'A' || n || 'USDT', 'one-way', 1, "
              "2 FROM generate_series(1, 4500) n; INSERT INTO position_manager_journal (position_id, asset, mode, "
              "version, source, fees, size, average_entry_price, realized_pnl, fees_paid) SELECT id, asset, mode, "
              "step, CASE step WHEN 0 THEN 'opening' ELSE 'external' END, 0, step, 2 / nullif(step, 0), 0, 0 "
              "FROM positions, generate_series(0, 1) step ORDER BY step; UPDATE positions SET version = 1, "
              "average_entry_price = 2");
    struct report report = verify();
    cr_assert_str_eq(report.out, "4500 positions, 9000 journal lines, 0 orders: all agree\n");
    report_free(&report);
    rig_execute(&rig, "UPDATE positions SET size = 3 WHERE asset < 'A3'");
    report = verify();
    cr_assert_eq(report.totals.discrepancies, rig_number(&rig, "SELECT count(*) FROM positions WHERE size = 3"));
    cr_assert_gt(report.totals.discrepancies, VERIFY_SHOWN_MAX);
    cr_assert_not_null(strstr(report.out, "(more are counted, and not shown)\n"));
    report_free(&report);
}

Test(storage_verify, tables_that_are_not_there_are_a_problem_and_no_agreement)
{
    rig_stop(&rig);
    rig_execute(&rig, "DROP TABLE position_manager_journal");
    struct report report = verify();
    cr_assert_eq(report.status, STATUS_INVALID);
    cr_assert_not_null(strstr(report.err, "cannot verify: "), "%s", report.err);
    report_free(&report);
}
