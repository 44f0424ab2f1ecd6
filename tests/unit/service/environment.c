#include "environment.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

const char *environment_get(void *environment, const char *name)
{
    const struct environment *self = environment;
    for (const struct variable *variable = self->variables; variable->name != NULL; variable++) {
        if (strcmp(variable->name, name) == 0)
            return variable->value;
    }
    return NULL;
}

void environment_report(void *environment, enum settings_severity severity, const char *variable, const char *line)
{
    struct environment *self = environment;
    size_t at = self->problem_count + self->warning_count;
    cr_assert_lt(at, (size_t)REPORTS_MAX);
    snprintf(self->names[at], sizeof self->names[at], "%s", variable);
    snprintf(self->lines[at], sizeof self->lines[at], "%s", line);
    if (severity == SETTINGS_PROBLEM)
        self->problem_count++;
    else
        self->warning_count++;
}

enum status environment_load(struct environment *environment, struct settings *out)
{
    const struct settings_source source = {environment_get, environment, environment_report, environment};
    return settings_load(out, &source);
}

char *project_file_read(const char *path)
{
    char whole[1024];
    const char *tests = strstr(__FILE__, "tests/unit/service/");
    cr_assert_not_null(tests, "the compiler was given another path than the project's");
    snprintf(whole, sizeof whole, "%.*s%s", (int)(tests - __FILE__), __FILE__, path);
    FILE *file = fopen(whole, "r");
    cr_assert_not_null(file, "%s cannot be read", whole);
    char *text = calloc(1, 1 << 16);
    cr_assert_not_null(text);
    size_t len = fread(text, 1, (1 << 16) - 1, file);
    cr_assert_gt(len, 0u);
    fclose(file);
    return text;
}
