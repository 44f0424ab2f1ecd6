#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "environment.h"
#include "settings.h"

#define PM "POSITION_MANAGER_"
#define WITH_KEY                                                                                                       \
    {                                                                                                                  \
        PM "API_KEY", "the-key"                                                                                        \
    }

static int64_t tenthousandths(struct decimal d)
{
    return (int64_t)(d.units / 10000);
}

Test(settings, with_only_the_key_everything_has_its_default)
{
    struct environment environment = {.variables = (struct variable[]){WITH_KEY, {0}}};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK);
    cr_expect_eq(environment.problem_count + environment.warning_count, 0u);
    cr_expect_str_eq(s.host, "0.0.0.0");
    cr_expect_eq(s.port, 4800);
    cr_expect_eq(s.key_count, 1u);
    cr_expect_str_eq(s.keys[0].text, "the-key");
    cr_expect_eq(s.keys[0].limit_per_minute, 100u);
    cr_expect(s.rate_limit_enabled);
    cr_expect_eq(s.rate_limit_default, 100u);
    cr_expect_eq(s.log_level, LOG_LEVEL_INFO);
    cr_expect_str_eq(s.service_name, "position-manager");
    cr_expect_null(s.tls_cert);
    cr_expect_null(s.tls_key);
    cr_expect_eq(s.snapshot_interval_us, 3600LL * 1000000);
    cr_expect_eq(s.snapshot_retention_days, 365u);
    cr_expect_eq(s.validation_interval_us, 1800LL * 1000000);
    cr_expect_not(s.validation_fix);
    cr_expect_eq(s.metrics_cache_ttl_us, 10LL * 1000000);
    cr_expect(s.use_ws_avg_price);
    cr_expect_eq(tenthousandths(s.avg_price_diff_threshold), 10);
    cr_expect_eq(tenthousandths(s.size_validation_threshold), 1);
    cr_expect(s.enable_timestamp_resolution);
    cr_expect_eq(s.timestamp_tolerance_us, 0);
    cr_expect_eq(s.price_staleness_us, 300LL * 1000000);
    cr_expect_str_eq(s.price_api_url, "https://api.bybit.com/v5/market/tickers");
    cr_expect_eq(s.price_api_timeout_ms, 5000u);
    cr_expect_eq(s.price_api_tries, 3u);
    cr_expect_eq(s.optimistic_lock_tries, 3u);
    cr_expect_eq(s.optimistic_lock_backoff_ms, 100u);
    cr_expect(decimal_is_none(s.portfolio_exposure_limit));
    cr_expect_str_eq(s.market_queue, "ws-gateway.position");
    cr_expect_eq(s.order_queue_count, 1u);
    cr_expect_str_eq(s.order_queues[0], "order-manager.order_executed");
    cr_expect_eq(s.journal_retention_days, 365u);
    cr_expect_eq(s.queue_type, QUEUE_CLASSIC);
    cr_expect_eq(s.portfolio_publish_interval_us, 250000);
    cr_expect_eq(s.migrations, MIGRATIONS_APPLY);
    cr_expect(s.asset_pattern.is_default);
    cr_expect_str_eq(s.asset_pattern_text, ASSET_PATTERN_DEFAULT);
    cr_expect_eq(s.prefetch, 30000);
    settings_finish(&s);
}

Test(settings, neighbours_are_on_this_machine_by_default)
{
    struct environment environment = {.variables = (struct variable[]){WITH_KEY, {0}}};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK);
    cr_expect_str_eq(s.postgres_host, "localhost");
    cr_expect_eq(s.postgres_port, 5432);
    cr_expect_str_eq(s.postgres_port_text, "5432");
    cr_expect_str_eq(s.postgres_database, "position_manager");
    cr_expect_str_eq(s.postgres_user, "postgres");
    cr_expect_str_eq(s.postgres_password, "");
    cr_expect_str_eq(s.rabbitmq_host, "localhost");
    cr_expect_eq(s.rabbitmq_port, 5672);
    cr_expect_str_eq(s.rabbitmq_user, "guest");
    cr_expect_str_eq(s.rabbitmq_password, "guest");
    cr_expect_str_eq(s.rabbitmq_vhost, "/");
    cr_expect_null(s.ws_gateway_url);
    cr_expect_null(s.ws_gateway_api_key);
    settings_finish(&s);
}

