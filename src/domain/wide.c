#include "wide.h"

#include "check.h"

enum { WORDS = 4, WORD_BITS = 64, FRACTION_DIGITS = 16, INTEGER_DIGITS_MAX = 44, GROUP = 10000 };

/* All work on magnitudes, unsigned; the sign is put on at the end. Rounding half away from zero is then one rule for
 * both signs. */
struct magnitude {
    uint64_t words[WORDS];
};

static uint128 magnitude_of(int128 value)
{
    return value < 0 ? -(uint128)value : (uint128)value;
}

static bool is_negative(struct wide a)
{
    return (a.words[3] >> 63) != 0;
}

/* Two's complement without asking whether it fits: the most negative value stays as it is. */
static struct wide negate_words(struct wide a)
{
    struct wide result;
    uint128 carry = 1;
    for (int i = 0; i < WORDS; i++) {
        carry += (uint64_t)~a.words[i];
        result.words[i] = (uint64_t)carry;
        carry >>= WORD_BITS;
    }
    return result;
}

static struct magnitude wide_magnitude(struct wide a)
{
    struct wide positive = is_negative(a) ? negate_words(a) : a;
    return (struct magnitude){{positive.words[0], positive.words[1], positive.words[2], positive.words[3]}};
}

static struct wide with_sign(struct magnitude m, bool negative)
{
    struct wide a = {{m.words[0], m.words[1], m.words[2], m.words[3]}};
    pm_assert(!is_negative(a));
    return negative ? negate_words(a) : a;
}

/* Schoolbook multiplication, word by word. False where the product does not fit 256 bits. */
static bool multiply_magnitude(struct magnitude a, uint128 factor, struct magnitude *out)
{
    uint64_t product[WORDS + 2] = {0};
    const uint64_t factors[2] = {(uint64_t)factor, (uint64_t)(factor >> WORD_BITS)};
    for (int j = 0; j < 2; j++) {
        uint64_t carry = 0;
        for (int i = 0; i < WORDS; i++) {
            uint128 sum = (uint128)a.words[i] * factors[j] + product[i + j] + carry;
            product[i + j] = (uint64_t)sum;
            carry = (uint64_t)(sum >> WORD_BITS);
        }
        product[WORDS + j] = carry;
    }
    *out = (struct magnitude){{product[0], product[1], product[2], product[3]}};
    return (product[4] | product[5]) == 0;
}

struct wide wide_from(int128 value)
{
    uint64_t extension = value < 0 ? UINT64_MAX : 0;
    return (struct wide){{(uint64_t)value, (uint64_t)((uint128)value >> WORD_BITS), extension, extension}};
}

struct wide wide_multiply(int128 a, int128 b)
{
    /* Nearly all products of a rule: two values of one word each. */
    if (a == (int64_t)a && b == (int64_t)b)
        return wide_from(a * b);
    return wide_scale(wide_from(a), b);
}

struct wide wide_scale(struct wide a, int128 factor)
{
    struct magnitude product;
    bool fits = multiply_magnitude(wide_magnitude(a), magnitude_of(factor), &product);
    pm_assert(fits);
    return with_sign(product, is_negative(a) != (factor < 0));
}

struct wide wide_add(struct wide a, struct wide b)
{
    struct wide sum;
    uint128 carry = 0;
    for (int i = 0; i < WORDS; i++) {
        carry += (uint128)a.words[i] + b.words[i];
        sum.words[i] = (uint64_t)carry;
        carry >>= WORD_BITS;
    }
    /* A sum overflows only where both have one sign and the sum has the other. */
    pm_assert(is_negative(a) != is_negative(b) || is_negative(sum) == is_negative(a));
    return sum;
}

struct wide wide_subtract(struct wide a, struct wide b)
{
    return wide_add(a, wide_negate(b));
}

struct wide wide_negate(struct wide a)
{
    struct wide result = negate_words(a);
    pm_assert(wide_is_zero(a) || is_negative(result) != is_negative(a));
    return result;
}

int wide_sign(struct wide a)
{
    if (is_negative(a))
        return -1;
    return wide_is_zero(a) ? 0 : 1;
}

