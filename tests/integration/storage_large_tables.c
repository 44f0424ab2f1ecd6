/*
 * storage_prepare() against a snapshot table that is large and that others write to: its index is built beside them,
 * and what an earlier try left behind is repaired.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>

#include "storage_rig.h"

enum { LOOKS_MAX = 6000 };

static struct rig rig;

static void open_rig(void)
{
    rig_open(&rig);
}
static void close_rig(void)
{
    rig_close(&rig);
}

TestSuite(storage_large_tables, .init = open_rig, .fini = close_rig, .timeout = 300);

static const char index_count[] = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                                  "WHERE c.relname = 'position_manager_snapshots_position_created'";
static const char valid_count[] = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                                  "WHERE c.relname = 'position_manager_snapshots_position_created' AND i.indisvalid";

/* The shape of an older service's: 20 MB, no index but the key's, no snapshot_data. */
static void make_old_tables(void)
{
    rig_execute(&rig, "CREATE TABLE positions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), asset varchar(20) NOT "
                      "NULL, size numeric NOT NULL); "
                      "INSERT INTO positions (asset, size) VALUES ('BTCUSDT', 1); "
                      "CREATE TABLE position_snapshots (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), position_id "
                      "uuid NOT NULL, size numeric NOT NULL, note text NOT NULL); "
                      "INSERT INTO position_snapshots (position_id, size, note) SELECT p.id, n, repeat('x', 1000) "
                      "FROM positions p, generate_series(1, 20000) n");
}

/* Another session of the test's, which writes and does not commit. */
static PGconn *other_writer(void)
{
    PGconn *other = PQconnectdbParams((const char *const[]){"host", "port", "user", "password", "dbname", NULL},
                                      (const char *const[]){rig.settings.host, rig.settings.port, rig.settings.user,
                                                            rig.settings.password, rig.database, NULL},
                                      0);
    PGresult *result = PQexec(other, "BEGIN; INSERT INTO position_snapshots (position_id, size, note) "
                                     "VALUES (gen_random_uuid(), 0, '')");
    cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s", PQerrorMessage(other));
    PQclear(result);
    return other;
}

static void end_writer(PGconn *other)
{
    PQclear(PQexec(other, "COMMIT"));
    PQfinish(other);
}

struct start {
    pthread_t thread;
    enum status status;
};

static void *prepare(void *context)
{
    struct start *start = context;
    start->status = rig_prepare(&rig, MIGRATIONS_APPLY);
    return NULL;
}

static void begin(struct start *start)
{
    cr_assert_eq(pthread_create(&start->thread, NULL, prepare, start), 0);
}

/* What is seen once may be over a moment later. */
static void await(const char *sql, int number)
{
    int found = rig_number(&rig, sql);
    for (int i = 0; i < LOOKS_MAX && found != number; i++) {
        poll(NULL, 0, 10);
        found = rig_number(&rig, sql);
    }
    cr_assert_eq(found, number, "%s", sql);
}

static void await_builder(void)
{
    await("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX "
          "CONCURRENTLY%' AND wait_event_type = 'Lock'",
          1);
}

Test(storage_large_tables, an_index_is_built_beside_those_who_write)
{
    make_old_tables();
    rig_execute(&rig, "CREATE INDEX filler ON position_snapshots (size)"); /* what others have is no reason to wait */
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_INVALID);
    const int file = rig_number(&rig, "SELECT relfilenode::int FROM pg_class WHERE relname = 'position_snapshots'");
    rig_execute(&rig, "ALTER TABLE position_snapshots ADD COLUMN asset varchar(20), ADD COLUMN mode varchar(20), "
                      "ADD COLUMN snapshot_data jsonb, ADD COLUMN created_at timestamp DEFAULT now()");
    PGconn *other = other_writer();
    struct start start;
    begin(&start);
    await_builder();
    rig_execute(&rig, "SET lock_timeout = '60s'; UPDATE positions SET size = 2; "
                      "INSERT INTO position_snapshots (position_id, size, note) SELECT id, 0, '' FROM positions; "
                      "DELETE FROM position_snapshots WHERE size = 1");
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IN "
                                  "('positions'::regclass, 'position_snapshots'::regclass)"),
                 0);
    end_writer(other);
    pthread_join(start.thread, NULL);
    cr_assert_eq(start.status, STATUS_OK);
    cr_assert_eq(rig_number(&rig, valid_count), 1);
    cr_assert_eq(rig_number(&rig, "SELECT count(*) FROM position_snapshots"), 20001);
    cr_assert_eq(rig_number(&rig, "SELECT relfilenode::int FROM pg_class WHERE relname = 'position_snapshots'"), file,
                 "no row was moved");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_OK);
}

