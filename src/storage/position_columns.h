/*
 * position_columns: the columns of `positions` in the one order in which every statement and every reader here names
 * them. Only for position_sql.c and position_rows.c. Thread: any.
 */
#ifndef PM_POSITION_COLUMNS_H
#define PM_POSITION_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "position_rows.h"

enum column_kind { KIND_ID, KIND_TEXT, KIND_MODE, KIND_DECIMAL, KIND_VERSION, KIND_TIME, KIND_WORDS, KIND_FLAG };

struct column {
    const char *name;
    enum column_kind kind;
    bool kept;     /* an update leaves it alone */
    size_t offset; /* of a decimal or a time in struct position */
};

enum {
    COLUMN_ID = 0,
    COLUMN_ASSET = 1,
    COLUMN_MODE = 2,
    COLUMN_VERSION = 13,
    COLUMN_DIGESTS = 22,
    COLUMN_ANNOUNCEMENT_DUE = 23,
    COLUMN_EXPECTED = POSITION_COLUMN_COUNT,
};

extern const struct column position_columns[POSITION_COLUMN_COUNT];

#endif
