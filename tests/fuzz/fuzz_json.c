#include <json.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "json_scan.h"

/* json_members takes names of up to this length; a number of fewer digits than this fits json-c's integers. */
enum { NAME_LEN_MAX = 31, INTEGER_DIGITS_MAX = 18 };

struct input {
    const uint8_t *data;
    size_t len;
};

/* json-c's tree of the same bytes, NULL if it does not accept them. A JSON null is NULL too. */
static struct json_object *parse_other(const struct input *input, enum json_tokener_error *error)
{
    /* With its terminator, which is how json-c knows that a number is over. */
    char *text = malloc(input->len + 1);
    if (text == NULL)
        abort();
    if (input->len > 0)
        memcpy(text, input->data, input->len);
    text[input->len] = '\0';
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 4);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *tree = json_tokener_parse_ex(tokener, text, (int)input->len + 1);
    *error = json_tokener_get_error(tokener);
    json_tokener_free(tokener);
    free(text);
    return tree;
}

static void compare_string(const struct json_value *value, struct json_object *other, const struct input *input)
{
    char *buffer = malloc(value->len + 1);
    const char *bytes;
    size_t len;
    if (buffer == NULL)
        abort();
    fuzz_expect(json_string(value, buffer, value->len, &bytes, &len) == STATUS_OK, input->data, input->len);
    fuzz_expect(len == (size_t)json_object_get_string_len(other), input->data, input->len);
    fuzz_expect(memcmp(bytes, json_object_get_string(other), len) == 0, input->data, input->len);
    free(buffer);
}

/* json-c keeps the text of what it takes for a double; integers it reads, "-0" as 0, and long ones it saturates. */
static void compare_number(const struct json_value *value, struct json_object *other, const struct input *input)
{
    if (json_object_get_type(other) == json_type_int) {
        char digits[INTEGER_DIGITS_MAX + 1];
        if (value->len > INTEGER_DIGITS_MAX)
            return;
        memcpy(digits, value->bytes, value->len);
        digits[value->len] = '\0';
        fuzz_expect(strtoll(digits, NULL, 10) == json_object_get_int64(other), input->data, input->len);
        return;
    }
    const char *text = json_object_get_string(other);
    fuzz_expect(strlen(text) == value->len && memcmp(text, value->bytes, value->len) == 0, input->data, input->len);
}

static void compare(const struct json_value *value, struct json_object *other, const struct input *input);

static void compare_members(const struct json_value *object, struct json_object *other, const struct input *input)
{
    json_object_object_foreach(other, key, member)
    {
        if (strlen(key) > NAME_LEN_MAX)
            continue;
        const char *const names[] = {key};
        struct json_value value;
        json_members(object, names, 1, &value);
        fuzz_expect(value.kind != JSON_ABSENT, input->data, input->len);
        compare(&value, member, input);
    }
}

static void compare(const struct json_value *value, struct json_object *other, const struct input *input)
{
    static const enum json_type types[] = {
        [JSON_NULL] = json_type_null,     [JSON_TRUE] = json_type_boolean,  [JSON_FALSE] = json_type_boolean,
        [JSON_STRING] = json_type_string, [JSON_OBJECT] = json_type_object, [JSON_ARRAY] = json_type_array,
    };
    enum json_type type = json_object_get_type(other);
    if (value->kind == JSON_NUMBER) {
        fuzz_expect(type == json_type_int || type == json_type_double, input->data, input->len);
        compare_number(value, other, input);
        return;
    }
    fuzz_expect(value->kind != JSON_ABSENT && type == types[value->kind], input->data, input->len);
    if (type == json_type_boolean)
        fuzz_expect((value->kind == JSON_TRUE) == (json_object_get_boolean(other) != 0), input->data, input->len);
    if (type == json_type_string)
        compare_string(value, other, input);
    if (type == json_type_object)
        compare_members(value, other, input);
}

void fuzz_json(const uint8_t *data, size_t len)
{
    struct input input = {data, len};
    struct json_value root;
    if (json_check((const char *)data, len, &root) != STATUS_OK)
        return;
    enum json_tokener_error error;
    struct json_object *tree = parse_other(&input, &error);
    fuzz_expect(error == json_tokener_success, data, len);
    /* A NUL ends json-c's keys, so two of them may be one there. */
    if (memmem(data, len, "\\u0000", 6) == NULL)
        compare(&root, tree, &input);
    json_object_put(tree);
}
