/*
 * cli: the command line. The service itself takes no arguments; the options tell something, or check, and end.
 */
#ifndef PM_CLI_H
#define PM_CLI_H

#include <stdio.h>

#include "settings.h"

enum cli_command {
    CLI_SERVE,        /* no arguments */
    CLI_HELP,         /* --help, -h */
    CLI_VERSION,      /* --version */
    CLI_CHECK_CONFIG, /* --check-config */
    CLI_ENV_EXAMPLE,  /* --env-example: deploy/env.example, from the table of settings */
    CLI_VERIFY,       /* --verify: every position recounted from the journal (verify.h) */
    CLI_CHECK_HEALTH, /* --check-health: whether the service that runs with these settings is ready (probe.h) */
    CLI_WRONG_USAGE,
};

/* What the commands work with, so that a test needs neither environment nor terminal. */
struct cli_surroundings {
    settings_get_fn *get;
    void *get_context;
    char *const *environment; /* for unknown names; may be NULL */
    FILE *out;
    FILE *err;
};

/* What is asked for. *offender is the argument that is wrong, or NULL. Pure. */
enum cli_command cli_parse(int argc, char *const *argv, const char **offender);

/*
 * Carries out any command but CLI_SERVE. Returns the exit code: 0 done, 1 the configuration is wrong, positions do not
 * agree with the journal (or could not be compared), or the service is not ready, 2 wrong usage.
 */
int cli_execute(enum cli_command command, const char *offender, const struct cli_surroundings *surroundings);

/* A settings_report_fn that writes the line to the FILE * which is its context. */
void cli_report(void *file, enum settings_severity severity, const char *variable, const char *line);

#endif
