/*
 * service: has the parts made (wiring.h), starts them in order, waits for the end, and stops them in order.
 *
 * It knows everyone and holds no rule.
 */
#ifndef PM_SERVICE_H
#define PM_SERVICE_H

#include "settings.h"

/*
 * Runs the service until SIGTERM or SIGINT. Returns the process' exit status: 0 after an orderly stop.
 * A second signal ends the process at once; what was not acknowledged comes again.
 * Thread: main, once in a process. Blocks: until the end.
 */
int service_run(const struct settings *settings);

#endif
