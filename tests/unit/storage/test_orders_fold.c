#include "orders_fold.h"

#include <criterion/criterion.h>
#include <string.h>

static struct decimal dec(const char *text)
{
    struct decimal value;
    cr_assert_eq(decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &value), STATUS_OK, "%s", text);
    return value;
}

/* "b2@100 s1@150": side, quantity, price; no price: NULL. */
static void fold_all(struct orders_fold *fold, const char *orders)
{
    char copy[256], *rest = copy, *one;
    orders_fold_begin(fold);
    memcpy(copy, orders, strlen(orders) + 1);
    while ((one = strsep(&rest, " ")) != NULL && one[0] != '\0') {
        char *price = strchr(one, '@');
        if (price != NULL)
            *price++ = '\0';
        orders_fold_add(fold, one[0] == 'b', one + 1, price);
    }
}

static struct position stored_position(const char *size, const char *average, enum position_mode mode)
{
    struct position position;
    position_init(&position, "BTCUSDT", mode, (struct uuid){0}, 0);
    position.size = dec(size);
    position.average_entry_price = average == NULL ? DECIMAL_NONE : dec(average);
    return position;
}

Test(orders_fold, orders_add_up_by_the_average_cost_method)
{
    static const struct {
        const char *orders, *size, *average; /* NULL: none */
        bool is_unknown;
    } rows[] = {
        {"b2@100", "2", "100", false},
        {"b1@100 b2@200", "3", "166.66666667", false},
        {"b2@100 s1@150", "1", "100", false},
        {"b2@100 s3@150", "-1", "150", false},
        {"s2@100 b2@50", "0", NULL, false},
        {"b2@100 b0 s0@5", "2", "100", false},
        {"b0.123456789@100", "0.12345679", "100", false}, /* from a column wider than ours */
        {"b2", "2", "1", true},
        {"b2@0", "2", "1", true},
        {"b2@-5", "2", "1", true},
        {"b2@100 s1", "1", "100", false}, /* a reduction needs no price */
        {"b2@100 s2", "0", NULL, false},
        {"b2@100 b1", "3", "100", true},
        {"b2@100 s3", "-1", "100", true},
        {"b2 s2@100 b1@70", "1", "70", false}, /* known again after flat ... */
        {"b2 s3@70", "-1", "70", false},       /* ... and beyond it */
        {"b2 s1@70", "1", "1", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct orders_fold fold;
        fold_all(&fold, rows[i].orders);
        cr_expect(!fold.is_broken, "%s", rows[i].orders);
        cr_expect(fold.position.size.units == dec(rows[i].size).units, "size of %s", rows[i].orders);
        cr_expect_eq(fold.is_average_unknown, rows[i].is_unknown, "%s", rows[i].orders);
        const struct decimal average = rows[i].average == NULL ? DECIMAL_NONE : dec(rows[i].average);
        cr_expect(decimal_is_equal(fold.position.average_entry_price, average), "average of %s", rows[i].orders);
    }
}

Test(orders_fold, what_does_not_add_up_is_broken_for_good)
{
    static const char *const rows[] = {"bNaN@1", "b-1@1", "b@1", "b999999999999@1 b999999999999@1"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct orders_fold fold;
        fold_all(&fold, rows[i]);
        cr_expect(fold.is_broken, "%s", rows[i]);
        orders_fold_add(&fold, true, "1", "1");
        cr_expect(fold.is_broken, "%s", rows[i]);
    }
}

Test(orders_fold, long_histories_do_not_overflow)
{
    struct orders_fold fold;
    orders_fold_begin(&fold);
    for (int i = 0; i < 4; i++) {
        orders_fold_add(&fold, true, "900000", "1");
        orders_fold_add(&fold, false, "900000", "900000"); /* gains 810,000,000,000 each time */
    }
    cr_expect(!fold.is_broken);
    cr_expect(fold.position.size.units == 0);
}

Test(orders_fold, comparison_keeps_to_its_tolerances)
{
    static const struct {
        const char *orders, *size, *average;
        enum position_mode mode;
        bool size_differs, average_differs, has_message;
    } rows[] = {
        {"b2@100", "2", "100", POSITION_MODE_ONE_WAY, false, false, false},
        {"b2@100", "2.01", "100", POSITION_MODE_ONE_WAY, false, false, false},
        {"b2@100", "2.01000001", "100", POSITION_MODE_ONE_WAY, true, false, true},
        {"s2@100", "2", "100", POSITION_MODE_ONE_WAY, true, false, true},
        {"b2@101", "2", "100", POSITION_MODE_ONE_WAY, false, false, false}, /* just 1 % of what is stored */
        {"b2@101.00000001", "2", "100", POSITION_MODE_ONE_WAY, false, true, true},
        {"b2@98.99999999", "2", "100", POSITION_MODE_ONE_WAY, false, true, true},
        {"b3@150", "2", "100", POSITION_MODE_ONE_WAY, true, true, true},
        {"b2@100", "2", NULL, POSITION_MODE_ONE_WAY, false, true, true},
        {"b2@100", "0", NULL, POSITION_MODE_ONE_WAY, true, true, true},
        {"b0.001@100", "0", NULL, POSITION_MODE_ONE_WAY, false, false, false}, /* as good as flat */
        {"b2@100 s2@5", "2", "100", POSITION_MODE_ONE_WAY, true, false, true},
        {"b2", "2", "100", POSITION_MODE_ONE_WAY, false, false, false}, /* no price, nothing to say of it */
        {"b2@500", "2", "100", POSITION_MODE_HEDGE, false, false, false},
        {"b3@500", "2", "100", POSITION_MODE_HEDGE, true, false, true},
        {"", "2", "100", POSITION_MODE_ONE_WAY, false, false, true},
        {"bNaN@1", "2", "100", POSITION_MODE_ONE_WAY, false, false, true},
    };
    const struct orders_tolerance tolerance = {.size = dec("0.01"), .average = dec("0.01")};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct orders_fold fold;
        struct validation_result result;
        const struct position stored = stored_position(rows[i].size, rows[i].average, rows[i].mode);
        fold_all(&fold, rows[i].orders);
        orders_fold_compare(&fold, &stored, &tolerance, &result);
        cr_expect_eq(result.size.differs, rows[i].size_differs, "size, row %zu", i);
        cr_expect_eq(result.average_entry_price.differs, rows[i].average_differs, "average, row %zu", i);
        cr_expect_eq(result.is_valid, !rows[i].size_differs && !rows[i].average_differs, "row %zu", i);
        cr_expect_eq(result.error_message != NULL, rows[i].has_message, "message, row %zu", i);
    }
}

Test(orders_fold, thresholds_and_averages_of_any_size_do_not_overflow)
{
    const struct orders_tolerance tolerance = {.size = decimal_from_units(DECIMAL_UNITS_MAX),
                                               .average = decimal_from_units(DECIMAL_UNITS_MAX)};
    struct orders_fold fold;
    struct validation_result result;
    struct position stored = stored_position("1", "1", POSITION_MODE_ONE_WAY);
    stored.average_entry_price = decimal_from_units(DECIMAL_UNITS_MAX);
    fold_all(&fold, "b1@0.00000001");
    orders_fold_compare(&fold, &stored, &tolerance, &result);
    cr_expect(result.is_valid);
}
