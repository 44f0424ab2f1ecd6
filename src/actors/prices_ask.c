/*
 * prices_ask.c: asking for one asset's price: tries, the wait between them, the wishes to its shard, and their return.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "log.h"
#include "metrics.h"
#include "prices_answer.h"
#include "prices_state.h"

enum {
    REQUESTS_MAX = WEB_REQUESTS_MAX - 1, /* one is kept for the subscription */
    STARTS_PER_S = 50,
    REST_MAX_S = 300, /* a quarter of the threshold, but no longer */
    REST_LONGEST_S = 3600,
    REST_DOUBLINGS_MAX = 4,
    URL_LEN_MAX = 2048 + 128, /* the setting, the query, and an asset of which every byte is escaped */
};

/* Whose fault a failure is decides how long the asset is left alone. */
enum blame { BLAME_SERVICE, BLAME_ASSET };

int64_t prices_start_gap_min_us(const struct prices *prices)
{
    return prices->settings.second_us / STARTS_PER_S;
}

/* ---- begin and end ---- */

static struct ask *free_ask(struct prices *prices)
{
    for (size_t i = 0; i < PRICES_ASKS_MAX; i++)
        if (prices->asks[i].state == ASK_FREE)
            return &prices->asks[i];
    return NULL;
}

void prices_begin(struct prices *prices, const char *asset)
{
    struct ask *ask = free_ask(prices);
    pm_assert(ask != NULL);
    prices->free_count--;
    ask->prices = prices;
    ask->state = ASK_WAITING;
    ask->tries = 0;
    ask->due_us = prices->now.steady_us;
    ask->out = 0;
    ask->is_refused = false;
    ask->rest = rests_take(&prices->rests, asset);
    memcpy(ask->asset, asset, strlen(asset) + 1);
    struct uuid uuid = uuid_generate();
    uuid_format(&uuid, ask->trace_id);
    ask->trace_id[UUID_TEXT_LEN] = '\0';
}

static void end_ask(struct ask *ask)
{
    ask->state = ASK_FREE;
    ask->rest = NULL;
    ask->prices->free_count++;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* All tries failed: the asset is left alone for a while, longer each time in a row that it is to blame. */
static void leave_alone(struct ask *ask, enum blame blame)
{
    struct prices *prices = ask->prices;
    int64_t second_us = prices->settings.second_us;
    int64_t rest_us = clamp(prices->settings.staleness_us / 4, second_us, REST_MAX_S * second_us);
    struct rest *rest = ask->rest;
    if (blame == BLAME_SERVICE)
        rest->failed_count = 0;
    else if (rest->failed_count < REST_DOUBLINGS_MAX + 1)
        rest->failed_count++;
    if (rest->failed_count > 1)
        rest_us = clamp(rest_us << (rest->failed_count - 1), second_us, REST_LONGEST_S * second_us);
    rest->until_us = prices->now.steady_us + rest_us;
    prices_due_at(prices, prices->now.wall_us + rest_us);
    end_ask(ask);
}

/* ---- a try and its answer ---- */

static void try_failed(struct ask *ask, const char *reason, long code, enum blame blame)
{
    struct prices *prices = ask->prices;
    metric_add(METRIC_PRICE_FAILURES, 1);
    LOG_EVENT(LOG_LEVEL_WARNING, "price_request_failed", ask->trace_id, log_text("asset", ask->asset),
              log_text("reason", reason), log_int("status_code", code), log_int("try", ask->tries),
              log_int("tries", prices->settings.tries));
    prices->start_gap_us = clamp(2 * prices->start_gap_us, 0, prices->settings.second_us);
    if (ask->tries >= prices->settings.tries) {
        leave_alone(ask, blame);
        return;
    }
    ask->state = ASK_WAITING;
    ask->due_us = prices->now.steady_us + (prices->settings.second_us << (ask->tries - 1));
}

static void send_wish(struct ask *ask, enum position_mode mode, struct decimal price)
{
    struct prices *prices = ask->prices;
    size_t part = directory_part_index(prices->settings.directory, ask->asset);
    struct priced_delivery *priced = &ask->deliveries[mode];
    struct delivery *delivery = &priced->delivery;
    priced->ask = ask;
    *delivery = (struct delivery){
        .head = {.type = MESSAGE_DELIVERY},
        .received_wall_us = prices->now.wall_us,
        .received_steady_us = prices->now.steady_us,
        .kind = DELIVERY_PRICE,
        .said.price = {.price = price, .mode = (uint8_t)mode},
        .home = {prices->mailbox, part},
    };
    memcpy(delivery->asset, ask->asset, sizeof delivery->asset);
    memcpy(delivery->trace_id, ask->trace_id, sizeof delivery->trace_id);
    ask->out++;
    struct message *message = &delivery->head;
    mailbox_send_reserved(prices->shards[part].mailbox, prices->shards[part].lane, &message);
}

/* One price serves both modes of the asset. */
static void send_price(struct ask *ask, struct decimal price)
{
    struct directory_reader *reader = ask->prices->reader;
    directory_begin(reader);
    bool one_way = directory_find(reader, ask->asset, POSITION_MODE_ONE_WAY) != NULL;
    bool hedge = directory_find(reader, ask->asset, POSITION_MODE_HEDGE) != NULL;
    directory_end(reader);
    pm_assert(one_way || hedge); /* positions are never removed */
    ask->state = ASK_SENT;
    if (one_way)
        send_wish(ask, POSITION_MODE_ONE_WAY, price);
    if (hedge)
        send_wish(ask, POSITION_MODE_HEDGE, price);
}

static void on_answer(void *context, const struct web_answer *answer)
{
    struct ask *ask = context;
    struct prices *prices = ask->prices;
    prices_look_at_clock(prices);
    prices->asking_count--;
    struct decimal price;
    if (answer->failure != NULL) {
        try_failed(ask, answer->failure, answer->code, BLAME_SERVICE);
        return;
    }
    if (answer->code != 200) {
        try_failed(ask, "http_status", answer->code, BLAME_SERVICE);
        return;
    }
    enum status status = prices_answer_parse(answer->body, answer->body_len, &price);
    if (status != STATUS_OK) {
        try_failed(ask, status_word(status), answer->code, BLAME_ASSET);
        return;
    }
    prices->start_gap_us = prices_start_gap_min_us(prices);
    send_price(ask, price);
}

/* ---- starting ---- */

/* Percent-encodes what an unusual asset pattern may let through. */
static size_t append_escaped(char *out, size_t len, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_') {
            out[len++] = (char)c;
        } else {
            out[len++] = '%';
            out[len++] = hex[c >> 4];
            out[len++] = hex[c & 15];
        }
    }
    out[len] = '\0';
    return len;
}

