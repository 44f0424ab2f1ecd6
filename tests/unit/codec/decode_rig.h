/* What the tests of both decoders share. */
#ifndef PM_TEST_DECODE_RIG_H
#define PM_TEST_DECODE_RIG_H

#include <criterion/criterion.h>
#include <string.h>

#include "decode.h"

#define ARRIVAL_US INT64_C(1800000000000000)

static inline struct asset_pattern default_pattern(void)
{
    struct asset_pattern pattern;
    cr_assert_eq(asset_pattern_init(&pattern, ASSET_PATTERN_DEFAULT), STATUS_OK);
    return pattern;
}

static inline struct decimal decimal_of(const char *text)
{
    struct decimal d;
    if (text == NULL)
        return DECIMAL_NONE;
    cr_assert_eq(decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &d), STATUS_OK, "%s", text);
    return d;
}

static inline void expect_decimal(struct decimal d, const char *expected, const char *row)
{
    cr_expect(decimal_is_equal(d, decimal_of(expected)), "%s: not %s", row, expected != NULL ? expected : "none");
}

static inline void expect_refusal(enum status status, const struct decoded *out, enum status expected,
                                  const char *field, const char *row)
{
    cr_expect_eq(status, expected, "%s: %s instead of %s", row, status_word(status), status_word(expected));
    if (field == NULL)
        cr_expect_null(out->field, "%s", row);
    else
        cr_expect(out->field != NULL && strcmp(out->field, field) == 0, "%s: field %s instead of %s", row,
                  out->field != NULL ? out->field : "(none)", field);
}

#endif
