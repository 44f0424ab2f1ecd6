#include "prices_answer.h"

#include <json-c/json.h>
#include <string.h>

#include "check.h"

enum { ANSWER_DEPTH_MAX = 16 };

/* A member of an object; NULL where there is no such thing, or it is null. */
static struct json_object *member(struct json_object *object, const char *name)
{
    struct json_object *value = NULL;
    if (json_object_is_type(object, json_type_object))
        (void)json_object_object_get_ex(object, name, &value);
    return value;
}

static struct json_object *first_of_list(struct json_object *root)
{
    struct json_object *list = member(member(root, "result"), "list");
    if (!json_object_is_type(list, json_type_array) || json_object_array_length(list) == 0)
        return NULL;
    return json_object_array_get_idx(list, 0);
}

static enum status price_of(struct json_object *value, struct decimal *out)
{
    bool is_number = json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);
    if (!is_number && !json_object_is_type(value, json_type_string))
        return STATUS_MISSING_FIELD;
    /* json-c keeps the text of a fraction; a whole number that it saturates is beyond our range in any case. */
    const char *text = json_object_get_string(value);
    size_t len = is_number ? strlen(text) : (size_t)json_object_get_string_len(value);
    if (len == 0)
        return STATUS_MISSING_FIELD;
    enum status status = decimal_parse(text, len, DECIMAL_EXCESS_ROUND, out);
    if (status == STATUS_OK && decimal_sign(*out) <= 0)
        return STATUS_NOT_POSITIVE;
    return status;
}

static enum status price_of_ticker(struct json_object *ticker, struct decimal *out)
{
    enum status mark = price_of(member(ticker, "markPrice"), out);
    if (mark == STATUS_OK)
        return STATUS_OK;
    enum status last = price_of(member(ticker, "lastPrice"), out);
    return last == STATUS_MISSING_FIELD ? mark : last;
}

enum status prices_answer_parse(const char *body, size_t len, struct decimal *out)
{
    if (len > INT32_MAX)
        return STATUS_NOT_JSON;
    struct json_tokener *tokener = json_tokener_new_ex(ANSWER_DEPTH_MAX);
    pm_assert(tokener != NULL);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    struct json_object *root = json_tokener_parse_ex(tokener, body, (int)len);
    struct decimal price = DECIMAL_NONE;
    enum status status = root == NULL ? STATUS_NOT_JSON : price_of_ticker(first_of_list(root), &price);
    json_object_put(root);
    json_tokener_free(tokener);
    if (status == STATUS_OK)
        *out = price;
    return status;
}
