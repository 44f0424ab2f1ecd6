#include "h2_fields.h"

#include <string.h>

#include "khash.h"

#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#include <h2o/version.h>

#include "check.h"

_Static_assert(H2O_VERSION_MAJOR == 2 && H2O_VERSION_MINOR == 2 && H2O_VERSION_PATCH == 5,
               "h2_fields.c knows the insides of this version and of no other");

enum {
    TABLE_ENTRIES_MAX = 32, /* that libh2o enters */
    INDEX_NEWEST = 62,      /* of the newest entry: behind the static table (RFC 7541 §2.3.3) */
    INDEX_PREFIX_MAX = 15,  /* what four bits hold of an index; the rest of it takes a byte (RFC 7541 §5.1) */
    FIELD_FRAME_LEN = 3,    /* what a field takes besides its texts */
    RESIZE_LEN_MAX = 8,
};

enum place_kind { PLACE_NONE, PLACE_NAME, PLACE_WHOLE };

/* Where the table has a field. */
struct place {
    enum place_kind kind;
    uint8_t index;
};

static bool is_same(const h2o_iovec_t *a, const h2o_iovec_t *b)
{
    return a->len == b->len && memcmp(a->base, b->base, a->len) == 0;
}

static enum place_kind place_kind_of(const h2o_hpack_header_table_entry_t *entry, const struct h2_field *field)
{
    if (!is_same(entry->name, &field->name))
        return PLACE_NONE;
    if (field->is_changing)
        return PLACE_NAME;
    return is_same(entry->value, &field->value) ? PLACE_WHOLE : PLACE_NONE;
}

/* Of a field that is not where it was. */
static struct place search_place(const h2o_hpack_header_table_t *table, const struct h2_field *field, uint8_t *hint)
{
    for (size_t i = 0, at = table->entry_start_index; i < table->num_entries; i++) {
        enum place_kind kind = place_kind_of(&table->entries[at], field);
        if (kind != PLACE_NONE) {
            *hint = (uint8_t)i;
            return (struct place){kind, (uint8_t)(INDEX_NEWEST + i)};
        }
        at = at + 1 == table->entry_capacity ? 0 : at + 1;
    }
    return (struct place){PLACE_NONE, 0};
}

/* Sets the places of those fields that are in the table. Returns whether all are. */
static bool find_places(const h2o_hpack_header_table_t *table, const struct h2_fields *fields, struct h2_hints *hints,
                        struct place *places)
{
    bool has_all = true;
    for (size_t k = 0; k < fields->count; k++) {
        const struct h2_field *field = &fields->items[k];
        const size_t hint = hints->distances[k];
        places[k].kind = PLACE_NONE;
        if (hint < table->num_entries) {
            size_t at = table->entry_start_index + hint;
            at = at < table->entry_capacity ? at : at - table->entry_capacity;
            places[k] = (struct place){place_kind_of(&table->entries[at], field), (uint8_t)(INDEX_NEWEST + hint)};
        }
        if (places[k].kind == PLACE_NONE)
            places[k] = search_place(table, field, &hints->distances[k]);
        has_all &= places[k].kind != PLACE_NONE;
    }
    return has_all;
}

void h2_fields_init(struct h2_fields *fields)
{
    fields->count = 0;
}

void h2_fields_add(struct h2_fields *fields, h2o_iovec_t name, h2o_iovec_t value, bool is_changing)
{
    pm_assert(fields->count < H2_FIELDS_MAX && name.len <= H2_FIELD_PART_LEN_MAX && value.len <= H2_FIELD_PART_LEN_MAX);
    fields->items[fields->count++] = (struct h2_field){name, value, is_changing};
}

/* Leaves it to libh2o to send and enter those that are not in the table, and takes them from the others. */
static void leave_unknown(h2o_req_t *req, struct h2_fields *fields, const struct place *places)
{
    size_t kept = 0;
    for (size_t i = 0; i < fields->count; i++) {
        const struct h2_field *field = &fields->items[i];
        if (places[i].kind == PLACE_NONE)
            h2o_add_header_by_str(&req->pool, &req->res.headers, field->name.base, field->name.len, 1, NULL,
                                  field->value.base, field->value.len);
        else
            fields->items[kept++] = *field;
    }
    fields->count = kept;
}

static uint8_t *put_text(uint8_t *at, h2o_iovec_t text)
{
    *at++ = (uint8_t)text.len;
    memcpy(at, text.base, text.len);
    return at + text.len;
}

static uint8_t *put_field(uint8_t *at, const struct h2_field *field, struct place place)
{
    if (place.kind == PLACE_WHOLE) {
        *at++ = 0x80 | place.index;
        return at;
    }
    if (place.kind == PLACE_NAME) {
        *at++ = INDEX_PREFIX_MAX;
        *at++ = (uint8_t)(place.index - INDEX_PREFIX_MAX);
    } else {
        *at++ = 0; /* pushed out by what this very answer has entered */
        at = put_text(at, field->name);
    }
    return put_text(at, field->value);
}