Test(settings, threads_follow_the_cores_within_their_bounds)
{
    struct environment environment = {.variables = (struct variable[]){WITH_KEY, {0}}};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK);
    size_t cores = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    cr_expect_eq(s.shard_count, cores < SETTINGS_SHARDS_MAX ? cores : (size_t)SETTINGS_SHARDS_MAX);
    cr_expect_eq(s.http_thread_count, cores < SETTINGS_HTTP_THREADS_MAX ? cores : (size_t)SETTINGS_HTTP_THREADS_MAX);
    settings_finish(&s);
}

Test(settings, what_is_set_is_taken_over)
{
    char path[] = "/tmp/pm-service-settings-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    struct variable variables[] = {
        WITH_KEY,
        {PM "HOST", "::1"},
        {PM "PORT", "65535"},
        {PM "TLS_CERT", path},
        {PM "TLS_KEY", path},
        {PM "LOG_LEVEL", "warning"},
        {PM "SHARDS", "3"},
        {PM "HTTP_THREADS", "32"},
        {PM "SNAPSHOT_INTERVAL", "0"},
        {PM "VALIDATION_INTERVAL", "0"},
        {PM "METRICS_CACHE_TTL", "0"},
        {PM "METRICS_ASSETS_MAX", "0"},
        {PM "TIMESTAMP_TOLERANCE_SECONDS", "2"},
        {PM "PRICE_API_TIMEOUT", "7"},
        {PM "PORTFOLIO_MAX_EXPOSURE_USDT", "1000000.5"},
        {PM "QUEUE_TYPE", "Quorum"},
        {PM "MIGRATIONS", "off"},
        {PM "ASSET_PATTERN", "^[A-Z]+USD[CT]$"},
        {PM "PREFETCH", "1"},
        {"POSTGRES_HOST", "/var/run/postgresql"},
        {"POSTGRES_PASSWORD", " with blanks "},
        {"WS_GATEWAY_URL", "HTTP://gateway:4400/base//"},
        {"WS_GATEWAY_API_KEY", "k"},
        {0},
    };
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK, "%s", environment.lines[0]);
    cr_expect_str_eq(s.host, "::1");
    cr_expect_eq(s.port, 65535);
    cr_expect_str_eq(s.tls_cert, path);
    cr_expect_str_eq(s.tls_key, path);
    cr_expect_eq(s.log_level, LOG_LEVEL_WARNING);
    cr_expect_eq(s.shard_count, 3u);
    cr_expect_eq(s.http_thread_count, 32u);
    cr_expect_eq(s.snapshot_interval_us, 0);
    cr_expect_eq(s.validation_interval_us, 0);
    cr_expect_eq(s.metrics_cache_ttl_us, 0);
    cr_expect_eq(s.metrics_assets_max, 0u);
    cr_expect_eq(s.timestamp_tolerance_us, 2000000);
    cr_expect_eq(s.price_api_timeout_ms, 7000u);
    cr_expect_eq(tenthousandths(s.portfolio_exposure_limit), 10000005000);
    cr_expect_eq(s.queue_type, QUEUE_QUORUM);
    cr_expect_eq(s.migrations, MIGRATIONS_OFF);
    cr_expect(s.asset_pattern.is_compiled);
    cr_expect_eq(s.prefetch, 1);
    cr_expect_str_eq(s.postgres_host, "/var/run/postgresql");
    cr_expect_str_eq(s.postgres_password, " with blanks ");
    cr_expect_str_eq(s.ws_gateway_url, "HTTP://gateway:4400/base");
    cr_expect_str_eq(s.ws_gateway_api_key, "k");
    settings_finish(&s);
    close(fd);
    unlink(path);
}

Test(settings, localhost_is_an_address_to_listen_on)
{
    struct variable variables[] = {WITH_KEY, {PM "HOST", "LocalHost"}, {0}};
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK, "%s", environment.lines[0]);
    cr_expect_str_eq(s.host, "127.0.0.1");
    settings_finish(&s);
}

