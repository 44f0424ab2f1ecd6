/*
 * visits: how many requests were answered, by route template, method and code.
 *
 * Bounded by construction: the templates of the route table and one for whatever matched none, four methods, the codes
 * that are ever sent and one for the rest. Each loop has a table of its own that only it writes; whoever renders the
 * metrics sums them.
 */
#ifndef PM_VISITS_H
#define PM_VISITS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum http_method { METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_OTHER, METHOD_COUNT };

enum { VISIT_ROUTES_MAX = 24, VISIT_CODES = 12 };

struct visits {
    atomic_uint_fast64_t counts[VISIT_ROUTES_MAX][METHOD_COUNT][VISIT_CODES];
};

/* "GET", "HEAD", "POST", "other". */
const char *http_method_word(enum http_method method);
enum http_method http_method_parse(const char *text, size_t len);

/* The code of a slot; 0 stands for all others. */
int visits_code(size_t slot);

/* Thread: the table's one loop. */
void visits_add(struct visits *visits, size_t route, enum http_method method, int code);
/* Thread: any. */
uint64_t visits_read(const struct visits *visits, size_t route, enum http_method method, size_t slot);

#endif
