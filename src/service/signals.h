/*
 * signals: SIGTERM and SIGINT ask for a stop; a second one ends the process at once; an alarm bounds the stop.
 *
 * Only the main thread handles them: threads that are started while they are blocked never do. What was not
 * acknowledged comes again, so ending at once loses nothing.
 */
#ifndef PM_SIGNALS_H
#define PM_SIGNALS_H

#include <stdatomic.h>
#include <stdbool.h>

/* From now on a first signal sets *stopping and makes signals_fd() readable. SIGPIPE is ignored. Thread: main, once.
 * Fails: false. */
bool signals_catch(atomic_bool *stopping);

/* Readable once a stop was asked for. Thread: main. */
int signals_fd(void);

/* Thread: main. */
void signals_block(bool blocked);

/* The process ends within so many seconds with exit status 0, whatever it waits for then. Thread: main. */
void signals_bound_stop(unsigned seconds);

#endif
