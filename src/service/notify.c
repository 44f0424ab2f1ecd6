#include "notify.h"

#include <stdio.h>
#include <string.h>

#include <systemd/sd-daemon.h>

enum {
    MESSAGE_LEN_MAX = 256,
    FEEDINGS_A_PERIOD = 3, /* two may come late */
};
/* Longer than any pause between two calls; systemd counts from each. */
#define MORE_TIME "EXTEND_TIMEOUT_USEC=60000000\n"

static const char *words_of(const struct notify_facts *facts)
{
    switch (facts->stage) {
    case NOTIFY_STARTING:
        return facts->database_connected ? "Starting: loading positions" : "Starting: waiting for PostgreSQL";
    case NOTIFY_STOPPING:
        return "Stopping: committing and acknowledging what is in flight";
    case NOTIFY_SERVING:
        break;
    }
    if (!facts->is_live)
        return "Stuck: a thread does not go round";
    if (!facts->database_connected)
        return facts->queue_connected ? "Serving from memory: PostgreSQL is away"
                                      : "Serving from memory: PostgreSQL and RabbitMQ are away";
    return facts->queue_connected ? "Serving" : "Serving: RabbitMQ is away";
}

/* What has to be told once, when the stage is reached. */
static const char *word_of_stage(enum notify_stage stage)
{
    switch (stage) {
    case NOTIFY_SERVING:
        return "READY=1\n";
    case NOTIFY_STOPPING:
        return "STOPPING=1\n";
    case NOTIFY_STARTING:
        break;
    }
    return "";
}

void notify_init(struct notify *notify)
{
    *notify = (struct notify){.told_stage = NOTIFY_STARTING};
}

const char *notify_tell(struct notify *notify, const struct notify_facts *facts)
{
    const char *words = words_of(facts);
    bool is_new_stage = facts->stage != notify->told_stage;
    bool are_new_words = notify->told_words == NULL || strcmp(words, notify->told_words) != 0;
    char message[MESSAGE_LEN_MAX];
    (void)snprintf(message, sizeof message, "%s%s%s%s%s", is_new_stage ? word_of_stage(facts->stage) : "",
                   facts->is_live ? "WATCHDOG=1\n" : "", facts->stage == NOTIFY_STARTING ? MORE_TIME : "",
                   are_new_words ? "STATUS=" : "", are_new_words ? words : "");
    if (message[0] != '\0')
        (void)sd_notify(0, message);
    notify->told_stage = facts->stage;
    notify->told_words = words;
    return words;
}

int notify_period_ms(int longest_ms)
{
    uint64_t watchdog_us = 0;
    if (sd_watchdog_enabled(0, &watchdog_us) <= 0)
        return longest_ms;
    uint64_t period_ms = watchdog_us / 1000 / FEEDINGS_A_PERIOD;
    if (period_ms >= (uint64_t)longest_ms)
        return longest_ms;
    return period_ms > 0 ? (int)period_ms : 1;
}
