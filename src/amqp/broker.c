#include "broker_link.h"

#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "tcp.h"

enum { FRAME_LEN_MAX = 131072, CHANNELS_MAX = 16, CONNECTION_NAME_LEN_MAX = 128 };

static struct timeval milliseconds(int ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

void broker_link_init(struct broker_link *link)
{
    *link = (struct broker_link){.fd = -1};
    frames_init(&link->out);
}

void broker_link_finish(struct broker_link *link)
{
    broker_link_close(link, false);
    frames_finish(&link->out);
}

bool broker_link_is_open(const struct broker_link *link)
{
    return link->state != NULL;
}

/* Appends to the reason as much as fits. */
static void reason_append(struct broker_link *link, const char *text, size_t len)
{
    size_t used = strlen(link->reason);
    size_t room = sizeof link->reason - 1 - used;
    size_t part = len < room ? len : room;
    memcpy(link->reason + used, text, part);
    link->reason[used + part] = '\0';
}

enum status broker_link_lost(struct broker_link *link, const char *what, const char *detail, size_t detail_len)
{
    link->reason[0] = '\0';
    reason_append(link, what, strlen(what));
    if (detail_len > 0) {
        reason_append(link, ": ", 2);
        reason_append(link, detail, detail_len);
    }
    return STATUS_LOST;
}

static enum status lost_by_library(struct broker_link *link, const char *what, int error)
{
    const char *text = amqp_error_string2(error);
    return broker_link_lost(link, what, text, strlen(text));
}

/* The broker's own words, if the method is one by which it closes something. */
static bool closing_words(amqp_method_number_t id, void *decoded, amqp_bytes_t *words)
{
    if (id == AMQP_CONNECTION_CLOSE_METHOD)
        *words = ((amqp_connection_close_t *)decoded)->reply_text;
    else if (id == AMQP_CHANNEL_CLOSE_METHOD)
        *words = ((amqp_channel_close_t *)decoded)->reply_text;
    else
        return false;
    return true;
}

enum status broker_link_check(struct broker_link *link, const char *what, amqp_rpc_reply_t reply)
{
    amqp_bytes_t words;
    switch (reply.reply_type) {
    case AMQP_RESPONSE_NORMAL:
        return STATUS_OK;
    case AMQP_RESPONSE_LIBRARY_EXCEPTION:
        return lost_by_library(link, what, reply.library_error);
    case AMQP_RESPONSE_SERVER_EXCEPTION:
        if (closing_words(reply.reply.id, reply.reply.decoded, &words))
            return broker_link_lost(link, what, words.bytes, words.len);
        break;
    case AMQP_RESPONSE_NONE:
        break;
    }
    return broker_link_lost(link, what, "unexpected answer", 17);
}

static amqp_table_entry_t entry_bool(const char *key, bool value)
{
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(key)};
    entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    entry.value.value.boolean = value;
    return entry;
}

static amqp_table_entry_t entry_text(const char *key, const char *text)
{
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(key)};
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqp_cstring_bytes(text);
    return entry;
}

/* Logs in with the capabilities without which the broker says nothing of deleted queues and of blocking. */
static enum status log_in(struct broker_link *link, const struct broker_settings *settings, const char *role)
{
    char name[CONNECTION_NAME_LEN_MAX] = "";
    const char *prefix = settings->connection_name_prefix;
    size_t prefix_len = strnlen(prefix, sizeof name / 2);
    size_t role_len = strnlen(role, sizeof name / 4);
    memcpy(name, prefix, prefix_len);
    name[prefix_len] = '.';
    memcpy(name + prefix_len + 1, role, role_len);

    amqp_table_entry_t capabilities[] = {
        entry_bool("consumer_cancel_notify", true),       entry_bool("connection.blocked", true),
        entry_bool("publisher_confirms", true),           entry_bool("basic.nack", true),
        entry_bool("authentication_failure_close", true),
    };
    amqp_table_entry_t properties[2] = {entry_text("connection_name", name)};
    properties[1].key = amqp_cstring_bytes("capabilities");
    properties[1].value.kind = AMQP_FIELD_KIND_TABLE;
    properties[1].value.value.table = (amqp_table_t){.num_entries = 5, .entries = capabilities};
    amqp_table_t table = {.num_entries = 2, .entries = properties};

    return broker_link_check(link, "login",
                             amqp_login_with_properties(link->state, settings->vhost, CHANNELS_MAX, FRAME_LEN_MAX,
                                                        settings->heartbeat_s, &table, AMQP_SASL_METHOD_PLAIN,
                                                        settings->user, settings->password));
}

