#include "settings_table.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

struct settings_text {
    struct settings_text *next;
    char bytes[];
};

enum { LINE_LEN_MAX = 512, SHOWN_LEN_MAX = 100 };

const char *settings_get_environment(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

const char *settings_keep(struct settings *settings, const char *text, size_t len)
{
    struct settings_text *kept = malloc(sizeof *kept + len + 1);
    pm_assert(kept != NULL);
    memcpy(kept->bytes, text, len);
    kept->bytes[len] = '\0';
    kept->next = settings->texts;
    settings->texts = kept;
    return kept->bytes;
}

static void report(const struct settings_loading *loading, enum settings_severity severity, const char *name,
                   const char *line)
{
    if (loading->source->report != NULL)
        loading->source->report(loading->source->report_context, severity, name, line);
}

static void report_problem(struct settings_loading *loading, const char *name, const char *line)
{
    loading->problem_count++;
    report(loading, SETTINGS_PROBLEM, name, line);
}

/* A value within one line: cut, and without what would end the line or steer a terminal. */
static void format_shown(const char *text, char out[SHOWN_LEN_MAX + 4])
{
    size_t len = 0;
    for (; text[len] != '\0' && len < SHOWN_LEN_MAX; len++)
        out[len] = text[len] >= ' ' && text[len] <= '~' ? text[len] : '?';
    memcpy(out + len, text[len] == '\0' ? "" : "...", text[len] == '\0' ? 1 : 4);
}

/* A URL with a user in it may hold a password, so it is not shown either. */
static bool is_secret(const struct setting_row *row, const char *text)
{
    return (row->flags & SETTING_SECRET) != 0 || (row->kind == SETTING_URL && strchr(text, '@') != NULL);
}

static void report_wrong_value(struct settings_loading *loading, const struct setting_row *row, const char *text)
{
    char allowed[160], shown[SHOWN_LEN_MAX + 4] = "", line[LINE_LEN_MAX], detail[sizeof loading->detail + 4] = "";
    setting_format_allowed(row, allowed, sizeof allowed);
    if (loading->detail[0] != '\0')
        snprintf(detail, sizeof detail, " (%s)", loading->detail);
    if (is_secret(row, text)) {
        snprintf(line, sizeof line, "%s has a wrong value that is not shown%s; allowed is %s", row->name, detail,
                 allowed);
    } else {
        format_shown(text, shown);
        snprintf(line, sizeof line, "%s is \"%s\"%s; allowed is %s", row->name, shown, detail, allowed);
    }
    report_problem(loading, row->name, line);
}

static void report_missing(struct settings_loading *loading, const struct setting_row *row)
{
    char allowed[160], line[LINE_LEN_MAX];
    setting_format_allowed(row, allowed, sizeof allowed);
    snprintf(line, sizeof line, "%s is required and not set; allowed is %s", row->name, allowed);
    report_problem(loading, row->name, line);
}

static void load_core_count(struct settings_loading *loading, const struct setting_row *row)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t count = cores < row->min ? row->min : cores > row->max ? row->max : cores;
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)count);
    bool is_good = setting_parse(loading, row, text);
    pm_assert(is_good);
}

static void load_row(struct settings_loading *loading, const struct setting_row *row)
{
    const char *text = loading->source->get(loading->source->get_context, row->name);
    bool is_set = text != NULL && text[0] != '\0';
    loading->detail[0] = '\0';
    if (is_set) {
        if (!setting_parse(loading, row, text))
            report_wrong_value(loading, row, text);
    } else if ((row->flags & SETTING_REQUIRED) != 0) {
        report_missing(loading, row);
    } else if ((row->flags & SETTING_CORES) != 0) {
        load_core_count(loading, row);
    } else if (row->default_text[0] != '\0' || (row->kind == SETTING_TEXT && row->min == 0)) {
        bool is_good = setting_parse(loading, row, row->default_text);
        pm_assert(is_good);
    }
}

/* Puts API_KEY first, then the keys that only the overrides name. */
static void join_keys(struct settings_loading *loading)
{
    struct settings *settings = loading->settings;
    if (loading->api_key == NULL)
        return;
    settings->keys = calloc(loading->override_count + 1, sizeof *settings->keys);
    pm_assert(settings->keys != NULL);
    settings->keys[0] = (struct api_key){loading->api_key, settings->rate_limit_default};
    settings->key_count = 1;
    for (size_t i = 0; i < loading->override_count; i++) {
        if (strcmp(loading->overrides[i].text, loading->api_key) == 0)
            settings->keys[0].limit_per_minute = loading->overrides[i].limit_per_minute;
        else
            settings->keys[settings->key_count++] = loading->overrides[i];
    }
}

