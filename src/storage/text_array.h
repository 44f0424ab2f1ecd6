/*
 * text_array: PostgreSQL array parameters in text form, for statements that are not worth the binary one
 * (binary_array.h). Built in buffers that are reused: no allocation in the steady state.
 *
 * text_array_clear(), then one call for each element, then text_array_finish() for the parameter. Aborts without
 * memory. Thread: one at a time per array.
 */
#ifndef PM_TEXT_ARRAY_H
#define PM_TEXT_ARRAY_H

#include <stddef.h>

#include "uuid.h"

struct text_array {
    char *bytes; /* zero-initialised: empty */
    size_t len;
    size_t capacity;
    size_t count; /* elements */
};

void text_array_clear(struct text_array *array);
/* The terminated parameter; valid until the next clear or free. */
const char *text_array_finish(struct text_array *array);
void text_array_free(struct text_array *array);

void text_array_null(struct text_array *array);
/*
 * Quoted and escaped; NULL and "" are SQL's NULL. Bytes that are no UTF-8 are written as \xHH, so that what a stranger
 * sends cannot make the server refuse the statement; equal texts stay equal.
 */
void text_array_text(struct text_array *array, const char *text);
void text_array_uuid(struct text_array *array, const struct uuid *uuid);

#endif