int wide_compare(struct wide a, struct wide b)
{
    if (is_negative(a) != is_negative(b))
        return is_negative(a) ? -1 : 1;
    for (int i = WORDS - 1; i >= 0; i--)
        if (a.words[i] != b.words[i])
            return a.words[i] < b.words[i] ? -1 : 1;
    return 0;
}

/*
 * dividend / divisor by shift and subtract, for a quotient that fits 128 bits: the upper half of the dividend is below
 * the divisor. The remainder stays below the divisor, which is below 2^127, so shifting it by one bit loses nothing.
 */
static uint128 divide_bit_by_bit(uint128 upper, uint128 lower, uint128 divisor, uint128 *remainder)
{
    uint128 quotient = 0;
    for (int bit = 127; bit >= 0; bit--) {
        upper = (upper << 1) | ((lower >> bit) & 1);
        quotient <<= 1;
        if (upper >= divisor) {
            upper -= divisor;
            quotient |= 1;
        }
    }
    *remainder = upper;
    return quotient;
}

/* The same by a divisor of one word, as on paper: two digits of 64 bits, each by one machine division. */
static uint128 divide_by_word(uint128 upper, uint128 lower, uint64_t divisor, uint128 *remainder)
{
    uint128 high = (upper << WORD_BITS) | (uint64_t)(lower >> WORD_BITS);
    uint128 low = ((high % divisor) << WORD_BITS) | (uint64_t)lower;
    *remainder = low % divisor;
    return ((high / divisor) << WORD_BITS) | (low / divisor);
}

/* The upper half must be below the divisor. The three ways agree; the first two are the common and fast ones. */
static uint128 divide_magnitude(uint128 upper, uint128 lower, uint128 divisor, uint128 *remainder)
{
    if (upper == 0) {
        *remainder = lower % divisor;
        return lower / divisor;
    }
    if (divisor <= UINT64_MAX)
        return divide_by_word(upper, lower, (uint64_t)divisor, remainder);
    return divide_bit_by_bit(upper, lower, divisor, remainder);
}

enum status wide_divide_round(struct wide a, int128 divisor, int128 *out)
{
    pm_assert(divisor > 0);
    const uint128 quotient_max = (((uint128)1 << 127) - 1);
    struct magnitude m = wide_magnitude(a);
    uint128 lower = ((uint128)m.words[1] << WORD_BITS) | m.words[0];
    uint128 upper = ((uint128)m.words[3] << WORD_BITS) | m.words[2];
    if (upper >= (uint128)divisor)
        return STATUS_OUT_OF_RANGE;
    uint128 remainder;
    uint128 quotient = divide_magnitude(upper, lower, (uint128)divisor, &remainder);
    /* Half or more of the divisor is left: away from zero (contract §1). */
    bool up = remainder >= (uint128)divisor - remainder;
    if (quotient > quotient_max - (up ? 1 : 0))
        return STATUS_OUT_OF_RANGE;
    int128 rounded = (int128)(quotient + (up ? 1 : 0));
    *out = is_negative(a) ? -rounded : rounded;
    return STATUS_OK;
}

/* Shifts left by one bit and puts `bit` in at the bottom. */
static void shift_in(struct magnitude *m, uint64_t bit)
{
    for (int i = 0; i < WORDS; i++) {
        uint64_t out = m->words[i] >> 63;
        m->words[i] = m->words[i] << 1 | bit;
        bit = out;
    }
}

/* minuend - subtrahend into *difference; false, and nothing of use there, where it would be below zero. */
static bool subtract_magnitude(const struct magnitude *minuend, const struct wide *subtrahend,
                               struct magnitude *difference)
{
    uint64_t borrow = 0;
    for (int i = 0; i < WORDS; i++) {
        uint128 step = (uint128)minuend->words[i] - subtrahend->words[i] - borrow;
        difference->words[i] = (uint64_t)step;
        borrow = (uint64_t)(step >> WORD_BITS) & 1;
    }
    return borrow == 0;
}