Test(settings, booleans_have_four_words_each_in_any_case)
{
    static const struct {
        const char *text;
        bool value;
    } rows[] = {{"true", true},   {"TRUE", true},   {"1", true},  {"yes", true}, {"On", true},
                {"false", false}, {"False", false}, {"0", false}, {"NO", false}, {"off", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct variable variables[] = {
            WITH_KEY, {PM "USE_WS_AVG_PRICE", rows[i].text}, {PM "VALIDATION_FIX", rows[i].text}, {0}};
        struct environment environment = {.variables = variables};
        struct settings s;
        cr_assert_eq(environment_load(&environment, &s), STATUS_OK, "%s", rows[i].text);
        cr_expect_eq(s.use_ws_avg_price, rows[i].value, "%s", rows[i].text);
        cr_expect_eq(s.validation_fix, rows[i].value, "%s", rows[i].text);
        settings_finish(&s);
    }
}

Test(settings, what_is_set_to_nothing_counts_as_not_set)
{
    struct variable variables[] = {WITH_KEY,
                                   {PM "PORT", ""},
                                   {PM "TLS_CERT", ""},
                                   {PM "RATE_LIMIT_OVERRIDES", ""},
                                   {PM "SHARDS", ""},
                                   {"WS_GATEWAY_URL", ""},
                                   {0}};
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK);
    cr_expect_eq(environment.warning_count, 0u);
    cr_expect_eq(s.port, 4800);
    cr_expect_null(s.tls_cert);
    cr_expect_geq(s.shard_count, 1u);
    settings_finish(&s);
}

Test(settings, each_wrong_value_is_refused_by_a_line_that_names_variable_value_and_what_is_allowed)
{
    static const struct {
        const char *name, *value, *allowed;
    } rows[] = {
        {PM "PORT", "0", "a whole number from 1 to 65535"},
        {PM "PORT", "65536", "a whole number from 1 to 65535"},
        {PM "PORT", "-1", "a whole number"},
        {PM "PORT", "+1", "a whole number"},
        {PM "PORT", " 4800", "a whole number"},
        {PM "PORT", "4800.0", "a whole number"},
        {PM "PORT", "99999999999999999999999", "a whole number"},
        {PM "PORT", "tcp://10.0.0.1:4800", "a whole number"},
        {PM "HOST", "local.host", "an IPv4 or IPv6 address, or localhost"},
        {PM "HOST", "1.2.3", "an IPv4 or IPv6 address"},
        {PM "HOST", "[::1]", "an IPv4 or IPv6 address"},
        {PM "SHARDS", "0", "a whole number from 1 to "},
        {PM "SHARDS", "65", "a whole number from 1 to "},
        {PM "HTTP_THREADS", "33", "from 1 to 32"},
        {PM "PREFETCH", "65536", "from 1 to 65535"},
        {PM "SNAPSHOT_INTERVAL", "2592001", "from 0 to 2592000"},
        {PM "SNAPSHOT_RETENTION_DAYS", "0", "from 1 to 36500"},
        {PM "PRICE_API_RETRIES", "11", "from 1 to 10"},
        {PM "PRICE_API_TIMEOUT", "0", "from 1 to 300"},
        {PM "VALIDATION_FIX", "maybe", "true, false, 1, 0, yes, no, on or off"},
        {PM "VALIDATION_FIX", "2", "true, false"},
        {PM "LOG_LEVEL", "chatty", "DEBUG, INFO, WARNING or ERROR"},
        {PM "QUEUE_TYPE", "stream", "classic or quorum"},
        {PM "MIGRATIONS", "yes", "apply, check or off"},
        {PM "AVG_PRICE_DIFF_THRESHOLD", "1e-3", "a plain decimal from 0 to 1000000"},
        {PM "AVG_PRICE_DIFF_THRESHOLD", "-0.1", "a plain decimal from 0"},
        {PM "AVG_PRICE_DIFF_THRESHOLD", "0.000000001", "a plain decimal"},
        {PM "SIZE_VALIDATION_THRESHOLD", "1000000.00000001", "to 1000000"},
        {PM "PORTFOLIO_MAX_EXPOSURE_USDT", "0", "a plain decimal above 0"},
        {PM "PORTFOLIO_MAX_EXPOSURE_USDT", "99999999999999", "a plain decimal above 0"},
        {PM "SERVICE_NAME", "two words", "visible ASCII"},
        {PM "MARKET_QUEUE", "caf\xc3\xa9", "visible ASCII"},
        {PM "ASSET_PATTERN", "^[A-Z", "a POSIX extended regular expression"},
        {PM "PRICE_API_URL", "ftp://host/x", "an http:// or https:// URL"},
        {PM "PRICE_API_URL", "https://", "an http:// or https:// URL"},
        {PM "PRICE_API_URL", "https:///path", "an http:// or https:// URL"},
        {PM "PRICE_API_URL", "https://:80/", "an http:// or https:// URL"},
        {PM "PRICE_API_URL", "https://host/x?category=linear", "without user, query and fragment"},
        {PM "PRICE_API_URL", "https://host/a b", "an http:// or https:// URL"},
        {PM "ORDER_QUEUES", "a,,b", "names, comma-separated"},
        {PM "ORDER_QUEUES", "a,b,a", "none twice"},
        {PM "ORDER_QUEUES", "a,", "names, comma-separated"},
        {PM "ORDER_QUEUES", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "1 to 16 names"},
        {"POSTGRES_PORT", "port", "from 1 to 65535"},
        {"POSTGRES_HOST", "two hosts", "visible ASCII"},
        {"POSTGRES_DB", "0123456789012345678901234567890123456789012345678901234567890123", "1 to 63 bytes"},
        {"RABBITMQ_VHOST", "a\tb", "without control characters"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct variable variables[] = {WITH_KEY, {rows[i].name, rows[i].value}, {0}};
        struct environment environment = {.variables = variables};
        struct settings s;
        cr_expect_eq(environment_load(&environment, &s), STATUS_INVALID, "%s=%s", rows[i].name, rows[i].value);
        cr_expect_eq(environment.problem_count, 1u, "%s=%s", rows[i].name, rows[i].value);
        const char *line = environment.lines[0];
        cr_expect_str_eq(environment.names[0], rows[i].name);
        cr_expect_eq(strncmp(line, rows[i].name, strlen(rows[i].name)), 0, "%s", line);
        cr_expect_not_null(strstr(line, rows[i].allowed), "%s", line);
        bool is_plain = strpbrk(rows[i].value, "\t\xc3") == NULL;
        cr_expect(!is_plain || strstr(line, rows[i].value) != NULL, "%s", line);
        cr_expect_null(s.texts, "nothing is left to finish");
    }
}

Test(settings, all_problems_are_reported_at_once)
{
    struct variable variables[] = {{PM "PORT", "x"},
                                   {PM "HOST", "x"},
                                   {PM "LOG_LEVEL", "x"},
                                   {"RABBITMQ_PORT", "x"},
                                   {PM "TLS_CERT", "/nowhere/cert"},
                                   {0}};
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_INVALID);
    cr_expect_eq(environment.problem_count, 7u, "key, host, port, certificate, its missing key, level, broker's port");
}

