/*
 * h2_fields: the header fields of an HTTP/2 answer, in as few bytes and steps as they take.
 *
 * libh2o enters each field of an answer into the connection's HPACK table, where it looks for it in the next answer.
 * That suits those that are the same in every answer. A trace id of every answer fills the table, pushes out what is
 * always the same, and costs both sides an entry and a Huffman code that nobody uses again. So an answer's fields are
 * kept from libh2o and written behind the block that it has made: those in the table as its index, those that change by
 * the index of their name and the plain value, which enters no table (RFC 7541 §6.1, §6.2.2). Only what is not in the
 * table yet goes to libh2o, which enters it: in the first answers of a connection, and when so many dates have come
 * that it was pushed out.
 *
 * Knows libh2o's insides (<h2o/http2_internal.h>) and is therefore tied to that version. Thread: the loop's.
 */
#ifndef PM_H2_FIELDS_H
#define PM_H2_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <h2o.h>

#include "h2_table.h"

enum {
    H2_FIELDS_MAX = 6,
    H2_FIELD_PART_LEN_MAX = 126, /* a name or a value, so that its length takes one byte */
};

struct h2_field {
    h2o_iovec_t name;
    h2o_iovec_t value;
    bool is_changing;
    bool is_left; /* to libh2o */
};

struct h2_fields {
    size_t count;
    struct h2_field items[H2_FIELDS_MAX];
};

/* Of a connection; zero in the beginning. */
struct h2_client {
    struct h2_table table;
    uint8_t distances[H2_FIELDS_MAX]; /* of the last answer's fields from the newest entry: where to look first */
};

void h2_fields_init(struct h2_fields *fields);
/*
 * Adds a field; there has to be room. name: in lower case, and no name twice. is_changing: it is another in every
 * answer. Both texts live as long as the request.
 */
void h2_fields_add(struct h2_fields *fields, h2o_iovec_t name, h2o_iovec_t value, bool is_changing);

/*
 * Sends the whole answer, with these fields besides those of req->res; which of them libh2o has sent is noted in them.
 * body, count: as for h2o_send(). client: the connection's.
 */
void h2_fields_send(h2o_req_t *req, h2o_generator_t *generator, h2o_iovec_t *body, size_t count,
                    struct h2_fields *fields, struct h2_client *client);

#endif