/*
 * A peer that vanished without a word is noticed by keep-alives, and by tcp_is_unheard() where something was sent. No
 * TCP_USER_TIMEOUT: a broker under alarm does not read for as long as that lasts, and it would count against it.
 */
static void set_socket_options(int fd)
{
    int on = 1;
    int idle_s = 2, interval_s = 1, probes = 3;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static enum status open_channel(struct broker_link *link)
{
    (void)amqp_channel_open(link->state, FRAMES_CHANNEL);
    return broker_link_check(link, "channel", amqp_get_rpc_reply(link->state));
}

static enum status connect_and_log_in(struct broker_link *link, const struct broker_settings *settings,
                                      const char *role)
{
    struct timeval timeout = milliseconds(BROKER_OPEN_TIMEOUT_MS);
    amqp_socket_t *socket = amqp_tcp_socket_new(link->state);
    if (socket == NULL)
        return broker_link_lost(link, "connect", "no memory", 9);
    int error = amqp_socket_open_noblock(socket, settings->host, settings->port, &timeout);
    if (error != AMQP_STATUS_OK)
        return lost_by_library(link, "connect", error);
    link->fd = amqp_get_sockfd(link->state);
    set_socket_options(link->fd);
    (void)amqp_set_handshake_timeout(link->state, &timeout);
    (void)amqp_set_rpc_timeout(link->state, &timeout);
    enum status status = log_in(link, settings, role);
    if (status == STATUS_OK)
        status = open_channel(link);
    return status;
}

enum status broker_link_open(struct broker_link *link, const struct broker_settings *settings, const char *role,
                             int64_t now_us)
{
    link->reason[0] = '\0';
    link->opened_at_us = now_us;
    link->state = amqp_new_connection();
    if (link->state == NULL)
        return STATUS_UNAVAILABLE;
    if (connect_and_log_in(link, settings, role) != STATUS_OK) {
        broker_link_close(link, false);
        return STATUS_UNAVAILABLE;
    }
    link->heartbeat_us = (int64_t)amqp_get_heartbeat(link->state) * 1000000;
    int frame_len_max = amqp_get_frame_max(link->state);
    /* Heartbeats are ours from here on. */
    if (amqp_tune_connection(link->state, CHANNELS_MAX, frame_len_max, 0) != AMQP_STATUS_OK) {
        (void)broker_link_lost(link, "connect", "cannot be tuned", 15);
        broker_link_close(link, false);
        return STATUS_UNAVAILABLE;
    }
    frames_reset(&link->out, (size_t)frame_len_max);
    link->spoke_at_us = now_us;
    broker_link_listen_from(link, now_us);
    return STATUS_OK;
}

static bool is_missing_queue(amqp_rpc_reply_t reply)
{
    return reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD &&
           ((amqp_channel_close_t *)reply.reply.decoded)->reply_code == AMQP_NOT_FOUND;
}

static enum status reopen_channel(struct broker_link *link)
{
    amqp_channel_close_ok_t ok = {0};
    int error = amqp_send_method(link->state, FRAMES_CHANNEL, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    if (error != AMQP_STATUS_OK)
        return lost_by_library(link, "channel", error);
    broker_link_release(link);
    return open_channel(link);
}

enum status broker_link_declare(struct broker_link *link, const char *queue, enum queue_type type)
{
    const int passive = 1, durable = 1;
    amqp_bytes_t name = amqp_cstring_bytes(queue);
    (void)amqp_queue_declare(link->state, FRAMES_CHANNEL, name, passive, durable, 0, 0, amqp_empty_table);
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(link->state);
    if (!is_missing_queue(reply))
        return broker_link_check(link, "queue", reply);
    enum status status = reopen_channel(link);
    if (status != STATUS_OK)
        return status;
    amqp_table_entry_t quorum = entry_text("x-queue-type", "quorum");
    amqp_table_t arguments = {.num_entries = type == QUEUE_QUORUM ? 1 : 0, .entries = &quorum};
    (void)amqp_queue_declare(link->state, FRAMES_CHANNEL, name, 0, durable, 0, 0, arguments);
    return broker_link_check(link, "queue", amqp_get_rpc_reply(link->state));
}

bool broker_link_has_input(const struct broker_link *link)
{
    return link->state != NULL && (amqp_frames_enqueued(link->state) || amqp_data_in_buffer(link->state));
}

enum status broker_link_read(struct broker_link *link, bool readable, amqp_frame_t *frame)
{
    if (!readable && !broker_link_has_input(link))
        return STATUS_NOT_FOUND;
    struct timeval now = {0, 0};
    int error = amqp_simple_wait_frame_noblock(link->state, frame, &now); /* keeps heartbeats to itself */
    if (error == AMQP_STATUS_OK) {
        link->has_told = true;
        return STATUS_OK;
    }
    if (error == AMQP_STATUS_TIMEOUT)
        return STATUS_NOT_FOUND;
    return lost_by_library(link, "read", error);
}

void broker_link_release(struct broker_link *link)
{
    amqp_maybe_release_buffers(link->state);
}

enum status broker_link_handle_common(struct broker_link *link, const amqp_frame_t *frame)
{
    amqp_bytes_t words;
    if (frame->frame_type == AMQP_FRAME_METHOD &&
        closing_words(frame->payload.method.id, frame->payload.method.decoded, &words))
        return broker_link_lost(link, "closed by the broker", words.bytes, words.len);
    return STATUS_IGNORED;
}

void broker_link_excuse(struct broker_link *link, int64_t now_us)
{
    link->told_at_us = now_us;
    link->asked_at_us = 0;
    link->has_told = false;
}

void broker_link_listen_from(struct broker_link *link, int64_t now_us)
{
    link->heard_at_us = now_us;
    broker_link_excuse(link, now_us);
}

/* Any frame shows that the broker works; its heartbeats come even from one that takes nothing in. */
static void ask(struct broker_link *link, int64_t now_us)
{
    if (link->has_told)
        broker_link_excuse(link, now_us);
    if (link->asked_at_us != 0 || now_us - link->told_at_us < BROKER_ASK_AFTER_MS * 1000)
        return;
    frames_question(&link->out);
    link->asked_at_us = now_us;
}

int64_t broker_link_due_us(const struct broker_link *link)
{
    if (link->state == NULL)
        return INT64_MAX;
    if (link->asked_at_us == 0)
        return link->told_at_us + BROKER_ASK_AFTER_MS * 1000;
    return link->is_silent ? INT64_MAX : link->asked_at_us + BROKER_ANSWER_MS * 1000;
}

bool broker_link_silence_changed(struct broker_link *link, const char *role, int64_t now_us)
{
    bool is_silent = link->asked_at_us != 0 && now_us - link->asked_at_us >= BROKER_ANSWER_MS * 1000;
    if (is_silent == link->is_silent)
        return false;
    link->is_silent = is_silent;
    if (is_silent) {
        metric_add(METRIC_BROKER_SILENCES, 1);
        LOG_EVENT(LOG_LEVEL_WARNING, "broker_silent", NULL, log_text("role", role),
                  log_int("silent_ms", (now_us - link->told_at_us) / 1000));
    } else {
        LOG_EVENT(LOG_LEVEL_INFO, "broker_answers", NULL, log_text("role", role));
    }
    return true;
}

enum status broker_link_service(struct broker_link *link, int64_t now_us)
{
    if (link->heartbeat_us > 0 && now_us - link->heard_at_us > 2 * link->heartbeat_us)
        return broker_link_lost(link, "no sign of the broker for two heartbeats", NULL, 0);
    const bool is_unanswered = link->asked_at_us != 0 && now_us - link->asked_at_us >= TCP_UNHEARD_MS * 1000;
    if (is_unanswered && tcp_is_unheard(link->fd))
        return broker_link_lost(link, "nothing that is sent arrives", NULL, 0);
    /* Behind unsent frames a heartbeat would say nothing that they don't. */
    bool must_speak = frames_is_empty(&link->out) && now_us - link->spoke_at_us >= link->heartbeat_us / 2;
    if (link->heartbeat_us > 0 && must_speak)
        frames_heartbeat(&link->out);
    ask(link, now_us);
    if (frames_is_empty(&link->out))
        return STATUS_OK;
    size_t unsent = frames_unsent_len(&link->out);
    enum status status = frames_flush(&link->out, link->fd);
    if (status == STATUS_LOST)
        return broker_link_lost(link, "send failed", NULL, 0);
    if (frames_unsent_len(&link->out) != unsent)
        link->spoke_at_us = now_us;
    return STATUS_OK;
}

void broker_link_close(struct broker_link *link, bool politely)
{
    if (link->state == NULL)
        return;
    /* Good-bye cannot be said in the middle of a frame. */
    if (politely && frames_is_empty(&link->out)) {
        struct timeval timeout = milliseconds(BROKER_CLOSE_TIMEOUT_MS);
        (void)amqp_set_rpc_timeout(link->state, &timeout);
        (void)amqp_connection_close(link->state, AMQP_REPLY_SUCCESS);
    }
    (void)amqp_destroy_connection(link->state);
    link->state = NULL;
    link->fd = -1;
    link->is_silent = false;
    frames_reset(&link->out, FRAME_LEN_MAX);
}
