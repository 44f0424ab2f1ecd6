/*
 * metrics_process: what the kernel knows about this process, as the process_* metrics that every exporter has.
 */
#ifndef PM_METRICS_PROCESS_H
#define PM_METRICS_PROCESS_H

#include <stdint.h>
#include <stdio.h>

/*
 * Writes the families; one that the kernel does not tell is left out. started_wall_us: when the process started.
 * Thread: any.
 */
void process_metrics_write(FILE *page, int64_t started_wall_us);

#endif
