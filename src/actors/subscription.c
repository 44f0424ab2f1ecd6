#include "subscription.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log.h"

#define SUBSCRIPTION_PATH "/api/v1/subscriptions"
#define SUBSCRIPTION_BODY "{\"channel_type\":\"position\",\"requesting_service\":\"position-manager\"}"

enum {
    ANSWER_TIMEOUT_MS = 10 * 1000,
    WAIT_MAX_S = 60,
};

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

void subscription_init(struct subscription *subscription, const char *url, const char *api_key, int64_t second_us)
{
    *subscription = (struct subscription){.api_key = api_key, .second_us = second_us, .wait_us = second_us};
    if (!is_set(url) || !is_set(api_key))
        return;
    size_t size = strlen(url) + sizeof SUBSCRIPTION_PATH;
    subscription->url = malloc(size);
    pm_assert(subscription->url != NULL);
    (void)snprintf(subscription->url, size, "%s" SUBSCRIPTION_PATH, url);
}

void subscription_finish(struct subscription *subscription)
{
    free(subscription->url);
    subscription->url = NULL;
}

static void try_again_later(struct subscription *subscription, const char *reason, long code)
{
    int64_t wait_us = subscription->wait_us;
    LOG_EVENT(LOG_LEVEL_WARNING, "gateway_subscription_failed", NULL, log_text("reason", reason),
              log_int("status_code", code), log_int("retry_in_ms", wait_us / 1000));
    subscription->has_failed = true;
    subscription->retry_after_us = wait_us;
    int64_t longest_us = WAIT_MAX_S * subscription->second_us;
    subscription->wait_us = 2 * wait_us < longest_us ? 2 * wait_us : longest_us;
}

static void on_answer(void *context, const struct web_answer *answer)
{
    struct subscription *subscription = context;
    subscription->is_asking = false;
    /* The status is the whole answer: what becomes of the body is of no concern. */
    if (answer->code == 200 || answer->code == 201 || answer->code == 409) {
        subscription->is_done = true;
        LOG_EVENT(LOG_LEVEL_INFO, "gateway_subscribed", NULL, log_int("status_code", answer->code));
    } else {
        try_again_later(subscription, answer->failure == NULL ? "refused" : answer->failure, answer->code);
    }
}

int64_t subscription_turn(struct subscription *subscription, struct web_client *client, int64_t now_us)
{
    if (subscription->has_failed) {
        subscription->has_failed = false;
        subscription->retry_at_us = now_us + subscription->retry_after_us;
    }
    if (subscription->url == NULL || subscription->is_done || subscription->is_asking)
        return INT64_MAX;
    if (now_us < subscription->retry_at_us)
        return subscription->retry_at_us;
    struct web_request request = {.url = subscription->url,
                                  .header_name = "X-API-Key",
                                  .header_value = subscription->api_key,
                                  .body = SUBSCRIPTION_BODY,
                                  .timeout_ms = ANSWER_TIMEOUT_MS};
    if (web_client_start(client, &request, on_answer, subscription) != STATUS_OK) {
        try_again_later(subscription, "bad_url", 0);
        return now_us; /* arms the wait */
    }
    subscription->is_asking = true;
    return INT64_MAX;
}
