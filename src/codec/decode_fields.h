/*
 * decode_fields: what both decoders do with a member of a message: whether it says something, and its value.
 *
 * Internal to codec. A field is where a value stands and the literal by which a refusal names it. "Said" means there,
 * not null and not an empty string (contract §3.1). The readers below expect a field that is said, and refuse in the
 * name of the label. Thread: any.
 */
#ifndef PM_DECODE_FIELDS_H
#define PM_DECODE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode.h"
#include "json_scan.h"

struct field {
    const struct json_value *value;
    const char *label;
};

/* The members of one object, as json_members found them, with their labels. Aliases stand next to each other. */
struct fields {
    const struct json_value *values;
    const char *const *labels;
};

/* A word and what it means. */
struct word {
    const char *text;
    uint8_t meaning;
};

bool field_is_said(struct field field);
/* The first of `count` aliases that is said; the first of them all if none is, so that its label can be missed. */
struct field fields_pick(const struct fields *fields, size_t first, size_t count);
/* a if it is said, else b. */
struct field field_or(struct field a, struct field b);
/* Said, and a string or a number, which is all that can name something. */
bool field_is_id(struct field field);

/* Notes the field and returns the status. */
enum status decoded_refuse(struct decoded *out, enum status status, const char *label);

/*
 * Empties *out and checks the body; root: the outermost object.
 * Fails: STATUS_TOO_LARGE, STATUS_NOT_JSON, STATUS_TOO_DEEP, STATUS_MISSING_FIELD (JSON, but no object).
 */
enum status decode_open(const char *body, size_t len, struct decoded *out, struct json_value *root) PM_MUST_USE;
/* Takes over the trace id, cut to what fits; what is no string or number is passed over. */
void decode_trace_id(struct field field, struct decoded *out);

/* Looks a string up, in any case of letters. Fails: `otherwise`. */
enum status decode_word(struct field field, const struct word *words, size_t count, enum status otherwise,
                        struct decoded *out, uint8_t *meaning) PM_MUST_USE;
/* true/false/1/0/yes/no/on/off/t/f, in any case of letters; not said: false. Fails: `otherwise`. */
enum status decode_flag(struct field field, enum status otherwise, struct decoded *out, bool *flag) PM_MUST_USE;
/* Fails: STATUS_BAD_NUMBER, STATUS_OUT_OF_RANGE. */
enum status decode_decimal(struct field field, enum decimal_excess excess, struct decoded *out,
                           struct decimal *value) PM_MUST_USE;
/* Fails: STATUS_BAD_TIME. */
enum status decode_time(struct field field, struct decoded *out, int64_t *us) PM_MUST_USE;
/* Into out->asset. Fails: STATUS_MISSING_FIELD, STATUS_BAD_ASSET. */
enum status decode_asset(struct field field, const struct asset_pattern *pattern, struct decoded *out) PM_MUST_USE;
/*
 * The mode, said or implied by positionIdx (one-way where neither says), and the leg that positionIdx names in hedge
 * mode. Either field may be unsaid. Fails: STATUS_BAD_MODE.
 */
enum status decode_mode(struct field mode_field, struct field index_field, struct decoded *out, uint8_t *mode,
                        uint8_t *leg) PM_MUST_USE;

#endif
