/*
 * settings: every variable of contract §7, read once at the start, typed, checked and then never changed.
 *
 * One table in settings_table.c has a row for each variable: name, kind, default, bounds, help. Loading, the messages,
 * `--help` and deploy/env.example all come from it. A variable that is set to nothing counts as not set. All strings
 * belong to the struct; other modules borrow them until settings_finish(). Thread: the starting one writes, afterwards
 * any may read.
 */
#ifndef PM_SETTINGS_H
#define PM_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "broker.h"
#include "decimal.h"
#include "decode.h"
#include "log.h"
#include "mailbox.h"
#include "server.h"
#include "status.h"
#include "storage.h"

enum {
    /* The history has a lane for each shard, one for the publisher, and one for each HTTP loop. */
    SETTINGS_SHARDS_MAX = 30,
    SETTINGS_HTTP_THREADS_MAX = 32,
    SETTINGS_ORDER_QUEUES_MAX = 16,
    SETTINGS_KEYS_MAX = 1000,
};

struct settings_text; /* what owns the strings */

struct settings {
    /* POSITION_MANAGER_ */
    const char *host; /* an IPv4 or IPv6 address */
    uint16_t port;
    struct api_key *keys; /* the first is API_KEY; at least one */
    size_t key_count;
    bool rate_limit_enabled;
    uint32_t rate_limit_default; /* a minute; already in keys */
    enum log_level log_level;
    const char *service_name;
    size_t shard_count;
    size_t http_thread_count;
    const char *tls_cert; /* NULL: cleartext; both or neither */
    const char *tls_key;
    int64_t snapshot_interval_us; /* 0: off */
    uint32_t snapshot_retention_days;
    int64_t validation_interval_us; /* 0: off */
    bool validation_fix;
    int64_t metrics_cache_ttl_us;
    uint32_t metrics_assets_max; /* 0: no series of single assets */
    bool use_ws_avg_price;
    struct decimal avg_price_diff_threshold;
    struct decimal size_validation_threshold;
    bool enable_timestamp_resolution;
    int64_t timestamp_tolerance_us;
    int64_t price_staleness_us;
    const char *price_api_url;
    uint32_t price_api_timeout_ms;
    uint32_t price_api_tries;
    uint32_t optimistic_lock_tries;
    uint32_t optimistic_lock_backoff_ms;
    struct decimal portfolio_exposure_limit; /* none: no limit */
    const char *market_queue;
    const char **order_queues; /* at least one */
    size_t order_queue_count;
    uint32_t journal_retention_days;
    enum queue_type queue_type;
    int64_t portfolio_publish_interval_us;
    enum migrations_mode migrations;
    struct asset_pattern asset_pattern;
    const char *asset_pattern_text;
    uint16_t prefetch;
    /* POSTGRES_ */
    const char *postgres_host; /* starts with '/': a socket directory */
    uint16_t postgres_port;
    char postgres_port_text[6];
    const char *postgres_database;
    const char *postgres_user;
    const char *postgres_password; /* may be empty; never logged */
    /* RABBITMQ_ */
    const char *rabbitmq_host;
    uint16_t rabbitmq_port;
    const char *rabbitmq_user;
    const char *rabbitmq_password; /* never logged */
    const char *rabbitmq_vhost;
    /* WS_GATEWAY_ */
    const char *ws_gateway_url;     /* NULL: no subscription; both or neither; without a slash at its end */
    const char *ws_gateway_api_key; /* never logged */
    /* private: what settings_finish() frees */
    struct settings_text *texts;
};

/* Looks a variable up; NULL: not set. The text is copied. */
typedef const char *settings_get_fn(void *context, const char *name);

/* A getter that reads the process' environment; context is not used. Thread: the starting one. */
const char *settings_get_environment(void *context, const char *name);

enum settings_severity { SETTINGS_PROBLEM, SETTINGS_WARNING };

/* Told once for each finding: which variable, and a whole line that names it too. No line ever holds a secret. */
typedef void settings_report_fn(void *context, enum settings_severity severity, const char *variable, const char *line);

struct settings_source {
    settings_get_fn *get;
    void *get_context;
    settings_report_fn *report;
    void *report_context;
};

/*
 * Reads and checks every variable; every wrong one is reported, not only the first.
 * Owns: the caller; settings_finish(). Fails: STATUS_INVALID if there was a problem (warnings are none), nothing to
 * finish then.
 */
enum status settings_load(struct settings *out, const struct settings_source *source) PM_MUST_USE;

/* Frees what settings_load() made. A struct of zeros is accepted. */
void settings_finish(struct settings *settings);

/*
 * Warns of each POSITION_MANAGER_ variable in environment ("NAME=value" strings, then NULL) that this program does not
 * know: a misspelt name would otherwise be a default in silence. Returns how many.
 */
size_t settings_warn_unknown(char *const *environment, settings_report_fn *report, void *report_context);

/* The table as text: deploy/env.example is exactly this. */
void settings_print_example(FILE *out);
/* The table for `--help`: name, default, what is allowed, help. */
void settings_print_help(FILE *out);

#endif
