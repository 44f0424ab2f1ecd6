/*
 * metrics_positions: the families of single positions and of their distributions, from a survey's result.
 *
 * Distributions have the type histogram, since the format has no other for them; they describe the present, so their
 * counts also fall, and nobody should take a rate of them.
 */
#ifndef PM_METRICS_POSITIONS_H
#define PM_METRICS_POSITIONS_H

#include <stdint.h>
#include <stdio.h>

#include "metrics_survey.h"

/* now_us: wall, for ages. Thread: any. */
void positions_metrics_write(FILE *page, const struct survey_result *result, int64_t now_us);

#endif