Test(settings, without_a_report_function_the_status_tells)
{
    struct environment environment = {.variables = (struct variable[]){{PM "PORT", "x"}, {0}}};
    const struct settings_source source = {.get = environment_get, .get_context = &environment};
    struct settings s;
    cr_expect_eq(settings_load(&s, &source), STATUS_INVALID);
}

Test(settings, a_missing_key_is_said_to_be_required)
{
    static const struct variable sets[][2] = {{{0}}, {{PM "API_KEY", ""}, {0}}};
    for (size_t i = 0; i < 2; i++) {
        struct environment environment = {.variables = sets[i]};
        struct settings s;
        cr_assert_eq(environment_load(&environment, &s), STATUS_INVALID);
        cr_expect_eq(environment.problem_count, 1u);
        cr_expect_not_null(strstr(environment.lines[0], PM "API_KEY is required"), "%s", environment.lines[0]);
    }
}

Test(settings, no_line_ever_holds_a_secret)
{
    static const struct variable rows[] = {
        {PM "API_KEY", "hunter2 hunter2"},
        {PM "RATE_LIMIT_OVERRIDES", "good:10,hunter2"},
        {PM "RATE_LIMIT_OVERRIDES", "hunter2:0"},
        {PM "RATE_LIMIT_OVERRIDES", "hunter2:1,hunter2:2"},
        {"POSTGRES_PASSWORD", "hunter2\n"},
        {"RABBITMQ_PASSWORD", "hunter2\x7f"},
        {"WS_GATEWAY_API_KEY", "hunter2 hunter2"},
        {"WS_GATEWAY_URL", "http://user:hunter2@host/"},
        {PM "PRICE_API_URL", "htp://user:hunter2@host/"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct variable variables[] = {rows[i], WITH_KEY, {0}};
        struct environment environment = {.variables = variables};
        struct settings s;
        cr_expect_eq(environment_load(&environment, &s), STATUS_INVALID, "%s", rows[i].name);
        cr_expect_eq(environment.problem_count, 1u, "%s", rows[i].name);
        for (size_t line = 0; line < environment.problem_count + environment.warning_count; line++)
            cr_expect_null(strstr(environment.lines[line], "hunter2"), "%s", environment.lines[line]);
        cr_expect_not_null(strstr(environment.lines[0], rows[i].name), "%s", environment.lines[0]);
        cr_expect_not_null(strstr(environment.lines[0], "; allowed is "), "%s", environment.lines[0]);
    }
}

Test(settings, a_line_stays_one_line_whatever_the_value_holds)
{
    char value[500];
    memset(value, '\n', sizeof value);
    memcpy(value, "\x1b[2J", 4);
    value[sizeof value - 1] = '\0';
    struct variable variables[] = {WITH_KEY, {PM "PORT", value}, {0}};
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_INVALID);
    cr_expect_null(strpbrk(environment.lines[0], "\n\x1b"));
    cr_expect_not_null(strstr(environment.lines[0], "?...\"; allowed is a whole number from 1 to 65535"), "%s",
                       environment.lines[0]);
}

