#include "settings_table.h"

#include <inttypes.h>
#include <string.h>

#include "metrics_survey.h"

#define FIELD(member) offsetof(struct settings, member), sizeof(((struct settings *)0)->member)
#define NO_FIELD      0, 0

enum { SECOND_US = 1000000, SECOND_MS = 1000, MS_US = 1000, MONTH_S = 2592000, YEAR_S = 31536000, DAYS_MAX = 36500 };

#define WHOLE(name, member, text, min, max, scale, help)                                                               \
    {                                                                                                                  \
        name, SETTING_INTEGER, FIELD(member), text, min, max, scale, NULL, 0, help                                     \
    }
#define CORES(name, member, max, help)                                                                                 \
    {                                                                                                                  \
        name, SETTING_INTEGER, FIELD(member), "", 1, max, 1, NULL, SETTING_CORES, help                                 \
    }
#define BOOLEAN(name, member, text, help)                                                                              \
    {                                                                                                                  \
        name, SETTING_BOOL, FIELD(member), text, 0, 1, 1, NULL, 0, help                                                \
    }
#define WORD(name, member, text, words, help)                                                                          \
    {                                                                                                                  \
        name, SETTING_WORD, FIELD(member), text, 0, 0, 1, words, 0, help                                               \
    }
#define DECIMAL(name, member, text, max, flags, help)                                                                  \
    {                                                                                                                  \
        name, SETTING_DECIMAL, FIELD(member), text, 0, max, 1, NULL, flags, help                                       \
    }
#define TEXT(name, kind, member, text, min, max, flags, help)                                                          \
    {                                                                                                                  \
        name, kind, FIELD(member), text, min, max, 1, NULL, flags, help                                                \
    }
#define LIST(name, kind, text, max, flags, help)                                                                       \
    {                                                                                                                  \
        name, kind, NO_FIELD, text, 1, max, 1, NULL, flags, help                                                       \
    }

static const char *const log_level_words[] = {"DEBUG", "INFO", "WARNING", "ERROR", NULL};
static const char *const queue_type_words[] = {"classic", "quorum", NULL};
static const char *const migrations_words[] = {"apply", "check", "off", NULL};
_Static_assert(LOG_LEVEL_DEBUG == 0 && LOG_LEVEL_ERROR == 3, "log_level_words follows enum log_level");
_Static_assert(QUEUE_CLASSIC == 0 && QUEUE_QUORUM == 1, "queue_type_words follows enum queue_type");
_Static_assert(MIGRATIONS_APPLY == 0 && MIGRATIONS_OFF == 2, "migrations_words follows enum migrations_mode");

#define PM "POSITION_MANAGER_"

