#include "decode_fields.h"

#include <string.h>

#include "text.h"
#include "utf8.h"

/* Room for an escaped value that can mean something: words, numbers and times are shorter; nobody escapes their letters
 * anyway. */
enum { SCRATCH_LEN_MAX = 64 };

bool field_is_said(struct field field)
{
    enum json_kind kind = field.value->kind;
    return kind != JSON_ABSENT && kind != JSON_NULL && !(kind == JSON_STRING && field.value->len == 0);
}

struct field fields_pick(const struct fields *fields, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        struct field field = {&fields->values[i], fields->labels[i]};
        if (field_is_said(field))
            return field;
    }
    return (struct field){&fields->values[first], fields->labels[first]};
}

struct field field_or(struct field a, struct field b)
{
    return field_is_said(a) ? a : b;
}

bool field_is_id(struct field field)
{
    return field_is_said(field) && (field.value->kind == JSON_STRING || field.value->kind == JSON_NUMBER);
}

enum status decoded_refuse(struct decoded *out, enum status status, const char *label)
{
    out->field = label;
    return status;
}

/* The text of a string or a number; false for every other kind, and for an escaped string that is too long to matter.
 */
static bool field_text(struct field field, char scratch[SCRATCH_LEN_MAX], const char **text, size_t *len)
{
    if (field.value->kind == JSON_STRING)
        return json_string(field.value, scratch, SCRATCH_LEN_MAX, text, len) == STATUS_OK;
    *text = field.value->bytes;
    *len = field.value->len;
    return field.value->kind == JSON_NUMBER;
}

/* Compares with a lower-case word, in any case of letters. */
static bool is_word(const char *text, size_t len, const char *word)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
        /* The word's terminator differs from every c but an embedded NUL, which its own check refuses. */
        if (c != word[i] || c == '\0')
            return false;
    }
    return word[len] == '\0';
}

enum status decode_open(const char *body, size_t len, struct decoded *out, struct json_value *root)
{
    memset(out, 0, sizeof *out);
    if (len > BODY_LEN_MAX)
        return STATUS_TOO_LARGE;
    enum status status = json_check(body, len, root);
    if (status != STATUS_OK)
        return status;
    if (root->kind != JSON_OBJECT)
        return decoded_refuse(out, STATUS_MISSING_FIELD, "event_type");
    return STATUS_OK;
}

void decode_trace_id(struct field field, struct decoded *out)
{
    if (!field_is_id(field))
        return;
    /* One byte more than fits, so that the cut sees whether it falls into a character. */
    char scratch[sizeof out->trace_id];
    size_t offset = 0;
    size_t len = json_string_piece(field.value, &offset, scratch, sizeof scratch);
    len = utf8_cut(scratch, len, sizeof out->trace_id - 1);
    const char *nul = memchr(scratch, '\0', len);
    if (nul != NULL)
        len = (size_t)(nul - scratch);
    memcpy(out->trace_id, scratch, len);
    out->trace_id[len] = '\0';
}

enum status decode_word(struct field field, const struct word *words, size_t count, enum status otherwise,
                        struct decoded *out, uint8_t *meaning)
{
    char scratch[SCRATCH_LEN_MAX];
    const char *text;
    size_t len;
    if (field_text(field, scratch, &text, &len)) {
        for (size_t i = 0; i < count; i++) {
            if (is_word(text, len, words[i].text)) {
                *meaning = words[i].meaning;
                return STATUS_OK;
            }
        }
    }
    return decoded_refuse(out, otherwise, field.label);
}

enum status decode_flag(struct field field, enum status otherwise, struct decoded *out, bool *flag)
{
    static const struct word words[] = {{"true", true},   {"1", true},  {"yes", true}, {"on", true},   {"t", true},
                                        {"false", false}, {"0", false}, {"no", false}, {"off", false}, {"f", false}};
    *flag = field.value->kind == JSON_TRUE;
    if (*flag || field.value->kind == JSON_FALSE || !field_is_said(field))
        return STATUS_OK;
    uint8_t meaning = false;
    enum status status = decode_word(field, words, sizeof words / sizeof words[0], otherwise, out, &meaning);
    *flag = meaning != 0;
    return status;
}

enum status decode_decimal(struct field field, enum decimal_excess excess, struct decoded *out, struct decimal *value)
{
    char scratch[SCRATCH_LEN_MAX];
    const char *text;
    size_t len;
    enum status status = STATUS_BAD_NUMBER;
    if (field_text(field, scratch, &text, &len))
        status = decimal_parse(text, len, excess, value);
    return status == STATUS_OK ? STATUS_OK : decoded_refuse(out, status, field.label);
}

enum status decode_time(struct field field, struct decoded *out, int64_t *us)
{
    char scratch[SCRATCH_LEN_MAX];
    const char *text;
    size_t len;
    if (field_text(field, scratch, &text, &len) && time_parse(text, len, us) == STATUS_OK)
        return STATUS_OK;
    return decoded_refuse(out, STATUS_BAD_TIME, field.label);
}

enum status decode_asset(struct field field, const struct asset_pattern *pattern, struct decoded *out)
{
    if (!field_is_said(field))
        return decoded_refuse(out, STATUS_MISSING_FIELD, field.label);
    char scratch[SCRATCH_LEN_MAX];
    const char *text;
    size_t len;
    if (field.value->kind == JSON_STRING && field_text(field, scratch, &text, &len) &&
        asset_parse(pattern, text, len, out->asset) == STATUS_OK)
        return STATUS_OK;
    return decoded_refuse(out, STATUS_BAD_ASSET, field.label);
}

enum status decode_mode(struct field mode_field, struct field index_field, struct decoded *out, uint8_t *mode,
                        uint8_t *leg)
{
    static const struct word indexes[] = {{"0", LEG_NONE}, {"1", LEG_LONG}, {"2", LEG_SHORT}};
    uint8_t index_leg = LEG_NONE;
    if (field_is_said(index_field)) {
        enum status status = decode_word(index_field, indexes, 3, STATUS_BAD_MODE, out, &index_leg);
        if (status != STATUS_OK)
            return status;
    }
    enum position_mode said = index_leg == LEG_NONE ? POSITION_MODE_ONE_WAY : POSITION_MODE_HEDGE;
    if (field_is_said(mode_field)) {
        char scratch[SCRATCH_LEN_MAX];
        const char *text;
        size_t len;
        if (!field_text(mode_field, scratch, &text, &len) || position_mode_parse(text, len, &said) != STATUS_OK)
            return decoded_refuse(out, STATUS_BAD_MODE, mode_field.label);
    }
    *mode = (uint8_t)said;
    *leg = said == POSITION_MODE_HEDGE ? index_leg : (uint8_t)LEG_NONE;
    return STATUS_OK;
}
