/*
 * migrations: brings the tables to the shape that the service needs, by adding only (contract §6).
 *
 * What is needed is declared once (migrations.c); `apply` adds what is not there in one transaction under an advisory
 * lock, and the index of a large shared table afterwards without locks (index_build.h); `check` names what is not
 * there, `off` does nothing. An index that cannot be built then is logged and left for the next start. Thread: the
 * starting one.
 */
#ifndef PM_MIGRATIONS_H
#define PM_MIGRATIONS_H

#include "pg.h"

/*
 * Blocks: while others hold the lock or the tables. Outside of pipeline mode.
 * Fails: STATUS_INVALID (`check` found something missing, duplicates stand in the way, or the server refuses for good:
 * logged), STATUS_UNAVAILABLE (the server refuses now), STATUS_LOST, STATUS_TIMEOUT, STATUS_STOPPING.
 */
enum status migrations_run(struct pg_connection *connection, enum migrations_mode mode) PM_MUST_USE;

#endif