Test(settings, overrides_add_keys_and_limit_the_first)
{
    struct variable variables[] = {WITH_KEY,
                                   {PM "RATE_LIMIT_DEFAULT", "7"},
                                   {PM "RATE_LIMIT_OVERRIDES", "one:10 , the-key:20,with:colon:30"},
                                   {0}};
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK, "%s", environment.lines[0]);
    static const struct api_key wanted[] = {{"the-key", 20}, {"one", 10}, {"with:colon", 30}};
    cr_assert_eq(s.key_count, 3u);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(s.keys[i].text, wanted[i].text);
        cr_expect_eq(s.keys[i].limit_per_minute, wanted[i].limit_per_minute, "%s", wanted[i].text);
    }
    cr_expect_eq(s.rate_limit_default, 7u);
    settings_finish(&s);
}

Test(settings, a_wrong_override_is_named_by_its_place)
{
    static const struct {
        const char *value, *detail;
    } rows[] = {
        {"a:1,b", "entry 2 has no colon"},
        {"a:1,:5", "entry 2 has no key"},
        {"a:0", "entry 1 has no limit"},
        {"a:1000001", "entry 1 has no limit"},
        {"a:", "entry 1 has no limit"},
        {"a:1,,b:1", "entry 2 has no colon"},
        {"a:1,b:2,a:3", "entry 3 has the key of an"},
        {"a b:1", "entry 1 has no key"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct variable variables[] = {WITH_KEY, {PM "RATE_LIMIT_OVERRIDES", rows[i].value}, {0}};
        struct environment environment = {.variables = variables};
        struct settings s;
        cr_expect_eq(environment_load(&environment, &s), STATUS_INVALID, "%s", rows[i].value);
        cr_expect_not_null(strstr(environment.lines[0], rows[i].detail), "%s: %s", rows[i].value, environment.lines[0]);
    }
}

Test(settings, more_keys_than_the_table_holds_are_refused)
{
    char value[8 * SETTINGS_KEYS_MAX + 8];
    size_t len = 0;
    for (int i = 0; i < SETTINGS_KEYS_MAX; i++)
        len += (size_t)snprintf(value + len, sizeof value - len, "%sk%d:1", i == 0 ? "" : ",", i);
    struct variable variables[] = {WITH_KEY, {PM "RATE_LIMIT_OVERRIDES", value}, {0}};
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_expect_eq(environment_load(&environment, &s), STATUS_INVALID);
    cr_expect_not_null(strstr(environment.lines[0], "entry 1000 is one too many"), "%s", environment.lines[0]);
    *strrchr(value, ',') = '\0';
    struct environment fits = {.variables = variables};
    cr_assert_eq(environment_load(&fits, &s), STATUS_OK, "%s", fits.lines[0]);
    cr_expect_eq(s.key_count, (size_t)SETTINGS_KEYS_MAX);
    settings_finish(&s);
}

Test(settings, order_queues_are_a_list_in_order)
{
    struct variable variables[] = {WITH_KEY, {PM "ORDER_QUEUES", "b.x, a.y\t,c"}, {0}};
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK, "%s", environment.lines[0]);
    cr_assert_eq(s.order_queue_count, 3u);
    cr_expect_str_eq(s.order_queues[0], "b.x");
    cr_expect_str_eq(s.order_queues[1], "a.y");
    cr_expect_str_eq(s.order_queues[2], "c");
    settings_finish(&s);
}

