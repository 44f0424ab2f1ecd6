/*
 * fail_point: named places at which a test can make the service die, pause, or lose a connection.
 *
 * One can be armed a process, before its threads start (POSITION_MANAGER_FAIL_POINT=name:action[:count], action
 * `crash`, `stop=<ms>` or `break`); it acts once, the count-th time it is reached (the first, by default), and is
 * disarmed then. They are compiled in only where the build says so (the CMake option PM_FAIL_POINTS, which tests/run.sh
 * turns on): what is shipped has none. Not armed, each costs a relaxed load.
 */
#ifndef PM_FAIL_POINT_H
#define PM_FAIL_POINT_H

#include <stdatomic.h>

#include "status.h"

#define FAIL_POINT_VARIABLE "POSITION_MANAGER_FAIL_POINT"

/* In the order in which an execution passes them. */
enum fail_point {
    FAIL_POINT_NONE,
    FAIL_POINT_DELIVERY_TAKEN,        /* decoded, on its way to its shard */
    FAIL_POINT_STATEMENTS_SENT,       /* BEGIN and the statements; unanswered */
    FAIL_POINT_BEFORE_COMMIT,         /* all statements answered; COMMIT not sent */
    FAIL_POINT_COMMIT_SENT,           /* unanswered */
    FAIL_POINT_AFTER_COMMIT,          /* durable; no shard knows */
    FAIL_POINT_BEFORE_VIEW,           /* the shard knows; no reader does */
    FAIL_POINT_BEFORE_ANNOUNCEMENT,   /* readers see it; the announcement is not written */
    FAIL_POINT_AFTER_ANNOUNCEMENT,    /* sent; unconfirmed */
    FAIL_POINT_AFTER_CONFIRM,         /* the broker has it; the deliveries are not on their way home */
    FAIL_POINT_BEFORE_ACKNOWLEDGE,    /* home; not acknowledged */
    FAIL_POINT_AFTER_ACKNOWLEDGE,     /* sent */
    FAIL_POINT_BEFORE_DEAD_LETTER,    /* refused; its copy is not written */
    FAIL_POINT_DEAD_LETTER_CONFIRMED, /* the broker has the copy; the refused one is not on its way home */
    FAIL_POINT_SNAPSHOT_TAKEN,        /* durable with its row of the outbox; not announced */
    FAIL_POINT_SNAPSHOT_CONFIRMED,    /* announced; its row of the outbox is still there */
    FAIL_POINT_COUNT
};

#ifdef PM_FAIL_POINTS

/* The armed one. Written by fail_point.c only. */
extern atomic_int fail_point_armed;

/*
 * Arms what the text says. NULL or "": nothing. Thread: the only one. Fails: STATUS_INVALID (the text says no such
 * thing).
 */
enum status fail_point_arm(const char *text) PM_MUST_USE;
/* Acts, if its time has come. fd: of the connection to be broken, -1 where there is none. Thread: any. */
void fail_point_reached(int fd);

#define FAIL_POINT(point, fd)                                                                                          \
    do {                                                                                                               \
        if (__builtin_expect(atomic_load_explicit(&fail_point_armed, memory_order_relaxed) == (int)(point), 0))        \
            fail_point_reached(fd);                                                                                    \
    } while (0)

#else

static inline enum status fail_point_arm(const char *text)
{
    (void)text;
    return STATUS_OK;
}

/* Evaluates nothing. */
#define FAIL_POINT(point, fd)                                                                                          \
    do {                                                                                                               \
        (void)sizeof(point);                                                                                           \
        (void)sizeof(fd);                                                                                              \
    } while (0)

#endif
#endif
