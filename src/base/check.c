#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

void check_failed(const char *file, int line, const char *expression)
{
    char thread[17] = "";
    (void)prctl(PR_GET_NAME, thread);
    (void)fprintf(stderr, "position-manager: assertion failed in thread %s at %s:%d: %s\n", thread, file, line,
                  expression);
    abort();
}
