#include <criterion/criterion.h>
#include <string.h>

#include "decode.h"

struct asset_row {
    const char *text;
    const char *expected; /* NULL: refused */
};

static void expect_rows(const char *pattern_text, const struct asset_row *rows, size_t count)
{
    struct asset_pattern pattern;
    cr_assert_eq(asset_pattern_init(&pattern, pattern_text), STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        char asset[ASSET_LEN_MAX + 1] = "untouched";
        enum status status = asset_parse(&pattern, rows[i].text, strlen(rows[i].text), asset);
        cr_expect_eq(status, rows[i].expected != NULL ? STATUS_OK : STATUS_BAD_ASSET, "%s", rows[i].text);
        cr_expect_str_eq(asset, rows[i].expected != NULL ? rows[i].expected : "", "%s", rows[i].text);
    }
    asset_pattern_finish(&pattern);
}

/* The second text is the same language, written so that it goes through the C library. */
Test(asset, the_default_pattern_means_the_same_by_hand_and_compiled)
{
    static const struct asset_row rows[] = {
        {"BTCUSDT", "BTCUSDT"},
        {"btcusdt", "BTCUSDT"},
        {"1000PepeUsdt", "1000PEPEUSDT"},
        {"AUSDT", "AUSDT"},
        {"USDTUSDT", "USDTUSDT"},
        {"ABCDEFGHIJKLMNOPUSDT", "ABCDEFGHIJKLMNOPUSDT"},
        {"ABCDEFGHIJKLMNOPQUSDT", NULL},
        {"USDT", NULL},
        {"", NULL},
        {"BTCUSD", NULL},
        {"BTCUSDTX", NULL},
        {"BTC-USDT", NULL},
        {"BTC USDT", NULL},
        {" BTCUSDT", NULL},
        {"BTCUSDT\n", NULL},
        {"B\xC3\xA9USDT", NULL},
        {"[USDT", NULL},
        {"@USDT", NULL},
        {"`USDT", NULL},
        {"/USDT", NULL},
        {":USDT", NULL},
    };
    expect_rows(ASSET_PATTERN_DEFAULT, rows, sizeof rows / sizeof rows[0]);
    expect_rows("^([A-Z0-9]{1,16}USDT)$", rows, sizeof rows / sizeof rows[0]);
}

Test(asset, another_pattern_decides_within_visible_ascii_and_twenty_bytes)
{
    static const struct asset_row rows[] = {
        {"btc-perp", "BTC-PERP"},
        {"!\"#", "!\"#"},
        {"ABCDEFGHIJKLMNOPQRST", "ABCDEFGHIJKLMNOPQRST"},
        {"ABCDEFGHIJKLMNOPQRSTU", NULL},
        {"A B", NULL},
        {"A\tB", NULL},
        {"A\x7F", NULL},
        {"\xC3\xA9", NULL},
        {"", NULL},
    };
    expect_rows(".", rows, sizeof rows / sizeof rows[0]);
}

Test(asset, an_embedded_nul_does_not_cut_an_asset)
{
    struct asset_pattern pattern;
    char asset[ASSET_LEN_MAX + 1];
    cr_assert_eq(asset_pattern_init(&pattern, "^BTCUSDT$"), STATUS_OK);
    cr_expect_eq(asset_parse(&pattern, "BTCUSDT\0X", 9, asset), STATUS_BAD_ASSET);
    cr_expect_eq(asset_parse(&pattern, "BTCUSDT", 7, asset), STATUS_OK);
    asset_pattern_finish(&pattern);
}

Test(asset, a_pattern_that_does_not_compile_is_refused)
{
    struct asset_pattern pattern;
    cr_expect_eq(asset_pattern_init(&pattern, "^[A-Z"), STATUS_INVALID);
    asset_pattern_finish(&pattern);
}
