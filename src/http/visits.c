#include "visits.h"

#include <string.h>

#include "check.h"

static const char *const METHOD_WORDS[METHOD_COUNT] = {"GET", "HEAD", "POST", "other"};

/* The last slot counts every other code. */
static const int CODES[VISIT_CODES] = {200, 201, 400, 401, 404, 405, 413, 417, 429, 500, 503, 0};

const char *http_method_word(enum http_method method)
{
    return METHOD_WORDS[method];
}

enum http_method http_method_parse(const char *text, size_t len)
{
    for (int method = METHOD_GET; method < METHOD_OTHER; method++)
        if (strlen(METHOD_WORDS[method]) == len && memcmp(METHOD_WORDS[method], text, len) == 0)
            return (enum http_method)method;
    return METHOD_OTHER;
}

int visits_code(size_t slot)
{
    pm_assert(slot < VISIT_CODES);
    return CODES[slot];
}

void visits_add(struct visits *visits, size_t route, enum http_method method, int code)
{
    size_t slot = 0;
    pm_assert(route < VISIT_ROUTES_MAX && method < METHOD_COUNT);
    while (slot < VISIT_CODES - 1 && CODES[slot] != code)
        slot++;
    /* One writer, so a load and a store do; readers see whole numbers. */
    atomic_uint_fast64_t *count = &visits->counts[route][method][slot];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

uint64_t visits_read(const struct visits *visits, size_t route, enum http_method method, size_t slot)
{
    return atomic_load_explicit(&visits->counts[route][method][slot], memory_order_relaxed);
}
