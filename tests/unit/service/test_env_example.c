#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "environment.h"
#include "settings_table.h"

static char *print(void (*printer)(FILE *out))
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    printer(out);
    fclose(out);
    return text;
}

Test(env_example, the_file_is_exactly_what_the_table_says)
{
    char *printed = print(settings_print_example), *file = project_file_read("deploy/env.example");
    cr_expect_str_eq(file, printed, "make it anew: position-manager --env-example > deploy/env.example");
    free(file);
    free(printed);
}

Test(env_example, every_variable_stands_once_below_one_line_of_explanation)
{
    char *file = project_file_read("deploy/env.example");
    for (size_t i = 0; i < setting_row_count; i++) {
        char assignment[256];
        int len = snprintf(assignment, sizeof assignment, "\n%s=", setting_rows[i].name);
        const char *found = strstr(file, assignment);
        cr_assert_not_null(found, "%s", setting_rows[i].name);
        cr_expect_null(strstr(found + 1, assignment), "%s stands twice", setting_rows[i].name);
        const char *value = found + len;
        size_t default_len = strlen(setting_rows[i].default_text);
        cr_expect(strncmp(value, setting_rows[i].default_text, default_len) == 0 && value[default_len] == '\n', "%s",
                  setting_rows[i].name);
        const char *explanation = found;
        while (explanation > file && explanation[-1] != '\n')
            explanation--;
        cr_expect_eq(*explanation, '#', "%s", setting_rows[i].name);
        cr_expect_gt(strlen(setting_rows[i].help), 10u, "%s", setting_rows[i].name);
    }
    free(file);
}

/* The names of contract §7 and METRICS_ASSETS_MAX, so that a row that goes missing is noticed. */
Test(env_example, the_table_has_every_variable_of_the_contract_and_no_other)
{
    static const char names[] =
        "PORT HOST API_KEY LOG_LEVEL SERVICE_NAME SHARDS HTTP_THREADS TLS_CERT TLS_KEY SNAPSHOT_INTERVAL "
        "SNAPSHOT_RETENTION_DAYS VALIDATION_INTERVAL VALIDATION_FIX METRICS_CACHE_TTL USE_WS_AVG_PRICE "
        "AVG_PRICE_DIFF_THRESHOLD SIZE_VALIDATION_THRESHOLD ENABLE_TIMESTAMP_RESOLUTION TIMESTAMP_TOLERANCE_SECONDS "
        "PRICE_STALENESS_THRESHOLD PRICE_API_URL PRICE_API_TIMEOUT PRICE_API_RETRIES OPTIMISTIC_LOCK_RETRIES "
        "OPTIMISTIC_LOCK_BACKOFF_BASE RATE_LIMIT_ENABLED RATE_LIMIT_DEFAULT RATE_LIMIT_OVERRIDES "
        "PORTFOLIO_MAX_EXPOSURE_USDT MARKET_QUEUE ORDER_QUEUES JOURNAL_RETENTION_DAYS QUEUE_TYPE "
        "PORTFOLIO_PUBLISH_INTERVAL_MS MIGRATIONS ASSET_PATTERN PREFETCH METRICS_ASSETS_MAX "
        "POSTGRES_HOST POSTGRES_PORT POSTGRES_DB POSTGRES_USER POSTGRES_PASSWORD "
        "RABBITMQ_HOST RABBITMQ_PORT RABBITMQ_USER RABBITMQ_PASSWORD RABBITMQ_VHOST WS_GATEWAY_URL WS_GATEWAY_API_KEY ";
    size_t count = 0;
    for (const char *name = names, *end; (end = strchr(name, ' ')) != NULL; name = end + 1, count++) {
        char ours[128], others[128];
        snprintf(ours, sizeof ours, "POSITION_MANAGER_%.*s", (int)(end - name), name);
        snprintf(others, sizeof others, "%.*s", (int)(end - name), name);
        bool is_found = false;
        for (size_t i = 0; i < setting_row_count; i++)
            is_found |= strcmp(setting_rows[i].name, ours) == 0 || strcmp(setting_rows[i].name, others) == 0;
        cr_expect(is_found, "%s", others);
    }
    cr_expect_eq(setting_row_count, count);
}

Test(env_example, the_file_with_a_key_is_a_configuration_that_loads)
{
    char *file = project_file_read("deploy/env.example");
    struct variable variables[80] = {{"POSITION_MANAGER_API_KEY", "k"}};
    size_t count = 1;
    for (char *line = file, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        char *equals = strchr(line, '=');
        if (*line == '#' || line == end)
            continue;
        cr_assert_not_null(equals, "%s", line);
        *equals = '\0';
        variables[count++] = (struct variable){line, equals + 1};
    }
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK, "%s", environment.lines[0]);
    cr_expect_eq(environment.warning_count, 0u);
    settings_finish(&s);
    free(file);
}

Test(env_example, help_names_every_variable_and_what_is_allowed)
{
    char *help = print(settings_print_help);
    for (size_t i = 0; i < setting_row_count; i++) {
        char allowed[160];
        setting_format_allowed(&setting_rows[i], allowed, sizeof allowed);
        cr_expect_lt(strlen(allowed), sizeof allowed - 1, "%s: cut", setting_rows[i].name);
        cr_expect_not_null(strstr(help, setting_rows[i].name), "%s", setting_rows[i].name);
        cr_expect_not_null(strstr(help, allowed), "%s", setting_rows[i].name);
    }
    cr_expect_not_null(strstr(help, "POSITION_MANAGER_API_KEY (required)"));
    free(help);
}
