/*
 * backoff: when to try again what failed, and how often to tell of it.
 *
 * A neighbour that is away refuses at once, which costs next to nothing: so the wait grows to a second and no further,
 * and who comes back is found within that. It counts from when the try began: a try that hung until its own time-out
 * has waited enough. Half of each wait is chance, so that several processes do not come all at once. What fails every
 * second for hours is told the first time, when the reason is another, and once a minute. Thread: one, the owner's.
 */
#ifndef PM_BACKOFF_H
#define PM_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BACKOFF_FIRST_MS = 200, /* half of it at least */
    BACKOFF_MAX_MS = 1000,
    BACKOFF_STEADY_MS = 5000,     /* a connection that stood so long starts the back-off anew */
    BACKOFF_REMIND_MS = 60000,    /* between two tellings of the same */
    BACKOFF_TELL_OTHER_MS = 5000, /* and of something else */
};

struct backoff {
    int64_t retry_at_us; /* not before; steady */
    int64_t delay_ms;    /* of the next wait, at most */
    uint64_t random;
};

/* What was told of failures in a row. Zero-initialised: nothing. */
struct reminder {
    int64_t count;           /* failures, told or not */
    int64_t told_at_us;      /* steady */
    uint64_t told_hashes[2]; /* the last two reasons: they may take turns */
};

/* May be tried at once. seed: differs between processes. */
void backoff_init(struct backoff *backoff, uint64_t seed);
/* A try that began then has failed, or a connection was lost then. stood_us: how long it had stood, 0 if it never did.
 */
void backoff_fail(struct backoff *backoff, int64_t stood_us, int64_t since_us);
/* Something worked: the next wait is a short one. */
void backoff_reset(struct backoff *backoff);
/* How long is still to be waited; 0: no longer. */
int64_t backoff_left_us(const struct backoff *backoff, int64_t now_us);

/* Counts a failure. Returns whether to tell of it. */
bool reminder_must_tell(struct reminder *reminder, const char *reason, int64_t now_us);
/* It works again: the next failure is told. */
void reminder_reset(struct reminder *reminder);

#endif
