/*
 * h2_fields: header fields of HTTP/2 answers that are another in every answer.
 *
 * libh2o enters each field of an answer into the connection's HPACK table. A trace id of every answer fills that table,
 * pushes out what is always the same, and costs both sides an entry and a Huffman code that nobody uses again. So such
 * fields are kept from libh2o and written behind the block that it has made, as plain literals that enter no table
 * (RFC 7541 §6.2.2).
 *
 * Knows libh2o's insides (<h2o/http2_internal.h>) and is therefore tied to that version. Thread: the loop's.
 */
#ifndef PM_H2_FIELDS_H
#define PM_H2_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include <h2o.h>

enum {
    H2_FIELDS_LEN_MAX = 256,
    H2_FIELD_PART_LEN_MAX = 126, /* a name or a value, so that its length takes one byte */
};

struct h2_fields {
    size_t len;
    uint8_t bytes[H2_FIELDS_LEN_MAX];
};

void h2_fields_init(struct h2_fields *fields);
/* Adds a field; it has to fit. name: in lower case. */
void h2_fields_add(struct h2_fields *fields, h2o_iovec_t name, h2o_iovec_t value);

/* Sends the whole answer, with the fields behind those of req->res. body, count: as for h2o_send(). */
void h2_fields_send(h2o_req_t *req, h2o_generator_t *generator, h2o_iovec_t *body, size_t count,
                    const struct h2_fields *fields);

#endif
