#include "decimal.h"

#include "check.h"

enum { FRACTION_DIGITS = 8 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The form of a plain decimal (contract §1): -?digits[.digits]. *point is the index of the point, len where there is
 * none. */
static bool scan_form(const char *text, size_t len, size_t *first, size_t *point)
{
    size_t i = len > 0 && text[0] == '-' ? 1 : 0;
    *first = i;
    while (i < len && is_digit(text[i]))
        i++;
    if (i == *first)
        return false;
    *point = i;
    if (i == len)
        return true;
    if (text[i] != '.' || i + 1 == len)
        return false;
    for (i++; i < len; i++)
        if (!is_digit(text[i]))
            return false;
    return true;
}

/* Appends a digit to a magnitude; one that is already beyond the range stays beyond it, so that nothing wraps. */
static int128 append_digit(int128 magnitude, char digit)
{
    return magnitude > DECIMAL_UNITS_MAX ? magnitude : magnitude * 10 + (digit - '0');
}

static bool has_nonzero_digit(const char *text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (text[i] != '0')
            return true;
    return false;
}

enum status decimal_parse(const char *text, size_t len, enum decimal_excess excess, struct decimal *out)
{
    size_t first;
    size_t point;
    if (!scan_form(text, len, &first, &point))
        return STATUS_BAD_NUMBER;
    int128 magnitude = 0;
    for (size_t i = first; i < point; i++)
        magnitude = append_digit(magnitude, text[i]);
    size_t fraction = point < len ? point + 1 : len;
    for (size_t i = 0; i < FRACTION_DIGITS; i++)
        magnitude = append_digit(magnitude, i < len - fraction ? text[fraction + i] : '0');
    if (len - fraction > FRACTION_DIGITS) {
        size_t beyond = fraction + FRACTION_DIGITS;
        if (excess == DECIMAL_EXCESS_REFUSE && has_nonzero_digit(text, beyond, len))
            return STATUS_BAD_NUMBER;
        /* Half away from zero: the first digit beyond decides alone, whatever follows it. */
        if (excess == DECIMAL_EXCESS_ROUND && text[beyond] >= '5')
            magnitude++;
    }
    if (magnitude > DECIMAL_UNITS_MAX)
        return STATUS_OUT_OF_RANGE;
    *out = decimal_from_units(text[0] == '-' ? -magnitude : magnitude);
    return STATUS_OK;
}

/* Writes the digits of a number backwards, ending just before `end`; at least digits_min of them. Returns the first. */
static char *write_digits_before(char *end, uint64_t number, unsigned digits_min)
{
    char *at = end;
    while (number > 0 || end - at < (ptrdiff_t)digits_min) {
        *--at = (char)('0' + number % 10);
        number /= 10;
    }
    return at;
}

/* The same for 128 bits, in chunks of 18 digits: one division of 128 bits a chunk instead of one a digit. */
static char *write_wide_digits_before(char *end, uint128 number)
{
    const uint64_t chunk = 1000000000000000000U;
    char *at = end;
    while (number >= chunk) {
        at = write_digits_before(at, (uint64_t)(number % chunk), 18);
        number /= chunk;
    }
    return write_digits_before(at, (uint64_t)number, at == end ? 1 : 0);
}

size_t decimal_format_units(int128 units, unsigned fraction_digits_min, char out[DECIMAL_TEXT_LEN_MAX])
{
    pm_assert(fraction_digits_min <= FRACTION_DIGITS);
    uint128 magnitude = units < 0 ? -(uint128)units : (uint128)units;
    uint64_t fraction = (uint64_t)(magnitude % DECIMAL_ONE);
    unsigned fraction_digits = FRACTION_DIGITS;
    while (fraction_digits > fraction_digits_min && fraction % 10 == 0) {
        fraction /= 10;
        fraction_digits--;
    }
    char text[DECIMAL_TEXT_LEN_MAX];
    char *end = text + sizeof text;
    char *at = end;
    if (fraction_digits > 0) {
        at = write_digits_before(at, fraction, fraction_digits);
        *--at = '.';
    }
    at = write_wide_digits_before(at, magnitude / DECIMAL_ONE);
    if (units < 0)
        *--at = '-';
    size_t len = (size_t)(end - at);
    pm_assert(len < DECIMAL_TEXT_LEN_MAX);
    for (size_t i = 0; i < len; i++)
        out[i] = at[i];
    out[len] = '\0';
    return len;
}

size_t decimal_format(struct decimal d, unsigned fraction_digits_min, char out[DECIMAL_TEXT_LEN_MAX])
{
    pm_assert(!decimal_is_none(d));
    return decimal_format_units(d.units, fraction_digits_min, out);
}

/* Two values in range cannot overflow 128 bits, so the range is looked at after the operation. */
static enum status store_in_range(int128 units, struct decimal *out)
{
    if (!decimal_is_in_range(units))
        return STATUS_OUT_OF_RANGE;
    *out = decimal_from_units(units);
    return STATUS_OK;
}

enum status decimal_add(struct decimal a, struct decimal b, struct decimal *out)
{
    pm_assert(!decimal_is_none(a) && !decimal_is_none(b));
    return store_in_range(a.units + b.units, out);
}

enum status decimal_subtract(struct decimal a, struct decimal b, struct decimal *out)
{
    pm_assert(!decimal_is_none(a) && !decimal_is_none(b));
    return store_in_range(a.units - b.units, out);
}
