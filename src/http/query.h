/*
 * query: the parameters behind the question mark, read strictly (contract §2).
 *
 * A parameter that the route does not know is ignored, whatever its form. One that it knows must decode (percent
 * escapes, '+' is a blank), be UTF-8 without control characters, and stand only once: twice is ambiguous and therefore
 * malformed. Pure. Thread: any.
 */
#ifndef PM_QUERY_H
#define PM_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decimal.h"
#include "position.h"
#include "status.h"

enum { QUERY_VALUE_LEN_MAX = 256 };

struct query_value {
    bool present;
    size_t len;
    char text[QUERY_VALUE_LEN_MAX + 1]; /* decoded, terminated */
};

/*
 * Finds one parameter in the raw query (without '?'; may be NULL where len is 0). Absent is STATUS_OK with present
 * false. Fails: STATUS_INVALID (malformed, longer than QUERY_VALUE_LEN_MAX, or there twice).
 */
enum status query_find(const char *query, size_t len, const char *name, struct query_value *out) PM_MUST_USE;

/* true/false/1/0/yes/no/on/off in any case; absent leaves *out as it is. Fails: STATUS_INVALID. */
enum status query_bool(const struct query_value *value, bool *out) PM_MUST_USE;

/* A plain decimal; absent: DECIMAL_NONE. Fails: STATUS_BAD_NUMBER, STATUS_OUT_OF_RANGE. */
enum status query_decimal(const struct query_value *value, struct decimal *out) PM_MUST_USE;

/* Inclusive. */
struct query_range {
    uint32_t min, max;
};
/* Digits only; absent leaves *out as it is. Fails: STATUS_INVALID (no such number, or out of range). */
enum status query_integer(const struct query_value *value, const struct query_range *range, uint32_t *out) PM_MUST_USE;

/*
 * RFC 3339 or epoch milliseconds; absent: TIME_NONE. An offset's '+' that was not percent-encoded, and so came as a
 * blank, is understood. Fails: STATUS_BAD_TIME.
 */
enum status query_time(const struct query_value *value, int64_t *out_us) PM_MUST_USE;

#endif
