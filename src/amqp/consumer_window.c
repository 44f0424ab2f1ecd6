#include "consumer_window.h"

#include <stdlib.h>

#include "check.h"

void consumer_window_clear(struct consumer_window *window)
{
    for (uint32_t i = 0; i < window->capacity; i++)
        window->slots[i].next = i + 1 < window->capacity ? i + 1 : WINDOW_NONE;
    window->first_free = 0;
    window->head = WINDOW_NONE;
    window->tail = WINDOW_NONE;
    window->open = 0;
    window->settled = 0;
    window->last_tag = 0;
    window->settled_since_us = 0;
}

void consumer_window_init(struct consumer_window *window, uint32_t capacity, uint32_t crowd)
{
    pm_assert(capacity >= 1 && capacity < WINDOW_FRONT && crowd >= 1);
    window->slots = calloc(capacity, sizeof *window->slots);
    pm_assert(window->slots != NULL);
    window->capacity = capacity;
    window->crowd = crowd;
    consumer_window_clear(window);
}

void consumer_window_finish(struct consumer_window *window)
{
    free(window->slots);
    *window = (struct consumer_window){0};
}

uint32_t consumer_window_add(struct consumer_window *window, uint64_t tag, int64_t now_us)
{
    uint32_t slot = window->first_free;
    if (slot == WINDOW_NONE || tag <= window->last_tag)
        return WINDOW_NONE;
    struct window_slot *at = &window->slots[slot];
    window->first_free = at->next;
    *at = (struct window_slot){.tag = tag, .added_at_us = now_us, .previous = window->tail, .next = WINDOW_NONE};
    if (window->tail != WINDOW_NONE)
        window->slots[window->tail].next = slot;
    else
        window->head = slot;
    window->tail = slot;
    window->last_tag = tag;
    window->open++;
    return slot;
}

void consumer_window_settle(struct consumer_window *window, uint32_t slot, int64_t now_us)
{
    pm_assert(slot < window->capacity && !window->slots[slot].settled && window->open > window->settled);
    window->slots[slot].settled = true;
    if (window->settled++ == 0)
        window->settled_since_us = now_us;
}

static void take(struct consumer_window *window, uint32_t slot, struct window_slot *out, int64_t now_us)
{
    struct window_slot *at = &window->slots[slot];
    *out = *at;
    if (at->previous != WINDOW_NONE)
        window->slots[at->previous].next = at->next;
    else
        window->head = at->next;
    if (at->next != WINDOW_NONE)
        window->slots[at->next].previous = at->previous;
    else
        window->tail = at->previous;
    at->next = window->first_free;
    at->settled = false;
    window->first_free = slot;
    window->open--;
    window->settled--;
    window->settled_since_us = now_us;
}

bool consumer_window_take_front(struct consumer_window *window, struct window_slot *out, int64_t now_us)
{
    uint32_t slot = window->head;
    if (slot == WINDOW_NONE || !window->slots[slot].settled)
        return false;
    take(window, slot, out, now_us);
    return true;
}

bool consumer_window_take_behind(struct consumer_window *window, uint32_t *cursor, struct window_slot *out,
                                 int64_t now_us)
{
    uint32_t slot = *cursor == WINDOW_FRONT ? window->head : *cursor;
    while (slot != WINDOW_NONE && !window->slots[slot].settled)
        slot = window->slots[slot].next;
    *cursor = slot == WINDOW_NONE ? WINDOW_NONE : window->slots[slot].next;
    if (slot == WINDOW_NONE)
        return false;
    take(window, slot, out, now_us);
    return true;
}

static bool front_is_settled(const struct consumer_window *window)
{
    return window->head != WINDOW_NONE && window->slots[window->head].settled;
}

bool consumer_window_front_is_due(const struct consumer_window *window, int64_t now_us)
{
    if (!front_is_settled(window))
        return false;
    return window->settled == window->open || window->settled >= WINDOW_BATCH_LEN ||
           now_us - window->settled_since_us >= WINDOW_DELAY_US;
}

bool consumer_window_behind_is_due(const struct consumer_window *window, int64_t now_us)
{
    if (window->settled == 0 || front_is_settled(window))
        return false;
    bool is_late = now_us - window->slots[window->head].added_at_us >= WINDOW_LATE_AFTER_US;
    bool is_batch = window->settled >= WINDOW_BATCH_LEN || now_us - window->settled_since_us >= WINDOW_DELAY_US;
    return window->settled >= window->crowd || (is_late && is_batch);
}

int64_t consumer_window_deadline_us(const struct consumer_window *window)
{
    if (window->settled == 0)
        return WINDOW_NO_DEADLINE;
    int64_t batch_at_us = window->settled_since_us + WINDOW_DELAY_US;
    if (front_is_settled(window))
        return batch_at_us;
    int64_t late_at_us = window->slots[window->head].added_at_us + WINDOW_LATE_AFTER_US;
    return late_at_us > batch_at_us ? late_at_us : batch_at_us;
}

int64_t consumer_window_oldest_at_us(const struct consumer_window *window)
{
    return window->head == WINDOW_NONE ? 0 : window->slots[window->head].added_at_us;
}
