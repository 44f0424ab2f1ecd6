/*
 * collect: the positions that one answer is about, gathered first and rendered after, so that every figure of an answer
 * is taken from the same states.
 *
 * All inside one section of the directory, whose views stay valid until its end. Thread: the loop's.
 */
#ifndef PM_COLLECT_H
#define PM_COLLECT_H

#include "loop.h"
#include "wide.h"

struct request;

/* Fill loop->seen, in the directory's order. */
void collect_all(struct loop *loop);
/* Both modes of one asset. asset: terminated, upper case. */
void collect_asset(struct loop *loop, const char *asset);

/* Appends loop->seen to the loop's body as a JSON array of Position objects. */
void collect_render(struct request *request, struct wide total_exposure);

#endif
