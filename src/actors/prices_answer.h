/*
 * prices_answer: what the price service says (contract §5.3): `result.list[0].markPrice`, else `lastPrice`.
 *
 * Pure. Thread: any.
 */
#ifndef PM_PRICES_ANSWER_H
#define PM_PRICES_ANSWER_H

#include <stddef.h>

#include "decimal.h"

/*
 * Reads the price out of an answer's body. Each may be a JSON string or number; its text counts and is rounded to 8
 * digits. A mark price that is empty, zero or no number is as good as none.
 * Fails: STATUS_NOT_JSON, STATUS_MISSING_FIELD (neither price is there), or what is wrong with the one that is:
 * STATUS_BAD_NUMBER, STATUS_OUT_OF_RANGE, STATUS_NOT_POSITIVE.
 */
enum status prices_answer_parse(const char *body, size_t len, struct decimal *out) PM_MUST_USE;

#endif
