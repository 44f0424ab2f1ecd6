/*
 * storage: the service's PostgreSQL: settings, migrations, loading (contract §6).
 *
 * Foreign error text goes to the log, never to callers. Thread: as each function says.
 */
#ifndef PM_STORAGE_H
#define PM_STORAGE_H

#include <stddef.h>

#include "board.h"
#include "position.h"
#include "status.h"

enum migrations_mode { MIGRATIONS_APPLY, MIGRATIONS_CHECK, MIGRATIONS_OFF };

/* Borrowed strings live as long as the process. */
struct storage_settings {
    const char *host; /* starts with '/': a socket directory */
    const char *port;
    const char *database;
    const char *user;
    const char *password; /* may be empty; never logged */
    enum migrations_mode migrations;
};

/* One call for each stored position; again, with what is newer, where loading had to be repeated. */
typedef void storage_load_fn(void *context, const struct position *position);

/*
 * Connects (trying again with back-off until it works or board->stopping), waits until no other instance has the tables
 * (instance.h), migrates or checks, hands over every row of positions, and brings the journal up to what others
 * changed meanwhile (catch_up.h). board->database_connected is kept; instance_epoch and positions_loaded are written,
 * the latter as soon as readers may look.
 * Thread: the starting one. Blocks: as long as PostgreSQL is away or another instance runs.
 * Fails: STATUS_STOPPING; STATUS_INVALID (migrations `check` found something missing, or a row holds what cannot be:
 * logged by name); after the latter the service must not start.
 */
enum status storage_prepare(const struct storage_settings *settings, struct board *board, storage_load_fn *load,
                            void *context) PM_MUST_USE;

#endif
