/*
 * status: how an expected failure is told, everywhere.
 *
 * One enum across all modules; http maps it to HTTP codes once. The first block are the reasons for which a message is
 * refused (contract §3.4): status_word() gives the word that stands in `x-reason` and in the metric's label.
 * A programmer's mistake is no status: it is a pm_assert (check.h).
 */
#ifndef PM_STATUS_H
#define PM_STATUS_H

#include <stdbool.h>

enum status {
    STATUS_OK = 0,
    /* Reasons of refusal. Keep them together and first: STATUS_REFUSAL_LAST bounds arrays of counters. */
    STATUS_NOT_JSON,
    STATUS_TOO_DEEP,
    STATUS_TOO_LARGE,
    STATUS_WRONG_EVENT_TYPE,
    STATUS_MISSING_FIELD,
    STATUS_BAD_NUMBER,
    STATUS_OUT_OF_RANGE,
    STATUS_NOT_POSITIVE,
    STATUS_BAD_TIME,
    STATUS_BAD_ASSET,
    STATUS_BAD_MODE,
    STATUS_BAD_SIDE,
    STATUS_LEG_BELOW_ZERO,
    STATUS_IDENTITY_CONFLICT,
    STATUS_VERSION_CONFLICT,
    STATUS_REFUSAL_LAST = STATUS_VERSION_CONFLICT,
    /* Outcomes that are no refusal. */
    STATUS_IGNORED,   /* understood, and of no concern: a dry run, an order that was only created */
    STATUS_REPEAT,    /* counted before */
    STATUS_STALE,     /* overtaken by something newer */
    STATUS_UNCHANGED, /* applied, no figure changed */
    /* Failures of surroundings. */
    STATUS_FULL, /* no room now; what was to be given away is still the caller's */
    STATUS_NOT_FOUND,
    STATUS_UNAVAILABLE, /* a neighbour is not there now */
    STATUS_TIMEOUT,
    STATUS_LOST,    /* the connection broke; the outcome may be unknown */
    STATUS_INVALID, /* a caller from outside asked for what cannot be */
    STATUS_STOPPING,
    STATUS_COUNT
};

/* The snake_case word of a status ("not_json"). Thread: any. */
const char *status_word(enum status status);

/* Whether it is one of the reasons for which a message goes to the dead letters. Thread: any. */
static inline bool status_is_refusal(enum status status)
{
    return status >= STATUS_NOT_JSON && status <= STATUS_REFUSAL_LAST;
}

#define PM_MUST_USE __attribute__((warn_unused_result))

#endif
