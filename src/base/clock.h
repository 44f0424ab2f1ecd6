/*
 * clock: the only place that asks for the time (the tidy test forbids it elsewhere).
 *
 * The rules and the actors are told the time; only the loops that drive them look here. Wall time may jump; deadlines
 * are kept on the steady clock.
 */
#ifndef PM_CLOCK_H
#define PM_CLOCK_H

#include <stdint.h>

/* No time: SQL's NULL. */
#define TIME_NONE INT64_MIN

/* Wall time, microseconds since 1970-01-01T00:00:00Z. Thread: any. */
int64_t clock_wall_us(void);

/* Steady time since some start, microseconds, for deadlines and durations. Thread: any. */
int64_t clock_steady_us(void);

/* Processor time that the calling thread has used, microseconds. A system call. */
int64_t clock_thread_us(void);

#endif
