/*
 * head: what libh2o does not tell of the head of an HTTP/1 request. Pure. Thread: any.
 */
#ifndef PM_HEAD_H
#define PM_HEAD_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether the head, which begins at bytes, says more than once how long its body is: by several Content-Length or
 * Transfer-Encoding fields, or by both. Somebody in front of us may have believed another of them (RFC 9112 §6.3).
 */
bool head_says_length_twice(const char *bytes, size_t len);

#endif
