/*
 * wide: signed 256-bit integers for what lies between two roundings: products of decimals (10^-16), sums of products,
 * and products of those with a third decimal (10^-24).
 *
 * Two's complement, four 64-bit words. Room: 10^77; the largest figure of a rule is below 10^61, so sums over every
 * position that fits into memory cannot overflow; overflow is asserted. Pure. Thread: any.
 */
#ifndef PM_WIDE_H
#define PM_WIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "decimal.h"
#include "status.h"

struct wide {
    uint64_t words[4]; /* least significant first */
};

#define WIDE_ZERO ((struct wide){{0, 0, 0, 0}})

struct wide wide_from(int128 value);
struct wide wide_multiply(int128 a, int128 b);
/* Asserts that the product fits. */
struct wide wide_scale(struct wide a, int128 factor);
struct wide wide_add(struct wide a, struct wide b);
struct wide wide_subtract(struct wide a, struct wide b);
struct wide wide_negate(struct wide a);
/* -1, 0, 1 */
int wide_sign(struct wide a);
int wide_compare(struct wide a, struct wide b);
static inline bool wide_is_zero(struct wide a)
{
    return (a.words[0] | a.words[1] | a.words[2] | a.words[3]) == 0;
}

/*
 * a / divisor, rounded once, half away from zero. The divisor is above zero.
 * Fails: STATUS_OUT_OF_RANGE where the quotient does not fit 127 bits.
 */
enum status wide_divide_round(struct wide a, int128 divisor, int128 *out) PM_MUST_USE;

/* The same by a divisor of any width, above zero: for shares of portfolio sums. Fails: as above. */
enum status wide_divide_by_wide(struct wide a, struct wide divisor, int128 *out) PM_MUST_USE;

/* wide_divide_round into a decimal. Fails: STATUS_OUT_OF_RANGE outside NUMERIC(20,8). */
enum status wide_divide_to_decimal(struct wide a, int128 divisor, struct decimal *out) PM_MUST_USE;

/*
 * |a| in groups of four decimal digits (0 to 9999), the least significant first. Returns how many there are: none for
 * zero, else the last one is not zero.
 */
enum { WIDE_GROUPS_MAX = 20 }; /* 2^255 has 77 digits */
unsigned wide_groups(struct wide a, uint16_t groups[WIDE_GROUPS_MAX]);

/* Reads an integer count of 10^-16 as SQL writes a NUMERIC(60,16): fixed point, at most 16 fractional digits. Fails:
 * STATUS_BAD_NUMBER, STATUS_OUT_OF_RANGE. */
enum status wide_parse_16(const char *text, size_t len, struct wide *out) PM_MUST_USE;

#endif
