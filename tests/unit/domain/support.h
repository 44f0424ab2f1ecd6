/* support: decimals and positions as one writes them down, for the tests of the rules. */
#ifndef PM_TEST_DOMAIN_SUPPORT_H
#define PM_TEST_DOMAIN_SUPPORT_H

/* A table's row leaves out what is not said. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "decimal.h"
#include "position.h"
#include "wide.h"

enum { TEST_SEED_FIRST = 20260115 };

/* The exact text of an integer count of 10^-16; returns its length. */
enum { WIDE_TEXT_LEN_MAX = 84 };
static inline size_t wide_text(struct wide a, char out[WIDE_TEXT_LEN_MAX])
{
    uint16_t groups[WIDE_GROUPS_MAX] = {0};
    unsigned count = wide_groups(a, groups);
    char *at = out;
    if (wide_sign(a) < 0)
        *at++ = '-';
    at += sprintf(at, "%u", count > 4 ? groups[count - 1] : 0U);
    for (unsigned i = count > 4 ? count - 1 : 4; i-- > 0;)
        at += sprintf(at, "%s%04u", i == 3 ? "." : "", groups[i]);
    return (size_t)(at - out);
}

/* NULL is "not said". */
static inline struct decimal dec(const char *text)
{
    struct decimal d = DECIMAL_NONE;
    if (text != NULL)
        cr_assert(decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &d) == STATUS_OK, "no decimal: %s", text);
    return d;
}

static inline const char *dec_text(struct decimal d, char out[DECIMAL_TEXT_LEN_MAX])
{
    if (decimal_is_none(d))
        return "null";
    (void)decimal_format(d, 0, out);
    return out;
}

#define expect_decimal(actual, wanted_text, row, what)                                                                 \
    do {                                                                                                               \
        char got_[DECIMAL_TEXT_LEN_MAX];                                                                               \
        const char *wanted_ = (wanted_text);                                                                           \
        cr_expect(decimal_is_equal((actual), dec(wanted_)), "%s: %s is %s, should be %s", (row), (what),               \
                  dec_text((actual), got_), wanted_ == NULL ? "null" : wanted_);                                       \
    } while (0)

#define expect_status(actual, wanted, row)                                                                             \
    do {                                                                                                               \
        enum status got_ = (actual);                                                                                   \
        cr_expect(got_ == (wanted), "%s: got %s, should be %s", (row), status_word(got_), status_word(wanted));        \
    } while (0)

static inline struct position new_position(enum position_mode mode)
{
    struct position position;
    position_init(&position, "BTCUSDT", mode, (struct uuid){{7}}, 1000);
    return position;
}

/* A small generator (splitmix64), so that a seed means the same everywhere. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
    return random_next(state) % bound;
}

/* 0 to 10^digits - 1. */
static inline int128 random_digits(uint64_t *state, unsigned digits)
{
    int128 value = 0;
    for (unsigned i = 0; i < digits; i++)
        value = value * 10 + (int128)random_below(state, 10);
    return value;
}

#endif
