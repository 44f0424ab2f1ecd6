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
};
_Static_assert(INDEX_NEWEST + TABLE_ENTRIES_MAX <= 127, "an index takes a byte, and behind a prefix of four bits too");

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
static bool find_places(const h2o_hpack_header_table_t *table, const struct h2_fields *fields, struct h2_client *client,
                        struct place *places)
{
    bool has_all = true;
    for (size_t k = 0; k < fields->count; k++) {
        const struct h2_field *field = &fields->items[k];
        const size_t hint = client->distances[k];
        places[k].kind = PLACE_NONE;
        if (hint < table->num_entries) {
            size_t at = table->entry_start_index + hint;
            at = at < table->entry_capacity ? at : at - table->entry_capacity;
            places[k] = (struct place){place_kind_of(&table->entries[at], field), (uint8_t)(INDEX_NEWEST + hint)};
        }
        if (places[k].kind == PLACE_NONE)
            places[k] = search_place(table, field, &client->distances[k]);
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
    fields->items[fields->count++] = (struct h2_field){name, value, is_changing, false};
}

/* Leaves it to libh2o to send and enter those that are not in the table. */
static void leave_unknown(h2o_req_t *req, struct h2_fields *fields, const struct place *places)
{
    for (size_t i = 0; i < fields->count; i++) {
        struct h2_field *field = &fields->items[i];
        field->is_left = places[i].kind == PLACE_NONE;
        if (field->is_left)
            h2o_add_header_by_str(&req->pool, &req->res.headers, field->name.base, field->name.len, 1, NULL,
                                  field->value.base, field->value.len);
    }
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

static void append(h2o_http2_conn_t *conn, const struct h2_block *block, const struct h2_fields *fields,
                   const struct place *places)
{
    size_t room = 0;
    for (size_t i = 0; i < fields->count; i++)
        room += FIELD_FRAME_LEN + fields->items[i].name.len + fields->items[i].value.len;
    uint8_t *start = (uint8_t *)h2o_buffer_reserve(&conn->_write.buf, room).base;
    uint8_t *end = start;
    for (size_t i = 0; i < fields->count; i++)
        if (!fields->items[i].is_left)
            end = put_field(end, &fields->items[i], places[i]);
    h2_table_grow_block(conn, block, (size_t)(end - start));
}

void h2_fields_send(h2o_req_t *req, h2o_generator_t *generator, h2o_iovec_t *body, size_t count,
                    struct h2_fields *fields, struct h2_client *client)
{
    h2o_http2_conn_t *conn = (h2o_http2_conn_t *)req->conn;
    const h2o_hpack_header_table_t *table = &conn->_output_header_table;
    struct place places[H2_FIELDS_MAX];
    const struct h2_block block = h2_table_begin(conn, &client->table);
    const bool has_all = find_places(table, fields, client, places);
    const size_t newest = table->entry_start_index;
    const size_t entry_count = table->num_entries;
    if (!has_all)
        leave_unknown(req, fields, places);
    h2o_start_response(req, generator);
    h2o_send(req, body, count, H2O_SEND_STATE_FINAL);
    if (!h2_table_end(conn, &client->table, &block))
        return;
    if (table->entry_start_index != newest || table->num_entries != entry_count)
        (void)find_places(table, fields, client, places);
    append(conn, &block, fields, places);
}
