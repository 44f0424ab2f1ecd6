#define _GNU_SOURCE /* pthread_setname_np */

#include "prices.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "prices_state.h"

enum { HOME_A_TURN = 64 };

struct prices *prices_create(const struct prices_settings *settings, struct mailbox *mailbox)
{
    pm_assert(settings->shard_count == directory_part_count(settings->directory) && settings->tries > 0);
    struct prices *prices = calloc(1, sizeof *prices);
    pm_assert(prices != NULL);
    prices->settings = *settings;
    memcpy(prices->shards, settings->shards, settings->shard_count * sizeof *settings->shards);
    prices->settings.shards = prices->shards;
    if (settings->second_us == 0)
        prices->settings.second_us = 1000 * 1000;
    prices->mailbox = mailbox;
    prices->reader = directory_reader_register(settings->directory);
    prices->web = web_client_create();
    subscription_init(&prices->subscription, settings->ws_gateway_url, settings->ws_gateway_api_key,
                      prices->settings.second_us);
    prices->free_count = PRICES_ASKS_MAX;
    prices->start_gap_us = prices_start_gap_min_us(prices);
    atomic_init(&prices->stop_asked, false);
    return prices;
}

static void take_home(struct prices *prices)
{
    struct message *batch[HOME_A_TURN];
    size_t count;
    do {
        count = mailbox_receive(prices->mailbox, batch, HOME_A_TURN);
        for (size_t i = 0; i < count; i++) {
            pm_assert(batch[i]->type == MESSAGE_DELIVERY);
            prices_handle_home(prices, (struct delivery *)batch[i]);
        }
    } while (count == HOME_A_TURN);
}

static bool is_wanted(const struct prices *prices)
{
    return prices->settings.url != NULL && prices->settings.url[0] != '\0';
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void prices_look_at_clock(struct prices *prices)
{
    prices->now = (struct actor_time){.wall_us = clock_wall_us(), .steady_us = clock_steady_us()};
}

/* Returns when the next turn is due at the latest. */
static int64_t turn(struct prices *prices)
{
    prices_look_at_clock(prices);
    take_home(prices);
    web_client_perform(prices->web);
    prices_look_at_clock(prices);
    int64_t next_us = prices->now.steady_us + prices->settings.second_us;
    next_us = earlier(next_us, subscription_turn(&prices->subscription, prices->web, prices->now.steady_us));
    if (is_wanted(prices)) {
        prices_scan(prices);
        next_us = earlier(next_us, prices_start_requests(prices));
    }
    web_client_perform(prices->web); /* what was just started begins to connect */
    return next_us;
}

static void wait_for_work(struct prices *prices, int64_t until_us)
{
    int64_t left_us = until_us - clock_steady_us();
    int timeout_ms = left_us <= 0 ? 0 : (int)((left_us + 999) / 1000);
    if (!mailbox_prepare_wait(prices->mailbox, 0))
        timeout_ms = 0;
    web_client_wait(prices->web, mailbox_fd(prices->mailbox), timeout_ms);
    mailbox_finish_wait(prices->mailbox);
}

static void *run(void *argument)
{
    struct prices *prices = argument;
    (void)pthread_setname_np(pthread_self(), "prices");
    log_register_thread("prices");
    while (!atomic_load_explicit(&prices->stop_asked, memory_order_acquire)) {
        int64_t next_us = turn(prices);
        wait_for_work(prices, next_us);
    }
    return NULL;
}

enum status prices_start(struct prices *prices)
{
    pm_assert(!prices->is_started);
    /* A connection that breaks while TLS writes to it must not raise SIGPIPE here. */
    sigset_t broken_pipe;
    sigset_t before;
    (void)sigemptyset(&broken_pipe);
    (void)sigaddset(&broken_pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
    int error = pthread_create(&prices->thread, NULL, run, prices);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return STATUS_UNAVAILABLE;
    prices->is_started = true;
    return STATUS_OK;
}

void prices_stop(struct prices *prices)
{
    if (prices == NULL || !prices->is_started)
        return;
    atomic_store_explicit(&prices->stop_asked, true, memory_order_release);
    mailbox_wake(prices->mailbox);
    (void)pthread_join(prices->thread, NULL);
    prices->is_started = false;
}

void prices_destroy(struct prices *prices)
{
    if (prices == NULL)
        return;
    pm_assert(!prices->is_started);
    take_home(prices);
    web_client_destroy(prices->web);
    subscription_finish(&prices->subscription);
    directory_reader_unregister(prices->reader);
    free(prices);
}
