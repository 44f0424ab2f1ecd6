/*
 * log_writer: the thread that carries log lines from the rings (base/log.h) to standard output.
 *
 * It is the only one that waits for the reader of our output. If that reader is slow or gone, rings fill up, lines are
 * dropped and counted, and nobody else notices. All signals are blocked in it, so a closed pipe is an error and no end.
 */
#ifndef PM_LOG_WRITER_H
#define PM_LOG_WRITER_H

#include "status.h"

struct log_writer;

/*
 * Starts the thread. One at a time in a process. fd and service_name are borrowed until the stop.
 * Owns: the caller; log_writer_stop(). Fails: NULL if no thread can be had.
 */
struct log_writer *log_writer_start(int fd, const char *service_name) PM_MUST_USE;

/*
 * Writes what is still in the rings, ends the thread, frees. NULL is accepted. If the reader of our output takes
 * nothing for deadline_ms, the thread is left behind for the end of the process. Blocks: at most about deadline_ms.
 */
void log_writer_stop(struct log_writer *writer, int deadline_ms);

#endif