const struct setting_row setting_rows[] = {
    LIST(PM "API_KEY", SETTING_KEY, "", 256, SETTING_SECRET | SETTING_REQUIRED,
         "The key that callers send as X-API-Key."),
    TEXT(PM "HOST", SETTING_ADDRESS, host, "0.0.0.0", 1, 64, 0, "Address to listen on."),
    WHOLE(PM "PORT", port, "4800", 1, 65535, 1, "Port to listen on."),
    TEXT(PM "TLS_CERT", SETTING_FILE, tls_cert, "", 1, 4096, 0, "Certificate chain (PEM); with TLS_KEY turns TLS on."),
    TEXT(PM "TLS_KEY", SETTING_FILE, tls_key, "", 1, 4096, 0, "Private key (PEM) of the certificate."),
    WORD(PM "LOG_LEVEL", log_level, "INFO", log_level_words, "Log lines below this level are not written."),
    TEXT(PM "SERVICE_NAME", SETTING_NAME, service_name, "position-manager", 1, 64, 0,
         "Name in logs, health and connections."),
    CORES(PM "SHARDS", shard_count, SETTINGS_SHARDS_MAX, "Threads that own positions; empty: one a core."),
    CORES(PM "HTTP_THREADS", http_thread_count, SETTINGS_HTTP_THREADS_MAX,
          "Threads that answer HTTP; empty: one a core."),
    WHOLE(PM "SNAPSHOT_INTERVAL", snapshot_interval_us, "3600", 0, MONTH_S, SECOND_US,
          "Seconds between snapshots of all positions; 0: off."),
    WHOLE(PM "SNAPSHOT_RETENTION_DAYS", snapshot_retention_days, "365", 1, DAYS_MAX, 1,
          "Days after which snapshots are deleted."),
    WHOLE(PM "VALIDATION_INTERVAL", validation_interval_us, "1800", 0, MONTH_S, SECOND_US,
          "Seconds between validations against the orders; 0: off."),
    BOOLEAN(PM "VALIDATION_FIX", validation_fix, "false", "Whether the periodic validation also mends what it finds."),
    WHOLE(PM "METRICS_CACHE_TTL", metrics_cache_ttl_us, "10", 0, 3600, SECOND_US,
          "Seconds that a served portfolio figure may be old at most."),
    WHOLE(PM "METRICS_ASSETS_MAX", metrics_assets_max, "100", 0, SURVEY_ASSETS_MAX, 1,
          "Assets with metrics of their own: open ones first, the largest exposures first; 0: none."),
    BOOLEAN(PM "USE_WS_AVG_PRICE", use_ws_avg_price, "true", "Whether the exchange's average price may replace ours."),
    DECIMAL(PM "AVG_PRICE_DIFF_THRESHOLD", avg_price_diff_threshold, "0.001", 1000000, 0,
            "Relative difference above which the exchange's average price replaces ours."),
    DECIMAL(PM "SIZE_VALIDATION_THRESHOLD", size_validation_threshold, "0.0001", 1000000, 0,
            "Difference between sizes above which it is a discrepancy."),
    BOOLEAN(PM "ENABLE_TIMESTAMP_RESOLUTION", enable_timestamp_resolution, "true",
            "Whether a later market event may replace a size from executions."),
    WHOLE(PM "TIMESTAMP_TOLERANCE_SECONDS", timestamp_tolerance_us, "0", 0, 86400, SECOND_US,
          "Seconds by which a market event must be later than the last execution to replace its size."),
    WHOLE(PM "PRICE_STALENESS_THRESHOLD", price_staleness_us, "300", 1, YEAR_S, SECOND_US,
          "Seconds after which a price is stale and a new one is asked for."),
    TEXT(PM "PRICE_API_URL", SETTING_URL, price_api_url, "https://api.bybit.com/v5/market/tickers", 1, 2048, 0,
         "Where prices are asked for."),
    WHOLE(PM "PRICE_API_TIMEOUT", price_api_timeout_ms, "5", 1, 300, SECOND_MS,
          "Seconds that one request for a price may take."),
    WHOLE(PM "PRICE_API_RETRIES", price_api_tries, "3", 1, 10, 1, "Requests for a price in all, the first included."),
    WHOLE(PM "OPTIMISTIC_LOCK_RETRIES", optimistic_lock_tries, "3", 1, 20, 1,
          "Tries to apply events on top of somebody else's change."),
    WHOLE(PM "OPTIMISTIC_LOCK_BACKOFF_BASE", optimistic_lock_backoff_ms, "100", 1, 10000, 1,
          "Milliseconds before the second of these tries; doubles each time."),
    BOOLEAN(PM "RATE_LIMIT_ENABLED", rate_limit_enabled, "true", "Whether requests of a key are limited."),
    WHOLE(PM "RATE_LIMIT_DEFAULT", rate_limit_default, "100", RATE_LIMIT_MIN, RATE_LIMIT_MAX, 1,
          "Requests a minute of a key without a limit of its own."),
    LIST(PM "RATE_LIMIT_OVERRIDES", SETTING_OVERRIDES, "", SETTINGS_KEYS_MAX - 1, SETTING_SECRET,
         "Further keys, and limits of their own."),
    DECIMAL(PM "PORTFOLIO_MAX_EXPOSURE_USDT", portfolio_exposure_limit, "", 999999999999, SETTING_ABOVE_ZERO,
            "Total exposure above which the limit counts as exceeded; empty: no limit."),
    TEXT(PM "MARKET_QUEUE", SETTING_NAME, market_queue, "ws-gateway.position", 1, 255, 0, "Queue of market data."),
    LIST(PM "ORDER_QUEUES", SETTING_QUEUES, "order-manager.order_executed", SETTINGS_ORDER_QUEUES_MAX, 0,
         "Queues of order executions."),
    WORD(PM "QUEUE_TYPE", queue_type, "classic", queue_type_words, "Type of the queues that have to be declared."),
    WHOLE(PM "PREFETCH", prefetch, "30000", 1, 65535, 1,
          "Deliveries taken from the broker and not acknowledged, at most; one of each queue at least."),
    TEXT(PM "ASSET_PATTERN", SETTING_PATTERN, asset_pattern_text, ASSET_PATTERN_DEFAULT, 1, 1024, 0,
         "What an asset looks like."),
    WHOLE(PM "JOURNAL_RETENTION_DAYS", journal_retention_days, "365", 1, DAYS_MAX, 1,
          "Days after which the journal is folded; repeats are known as long."),
    WHOLE(PM "PORTFOLIO_PUBLISH_INTERVAL_MS", portfolio_publish_interval_us, "250", 0, 3600000, MS_US,
          "Milliseconds between portfolio_updated messages, at least."),
    WORD(PM "MIGRATIONS", migrations, "apply", migrations_words,
         "What to do about tables and columns that are missing."),
    TEXT("POSTGRES_HOST", SETTING_NAME, postgres_host, "localhost", 1, 255, 0,
         "Host of the database; a socket directory if it starts with /."),
    WHOLE("POSTGRES_PORT", postgres_port, "5432", 1, 65535, 1, "Port of the database."),
    TEXT("POSTGRES_DB", SETTING_TEXT, postgres_database, "position_manager", 1, 63, 0, "Name of the database."),
    TEXT("POSTGRES_USER", SETTING_TEXT, postgres_user, "postgres", 1, 63, 0, "User of the database."),
    TEXT("POSTGRES_PASSWORD", SETTING_TEXT, postgres_password, "", 0, 1024, SETTING_SECRET,
         "Password of the user of the database; empty: none is sent."),
    TEXT("RABBITMQ_HOST", SETTING_NAME, rabbitmq_host, "localhost", 1, 255, 0, "Host of the broker."),
    WHOLE("RABBITMQ_PORT", rabbitmq_port, "5672", 1, 65535, 1, "Port of the broker."),
    TEXT("RABBITMQ_USER", SETTING_TEXT, rabbitmq_user, "guest", 1, 255, 0, "User of the broker."),
    TEXT("RABBITMQ_PASSWORD", SETTING_TEXT, rabbitmq_password, "guest", 1, 1024, SETTING_SECRET,
         "Password of the user of the broker."),
    TEXT("RABBITMQ_VHOST", SETTING_TEXT, rabbitmq_vhost, "/", 1, 255, 0, "Virtual host of the broker."),
    TEXT("WS_GATEWAY_URL", SETTING_URL, ws_gateway_url, "", 1, 2048, 0,
         "Where to subscribe to positions at the start; empty: nowhere."),
    TEXT("WS_GATEWAY_API_KEY", SETTING_NAME, ws_gateway_api_key, "", 1, 1024, SETTING_SECRET,
         "Key for the subscription."),
};
const size_t setting_row_count = sizeof setting_rows / sizeof setting_rows[0];