/* ---- the table's size ---- */

/* Returns whether the client wants a smaller table than there is; it is empty then. */
static bool shrink_table(h2o_http2_conn_t *conn)
{
    h2o_hpack_header_table_t *table = &conn->_output_header_table;
    if (conn->peer_settings.header_table_size >= table->hpack_capacity)
        return false;
    for (; table->num_entries > 0; table->num_entries--) {
        h2o_hpack_header_table_entry_t *entry = h2o_hpack_header_table_get(table, table->num_entries - 1);
        if (!h2o_iovec_is_token(entry->name))
            h2o_mem_release_shared(entry->name);
        h2o_mem_release_shared(entry->value);
        *entry = (h2o_hpack_header_table_entry_t){NULL, NULL, NULL};
    }
    table->hpack_size = 0;
    table->hpack_capacity = conn->peer_settings.header_table_size;
    return true;
}

/*
 * How a block begins whose table has shrunk: the table is emptied, then it has its new size (RFC 7541 §4.2, §6.3).
 * Emptied because the client may have wanted an even smaller one on its way to this one.
 */
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

/* ---- sending ---- */

/* The HEADERS frame that libh2o has written at this place of the connection's buffer; it is the last one. */
static uint8_t *frame_at(const h2o_http2_conn_t *conn, size_t at)
{
    uint8_t *frame = (uint8_t *)conn->_write.buf->bytes + at;
    pm_assert(conn->_write.buf->size - at == H2O_HTTP2_FRAME_HEADER_SIZE + h2o_http2_decode24u(frame) &&
              frame[3] == H2O_HTTP2_FRAME_TYPE_HEADERS);
    return frame;
}

static void grow_frame(h2o_http2_conn_t *conn, uint8_t *frame, size_t len)
{
    size_t block_len = h2o_http2_decode24u(frame) + len;
    pm_assert(block_len <= H2O_HTTP2_SETTINGS_DEFAULT.max_frame_size);
    (void)h2o_http2_encode24u(frame, (uint32_t)block_len);
    conn->_write.buf->size += len;
}

static void append(h2o_http2_conn_t *conn, size_t at, const struct h2_fields *fields, const struct place *places)
{
    size_t room = 0;
    for (size_t i = 0; i < fields->count; i++)
        room += FIELD_FRAME_LEN + fields->items[i].name.len + fields->items[i].value.len;
    uint8_t *start = (uint8_t *)h2o_buffer_reserve(&conn->_write.buf, room).base;
    uint8_t *end = start;
    for (size_t i = 0; i < fields->count; i++)
        end = put_field(end, &fields->items[i], places[i]);
    grow_frame(conn, frame_at(conn, at), (size_t)(end - start));
}

static void begin_with_resize(h2o_http2_conn_t *conn, size_t at)
{
    uint8_t bytes[RESIZE_LEN_MAX];
    size_t len = put_resize(bytes, conn->_output_header_table.hpack_capacity);
    (void)h2o_buffer_reserve(&conn->_write.buf, len);
    uint8_t *frame = frame_at(conn, at);
    uint8_t *block = frame + H2O_HTTP2_FRAME_HEADER_SIZE;
    memmove(block + len, block, h2o_http2_decode24u(frame));
    memcpy(block, bytes, len);
    grow_frame(conn, frame, len);
}

void h2_fields_send(h2o_req_t *req, h2o_generator_t *generator, h2o_iovec_t *body, size_t count,
                    struct h2_fields *fields, struct h2_hints *hints)
{
    h2o_http2_conn_t *conn = (h2o_http2_conn_t *)req->conn;
    h2o_hpack_header_table_t *table = &conn->_output_header_table;
    struct place places[H2_FIELDS_MAX];
    const size_t at = conn->_write.buf->size;
    const size_t capacity = table->hpack_capacity;
    const bool has_shrunk = shrink_table(conn);
    const bool is_complete = find_places(table, fields, hints, places);
    const size_t newest = table->entry_start_index;
    if (!is_complete)
        leave_unknown(req, fields, places);
    h2o_start_response(req, generator);
    h2o_send(req, body, count, H2O_SEND_STATE_FINAL);
    if (conn->_write.buf->size == at) { /* the client has reset the stream: libh2o throws the answer away */
        table->hpack_capacity = capacity;
        return;
    }
    if (!is_complete || table->entry_start_index != newest)
        (void)find_places(table, fields, hints, places);
    append(conn, at, fields, places);
    if (has_shrunk)
        begin_with_resize(conn, at);
}
