#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "prices_answer.h"

Test(prices_answer, mark_price_else_last_price_is_taken)
{
    static const struct {
        const char *name, *ticker; /* list[0] */
        enum status status;
        const char *price;
    } rows[] = {
        {"mark", "{\"markPrice\":\"50000.5\",\"lastPrice\":\"1\"}", STATUS_OK, "50000.5"},
        {"rounded", "{\"markPrice\":\"0.123456785\"}", STATUS_OK, "0.12345679"},
        {"number", "{\"markPrice\":50000.5}", STATUS_OK, "50000.5"},
        {"the text of a number counts", "{\"markPrice\":0.10000000}", STATUS_OK, "0.1"},
        {"whole number", "{\"markPrice\":7}", STATUS_OK, "7"},
        {"last", "{\"lastPrice\":\"49999\"}", STATUS_OK, "49999"},
        {"empty mark", "{\"markPrice\":\"\",\"lastPrice\":\"3\"}", STATUS_OK, "3"},
        {"null mark", "{\"markPrice\":null,\"lastPrice\":\"3\"}", STATUS_OK, "3"},
        {"zero mark", "{\"markPrice\":\"0\",\"lastPrice\":\"3\"}", STATUS_OK, "3"},
        {"odd mark", "{\"markPrice\":[1],\"lastPrice\":\"3\"}", STATUS_OK, "3"},
        {"bad mark alone", "{\"markPrice\":\"1e5\"}", STATUS_BAD_NUMBER, NULL},
        {"blank", "{\"markPrice\":\" 1\"}", STATUS_BAD_NUMBER, NULL},
        {"hidden end", "{\"markPrice\":\"1\\u0000\"}", STATUS_BAD_NUMBER, NULL},
        {"negative", "{\"markPrice\":\"-1\"}", STATUS_NOT_POSITIVE, NULL},
        {"rounds to zero", "{\"markPrice\":\"0.000000001\"}", STATUS_NOT_POSITIVE, NULL},
        {"both bad", "{\"markPrice\":\"x\",\"lastPrice\":\"-1\"}", STATUS_NOT_POSITIVE, NULL},
        {"too large", "{\"markPrice\":\"1000000000000\"}", STATUS_OUT_OF_RANGE, NULL},
        {"whole number that no integer holds", "{\"markPrice\":99999999999999999999999}", STATUS_OUT_OF_RANGE, NULL},
        {"neither", "{}", STATUS_MISSING_FIELD, NULL},
        {"no object", "5", STATUS_MISSING_FIELD, NULL},
        {"a truth", "{\"markPrice\":true}", STATUS_MISSING_FIELD, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[256];
        int len = snprintf(body, sizeof body, "{\"retCode\":0,\"result\":{\"list\":[%s]}}", rows[i].ticker);
        struct decimal price = DECIMAL_NONE;
        enum status status = prices_answer_parse(body, (size_t)len, &price);
        cr_expect_eq(status, rows[i].status, "%s: %s", rows[i].name, status_word(status));
        struct decimal wanted = DECIMAL_NONE;
        if (rows[i].price != NULL)
            cr_assert_eq(decimal_parse(rows[i].price, strlen(rows[i].price), DECIMAL_EXCESS_REFUSE, &wanted),
                         STATUS_OK);
        cr_expect(decimal_is_equal(price, wanted), "%s: price", rows[i].name);
    }
}

Test(prices_answer, what_is_no_such_answer_is_told_by_its_reason)
{
    static const struct {
        const char *name, *body;
        enum status status;
    } rows[] = {
        {"nothing", "", STATUS_NOT_JSON},
        {"half", "{\"result\":", STATUS_NOT_JSON},
        {"page", "<html>busy</html>", STATUS_NOT_JSON},
        {"something behind", "{} {}", STATUS_NOT_JSON},
        {"too deep", "[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", STATUS_NOT_JSON},
        {"list", "[]", STATUS_MISSING_FIELD},
        {"no result", "{\"retCode\":10001}", STATUS_MISSING_FIELD},
        {"result of another kind", "{\"result\":[]}", STATUS_MISSING_FIELD},
        {"no list", "{\"result\":{}}", STATUS_MISSING_FIELD},
        {"list of another kind", "{\"result\":{\"list\":{\"markPrice\":\"1\"}}}", STATUS_MISSING_FIELD},
        {"empty list", "{\"result\":{\"list\":[]}}", STATUS_MISSING_FIELD},
        {"null in the list", "{\"result\":{\"list\":[null]}}", STATUS_MISSING_FIELD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct decimal price = DECIMAL_ZERO;
        enum status status = prices_answer_parse(rows[i].body, strlen(rows[i].body), &price);
        cr_expect_eq(status, rows[i].status, "%s: %s", rows[i].name, status_word(status));
        cr_expect(decimal_is_equal(price, DECIMAL_ZERO), "%s: touched", rows[i].name);
    }
}
