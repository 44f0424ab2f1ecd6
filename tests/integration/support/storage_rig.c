#include "storage_rig.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

static const char *needed(const char *name)
{
    const char *value = getenv(name);
    cr_assert(value != NULL && value[0] != '\0', "%s is not set: run me by tests/integration/with_postgres.sh", name);
    return value == NULL ? "" : value;
}

static PGconn *connect_to(const struct rig *rig, const char *database)
{
    const char *const keywords[] = {"host", "port", "user", "password", "dbname", NULL};
    const char *const values[] = {rig->settings.host,     rig->settings.port, rig->settings.user,
                                  rig->settings.password, database,           NULL};
    PGconn *connection = PQconnectdbParams(keywords, values, 0);
    cr_assert(PQstatus(connection) == CONNECTION_OK, "%s", PQerrorMessage(connection));
    return connection;
}

static void execute_elsewhere(const struct rig *rig, const char *before, const char *after)
{
    char sql[160];
    snprintf(sql, sizeof sql, "%s %s %s", before, rig->database, after);
    PGconn *connection = connect_to(rig, needed("PM_TEST_PG_DB"));
    PGresult *result = PQexec(connection, sql);
    cr_assert(PQresultStatus(result) == PGRES_COMMAND_OK, "%s", PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
}

void rig_open(struct rig *rig)
{
    *rig = (struct rig){0};
    snprintf(rig->database, sizeof rig->database, "pm_storage_%d", (int)getpid());
    const char *password = getenv("PM_TEST_PG_PASSWORD");
    rig->settings = (struct storage_settings){
        .host = needed("PM_TEST_PG_HOST"),
        .port = needed("PM_TEST_PG_PORT"),
        .user = needed("PM_TEST_PG_USER"),
        .password = password == NULL ? "" : password,
        .database = rig->database,
    };
    execute_elsewhere(rig, "CREATE DATABASE", "");
    rig->sql = connect_to(rig, rig->database);
    rig->deliveries = calloc(RIG_DELIVERIES_MAX, sizeof *rig->deliveries);
    for (size_t i = 0; i < RIG_SHARDS; i++) {
        rig->requests[i] = calloc(1, sizeof *rig->requests[i]);
        rig->requests[i]->head.type = MESSAGE_COMMIT;
        rig->requests[i]->shard = (uint32_t)i;
        rig->lookups[i].head.type = MESSAGE_LOOKUP;
        rig->lookups[i].shard = (uint32_t)i;
    }
}

void rig_close(struct rig *rig)
{
    if (rig->committer != NULL)
        rig_stop(rig);
    PQfinish(rig->sql);
    rig->settings.host = needed("PM_TEST_PG_HOST");
    rig->settings.port = needed("PM_TEST_PG_PORT");
    execute_elsewhere(rig, "DROP DATABASE", "WITH (FORCE)"); /* a session may be slow to end */
    free(rig->deliveries);
    for (size_t i = 0; i < RIG_SHARDS; i++)
        free(rig->requests[i]);
}

void rig_execute(struct rig *rig, const char *sql)
{
    PGresult *result = PQexec(rig->sql, sql);
    const ExecStatusType status = PQresultStatus(result);
    cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(rig->sql));
    PQclear(result);
}

const char *rig_value(struct rig *rig, const char *sql)
{
    static char value[512];
    PGresult *result = PQexec(rig->sql, sql);
    cr_assert(PQresultStatus(result) == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(rig->sql));
    snprintf(value, sizeof value, "%s", PQntuples(result) == 0 ? "" : PQgetvalue(result, 0, 0));
    PQclear(result);
    return value;
}

int rig_number(struct rig *rig, const char *sql)
{
    return (int)strtol(rig_value(rig, sql), NULL, 10);
}

void rig_end_sessions(struct rig *rig)
{
    char sql[640];
    const int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    const char *ended =
        rig_value(rig, "SELECT string_agg(pid::text, ','), bool_and(pg_terminate_backend(pid)) FROM pg_stat_activity "
                       "WHERE datname = current_database() AND application_name = 'position-manager'");
    cr_assert_str_not_empty(ended, "there was none");
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE pid IN (%s)", ended);
    while (rig_number(rig, sql) > 0) {
        cr_assert(clock_steady_us() < until_us, "%s", sql);
        poll(NULL, 0, 5);
    }
}

static void keep_loaded(void *context, const struct position *position)
{
    struct rig *rig = context;
    position_check(position);
    cr_assert(rig->loaded_count < RIG_LOADED_MAX);
    rig->loaded[rig->loaded_count++] = *position;
}

enum status rig_prepare(struct rig *rig, enum migrations_mode mode)
{
    rig->loaded_count = 0;
    rig->settings.migrations = mode;
    return storage_prepare(&rig->settings, &rig->board, keep_loaded, rig);
}

const struct position *rig_loaded(const struct rig *rig, const char *asset, enum position_mode mode)
{
    for (size_t i = rig->loaded_count; i-- > 0;) { /* the last one counts */
        if (strcmp(rig->loaded[i].asset, asset) == 0 && rig->loaded[i].mode == mode)
            return &rig->loaded[i];
    }
    cr_assert(false, "%s was not loaded", asset);
    return NULL;
}

void rig_start(struct rig *rig)
{
    uint32_t in[RIG_SHARDS], out[RIG_SHARDS];
    struct outlet answers[RIG_SHARDS];
    for (size_t i = 0; i < RIG_SHARDS; i++)
        in[i] = out[i] = 2;
    rig->to_committer = mailbox_create("committer", in, RIG_SHARDS);
    rig->from_committer = mailbox_create("answers", out, RIG_SHARDS);
    for (size_t i = 0; i < RIG_SHARDS; i++)
        answers[i] = (struct outlet){.mailbox = rig->from_committer, .lane = i};
    rig->committer =
        committer_create(&rig->settings, &rig->board, rig->to_committer, answers, RIG_SHARDS, rig->others_wait_us);
    cr_assert(committer_start(rig->committer) == STATUS_OK);
}

