/*
 * recount: one position told again from its journal lines, and what does not add up (contract §6: "from it alone size,
 * average, realized PnL and fees of every position can be recounted and explained").
 *
 * Lines come in the order of seq. An execution's line must follow from the state before it by the rules of fills
 * (execution.h). A line holds its price rounded to 8 digits, and that of a cumulative execution may have had more: an
 * average or a realized PnL may differ by what the rounding explains and by nothing more. After a line that does not
 * add up the next one is judged from what that line says, so that one mistake is told once. Pure. Thread: any.
 */
#ifndef PM_RECOUNT_H
#define PM_RECOUNT_H

#include "position.h"

enum journal_source {
    JOURNAL_OPENING,
    JOURNAL_EXECUTION,
    JOURNAL_MARKET,
    JOURNAL_VALIDATION,
    JOURNAL_EXTERNAL,
    JOURNAL_SOURCE_COUNT, /* none that is known */
};

struct journal_line {
    int64_t seq;
    enum journal_source source;
    struct decimal quantity; /* these three: none where it does not apply */
    struct decimal price;
    struct decimal fees;
    struct position after; /* identifier, asset, mode, version, and the eight figures that the journal holds */
};

/* Something that does not add up. */
struct recount_finding {
    const char *asset;
    const char *mode;
    const char *column; /* NULL: .note says it all */
    const char *note;   /* NULL: two figures differ */
    int64_t seq; /* the line; in a finding about the row, the one where the chain broke, else the last; 0: none */
    bool is_row; /* .said stands in the row, .counted in the journal; else .said in the line */
    struct decimal said;
    struct decimal counted;
};

/* Everything in a finding lasts for the call only. */
typedef void recount_report_fn(void *context, const struct recount_finding *finding);

struct recount {
    recount_report_fn *report;
    void *context;
    struct position state; /* after the last line */
    bool is_known;         /* .state is one that can be */
    size_t line_count;
    int64_t last_seq;
    int64_t broken_seq; /* 0: not broken */
};

/* Begins with a position to which nothing has happened. */
void recount_begin(struct recount *recount, recount_report_fn *report, void *context);
void recount_line(struct recount *recount, const struct journal_line *line);
/* Compares the last state with the row; NULL: there is none. */
void recount_finish(struct recount *recount, const struct position *row);

#endif
