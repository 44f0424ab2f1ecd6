/*
 * trace: the identifier that a request and everything it causes are logged under (contract §2.1). Pure but for the
 * random source of trace_generate. Thread: any.
 */
#ifndef PM_TRACE_H
#define PM_TRACE_H

#include <stdbool.h>
#include <stddef.h>

#include "message.h"

/* Whether a stranger's X-Trace-Id may be echoed and logged: 1 to 64 printable ASCII characters, no blank, quote or
 * backslash. */
bool trace_id_is_sane(const char *text, size_t len);

/* Copies the trace id out of a W3C traceparent. Returns false, out untouched, where it is none. Writes a terminator. */
bool trace_from_parent(const char *text, size_t len, char out[TRACE_ID_LEN_MAX + 1]);

/* A new one: 32 hexadecimal digits, terminated. The first 16 are the thread's. */
void trace_generate(char out[TRACE_ID_LEN_MAX + 1]);

#endif
