#include "h2_fields.h"

#include <string.h>

#include "khash.h"

#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#include <h2o/version.h>

#include "check.h"

_Static_assert(H2O_VERSION_MAJOR == 2 && H2O_VERSION_MINOR == 2 && H2O_VERSION_PATCH == 5,
               "h2_fields.c knows the insides of this version and of no other");

static void put_part(struct h2_fields *fields, h2o_iovec_t part)
{
    pm_assert(part.len <= H2_FIELD_PART_LEN_MAX && part.len < sizeof fields->bytes - fields->len);
    fields->bytes[fields->len] = (uint8_t)part.len;
    memcpy(fields->bytes + fields->len + 1, part.base, part.len);
    fields->len += 1 + part.len;
}

void h2_fields_init(struct h2_fields *fields)
{
    fields->len = 0;
}

void h2_fields_add(struct h2_fields *fields, h2o_iovec_t name, h2o_iovec_t value)
{
    pm_assert(fields->len < sizeof fields->bytes);
    fields->bytes[fields->len++] = 0x00; /* without indexing, and with a name of its own */
    put_part(fields, name);
    put_part(fields, value);
}

/* at: where in the connection's buffer the answer's HEADERS frame begins; it is the last one. */
static void append(h2o_http2_conn_t *conn, size_t at, const struct h2_fields *fields)
{
    size_t len = conn->_write.buf->size - at;
    if (len == 0)
        return; /* the client has reset the stream: libh2o throws the answer away */
    uint8_t *head = (uint8_t *)conn->_write.buf->bytes + at;
    size_t block_len = h2o_http2_decode24u(head);
    pm_assert(len == H2O_HTTP2_FRAME_HEADER_SIZE + block_len && head[3] == H2O_HTTP2_FRAME_TYPE_HEADERS &&
              block_len + fields->len <= H2O_HTTP2_SETTINGS_DEFAULT.max_frame_size);
    (void)h2o_http2_encode24u(head, (uint32_t)(block_len + fields->len));
    memcpy(h2o_buffer_reserve(&conn->_write.buf, fields->len).base, fields->bytes, fields->len);
    conn->_write.buf->size += fields->len;
}

void h2_fields_send(h2o_req_t *req, h2o_generator_t *generator, h2o_iovec_t *body, size_t count,
                    const struct h2_fields *fields)
{
    h2o_http2_conn_t *conn = (h2o_http2_conn_t *)req->conn;
    size_t at = conn->_write.buf->size;
    h2o_start_response(req, generator);
    h2o_send(req, body, count, H2O_SEND_STATE_FINAL);
    append(conn, at, fields);
}
