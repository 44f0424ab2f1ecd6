/*
 * position_rows: positions as rows of the shared table and back, whatever the table's own column types are.
 *
 * The table may be older than us or have columns of others: the statements are made for the table that is there
 * (position_sql_open), numbers and times are read through casts, and others' columns that must not be null are filled.
 * Thread: one at a time per object.
 */
#ifndef PM_POSITION_ROWS_H
#define PM_POSITION_ROWS_H

#include "binary_array.h"
#include "pg.h"
#include "position.h"

enum {
    POSITION_COLUMN_COUNT = 24,
    POSITION_PARAM_COUNT = POSITION_COLUMN_COUNT + 1, /* and the expected version */
    POSITION_ORDINAL = POSITION_COLUMN_COUNT, /* the column of .find that says which parameter element a row answers */
};

/* Statements for the table as it is; heap. */
struct position_sql {
    char *load;    /* every row */
    char *find;    /* $1 assets, $2 modes: the rows and their ordinals (from 1) */
    char *update;  /* $1..$24 of struct position_params: rows at their expected versions */
    char *insert;  /* the same: rows that are not there */
    char *confirm; /* $1 identifiers, $2 versions: how many of these rows are at that version or beyond */
};

/*
 * Looks at the table and makes the statements. Outside of pipeline mode.
 * Fails: STATUS_INVALID (the table cannot be used: logged), or as pg_query().
 */
enum status position_sql_open(struct pg_connection *connection, struct position_sql *out) PM_MUST_USE;
void position_sql_close(struct position_sql *sql);

/* The parameters of .update and .insert. */
struct position_params {
    struct binary_array arrays[POSITION_PARAM_COUNT];
};
void position_params_clear(struct position_params *params);
void position_params_add(struct position_params *params, const struct position *position, int32_t expected_version);
size_t position_params_count(const struct position_params *params);
void position_params_finish(struct position_params *params, struct pg_param values[POSITION_PARAM_COUNT]);
/* The parameters of .confirm. */
void position_params_for_confirm(struct position_params *params, struct pg_param values[2]);
void position_params_free(struct position_params *params);

/*
 * Reads row number `row` of .load or .find. NULL figures are read as the contract says; what follows from other columns
 * is made to fit (a flat position has no average, a hedge position's size is that of its legs). Fails: STATUS_INVALID,
 * logged with asset and column: the row holds what our types cannot; STATUS_NOT_FOUND, logged too: by its asset or mode
 * it is no position of ours.
 */
enum status position_from_row(const PGresult *result, int row, struct position *out) PM_MUST_USE;

#endif
