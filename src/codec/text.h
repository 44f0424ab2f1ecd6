/*
 * text: a small JSON writer into the caller's buffer: no allocation, no printf.
 *
 * Writes never run past the end: a writer that ran out of room keeps `overflowed` and writes nothing more, so a caller
 * checks once at the end. Thread: any, one at a time per writer.
 */
#ifndef PM_TEXT_H
#define PM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decimal.h"
#include "uuid.h"

struct text {
    char *bytes;
    size_t len;
    size_t capacity;
    bool overflowed;
};

void text_init(struct text *text, char *bytes, size_t capacity);
void text_raw(struct text *text, const char *bytes, size_t len);
#define TEXT_LITERAL(text, literal) text_raw((text), (literal), sizeof(literal) - 1)
void text_char(struct text *text, char c);
/* Without quotes. */
void text_int(struct text *text, int64_t value);
/* Quoted and escaped JSON string of len bytes of UTF-8; invalid bytes become U+FFFD. */
void text_string(struct text *text, const char *bytes, size_t len);
/* "1.5" with quotes, at least fraction_digits_min fractional digits; none: null. */
void text_decimal(struct text *text, struct decimal d, unsigned fraction_digits_min);
/* The same of a sum's units. */
void text_units(struct text *text, int128 units, unsigned fraction_digits_min);
/* Quoted RFC 3339, UTC, 'Z', up to microseconds, trailing zeros trimmed; TIME_NONE: null. */
void text_time(struct text *text, int64_t wall_us);
void text_uuid(struct text *text, const struct uuid *uuid);
void text_bool(struct text *text, bool value);

/*
 * RFC 3339 without quotes; returns the length (at most 27), not terminated. Times outside the years 1 to 9999 are shown
 * as the nearest inside.
 */
enum { TIME_TEXT_LEN_MAX = 32 };
size_t time_format(int64_t wall_us, char out[TIME_TEXT_LEN_MAX]);

/*
 * Reads RFC 3339 with any offset or none (then UTC; 'T' or a blank between), or epoch milliseconds as 1 to 15
 * digits. Finer than microseconds is cut; a leap second (:60) is the start of the next minute.
 * Years 1970 to 9999. Fails: STATUS_BAD_TIME.
 */
enum status time_parse(const char *text, size_t len, int64_t *out_us) PM_MUST_USE;
/* The same, RFC 3339 also from the year 1 on: what is asked for may lie before anything there is. Fails:
 * STATUS_BAD_TIME. */
enum status time_parse_early(const char *text, size_t len, int64_t *out_us) PM_MUST_USE;

#endif
