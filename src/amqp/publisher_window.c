#include "publisher_window.h"

#include <stdlib.h>

#include "check.h"

static void count_from_one(struct publisher_window *window)
{
    window->oldest = 1;
    window->next = 1;
    window->count = 0;
}

void publisher_window_init(struct publisher_window *window, uint32_t limit)
{
    pm_assert(limit >= 1 && limit <= UINT32_MAX / 4);
    size_t len = 4;
    while (len < (size_t)limit * 2)
        len *= 2;
    *window = (struct publisher_window){.mask = len - 1, .limit = limit};
    window->entries = calloc(len, sizeof *window->entries);
    pm_assert(window->entries != NULL);
    count_from_one(window);
}

void publisher_window_finish(struct publisher_window *window)
{
    pm_assert(window->count == 0);
    free(window->entries);
    *window = (struct publisher_window){0};
}

uint32_t publisher_window_room(const struct publisher_window *window)
{
    uint64_t free_numbers = window->mask + 1 - (window->next - window->oldest);
    uint32_t free_count = window->limit - window->count;
    return free_numbers < free_count ? (uint32_t)free_numbers : free_count;
}

uint64_t publisher_window_push(struct publisher_window *window, struct message *message)
{
    pm_assert(publisher_window_room(window) > 0);
    uint64_t number = window->next++;
    window->entries[number & window->mask] = message;
    window->count++;
    return number;
}

static void take(struct publisher_window *window, uint64_t number, struct message_chain *out)
{
    struct message *message = window->entries[number & window->mask];
    if (message == NULL)
        return;
    window->entries[number & window->mask] = NULL;
    window->count--;
    message_chain_append(out, message);
}

static void pass_over_confirmed(struct publisher_window *window)
{
    while (window->oldest < window->next && window->entries[window->oldest & window->mask] == NULL)
        window->oldest++;
}

enum status publisher_window_confirm(struct publisher_window *window, uint64_t tag, bool multiple,
                                     struct message_chain *out)
{
    if (multiple && tag == 0)
        tag = window->next - 1;
    else if (tag == 0 || tag >= window->next)
        return STATUS_INVALID;
    if (!multiple && tag >= window->oldest)
        take(window, tag, out);
    for (uint64_t number = window->oldest; multiple && number <= tag; number++)
        take(window, number, out);
    pass_over_confirmed(window);
    return STATUS_OK;
}

void publisher_window_take_all(struct publisher_window *window, struct message_chain *out)
{
    for (uint64_t number = window->oldest; number < window->next; number++)
        take(window, number, out);
    count_from_one(window);
}
