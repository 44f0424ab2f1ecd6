#include "h2_table.h"

#include <string.h>

#include <h2o.h>

#include "khash.h"

#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#include <h2o/version.h>

#include "check.h"

_Static_assert(H2O_VERSION_MAJOR == 2 && H2O_VERSION_MINOR == 2 && H2O_VERSION_PATCH == 5,
               "h2_table.c knows the insides of this version and of no other");

enum { RESIZE_LEN_MAX = 8 };

void h2_table_ask(struct h2_table *table, uint32_t size)
{
    if (!table->is_asked || size < table->asked_least)
        table->asked_least = size;
    table->is_asked = true;
}

static void empty(h2o_hpack_header_table_t *entries)
{
    for (; entries->num_entries > 0; entries->num_entries--) {
        h2o_hpack_header_table_entry_t *entry = h2o_hpack_header_table_get(entries, entries->num_entries - 1);
        if (!h2o_iovec_is_token(entry->name))
            h2o_mem_release_shared(entry->name);
        h2o_mem_release_shared(entry->value);
        *entry = (h2o_hpack_header_table_entry_t){NULL, NULL, NULL};
    }
    entries->hpack_size = 0;
}

struct h2_block h2_table_begin(h2o_http2_conn_t *conn, const struct h2_table *table)
{
    h2o_hpack_header_table_t *entries = &conn->_output_header_table;
    const size_t wanted = conn->peer_settings.header_table_size;
    const bool was_smaller = table->is_asked && table->asked_least < entries->hpack_capacity;
    struct h2_block block = {.at = conn->_write.buf->size,
                             .capacity_before = entries->hpack_capacity,
                             .has_shrunk = was_smaller || wanted < entries->hpack_capacity};
    if (block.has_shrunk) {
        empty(entries);
        entries->hpack_capacity = wanted < entries->hpack_capacity ? wanted : entries->hpack_capacity;
    }
    return block;
}

/* The table is emptied, then it has its new size (RFC 7541 §6.3): on its way there the client may have wanted less. */
static size_t put_resize(uint8_t *out, size_t capacity)
{
    enum { RESIZE = 0x20, PREFIX_MAX = 31 };
    uint8_t *at = out;
    *at++ = RESIZE;
    if (capacity < PREFIX_MAX) {
        *at++ = (uint8_t)(RESIZE | capacity);
        return (size_t)(at - out);
    }
    *at++ = RESIZE | PREFIX_MAX;
    for (capacity -= PREFIX_MAX; capacity > 127; capacity >>= 7)
        *at++ = (uint8_t)(0x80 | (capacity & 0x7f));
    *at++ = (uint8_t)capacity;
    return (size_t)(at - out);
}

void h2_table_grow_block(h2o_http2_conn_t *conn, const struct h2_block *block, size_t len)
{
    uint8_t *frame = (uint8_t *)conn->_write.buf->bytes + block->at;
    const size_t block_len = h2o_http2_decode24u(frame);
    pm_assert(conn->_write.buf->size - block->at == H2O_HTTP2_FRAME_HEADER_SIZE + block_len &&
              frame[3] == H2O_HTTP2_FRAME_TYPE_HEADERS && block_len + len <= H2O_HTTP2_SETTINGS_DEFAULT.max_frame_size);
    (void)h2o_http2_encode24u(frame, (uint32_t)(block_len + len));
    conn->_write.buf->size += len;
}

bool h2_table_end(h2o_http2_conn_t *conn, struct h2_table *table, const struct h2_block *block)
{
    h2o_hpack_header_table_t *entries = &conn->_output_header_table;
    if (conn->_write.buf->size == block->at) {
        entries->hpack_capacity = block->capacity_before; /* shrinks, and is said, with the next */
        return false;
    }
    table->is_asked = false;
    if (!block->has_shrunk)
        return true;
    uint8_t bytes[RESIZE_LEN_MAX];
    const size_t len = put_resize(bytes, entries->hpack_capacity);
    (void)h2o_buffer_reserve(&conn->_write.buf, len);
    uint8_t *fields = (uint8_t *)conn->_write.buf->bytes + block->at + H2O_HTTP2_FRAME_HEADER_SIZE;
    memmove(fields + len, fields, conn->_write.buf->size - block->at - H2O_HTTP2_FRAME_HEADER_SIZE);
    memcpy(fields, bytes, len);
    h2_table_grow_block(conn, block, len);
    return true;
}
