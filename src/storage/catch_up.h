/*
 * catch_up: what others did to positions while no instance of ours ran is written into the journal, so that from it
 * alone every position can be recounted (contract §6).
 *
 * A position that the journal does not know gets an opening line with its state; one that differs from its newest line,
 * a line of source `external` with the state as found, and it is marked as due to be announced. Thread: the starting
 * one, while no other instance has the tables.
 */
#ifndef PM_CATCH_UP_H
#define PM_CATCH_UP_H

#include "pg.h"

/*
 * One statement, inside the caller's transaction; every row must have been read well before. *changed counts the
 * positions whose rows were marked. A journal that cannot be written is logged and left alone; with migrations `off` so
 * is whatever else goes wrong.
 * Fails: STATUS_UNAVAILABLE (may be better in a while), STATUS_INVALID, STATUS_LOST, STATUS_TIMEOUT, STATUS_STOPPING;
 * the transaction is to be given up then.
 */
enum status catch_up_journal(struct pg_connection *connection, size_t *changed) PM_MUST_USE;

#endif
