/*
 * foreign: errors that libh2o answers by itself, before any handler is asked (body too large by its declared length,
 * broken chunks, invalid header characters), turned into the contract's error object. Of a body that is too large, or
 * of a strange expectation, it is only told to whom the gate lets pass.
 *
 * What libh2o refuses before it has a request at all (no HTTP, more than 100 header fields or 408 KiB of them) keeps
 * its bare "400 Bad Request".
 */
#ifndef PM_FOREIGN_H
#define PM_FOREIGN_H

#include <h2o.h>

/* Registers the filter on a host's fallback path, which only such errors use. Thread: one, before the loops start. */
void foreign_register(h2o_hostconf_t *host);

#endif