static void start_request(struct ask *ask)
{
    struct prices *prices = ask->prices;
    ask->tries++;
    metric_add(METRIC_PRICE_REQUESTS, 1);
    char url[URL_LEN_MAX];
    int len = snprintf(url, sizeof url - 3 * ASSET_LEN_MAX - 1, "%s?category=linear&symbol=", prices->settings.url);
    if (len < 0 || (size_t)len >= sizeof url - 3 * ASSET_LEN_MAX - 1) {
        try_failed(ask, "bad_url", 0, BLAME_SERVICE);
        return;
    }
    (void)append_escaped(url, (size_t)len, ask->asset);
    struct web_request request = {.url = url, .timeout_ms = (long)prices->settings.timeout_ms};
    if (web_client_start(prices->web, &request, on_answer, ask) != STATUS_OK) {
        try_failed(ask, "bad_url", 0, BLAME_SERVICE);
        return;
    }
    ask->state = ASK_ASKING;
    prices->asking_count++;
}

static struct ask *first_waiting(struct prices *prices)
{
    struct ask *first = NULL;
    for (size_t i = 0; i < PRICES_ASKS_MAX; i++) {
        struct ask *ask = &prices->asks[i];
        if (ask->state == ASK_WAITING && (first == NULL || ask->due_us < first->due_us))
            first = ask;
    }
    return first;
}

int64_t prices_start_requests(struct prices *prices)
{
    while (prices->asking_count < REQUESTS_MAX) {
        struct ask *ask = first_waiting(prices);
        if (ask == NULL)
            return INT64_MAX;
        int64_t at_us = ask->due_us > prices->next_start_us ? ask->due_us : prices->next_start_us;
        if (at_us > prices->now.steady_us)
            return at_us;
        prices->next_start_us = prices->now.steady_us + prices->start_gap_us;
        start_request(ask);
    }
    return INT64_MAX; /* the end of a request will make room */
}

/* ---- wishes that come home ---- */

void prices_handle_home(struct prices *prices, struct delivery *delivery)
{
    struct ask *ask = ((struct priced_delivery *)delivery)->ask;
    pm_assert(ask->state == ASK_SENT && ask->out > 0);
    ask->out--;
    if (delivery->refusal != STATUS_OK) {
        ask->is_refused = true;
        LOG_EVENT(LOG_LEVEL_WARNING, "price_refused", ask->trace_id, log_text("asset", ask->asset),
                  log_text("mode", position_mode_word((enum position_mode)delivery->said.price.mode)),
                  log_text("reason", status_word(delivery->refusal)));
    }
    if (ask->out > 0)
        return;
    if (ask->is_refused) {
        leave_alone(ask, BLAME_ASSET);
        return;
    }
    rests_forget(&prices->rests, ask->rest);
    prices_due_at(prices, prices->now.wall_us + prices->settings.staleness_us);
    end_ask(ask);
}