void rig_stop(struct rig *rig)
{
    committer_stop(rig->committer, 3000);
    committer_destroy(rig->committer);
    rig->committer = NULL;
    while (rig_receive(rig, 0) != NULL)
        ;
    mailbox_destroy(rig->to_committer);
    mailbox_destroy(rig->from_committer);
}

struct decimal rig_decimal(const char *text)
{
    struct decimal value;
    cr_assert(decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &value) == STATUS_OK, "%s", text);
    return value;
}

struct position rig_position(const char *asset, enum position_mode mode, int32_t version)
{
    const int64_t now_us = 1763815000123456;
    struct position position;
    position_init(&position, asset, mode, uuid_generate(), now_us);
    position.version = version;
    position.size = rig_decimal("-1.23456789");
    position.average_entry_price = rig_decimal("50000.00000001");
    position.current_price = rig_decimal("999999999999.99999999");
    position.unrealized_pnl = rig_decimal("-0.00000001");
    position.realized_pnl = rig_decimal("12.5");
    position.fees_paid = rig_decimal("-3");
    if (mode == POSITION_MODE_HEDGE) {
        position.size = rig_decimal("1");
        position.average_entry_price = DECIMAL_NONE;
        position.long_size = rig_decimal("3");
        position.short_size = rig_decimal("2");
        position.long_avg_price = rig_decimal("7.5");
        position.short_avg_price = rig_decimal("8.5");
    }
    position.price_updated_at_us = now_us + 1;
    position.last_updated_us = now_us + 2;
    position.last_snapshot_at_us = now_us + 3;
    position.opened_at_us = now_us + 4;
    position.last_execution_at_us = now_us + 5;
    position.market_event_at_us = now_us + 6;
    position.market_digest_count = 2;
    position.market_digests[0] = 0xFEDCBA9876543210;
    position.market_digests[1] = 1;
    position.announcement_due = true;
    return position;
}

struct commit_item *rig_item(struct rig *rig, size_t shard, const struct position *position)
{
    struct commit_request *request = rig->requests[shard];
    cr_assert(request->count < COMMIT_ITEMS_MAX);
    struct commit_item *item = &request->items[request->count++];
    *item =
        (struct commit_item){.row = *position, .expected_version = position->version, .insert = position->version == 0};
    item->row.version++;
    item->outcome = (enum commit_outcome)99;
    return item;
}

static struct journal_note note_of(const struct position *row)
{
    return (struct journal_note){
        .wanted = true,
        .source = SOURCE_ORDER_EXECUTION,
        .quantity = rig_decimal("-0.5"),
        .price = rig_decimal("50000"),
        .fees = rig_decimal("0.25"),
        .at_us = row->last_execution_at_us,
        .size = row->size,
        .average_entry_price = row->average_entry_price,
        .realized_pnl = row->realized_pnl,
        .fees_paid = row->fees_paid,
        .long_size = row->long_size,
        .short_size = row->short_size,
        .long_avg_price = row->long_avg_price,
        .short_avg_price = row->short_avg_price,
        .version = row->version,
    };
}

struct delivery *rig_execution(struct rig *rig, struct commit_item *item, const char *identity, uint64_t fingerprint,
                               const char *order)
{
    cr_assert(rig->delivery_count < RIG_DELIVERIES_MAX);
    struct delivery *delivery = &rig->deliveries[rig->delivery_count++];
    *delivery = (struct delivery){.kind = DELIVERY_EXECUTION, .fingerprint = fingerprint};
    delivery->said.execution.mode = item->row.mode;
    snprintf(delivery->asset, sizeof delivery->asset, "%s", item->row.asset);
    snprintf(delivery->identity, sizeof delivery->identity, "%s", identity);
    snprintf(delivery->order_key, sizeof delivery->order_key, "%s", order == NULL ? "" : order);
    delivery->fill.quantity = rig_decimal("0.5");
    delivery->fill.notional = wide_multiply(delivery->fill.quantity.units, rig_decimal("50000.12345678").units);
    delivery->fill.fees = rig_decimal("0.25");
    delivery->journal = note_of(&item->row);
    struct delivery **end = &item->deliveries;
    while (*end != NULL)
        end = (struct delivery **)(void *)&(*end)->head.next;
    *end = delivery;
    return delivery;
}

void rig_send(struct rig *rig, size_t shard)
{
    struct message *message = &rig->requests[shard]->head;
    cr_assert(mailbox_send(rig->to_committer, shard, &message) == STATUS_OK);
}

struct message *rig_receive(struct rig *rig, int timeout_ms)
{
    const int64_t until_us = clock_steady_us() + (int64_t)timeout_ms * 1000;
    struct message *message = NULL;
    while (mailbox_receive(rig->from_committer, &message, 1) == 0) {
        const int64_t left_us = until_us - clock_steady_us();
        if (left_us <= 0)
            return NULL;
        mailbox_wait(rig->from_committer, (int)(left_us / 1000) + 1);
    }
    return message;
}

void rig_commit(struct rig *rig, size_t shard)
{
    rig_send(rig, shard);
    cr_assert(rig_receive(rig, RIG_WAIT_MS) == &rig->requests[shard]->head, "no answer");
}

void rig_clear(struct rig *rig)
{
    for (size_t i = 0; i < RIG_SHARDS; i++)
        rig->requests[i]->count = 0;
    rig->delivery_count = 0;
}
