/*
 * decimal: exact decimals, 20 digits in all, 8 of them fractional (contract §1; SQL's NUMERIC(20,8)).
 *
 * A value is an integer count of 10^-8 in 128 bits. DECIMAL_NONE stands for "not said" and SQL's NULL; arithmetic on it
 * is a programmer's mistake. Products and sums of products live in struct wide (wide.h) and are rounded once, half away
 * from zero. Everything here is pure. Thread: any.
 */
#ifndef PM_DECIMAL_H
#define PM_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

struct decimal {
    int128 units; /* 10^-8 each; |units| <= DECIMAL_UNITS_MAX, or DECIMAL_NONE */
};

enum { DECIMAL_ONE = 100000000 };                                               /* units of the number 1 */
#define DECIMAL_UNITS_MAX ((int128)9999999999LL * 10000000000LL + 9999999999LL) /* 10^20 - 1 */
#define DECIMAL_NONE      ((struct decimal){.units = (int128)((uint128)1 << 127)})
#define DECIMAL_ZERO      ((struct decimal){.units = 0})

enum { DECIMAL_TEXT_LEN_MAX = 48 }; /* room for any formatted decimal or rounded sum, with its terminator */

/* What to do with digits beyond the eighth that are not zero: quantities and execution prices refuse, averages and
 * valuations round. */
enum decimal_excess { DECIMAL_EXCESS_REFUSE, DECIMAL_EXCESS_ROUND };

static inline bool decimal_is_none(struct decimal d)
{
    return d.units == DECIMAL_NONE.units;
}
static inline struct decimal decimal_from_units(int128 units)
{
    return (struct decimal){.units = units};
}
static inline bool decimal_is_in_range(int128 units)
{
    return units >= -DECIMAL_UNITS_MAX && units <= DECIMAL_UNITS_MAX;
}
/* Both may be none: none equals none only. */
static inline bool decimal_is_equal(struct decimal a, struct decimal b)
{
    return a.units == b.units;
}
/* -1, 0, 1. The value must not be none. */
static inline int decimal_sign(struct decimal d)
{
    return (d.units > 0) - (d.units < 0);
}
/* The value, or zero where it is none. */
static inline struct decimal decimal_or_zero(struct decimal d)
{
    return decimal_is_none(d) ? DECIMAL_ZERO : d;
}

/*
 * Reads a plain decimal: an optional '-', digits, optionally a point and digits; nothing else (contract §1).
 * Leading zeros are understood; "-0" is zero.
 * Fails: STATUS_BAD_NUMBER (form, or excess digits that are refused), STATUS_OUT_OF_RANGE (does not fit 20 digits, also
 * after rounding).
 */
enum status decimal_parse(const char *text, size_t len, enum decimal_excess excess, struct decimal *out) PM_MUST_USE;

/*
 * Writes the shortest text with at least fraction_digits_min (0 to 8) fractional digits: "1.5", "10.0", "50000.00".
 * Returns the length; out is terminated. The value must not be none.
 */
size_t decimal_format(struct decimal d, unsigned fraction_digits_min, char out[DECIMAL_TEXT_LEN_MAX]);

/* The same for a count of units of any size (portfolio sums are not bounded by the column). */
size_t decimal_format_units(int128 units, unsigned fraction_digits_min, char out[DECIMAL_TEXT_LEN_MAX]);

/* Fails: STATUS_OUT_OF_RANGE; *out is untouched then. */
enum status decimal_add(struct decimal a, struct decimal b, struct decimal *out) PM_MUST_USE;
enum status decimal_subtract(struct decimal a, struct decimal b, struct decimal *out) PM_MUST_USE;

static inline struct decimal decimal_negate(struct decimal d)
{
    return decimal_from_units(-d.units);
}
static inline struct decimal decimal_absolute(struct decimal d)
{
    return d.units < 0 ? decimal_negate(d) : d;
}

#endif