enum status wide_divide_by_wide(struct wide a, struct wide divisor, int128 *out)
{
    pm_assert(wide_sign(divisor) > 0);
    if ((divisor.words[3] | divisor.words[2]) == 0 && divisor.words[1] >> 63 == 0)
        return wide_divide_round(a, (int128)((uint128)divisor.words[1] << WORD_BITS | divisor.words[0]), out);
    /* The divisor is 2^127 or more, so the quotient is at most 2^128; rounding looks one bit further: 2a / divisor. */
    struct magnitude m = wide_magnitude(a);
    struct magnitude remainder = {{0, 0, 0, 0}};
    uint128 quotient = 0;
    bool fits = true;
    for (int bit = WORDS * WORD_BITS - 1; bit >= -1; bit--) {
        shift_in(&remainder, bit < 0 ? 0 : (m.words[bit / WORD_BITS] >> (bit % WORD_BITS)) & 1);
        struct magnitude difference;
        bool subtracted = subtract_magnitude(&remainder, &divisor, &difference);
        if (subtracted)
            remainder = difference;
        fits = fits && quotient >> 127 == 0;
        quotient = quotient << 1 | (subtracted ? 1 : 0);
    }
    /* The last bit of the doubled quotient is the half: away from zero (contract §1). */
    uint128 rounded = (quotient >> 1) + (quotient & 1);
    if (!fits || rounded >> 127 != 0)
        return STATUS_OUT_OF_RANGE;
    *out = is_negative(a) ? -(int128)rounded : (int128)rounded;
    return STATUS_OK;
}

enum status wide_divide_to_decimal(struct wide a, int128 divisor, struct decimal *out)
{
    int128 units;
    if (wide_divide_round(a, divisor, &units) != STATUS_OK || !decimal_is_in_range(units))
        return STATUS_OUT_OF_RANGE;
    *out = decimal_from_units(units);
    return STATUS_OK;
}

/* Divides the first count words in place and returns what is left. In halves: so each division is one of 64 bits. */
static unsigned take_last_group(struct magnitude *m, int count)
{
    uint64_t rest = 0;
    for (int i = count - 1; i >= 0; i--) {
        const uint64_t high = rest << 32 | m->words[i] >> 32;
        const uint64_t low = high % GROUP << 32 | (m->words[i] & UINT32_MAX);
        m->words[i] = high / GROUP << 32 | low / GROUP;
        rest = low % GROUP;
    }
    return (unsigned)rest;
}

unsigned wide_groups(struct wide a, uint16_t groups[WIDE_GROUPS_MAX])
{
    struct magnitude m = wide_magnitude(a);
    unsigned count = 0;
    for (int words = WORDS;;) {
        while (words > 0 && m.words[words - 1] == 0)
            words--;
        if (words == 0)
            return count;
        pm_assert(count < WIDE_GROUPS_MAX);
        groups[count++] = (uint16_t)take_last_group(&m, words);
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct wide append_digit(struct wide a, char digit)
{
    return wide_add(wide_scale(a, 10), wide_from(digit - '0'));
}

enum status wide_parse_16(const char *text, size_t len, struct wide *out)
{
    size_t i = len > 0 && text[0] == '-' ? 1 : 0;
    bool negative = i == 1;
    size_t first = i;
    struct wide value = WIDE_ZERO;
    unsigned significant = 0;
    for (; i < len && is_digit(text[i]); i++) {
        significant += significant > 0 || text[i] != '0';
        if (significant <= INTEGER_DIGITS_MAX)
            value = append_digit(value, text[i]);
    }
    size_t fraction_digits = 0;
    if (i == first)
        return STATUS_BAD_NUMBER;
    if (i < len) {
        fraction_digits = len - i - 1;
        if (text[i] != '.' || fraction_digits == 0 || fraction_digits > FRACTION_DIGITS)
            return STATUS_BAD_NUMBER;
        for (i++; i < len; i++) {
            if (!is_digit(text[i]))
                return STATUS_BAD_NUMBER;
            value = append_digit(value, text[i]);
        }
    }
    if (significant > INTEGER_DIGITS_MAX)
        return STATUS_OUT_OF_RANGE;
    for (; fraction_digits < FRACTION_DIGITS; fraction_digits++)
        value = append_digit(value, '0');
    *out = negative ? wide_negate(value) : value;
    return STATUS_OK;
}
