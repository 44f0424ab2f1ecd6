/*
 * subscription: asks the gateway, at the start, to send us positions (contract §5.4); tries until it is said yes to.
 *
 * Lives in the prices actor's thread and uses its HTTP client. 200, 201 and 409 mean subscribed; anything else is
 * logged and tried again after 1, 2, 4 … 60 s, for ever. The key is never logged. Thread: the prices actor's.
 */
#ifndef PM_SUBSCRIPTION_H
#define PM_SUBSCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "prices_web.h"

struct subscription {
    char *url; /* NULL: not wanted */
    const char *api_key;
    int64_t second_us;
    int64_t retry_at_us;    /* steady */
    int64_t retry_after_us; /* where has_failed: becomes retry_at_us in the next turn, which knows the time */
    int64_t wait_us;        /* after the next failure */
    bool has_failed;
    bool is_asking;
    bool is_done;
};

/*
 * url: the gateway's, without a slash at its end; borrowed like api_key. Either NULL or empty: no subscription is
 * wanted. second_us: how long a second of the back-off lasts.
 */
void subscription_init(struct subscription *subscription, const char *url, const char *api_key, int64_t second_us);
void subscription_finish(struct subscription *subscription);

/* Asks if it is time. Returns when it wants to be called again (steady), INT64_MAX: not before an answer, or never. */
int64_t subscription_turn(struct subscription *subscription, struct web_client *client, int64_t now_us);

#endif
