#include "cli.h"

#include <string.h>

#include "probe.h"
#include "verify.h"

#ifndef PM_VERSION
#error "the build says PM_VERSION and PM_REVISION"
#endif

/* A health check has its own limit above; this one only has to end before it. */
enum { PROBE_TIMEOUT_MS = 2000 };

static const struct option {
    const char *text;
    enum cli_command command;
} options[] = {
    {"--help", CLI_HELP},
    {"-h", CLI_HELP},
    {"--version", CLI_VERSION},
    {"--check-config", CLI_CHECK_CONFIG},
    {"--env-example", CLI_ENV_EXAMPLE},
    {"--verify", CLI_VERIFY},
    {"--check-health", CLI_CHECK_HEALTH},
};

static const char usage[] =
    "usage: position-manager [--help | --version | --check-config | --env-example | --verify | --check-health]\n";

enum cli_command cli_parse(int argc, char *const *argv, const char **offender)
{
    *offender = NULL;
    if (argc <= 1)
        return CLI_SERVE;
    if (argc > 2) {
        *offender = argv[2];
        return CLI_WRONG_USAGE;
    }
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(argv[1], options[i].text) == 0)
            return options[i].command;
    }
    *offender = argv[1];
    return CLI_WRONG_USAGE;
}

void cli_report(void *file, enum settings_severity severity, const char *variable, const char *line)
{
    (void)variable;
    fprintf(file, "%s: %s\n", severity == SETTINGS_WARNING ? "warning" : "error", line);
}

static int check_config(const struct cli_surroundings *surroundings)
{
    struct settings settings;
    const struct settings_source source = {surroundings->get, surroundings->get_context, cli_report, surroundings->err};
    if (surroundings->environment != NULL)
        settings_warn_unknown(surroundings->environment, cli_report, surroundings->err);
    if (settings_load(&settings, &source) != STATUS_OK)
        return 1;
    settings_finish(&settings);
    fputs("configuration is valid\n", surroundings->out);
    return 0;
}

/* Beside a running service, or without one. */
static int verify(const struct cli_surroundings *surroundings)
{
    struct settings settings;
    struct verify_totals totals;
    const struct settings_source source = {surroundings->get, surroundings->get_context, cli_report, surroundings->err};
    if (settings_load(&settings, &source) != STATUS_OK)
        return 1;
    const struct storage_settings storage = {.host = settings.postgres_host,
                                             .port = settings.postgres_port_text,
                                             .database = settings.postgres_database,
                                             .user = settings.postgres_user,
                                             .password = settings.postgres_password,
                                             .migrations = MIGRATIONS_OFF};
    const enum status status = storage_verify(&storage, surroundings->out, surroundings->err, &totals);
    settings_finish(&settings);
    return status == STATUS_OK && totals.discrepancies == 0 ? 0 : 1;
}

static int check_health(const struct cli_surroundings *surroundings)
{
    struct settings settings;
    const struct settings_source source = {surroundings->get, surroundings->get_context, cli_report, surroundings->err};
    if (settings_load(&settings, &source) != STATUS_OK)
        return 1;
    const struct probe_target target = {
        .host = settings.host, .port = settings.port, .is_tls = settings.tls_cert != NULL};
    int code = 0;
    const enum status status = probe_ready(&target, PROBE_TIMEOUT_MS, &code);
    settings_finish(&settings);
    if (status != STATUS_OK)
        fputs("not ready: no answer\n", surroundings->err);
    else if (code != 200)
        fprintf(surroundings->err, "not ready: status %d\n", code);
    else
        fputs("ready\n", surroundings->out);
    return status == STATUS_OK && code == 200 ? 0 : 1;
}

static void print_help(FILE *out)
{
    fputs("position-manager keeps every position of a trading system, exactly once.\n\n", out);
    fputs(usage, out);
    fputs(
        "\n"
        "  without an option   run the service until SIGTERM\n"
        "  --help, -h          show this and end\n"
        "  --version           show name, version and revision and end\n"
        "  --check-config      check the environment, name every problem, end with 0 or 1\n"
        "  --env-example       print every setting with its default as an environment file\n"
        "  --verify            recount every position from the journal, compare, end with 0 if all agree, else 1\n"
        "  --check-health      ask the service that runs here with these settings, end with 0 if it is ready, else 1\n"
        "\nSettings are environment variables:\n\n",
        out);
    settings_print_help(out);
}

int cli_execute(enum cli_command command, const char *offender, const struct cli_surroundings *surroundings)
{
    switch (command) {
    case CLI_HELP:
        print_help(surroundings->out);
        return 0;
    case CLI_VERSION:
        fputs("position-manager " PM_VERSION " (" PM_REVISION ")\n", surroundings->out);
        return 0;
    case CLI_CHECK_CONFIG:
        return check_config(surroundings);
    case CLI_ENV_EXAMPLE:
        settings_print_example(surroundings->out);
        return 0;
    case CLI_VERIFY:
        return verify(surroundings);
    case CLI_CHECK_HEALTH:
        return check_health(surroundings);
    case CLI_SERVE:
    case CLI_WRONG_USAGE:
        break;
    }
    if (offender != NULL)
        fprintf(surroundings->err, "position-manager: wrong argument '%s'\n", offender);
    fputs(usage, surroundings->err);
    return 2;
}