static void format_words(const char *const *words, char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; words[i] != NULL && len < size; i++) {
        const char *before = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        int written = snprintf(out + len, size - len, "%s%s", before, words[i]);
        len += written > 0 ? (size_t)written : 0;
    }
}

void setting_format_allowed(const struct setting_row *row, char *out, size_t size)
{
    switch (row->kind) {
    case SETTING_INTEGER:
        snprintf(out, size, "a whole number from %" PRId64 " to %" PRId64, row->min, row->max);
        break;
    case SETTING_BOOL:
        snprintf(out, size, "true, false, 1, 0, yes, no, on or off");
        break;
    case SETTING_WORD:
        format_words(row->words, out, size);
        break;
    case SETTING_DECIMAL:
        snprintf(out, size, "a plain decimal %s to %" PRId64,
                 (row->flags & SETTING_ABOVE_ZERO) != 0 ? "above 0 and up" : "from 0", row->max);
        break;
    case SETTING_TEXT:
        snprintf(out, size, "%" PRId64 " to %" PRId64 " bytes without control characters", row->min, row->max);
        break;
    case SETTING_NAME:
    case SETTING_KEY:
        snprintf(out, size, "1 to %" PRId64 " visible ASCII characters, no blanks", row->max);
        break;
    case SETTING_ADDRESS:
        snprintf(out, size, "an IPv4 or IPv6 address, or localhost");
        break;
    case SETTING_URL:
        snprintf(out, size, "an http:// or https:// URL without user, query and fragment");
        break;
    case SETTING_FILE:
        snprintf(out, size, "the path of a readable file");
        break;
    case SETTING_PATTERN:
        snprintf(out, size, "a POSIX extended regular expression");
        break;
    case SETTING_OVERRIDES:
        snprintf(out, size, "key:limit, comma-separated, limits from %d to %d, at most %" PRId64 " keys",
                 RATE_LIMIT_MIN, RATE_LIMIT_MAX, row->max);
        break;
    case SETTING_QUEUES:
        snprintf(out, size, "1 to %" PRId64 " names, comma-separated, none twice, not MARKET_QUEUE's", row->max);
        break;
    }
}

void settings_print_example(FILE *out)
{
    fputs("# Every setting of position-manager with its default. Made by `position-manager --env-example`.\n"
          "# What is empty is not set.\n",
          out);
    for (size_t i = 0; i < setting_row_count; i++) {
        char allowed[160];
        setting_format_allowed(&setting_rows[i], allowed, sizeof allowed);
        const char *required = (setting_rows[i].flags & SETTING_REQUIRED) != 0 ? " Required." : "";
        fprintf(out, "\n# %s%s Allowed: %s.\n%s=%s\n", setting_rows[i].help, required, allowed, setting_rows[i].name,
                setting_rows[i].default_text);
    }
}

void settings_print_help(FILE *out)
{
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting_row *row = &setting_rows[i];
        char allowed[160];
        setting_format_allowed(row, allowed, sizeof allowed);
        const char *after = (row->flags & SETTING_REQUIRED) != 0 ? " (required)" : "";
        if (row->default_text[0] != '\0')
            fprintf(out, "  %s (default %s)\n", row->name, row->default_text);
        else
            fprintf(out, "  %s%s\n", row->name, after);
        fprintf(out, "      %s Allowed: %s.\n", row->help, allowed);
    }
}
