#include "cli.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "environment.h"

struct outcome {
    int exit_code;
    char *out, *err;
    size_t out_len, err_len;
};

static struct outcome execute(enum cli_command command, const char *offender, const struct variable *variables,
                              char *const *names)
{
    struct outcome outcome = {0};
    struct environment environment = {.variables = variables};
    struct cli_surroundings surroundings = {.get = environment_get,
                                            .get_context = &environment,
                                            .environment = names,
                                            .out = open_memstream(&outcome.out, &outcome.out_len),
                                            .err = open_memstream(&outcome.err, &outcome.err_len)};
    outcome.exit_code = cli_execute(command, offender, &surroundings);
    fclose(surroundings.out);
    fclose(surroundings.err);
    return outcome;
}

static void outcome_finish(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
}

static const struct variable nothing_set[] = {{0}};

Test(cli, each_option_is_understood_alone_and_nothing_else_is)
{
    static const struct {
        int argc;
        const char *arguments[3];
        enum cli_command command;
        const char *offender;
    } rows[] = {
        {1, {"position-manager"}, CLI_SERVE, NULL},
        {0, {NULL}, CLI_SERVE, NULL},
        {2, {"position-manager", "--help"}, CLI_HELP, NULL},
        {2, {"position-manager", "-h"}, CLI_HELP, NULL},
        {2, {"position-manager", "--version"}, CLI_VERSION, NULL},
        {2, {"position-manager", "--check-config"}, CLI_CHECK_CONFIG, NULL},
        {2, {"position-manager", "--env-example"}, CLI_ENV_EXAMPLE, NULL},
        {2, {"position-manager", "--verify"}, CLI_VERIFY, NULL},
        {2, {"position-manager", "--check-health"}, CLI_CHECK_HEALTH, NULL},
        {2, {"position-manager", "--Help"}, CLI_WRONG_USAGE, "--Help"},
        {2, {"position-manager", "--versio"}, CLI_WRONG_USAGE, "--versio"},
        {2, {"position-manager", ""}, CLI_WRONG_USAGE, ""},
        {2, {"position-manager", "serve"}, CLI_WRONG_USAGE, "serve"},
        {3, {"position-manager", "--help", "--version"}, CLI_WRONG_USAGE, "--version"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *arguments[4] = {0};
        for (int at = 0; at < rows[i].argc; at++)
            arguments[at] = strdup(rows[i].arguments[at]);
        const char *offender = "unset";
        cr_expect_eq(cli_parse(rows[i].argc, arguments, &offender), rows[i].command, "row %zu", i);
        if (rows[i].offender == NULL)
            cr_expect_null(offender, "row %zu", i);
        else
            cr_expect_str_eq(offender, rows[i].offender, "row %zu", i);
        for (int at = 0; at < rows[i].argc; at++)
            free(arguments[at]);
    }
}

Test(cli, version_is_one_line_of_name_version_and_revision)
{
    struct outcome outcome = execute(CLI_VERSION, NULL, nothing_set, NULL);
    cr_expect_eq(outcome.exit_code, 0);
    cr_expect_str_eq(outcome.out, "position-manager " PM_VERSION " (" PM_REVISION ")\n");
    cr_expect_eq(outcome.err_len, 0u);
    outcome_finish(&outcome);
}

Test(cli, help_tells_options_and_settings_on_standard_output)
{
    struct outcome outcome = execute(CLI_HELP, NULL, nothing_set, NULL);
    cr_expect_eq(outcome.exit_code, 0);
    cr_expect_eq(outcome.err_len, 0u);
    static const char *const wanted[] = {"--help",
                                         "--version",
                                         "--check-config",
                                         "--env-example",
                                         "--verify",
                                         "--check-health",
                                         "POSITION_MANAGER_PORT (default 4800)"};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        cr_expect_not_null(strstr(outcome.out, wanted[i]), "%s", wanted[i]);
    outcome_finish(&outcome);
}

Test(cli, wrong_usage_goes_to_standard_error_with_exit_code_2)
{
    struct outcome outcome = execute(CLI_WRONG_USAGE, "--fast", nothing_set, NULL);
    cr_expect_eq(outcome.exit_code, 2);
    cr_expect_eq(outcome.out_len, 0u);
    cr_expect_not_null(strstr(outcome.err, "'--fast'"));
    cr_expect_not_null(strstr(outcome.err, "usage: position-manager"));
    outcome_finish(&outcome);
}

Test(cli, a_good_configuration_is_called_valid)
{
    static const struct variable variables[] = {{"POSITION_MANAGER_API_KEY", "k"}, {0}};
    struct outcome outcome = execute(CLI_CHECK_CONFIG, NULL, variables, NULL);
    cr_expect_eq(outcome.exit_code, 0);
    cr_expect_str_eq(outcome.out, "configuration is valid\n");
    cr_expect_eq(outcome.err_len, 0u);
    outcome_finish(&outcome);
}

Test(cli, each_problem_of_a_bad_configuration_is_one_line_on_standard_error)
{
    static const struct variable variables[] = {{"POSITION_MANAGER_PORT", "x"}, {0}};
    char *const names[] = {(char[]){"POSITION_MANAGER_PROT=1"}, NULL};
    struct outcome outcome = execute(CLI_CHECK_CONFIG, NULL, variables, names);
    cr_expect_eq(outcome.exit_code, 1);
    cr_expect_eq(outcome.out_len, 0u);
    size_t lines = 0;
    for (const char *at = outcome.err; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    cr_expect_eq(lines, 3u, "%s", outcome.err);
    cr_expect_not_null(strstr(outcome.err, "warning: POSITION_MANAGER_PROT "), "%s", outcome.err);
    cr_expect_not_null(strstr(outcome.err, "error: POSITION_MANAGER_API_KEY is required"), "%s", outcome.err);
    cr_expect_not_null(strstr(outcome.err, "error: POSITION_MANAGER_PORT is \"x\""), "%s", outcome.err);
    outcome_finish(&outcome);
}

Test(cli, the_example_is_printed_as_a_file)
{
    struct outcome outcome = execute(CLI_ENV_EXAMPLE, NULL, nothing_set, NULL);
    cr_expect_eq(outcome.exit_code, 0);
    cr_expect_not_null(strstr(outcome.out, "\nPOSITION_MANAGER_PORT=4800\n"));
    outcome_finish(&outcome);
}

Test(cli, verification_that_cannot_connect_fails_with_a_reason)
{
    static const struct variable variables[] = {
        {"POSITION_MANAGER_API_KEY", "k"}, {"POSTGRES_HOST", "/nonexistent"}, {0}};
    struct outcome outcome = execute(CLI_VERIFY, NULL, variables, NULL);
    cr_expect_eq(outcome.exit_code, 1);
    cr_expect_eq(outcome.out_len, 0u);
    cr_expect_not_null(strstr(outcome.err, "cannot verify: "), "%s", outcome.err);
    outcome_finish(&outcome);
}

Test(cli, verification_with_a_bad_configuration_names_the_problem)
{
    struct outcome outcome = execute(CLI_VERIFY, NULL, nothing_set, NULL);
    cr_expect_eq(outcome.exit_code, 1);
    cr_expect_not_null(strstr(outcome.err, "POSITION_MANAGER_API_KEY is required"), "%s", outcome.err);
    outcome_finish(&outcome);
}

Test(cli, health_of_a_service_that_does_not_run_is_not_ready)
{
    /* Port 1 of the loopback address: nobody listens there. */
    static const struct variable variables[] = {{"POSITION_MANAGER_API_KEY", "k"}, {"POSITION_MANAGER_PORT", "1"}, {0}};
    struct outcome outcome = execute(CLI_CHECK_HEALTH, NULL, variables, NULL);
    cr_expect_eq(outcome.exit_code, 1);
    cr_expect_eq(outcome.out_len, 0u);
    cr_expect_str_eq(outcome.err, "not ready: no answer\n");
    outcome_finish(&outcome);
}

Test(cli, health_with_a_bad_configuration_names_the_problem)
{
    struct outcome outcome = execute(CLI_CHECK_HEALTH, NULL, nothing_set, NULL);
    cr_expect_eq(outcome.exit_code, 1);
    cr_expect_not_null(strstr(outcome.err, "POSITION_MANAGER_API_KEY is required"), "%s", outcome.err);
    outcome_finish(&outcome);
}
