/*
 * binary_array: PostgreSQL array parameters in the protocol's binary form, built in buffers that are reused: no
 * allocation in the steady state. The server reads this form at half the cost of text, and so do we write it.
 *
 * binary_array_clear(), then one call for each element, then binary_array_param() for the parameter. An array holds
 * elements of the type that it was cleared for; its parameter has to be declared as that type's array. Aborts without
 * memory. Thread: one at a time per array.
 */
#ifndef PM_BINARY_ARRAY_H
#define PM_BINARY_ARRAY_H

#include <stdbool.h>
#include <stddef.h>

#include "decimal.h"
#include "pg.h"
#include "uuid.h"
#include "wide.h"

/* The server's own numbers of these types (its pg_type_d.h); they are the same in every version. */
enum binary_type {
    BINARY_INT8 = 20,
    BINARY_INT4 = 23,
    BINARY_TEXT = 25,
    BINARY_TIMESTAMP = 1114, /* without time zone, UTC */
    BINARY_NUMERIC = 1700,
    BINARY_UUID = 2950,
};

struct binary_array {
    char *bytes; /* zero-initialised: none yet */
    size_t len;
    size_t capacity;
    size_t count; /* elements */
    enum binary_type type;
    bool has_null;
};

void binary_array_clear(struct binary_array *array, enum binary_type type);
/* Owns: the array; valid until the next clear or free. */
struct pg_param binary_array_param(struct binary_array *array);
void binary_array_free(struct binary_array *array);

void binary_array_null(struct binary_array *array);
/*
 * TEXT. NULL and "" are SQL's NULL. Bytes that are no UTF-8 are written as \xHH, so that what a stranger sends cannot
 * make the server refuse the statement; equal texts stay equal.
 */
void binary_array_text(struct binary_array *array, const char *text);
void binary_array_int(struct binary_array *array, int64_t value);            /* INT4 (in its range) or INT8 */
void binary_array_decimal(struct binary_array *array, struct decimal value); /* NUMERIC; none: NULL */
void binary_array_wide(struct binary_array *array, struct wide value);       /* NUMERIC, 10^-16 */
void binary_array_time(struct binary_array *array, int64_t wall_us);         /* TIMESTAMP; TIME_NONE: NULL */
void binary_array_uuid(struct binary_array *array, const struct uuid *uuid); /* UUID */
/* TEXT: 64-bit words, big endian, as hexadecimal digits; none: NULL. */
void binary_array_words(struct binary_array *array, const uint64_t *words, size_t count);

#endif
