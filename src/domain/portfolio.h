/*
 * portfolio: sums over positions (contract §2.4), exact and unbounded by the column type.
 *
 * A position's contribution is computed once per change and added to running totals; the old one is subtracted. All are
 * integers, so totals after any history equal a recount, digit for digit. Pure. Thread: any.
 */
#ifndef PM_PORTFOLIO_H
#define PM_PORTFOLIO_H

#include "position.h"
#include "wide.h"

struct portfolio_totals {
    struct wide exposure;     /* sum of gross size x price, 10^-16; priced positions only */
    struct wide net_exposure; /* sum of size x price, 10^-16: also the portfolio value */
    int128 unrealized_pnl;    /* units of 10^-8 */
    int128 realized_pnl;
    int64_t positions;
    int64_t open;
    int64_t longs;
    int64_t shorts;
    int64_t unpriced; /* open ones without a price */
};

/* What one position adds. */
void portfolio_contribution(const struct position *position, struct portfolio_totals *out);
void portfolio_add(struct portfolio_totals *totals, const struct portfolio_totals *addend);
void portfolio_subtract(struct portfolio_totals *totals, const struct portfolio_totals *subtrahend);

/* A sum of 10^-16 rounded once to units of 10^-8, for output. Sums of any real portfolio fit; asserted. */
int128 portfolio_round(struct wide sum);

/*
 * gross size x price / total exposure, rounded to 8 digits; zero when there is no exposure; none when unpriced (or when
 * it does not fit NUMERIC(20,8), which a total that contains the position cannot bring about).
 */
struct decimal position_size_norm(const struct position *position, struct wide total_exposure);

#endif