static void check_queues(struct settings_loading *loading)
{
    const struct settings *settings = loading->settings;
    for (size_t i = 0; i < settings->order_queue_count && settings->market_queue != NULL; i++) {
        if (strcmp(settings->order_queues[i], settings->market_queue) == 0)
            report_problem(loading, "POSITION_MANAGER_ORDER_QUEUES",
                           "POSITION_MANAGER_ORDER_QUEUES names the queue of POSITION_MANAGER_MARKET_QUEUE; "
                           "allowed are other queues only");
    }
}

/* Looks at what was set, not at what was understood: a wrong value has been reported already. */
static bool is_given(const struct settings_loading *loading, const char *name)
{
    const char *text = loading->source->get(loading->source->get_context, name);
    return text != NULL && text[0] != '\0';
}

static void check_pairs(struct settings_loading *loading)
{
    bool has_cert = is_given(loading, "POSITION_MANAGER_TLS_CERT");
    bool has_tls_key = is_given(loading, "POSITION_MANAGER_TLS_KEY");
    bool has_url = is_given(loading, "WS_GATEWAY_URL");
    bool has_gateway_key = is_given(loading, "WS_GATEWAY_API_KEY");
    if (has_cert && !has_tls_key)
        report_problem(
            loading, "POSITION_MANAGER_TLS_KEY",
            "POSITION_MANAGER_TLS_KEY is not set, but POSITION_MANAGER_TLS_CERT is; allowed is both or neither");
    if (has_tls_key && !has_cert)
        report_problem(
            loading, "POSITION_MANAGER_TLS_CERT",
            "POSITION_MANAGER_TLS_CERT is not set, but POSITION_MANAGER_TLS_KEY is; allowed is both or neither");
    if (has_url != has_gateway_key) {
        loading->settings->ws_gateway_url = NULL;
        loading->settings->ws_gateway_api_key = NULL;
        report(loading, SETTINGS_WARNING, has_url ? "WS_GATEWAY_API_KEY" : "WS_GATEWAY_URL",
               "only one of WS_GATEWAY_URL and WS_GATEWAY_API_KEY is set, so nothing is subscribed");
    }
}

/* The path is appended to it, and it begins with a slash. */
static void trim_gateway_url(struct settings *settings)
{
    if (settings->ws_gateway_url == NULL)
        return;
    size_t len = strlen(settings->ws_gateway_url);
    while (len > 0 && settings->ws_gateway_url[len - 1] == '/')
        len--;
    settings->ws_gateway_url = settings_keep(settings, settings->ws_gateway_url, len);
}

enum status settings_load(struct settings *out, const struct settings_source *source)
{
    *out = (struct settings){.portfolio_exposure_limit = DECIMAL_NONE};
    struct settings_loading loading = {.settings = out, .source = source};
    for (size_t i = 0; i < setting_row_count; i++)
        load_row(&loading, &setting_rows[i]);
    join_keys(&loading);
    free(loading.overrides);
    check_queues(&loading);
    check_pairs(&loading);
    trim_gateway_url(out);
    snprintf(out->postgres_port_text, sizeof out->postgres_port_text, "%u", (unsigned)out->postgres_port);
    if (loading.problem_count == 0)
        return STATUS_OK;
    settings_finish(out);
    return STATUS_INVALID;
}

void settings_finish(struct settings *settings)
{
    if (settings->asset_pattern_text != NULL)
        asset_pattern_finish(&settings->asset_pattern);
    while (settings->texts != NULL) {
        struct settings_text *next = settings->texts->next;
        free(settings->texts);
        settings->texts = next;
    }
    free(settings->keys);
    free(settings->order_queues);
    *settings = (struct settings){.portfolio_exposure_limit = DECIMAL_NONE};
}

static bool is_known(const char *name, size_t len)
{
    for (size_t i = 0; i < setting_row_count; i++) {
        if (strlen(setting_rows[i].name) == len && memcmp(setting_rows[i].name, name, len) == 0)
            return true;
    }
    return false;
}

size_t settings_warn_unknown(char *const *environment, settings_report_fn *report_unknown, void *report_context)
{
    static const char prefix[] = "POSITION_MANAGER_";
    size_t count = 0;
    for (; *environment != NULL; environment++) {
        size_t len = strcspn(*environment, "=");
        if (strncmp(*environment, prefix, sizeof prefix - 1) != 0 || is_known(*environment, len))
            continue;
        char name[SHOWN_LEN_MAX + 1], shown[SHOWN_LEN_MAX + 4], line[LINE_LEN_MAX];
        snprintf(name, sizeof name, "%.*s", (int)(len < SHOWN_LEN_MAX ? len : SHOWN_LEN_MAX), *environment);
        format_shown(name, shown);
        snprintf(line, sizeof line, "%s is no setting of this program and has no effect", shown);
        report_unknown(report_context, SETTINGS_WARNING, shown, line);
        count++;
    }
    return count;
}