Test(settings, the_market_queue_is_no_order_queue)
{
    struct variable variables[] = {WITH_KEY, {PM "ORDER_QUEUES", "a,ws-gateway.position"}, {0}};
    struct environment environment = {.variables = variables};
    struct settings s;
    cr_expect_eq(environment_load(&environment, &s), STATUS_INVALID);
    cr_expect_str_eq(environment.names[0], PM "ORDER_QUEUES");
}

Test(settings, certificate_and_key_come_together_and_can_be_read)
{
    char path[] = "/tmp/pm-service-tls-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    const struct {
        const char *cert, *key;
        size_t problems;
        const char *names;
    } rows[] = {
        {path, NULL, 1, PM "TLS_KEY"},    {NULL, path, 1, PM "TLS_CERT"},       {path, "/nowhere", 1, PM "TLS_KEY"},
        {"/tmp", path, 1, PM "TLS_CERT"}, {"/nowhere", NULL, 2, PM "TLS_CERT"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct variable variables[] = {WITH_KEY, {PM "TLS_CERT", rows[i].cert}, {PM "TLS_KEY", rows[i].key}, {0}};
        struct environment environment = {.variables = variables};
        struct settings s;
        cr_expect_eq(environment_load(&environment, &s), STATUS_INVALID, "row %zu", i);
        cr_expect_eq(environment.problem_count, rows[i].problems, "row %zu", i);
        cr_expect_str_eq(environment.names[0], rows[i].names, "row %zu", i);
    }
    close(fd);
    unlink(path);
}

Test(settings, half_a_gateway_is_a_warning_and_no_subscription)
{
    static const struct variable rows[] = {{"WS_GATEWAY_URL", "http://gateway"}, {"WS_GATEWAY_API_KEY", "k"}};
    for (size_t i = 0; i < 2; i++) {
        struct variable variables[] = {WITH_KEY, rows[i], {0}};
        struct environment environment = {.variables = variables};
        struct settings s;
        cr_assert_eq(environment_load(&environment, &s), STATUS_OK);
        cr_expect_eq(environment.warning_count, 1u, "%s", rows[i].name);
        cr_expect_null(s.ws_gateway_url);
        cr_expect_null(s.ws_gateway_api_key);
        settings_finish(&s);
    }
}

Test(settings, an_unknown_variable_of_ours_is_warned_about_by_name_only)
{
    char *const variables[] = {(char[]){PM "PROT=hunter2"}, (char[]){PM "PORT=1"},   (char[]){PM "PORT_=hunter2"},
                               (char[]){"PATH=/bin"},       (char[]){PM "=hunter2"}, NULL};
    struct environment environment = {0};
    cr_expect_eq(settings_warn_unknown(variables, environment_report, &environment), 3u);
    cr_expect_eq(environment.warning_count, 3u);
    cr_expect_str_eq(environment.names[0], PM "PROT");
    cr_expect_str_eq(environment.names[1], PM "PORT_");
    cr_expect_str_eq(environment.names[2], PM);
    for (size_t i = 0; i < 3; i++)
        cr_expect_null(strstr(environment.lines[i], "hunter2"), "%s", environment.lines[i]);
}

Test(settings, finishing_zeros_or_twice_does_nothing)
{
    struct settings zeros = {0};
    settings_finish(&zeros);
    struct environment environment = {.variables = (struct variable[]){WITH_KEY, {0}}};
    struct settings s;
    cr_assert_eq(environment_load(&environment, &s), STATUS_OK);
    settings_finish(&s);
    settings_finish(&s);
    cr_expect_null(s.host);
}

Test(settings, the_process_environment_is_read_by_name)
{
    setenv("PM_TEST_VARIABLE", "here", 1);
    cr_expect_str_eq(settings_get_environment(NULL, "PM_TEST_VARIABLE"), "here");
    cr_expect_null(settings_get_environment(NULL, "PM_TEST_NO_VARIABLE"));
}
