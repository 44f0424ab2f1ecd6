/*
 * orders_fold: what the orders of one asset add up to, and how that compares with a stored position (contract §5.2).
 *
 * Orders are folded by the same rules as fills (execution.h), so the average is exact. Pure. Thread: any.
 */
#ifndef PM_ORDERS_FOLD_H
#define PM_ORDERS_FOLD_H

#include "encode.h"
#include "position.h"

struct orders_fold {
    struct position position; /* one-way, in memory only, its asset a stand-in: the table's may be anything */
    size_t order_count;
    bool is_average_unknown; /* an order that adds to what is open said no price; known again once flat */
    bool is_broken;          /* a number could not be read or the totals do not fit: nothing can be said */
};

/* Starts anew. */
void orders_fold_begin(struct orders_fold *fold);

/* Adds one order, in the order of execution. quantity: above zero; price: NULL or not above zero: not said. */
void orders_fold_add(struct orders_fold *fold, bool is_buy, const char *quantity, const char *price);

struct orders_tolerance {
    struct decimal size;    /* absolute */
    struct decimal average; /* relative to the stored average */
};

/*
 * Compares; *out says what differs, without .updated_position. Hedge positions are compared by their net size only.
 * Without orders, or with a broken fold, the result is valid and its message says that nothing was compared.
 */
void orders_fold_compare(const struct orders_fold *fold, const struct position *stored,
                         const struct orders_tolerance *tolerance, struct validation_result *out);

#endif
