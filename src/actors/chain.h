/*
 * chain: a first-in-first-out list of deliveries, linked through their message heads. Costs no memory of its own.
 *
 * A delivery is in one chain at a time. Thread: its owner's.
 */
#ifndef PM_CHAIN_H
#define PM_CHAIN_H

#include "message.h"

struct chain {
    struct delivery *first;
    struct delivery *last;
};

static inline struct delivery *delivery_next(const struct delivery *delivery)
{
    return (struct delivery *)delivery->head.next;
}

static inline bool chain_is_empty(const struct chain *chain)
{
    return chain->first == NULL;
}

static inline void chain_append(struct chain *chain, struct delivery *delivery)
{
    delivery->head.next = NULL;
    if (chain->last != NULL)
        chain->last->head.next = &delivery->head;
    else
        chain->first = delivery;
    chain->last = delivery;
}

static inline void chain_prepend(struct chain *chain, struct delivery *delivery)
{
    delivery->head.next = chain->first == NULL ? NULL : &chain->first->head;
    chain->first = delivery;
    if (chain->last == NULL)
        chain->last = delivery;
}

/* The first, unlinked; NULL if there is none. */
static inline struct delivery *chain_take(struct chain *chain)
{
    struct delivery *first = chain->first;
    if (first == NULL)
        return NULL;
    chain->first = delivery_next(first);
    if (chain->first == NULL)
        chain->last = NULL;
    first->head.next = NULL;
    return first;
}

/* Moves all of `tail` behind `chain`; `tail` is empty then. */
static inline void chain_concat(struct chain *chain, struct chain *tail)
{
    if (tail->first == NULL)
        return;
    if (chain->last != NULL)
        chain->last->head.next = &tail->first->head;
    else
        chain->first = tail->first;
    chain->last = tail->last;
    *tail = (struct chain){NULL, NULL};
}

/* A chain from its first link, as it travels in messages. Cost: its length. */
static inline struct chain chain_of(struct delivery *first)
{
    struct chain chain = {first, first};
    while (chain.last != NULL && chain.last->head.next != NULL)
        chain.last = delivery_next(chain.last);
    return chain;
}

#endif
