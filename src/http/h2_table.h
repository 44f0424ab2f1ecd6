/*
 * h2_table: the size of the table of header fields (HPACK) that an HTTP/2 client gives the service for its answers.
 *
 * libh2o 2.2.5 enters what it sends into a table of 4,096 bytes, whatever the client wants. Here the table shrinks to
 * the client's size, and the next block of header fields says so first (RFC 7541 §4.2). It never grows again: a client
 * takes a smaller one than it offers.
 *
 * Knows libh2o's insides (<h2o/http2_internal.h>) and is therefore tied to that version. Thread: the loop's.
 */
#ifndef PM_H2_TABLE_H
#define PM_H2_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct st_h2o_http2_conn_t;

/* Of a connection; zero in the beginning. */
struct h2_table {
    bool is_asked;        /* by a SETTINGS frame, since a block was last sent */
    uint32_t asked_least; /* the smallest size that was */
};

/* A client asks for this size (SETTINGS_HEADER_TABLE_SIZE), in bytes. */
void h2_table_ask(struct h2_table *table, uint32_t size);

/* A block that libh2o is about to write. */
struct h2_block {
    size_t at; /* where its frame will begin in the connection's buffer */
    size_t capacity_before;
    bool has_shrunk;
};

/* Before libh2o writes a block: makes the table as small as it has to be. */
struct h2_block h2_table_begin(struct st_h2o_http2_conn_t *conn, const struct h2_table *table);
/*
 * Behind it, before anything else is written: lets it begin with the table's new size. Returns whether there is a
 * block: libh2o throws the answer to a stream away that the client has reset.
 */
bool h2_table_end(struct st_h2o_http2_conn_t *conn, struct h2_table *table, const struct h2_block *block);

/* Counts len bytes that stand behind the block to it. */
void h2_table_grow_block(struct st_h2o_http2_conn_t *conn, const struct h2_block *block, size_t len);

#endif
