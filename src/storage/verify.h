/*
 * verify: `position-manager --verify`: every position recounted from the journal and compared with its row, every
 * order's total with the journal's lines; a report for people.
 *
 * It reads in one REPEATABLE READ, READ ONLY transaction, page by page: memory is bounded, nobody is held up, and it
 * may run beside a live service. Thread: any.
 */
#ifndef PM_VERIFY_H
#define PM_VERIFY_H

#include <stdio.h>

#include "storage.h"

enum { VERIFY_SHOWN_MAX = 1000 }; /* discrepancies that are printed; the others are counted */

struct verify_totals {
    size_t positions;
    size_t lines; /* of the journal */
    size_t orders;
    size_t discrepancies;
};

/*
 * Writes the report to out. Returns STATUS_OK if everything could be looked at; then .discrepancies is the verdict.
 * Blocks: until it is done. Fails: STATUS_UNAVAILABLE, STATUS_LOST, STATUS_INVALID, STATUS_TIMEOUT; one line on err
 * says why.
 */
enum status storage_verify(const struct storage_settings *settings, FILE *out, FILE *err,
                           struct verify_totals *totals) PM_MUST_USE;

#endif
