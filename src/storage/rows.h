/*
 * rows: PostgreSQL array parameters in text form, built in buffers that are reused: no allocation in the steady state.
 *
 * pg_array_clear(), then one call for each element, then pg_array_finish() for the parameter. Aborts without memory.
 * Thread: one at a time per array.
 */
#ifndef PM_ROWS_H
#define PM_ROWS_H

#include <stddef.h>

#include "decimal.h"
#include "uuid.h"
#include "wide.h"

struct pg_array {
    char *bytes; /* zero-initialised: empty */
    size_t len;
    size_t capacity;
    size_t count; /* elements */
};

void pg_array_clear(struct pg_array *array);
/* The terminated parameter; valid until the next clear or free. */
const char *pg_array_finish(struct pg_array *array);
void pg_array_free(struct pg_array *array);

void pg_array_null(struct pg_array *array);
/*
 * Quoted and escaped; NULL and "" are SQL's NULL. Bytes that are no UTF-8 are written as \xHH, so that what a stranger
 * sends cannot make the server refuse the statement; equal texts stay equal.
 */
void pg_array_text(struct pg_array *array, const char *text);
void pg_array_int(struct pg_array *array, int64_t value);
void pg_array_decimal(struct pg_array *array, struct decimal value); /* none: NULL */
void pg_array_wide(struct pg_array *array, struct wide value);       /* 10^-16 */
void pg_array_time(struct pg_array *array, int64_t wall_us);         /* TIME_NONE: NULL */
void pg_array_uuid(struct pg_array *array, const struct uuid *uuid);
/* 64-bit words, big endian, as hexadecimal digits; none: NULL. */
void pg_array_words(struct pg_array *array, const uint64_t *words, size_t count);

#endif
