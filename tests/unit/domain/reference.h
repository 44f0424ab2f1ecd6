/*
 * reference: integers as strings of decimal digits, calculated as at school. Slow, and shares nothing with the code
 * under test: no binary words, no two's complement, no division but by counting how often a number can be taken away.
 */
#ifndef PM_TEST_DOMAIN_REFERENCE_H
#define PM_TEST_DOMAIN_REFERENCE_H

#include "support.h"

enum { BIG_DIGITS_MAX = 200 };

struct big {
    bool negative;
    unsigned len;                   /* 0: zero */
    uint8_t digits[BIG_DIGITS_MAX]; /* least significant first */
};

static inline void big_trim(struct big *a)
{
    while (a->len > 0 && a->digits[a->len - 1] == 0)
        a->len--;
    a->negative = a->negative && a->len > 0;
}

static inline struct big big_from(int128 value)
{
    struct big a = {.negative = value < 0};
    for (; value != 0; value /= 10)
        a.digits[a.len++] = (uint8_t)(value < 0 ? -(value % 10) : value % 10);
    return a;
}

static inline int big_compare_size(const struct big *a, const struct big *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    for (unsigned i = a->len; i-- > 0;)
        if (a->digits[i] != b->digits[i])
            return a->digits[i] < b->digits[i] ? -1 : 1;
    return 0;
}

static inline int big_compare(struct big a, struct big b)
{
    if (a.negative != b.negative)
        return a.negative ? -1 : 1;
    int by_size = big_compare_size(&a, &b);
    return a.negative ? -by_size : by_size;
}

/* |larger| - |smaller| */
static inline struct big big_take_away(const struct big *larger, const struct big *smaller)
{
    struct big result = {.len = larger->len};
    int borrow = 0;
    for (unsigned i = 0; i < larger->len; i++) {
        int digit = larger->digits[i] - borrow - (i < smaller->len ? smaller->digits[i] : 0);
        borrow = digit < 0;
        result.digits[i] = (uint8_t)(digit + 10 * borrow);
    }
    big_trim(&result);
    return result;
}

static inline struct big big_negate(struct big a)
{
    a.negative = !a.negative && a.len > 0;
    return a;
}

static inline struct big big_add(struct big a, struct big b)
{
    struct big result = {.len = 0};
    if (a.negative != b.negative) {
        bool a_larger = big_compare_size(&a, &b) >= 0;
        result = a_larger ? big_take_away(&a, &b) : big_take_away(&b, &a);
        result.negative = a_larger ? a.negative : b.negative;
        big_trim(&result);
        return result;
    }
    int carry = 0;
    for (unsigned i = 0; i < a.len || i < b.len || carry > 0; i++) {
        int digit = carry + (i < a.len ? a.digits[i] : 0) + (i < b.len ? b.digits[i] : 0);
        result.digits[i] = (uint8_t)(digit % 10);
        carry = digit / 10;
        result.len = i + 1;
    }
    result.negative = a.negative;
    return result;
}

static inline struct big big_subtract(struct big a, struct big b)
{
    return big_add(a, big_negate(b));
}

static inline struct big big_multiply(struct big a, struct big b)
{
    struct big result = {.negative = a.negative != b.negative};
    cr_assert(a.len + b.len <= BIG_DIGITS_MAX);
    result.len = a.len + b.len;
    for (unsigned i = 0; i < a.len; i++) {
        int carry = 0;
        for (unsigned j = 0; j < b.len || carry > 0; j++) {
            int digit = result.digits[i + j] + carry + (j < b.len ? a.digits[i] * b.digits[j] : 0);
            result.digits[i + j] = (uint8_t)(digit % 10);
            carry = digit / 10;
        }
    }
    big_trim(&result);
    return result;
}

/* a / b (b > 0), half away from zero. */
static inline struct big big_divide_round(struct big a, struct big b)
{
    struct big quotient = {.negative = a.negative, .len = a.len};
    struct big rest = {.len = 0};
    for (unsigned i = a.len; i-- > 0;) {
        memmove(rest.digits + 1, rest.digits, rest.len);
        rest.digits[0] = a.digits[i];
        rest.len++;
        big_trim(&rest);
        while (big_compare_size(&rest, &b) >= 0) {
            rest = big_take_away(&rest, &b);
            quotient.digits[i]++;
        }
    }
    big_trim(&quotient);
    struct big twice = big_add(rest, rest);
    if (big_compare_size(&twice, &b) >= 0) {
        struct big one = big_from(1);
        one.negative = a.negative;
        quotient.negative = a.negative;
        quotient = big_add(quotient, one);
    }
    return quotient;
}

/* The digits, with a point before the last `fraction_digits` of them. */
static inline void big_format(struct big a, unsigned fraction_digits, char out[BIG_DIGITS_MAX + 4])
{
    unsigned count = a.len > fraction_digits ? a.len : fraction_digits + 1;
    if (a.negative)
        *out++ = '-';
    for (unsigned i = count; i-- > 0;) {
        *out++ = (char)('0' + (i < a.len ? a.digits[i] : 0));
        if (i == fraction_digits && i > 0)
            *out++ = '.';
    }
    *out = '\0';
}

/* Whether a count of units is the same number. */
static inline bool big_is_units(struct big a, int128 units)
{
    return big_compare(a, big_from(units)) == 0;
}

#endif
