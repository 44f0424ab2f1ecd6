/* An environment for tests of the settings: what is set, and what was reported. */
#ifndef PM_TEST_ENVIRONMENT_H
#define PM_TEST_ENVIRONMENT_H

#include <stddef.h>

#include "settings.h"

struct variable {
    const char *name;
    const char *value;
};

enum { REPORTS_MAX = 64, REPORT_LEN_MAX = 600 };

struct environment {
    const struct variable *variables; /* then one with name NULL */
    size_t problem_count;
    size_t warning_count;
    char names[REPORTS_MAX][128];
    char lines[REPORTS_MAX][REPORT_LEN_MAX];
};

const char *environment_get(void *environment, const char *name);
void environment_report(void *environment, enum settings_severity severity, const char *variable, const char *line);
enum status environment_load(struct environment *environment, struct settings *out);
/* The whole of a file below the project's folder; heap. */
char *project_file_read(const char *path);

#endif