Test(storage_large_tables, a_build_that_was_ended_does_not_stop_the_start_and_the_next_one_repairs_it)
{
    make_old_tables();
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_execute(&rig, "DROP INDEX position_manager_snapshots_position_created");
    PGconn *other = other_writer();
    struct start start;
    begin(&start);
    await_builder();
    rig_execute(&rig, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                      "AND query LIKE 'CREATE INDEX CONCURRENTLY%'");
    pthread_join(start.thread, NULL);
    cr_assert_eq(start.status, STATUS_OK, "it serves speed only");
    cr_assert_eq(rig_number(&rig, index_count), 1);
    cr_assert_eq(rig_number(&rig, valid_count), 0, "and is left behind invalid");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_CHECK), STATUS_INVALID);
    end_writer(other);
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    cr_assert_eq(rig_number(&rig, valid_count), 1);
    cr_assert_eq(rig_number(&rig, index_count), 1);
}

Test(storage_large_tables, an_invalid_index_of_a_small_table_is_repaired_too)
{
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_execute(&rig, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
                      "'position_manager_snapshots_position_created'::regclass");
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    cr_assert_eq(rig_number(&rig, valid_count), 1);
}

/* The server goes on building for a process that was killed; the next one waits for that and finds it done. */
Test(storage_large_tables, a_build_that_goes_on_for_nobody_is_waited_for)
{
    make_old_tables();
    cr_assert_eq(rig_prepare(&rig, MIGRATIONS_APPLY), STATUS_OK);
    rig_execute(&rig, "DROP INDEX position_manager_snapshots_position_created");
    PGconn *other = other_writer();
    PGconn *orphan = PQconnectdbParams((const char *const[]){"host", "port", "user", "password", "dbname", NULL},
                                       (const char *const[]){rig.settings.host, rig.settings.port, rig.settings.user,
                                                             rig.settings.password, rig.database, NULL},
                                       0);
    cr_assert_eq(PQsendQuery(orphan, "CREATE INDEX CONCURRENTLY position_manager_snapshots_position_created "
                                     "ON position_snapshots (position_id, created_at DESC)"),
                 1);
    await_builder();
    const int made = rig_number(&rig, "SELECT 'position_manager_snapshots_position_created'::regclass::oid::int");
    PQfinish(orphan);
    struct start start;
    begin(&start);
    await("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%SHARE UPDATE "
          "EXCLUSIVE%' AND wait_event_type = 'Lock'",
          1);
    end_writer(other);
    pthread_join(start.thread, NULL);
    cr_assert_eq(start.status, STATUS_OK);
    cr_assert_eq(rig_number(&rig, valid_count), 1);
    cr_assert_eq(rig_number(&rig, "SELECT 'position_manager_snapshots_position_created'::regclass::oid::int"), made);
}

/*
 * An ALTER TABLE that waits keeps everybody behind it out: it gives up soon and leaves them a turn. Who holds the one
 * table and asks for the other is not ended by the server as part of a deadlock.
 */
Test(storage_large_tables, a_table_that_somebody_holds_is_not_queued_for_long)
{
    make_old_tables();
    PGconn *other = other_writer();
    struct start start;
    begin(&start);
    await("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'ALTER TABLE "
          "position_snapshots%' AND wait_event_type = 'Lock'",
          1);
    rig_execute(&rig, "SET lock_timeout = '60s'; UPDATE positions SET size = 2; "
                      "INSERT INTO position_snapshots (position_id, size, note) SELECT id, 0, '' FROM positions");
    await("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'ALTER TABLE "
          "position_snapshots%' AND wait_event_type = 'Lock'",
          1);
    /* Longer than the server's, lest it be somebody's victim whom a busy machine keeps from giving up in time. */
    PQclear(PQexec(other, "SET deadlock_timeout = '3s'"));
    PGresult *result = PQexec(other, "SELECT FROM positions");
    cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(other));
    PQclear(result);
    end_writer(other);
    pthread_join(start.thread, NULL);
    cr_assert_eq(start.status, STATUS_OK);
    cr_assert_eq(rig_number(&rig, valid_count), 1);
}
