#include "aggregator.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log.h"
#include "metrics.h"

struct aggregator {
    struct aggregator_settings settings;
    struct outlet shards[DIRECTORY_PARTS_MAX];
    struct totals_token *held[DIRECTORY_PARTS_MAX]; /* tokens to give back when their news is out */
    size_t held_count;
    struct portfolio_announcement memory;
    struct portfolio_announcement *portfolio; /* NULL while it is lent */
    int64_t next_publish_us;                  /* steady */
    bool limit_exceeded;
};

struct aggregator *aggregator_create(const struct aggregator_settings *settings)
{
    pm_assert(settings->shard_count <= DIRECTORY_PARTS_MAX);
    struct aggregator *aggregator = calloc(1, sizeof *aggregator);
    pm_assert(aggregator != NULL);
    aggregator->settings = *settings;
    memcpy(aggregator->shards, settings->shards, settings->shard_count * sizeof *settings->shards);
    aggregator->settings.shards = aggregator->shards;
    aggregator->portfolio = &aggregator->memory;
    aggregator->portfolio->head.type = MESSAGE_PORTFOLIO;
    return aggregator;
}

void aggregator_destroy(struct aggregator *aggregator)
{
    free(aggregator);
}

bool exposure_is_over(struct wide exposure, const struct decimal *limit)
{
    return limit != NULL && wide_compare(exposure, wide_multiply(limit->units, DECIMAL_ONE)) > 0;
}

static void watch_limit(struct aggregator *aggregator, const struct portfolio_totals *totals, const char *trace_id)
{
    bool exceeded = exposure_is_over(totals->exposure, aggregator->settings.exposure_limit);
    if (exceeded == aggregator->limit_exceeded)
        return;
    aggregator->limit_exceeded = exceeded;
    char exposure[DECIMAL_TEXT_LEN_MAX];
    char limit[DECIMAL_TEXT_LEN_MAX];
    (void)decimal_format_units(portfolio_round(totals->exposure), 2, exposure);
    (void)decimal_format(*aggregator->settings.exposure_limit, 2, limit);
    if (exceeded)
        metric_add(METRIC_LIMIT_BREACHES, 1);
    LOG_EVENT(exceeded ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
              exceeded ? "exposure_limit_exceeded" : "exposure_limit_restored", trace_id,
              log_text("total_exposure_usdt", exposure), log_text("limit_usdt", limit));
}

/* Reads the totals as they are now, publishes them, and lets the shards speak again. */
static void publish(struct aggregator *aggregator, struct actor_time now)
{
    struct portfolio_announcement *portfolio = aggregator->portfolio;
    const char *trace_id = aggregator->held[aggregator->held_count - 1]->trace_id;
    memcpy(portfolio->trace_id, trace_id, sizeof portfolio->trace_id);
    /* A shard that changes after the reading below notes it, and sends its token again as soon as it has it back. */
    struct totals_token *tokens[DIRECTORY_PARTS_MAX];
    size_t count = aggregator->held_count;
    memcpy(tokens, aggregator->held, count * sizeof *tokens);
    aggregator->held_count = 0;

    directory_begin(aggregator->settings.reader);
    directory_totals(aggregator->settings.reader, &portfolio->totals);
    directory_end(aggregator->settings.reader);
    watch_limit(aggregator, &portfolio->totals, portfolio->trace_id);
    portfolio->limit_exceeded = aggregator->limit_exceeded;
    portfolio->at_us = now.wall_us;
    portfolio->message_id = aggregator->settings.new_uuid(aggregator->settings.new_uuid_context);
    aggregator->next_publish_us = now.steady_us + aggregator->settings.publish_interval_us;
    aggregator->portfolio = NULL;
    struct message *message = &portfolio->head;
    mailbox_send_reserved(aggregator->settings.publisher.mailbox, aggregator->settings.publisher.lane, &message);
    for (size_t i = 0; i < count; i++) {
        const struct outlet *home = &aggregator->shards[tokens[i]->shard];
        message = &tokens[i]->head;
        mailbox_send_reserved(home->mailbox, home->lane, &message);
    }
}

static bool has_news(const struct aggregator *aggregator)
{
    return aggregator->held_count > 0 && aggregator->portfolio != NULL;
}

struct actor_plan aggregator_receive(void *actor, struct message **batch, size_t count, struct actor_time now)
{
    struct aggregator *aggregator = actor;
    for (size_t i = 0; i < count; i++) {
        if (batch[i]->type == MESSAGE_TOTALS) {
            pm_assert(aggregator->held_count < aggregator->settings.shard_count);
            aggregator->held[aggregator->held_count++] = (struct totals_token *)batch[i];
        } else {
            pm_assert(batch[i]->type == MESSAGE_PORTFOLIO);
            aggregator->portfolio = (struct portfolio_announcement *)batch[i];
        }
    }
    if (!has_news(aggregator))
        return (struct actor_plan){.deadline_us = ACTOR_NO_DEADLINE};
    if (now.steady_us < aggregator->next_publish_us)
        return (struct actor_plan){.deadline_us = aggregator->next_publish_us};
    publish(aggregator, now);
    return (struct actor_plan){.deadline_us = ACTOR_NO_DEADLINE};
}

void aggregator_flush(struct aggregator *aggregator, struct actor_time now)
{
    if (has_news(aggregator))
        publish(aggregator, now);
}
