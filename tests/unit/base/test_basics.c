/* check, clock, status and xhash: a few lines each. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "status.h"
#include "xhash.h"

Test(check, what_holds_goes_on)
{
    pm_assert(1 + 1 == 2);
}

Test(check, what_does_not_hold_aborts_in_every_build, .signal = SIGABRT)
{
    volatile int one = 1;
    pm_assert(one == 2);
}

Test(clock, steady_time_does_not_go_back)
{
    int64_t before = clock_steady_us();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_steady_us();
        cr_assert_geq(now, before);
        before = now;
    }
}

Test(clock, wall_time_is_of_this_century)
{
    int64_t now = clock_wall_us();
    cr_assert_gt(now, INT64_C(1700000000000000));
    cr_assert_lt(now, INT64_C(4102444800000000));
}

Test(status, every_status_has_a_word_of_its_own)
{
    for (int i = 0; i < STATUS_COUNT; i++) {
        const char *word = status_word((enum status)i);
        cr_assert_not_null(word, "status %d", i);
        cr_assert_eq(strspn(word, "abcdefghijklmnopqrstuvwxyz_"), strlen(word), "%s", word);
        for (int other = 0; other < i; other++)
            cr_assert_str_neq(word, status_word((enum status)other));
    }
}

Test(status, the_words_of_refusals_are_those_of_the_contract)
{
    static const char *const words[] = {"not_json",       "too_deep",          "too_large",       "wrong_event_type",
                                        "missing_field",  "bad_number",        "out_of_range",    "not_positive",
                                        "bad_time",       "bad_asset",         "bad_mode",        "bad_side",
                                        "leg_below_zero", "identity_conflict", "version_conflict"};
    size_t count = 0;
    for (int i = 0; i < STATUS_COUNT; i++) {
        if (!status_is_refusal((enum status)i))
            continue;
        cr_assert_lt(count, sizeof words / sizeof words[0]);
        cr_assert_str_eq(status_word((enum status)i), words[count]);
        count++;
    }
    cr_assert_eq(count, sizeof words / sizeof words[0]);
}

Test(status, a_number_that_is_none_is_an_assert, .signal = SIGABRT)
{
    (void)status_word(STATUS_COUNT);
}

Test(xhash, same_bytes_same_hash_and_one_bit_changes_it)
{
    char a[] = "BTCUSDT";
    char b[] = "BTCUSDU";
    cr_assert_eq(xhash64(a, 7), xhash64("BTCUSDT", 7));
    cr_assert_neq(xhash64(a, 7), xhash64(b, 7));
    struct hash128 first = xhash128(a, 7);
    struct hash128 second = xhash128(b, 7);
    cr_assert(first.high != second.high || first.low != second.low);
}
