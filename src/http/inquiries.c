/*
 * Answers are handed out in the callback of the polled descriptor and nowhere else: what is sent outside
 * h2o_evloop_run() would have its completion lie until something else ends libh2o's wait.
 */
#include "inquiries.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "log.h"
#include "loop.h"
#include "request.h"

enum { ANSWERS_A_TURN = 16, RETRY_S = 1 };

/* A request that waits. Counted memory of libh2o, linked to the request, so that its end is told. */
struct inquiry {
    h2o_linklist_t link;
    struct request *request;
    struct history_request *asked; /* NULL: answered, or given up */
    char *body;                    /* of the answer, while it is being sent */
    int64_t since_us;              /* steady */
};

static void history_request_destroy(struct history_request *asked)
{
    free(asked->body);
    free(asked);
}

enum status inquiries_init(struct inquiries *inquiries, const struct outlet *history)
{
    static const uint32_t capacity = INQUIRIES_MAX;
    *inquiries = (struct inquiries){.history = history, .fd = -1};
    h2o_linklist_init_anchor(&inquiries->waiting);
    inquiries->home = mailbox_create("http", &capacity, 1);
    inquiries->fd = fcntl(mailbox_fd(inquiries->home), F_DUPFD_CLOEXEC, 0);
    if (inquiries->fd >= 0)
        return STATUS_OK;
    mailbox_destroy(inquiries->home);
    return STATUS_UNAVAILABLE;
}

void inquiries_finish(struct inquiries *inquiries)
{
    struct message *message;
    while (mailbox_receive(inquiries->home, &message, 1) > 0) {
        history_request_destroy((struct history_request *)message);
        inquiries->outstanding--;
    }
    if (inquiries->outstanding == 0)
        mailbox_destroy(inquiries->home);
    if (inquiries->fd >= 0)
        close(inquiries->fd);
}

/* ---- asking ---- */

static void on_inquiry_disposed(void *memory)
{
    struct inquiry *inquiry = memory;
    if (h2o_linklist_is_linked(&inquiry->link))
        h2o_linklist_unlink(&inquiry->link);
    if (inquiry->asked != NULL)
        inquiry->asked->loop_private = NULL;
    free(inquiry->body);
}

/* The request is told something now, so it waits no more. */
static void inquiry_end(struct inquiry *inquiry)
{
    h2o_linklist_unlink(&inquiry->link);
    inquiry->asked->loop_private = NULL;
    inquiry->asked = NULL;
}

static void refuse(struct request *request, const char *message)
{
    request_add_retry_after(request, RETRY_S);
    request_fail(request, PROBLEM_UNAVAILABLE, message);
}

void inquiry_send(struct request *request, struct history_request **asked)
{
    struct inquiries *inquiries = &request->loop->inquiries;
    struct history_request *question = *asked;
    struct message *message = &question->head;
    *asked = NULL;
    question->home = (struct outlet){.mailbox = inquiries->home, .lane = 0};
    if (inquiries->history == NULL || inquiries->outstanding == INQUIRIES_MAX) {
        history_request_destroy(question);
        refuse(request, "snapshots and validations cannot be served now");
        return;
    }
    struct inquiry *inquiry = h2o_mem_alloc_shared(&request->req->pool, sizeof *inquiry, on_inquiry_disposed);
    *inquiry = (struct inquiry){.request = request, .asked = question, .since_us = request->steady_us};
    h2o_linklist_insert(&inquiries->waiting, &inquiry->link);
    question->loop_private = inquiry;
    if (mailbox_send(inquiries->history->mailbox, inquiries->history->lane, &message) == STATUS_OK) {
        inquiries->outstanding++;
        return;
    }
    inquiry_end(inquiry);
    history_request_destroy(question);
    refuse(request, "too many snapshots and validations are waiting");
}

/* ---- answers ---- */

static const char *what_is_missing(enum history_kind kind)
{
    return kind == HISTORY_SNAPSHOT_AT ? "there is no snapshot of this position up to this time"
                                       : "there is no position of this asset in this mode";
}

static void inquiry_answer(struct inquiry *inquiry)
{
    struct request *request = inquiry->request;
    struct history_request *answer = inquiry->asked;
    enum history_kind kind = (enum history_kind)answer->kind;
    inquiry_end(inquiry);
    if (answer->status == STATUS_OK && answer->body != NULL) {
        inquiry->body = answer->body;
        answer->body = NULL;
        request_send_json(request, kind == HISTORY_SNAPSHOT_TAKE ? 201 : 200, inquiry->body, answer->body_len);
    } else if (answer->status == STATUS_NOT_FOUND) {
        request_fail(request, PROBLEM_NOT_FOUND, what_is_missing(kind));
    } else if (answer->status == STATUS_UNAVAILABLE) {
        refuse(request, "the database cannot be reached now");
    } else {
        request_fail(request, PROBLEM_INTERNAL, "the answer could not be made");
    }
}

static void inquiries_receive(struct inquiries *inquiries)
{
    struct message *batch[ANSWERS_A_TURN];
    size_t count;
    while ((count = mailbox_receive(inquiries->home, batch, ANSWERS_A_TURN)) > 0) {
        for (size_t i = 0; i < count; i++) {
            struct history_request *answer = (struct history_request *)batch[i];
            pm_assert(answer->head.type == MESSAGE_HISTORY && inquiries->outstanding > 0);
            inquiries->outstanding--;
            if (answer->loop_private != NULL)
                inquiry_answer(answer->loop_private);
            history_request_destroy(answer);
        }
    }
}

static struct inquiry *oldest(struct inquiries *inquiries)
{
    if (h2o_linklist_is_empty(&inquiries->waiting))
        return NULL;
    return H2O_STRUCT_FROM_MEMBER(struct inquiry, link, inquiries->waiting.next);
}

static bool is_overdue(const struct inquiries *inquiries, const struct inquiry *inquiry)
{
    return inquiry != NULL && inquiries->now_us - inquiry->since_us > INQUIRY_WAIT_US;
}

static void inquiries_give_up(struct inquiries *inquiries)
{
    for (struct inquiry *inquiry = oldest(inquiries); is_overdue(inquiries, inquiry); inquiry = oldest(inquiries)) {
        struct request *request = inquiry->request;
        LOG_EVENT(LOG_LEVEL_WARNING, "http_history_overdue", request->trace_id,
                  log_text("asset", inquiry->asked->asset));
        inquiry_end(inquiry);
        refuse(request, "no answer came in time; what was asked for may still be done");
    }
}

static void on_home(h2o_socket_t *socket, const char *error)
{
    struct inquiries *inquiries = socket->data;
    eventfd_t count;
    (void)error;
    (void)eventfd_read(inquiries->fd, &count);
    inquiries_receive(inquiries);
    inquiries_give_up(inquiries);
}

void inquiries_sweep(struct inquiries *inquiries, int64_t now_us)
{
    inquiries->now_us = now_us;
    if (is_overdue(inquiries, oldest(inquiries)))
        mailbox_wake(inquiries->home);
}

/* ---- waiting ---- */

void inquiries_open(struct inquiries *inquiries, h2o_evloop_t *evloop)
{
    inquiries->socket = h2o_evloop_socket_create(evloop, inquiries->fd, H2O_SOCKET_FLAG_DONT_READ);
    inquiries->socket->data = inquiries;
    h2o_socket_read_start(inquiries->socket, on_home);
}

void inquiries_close(struct inquiries *inquiries)
{
    h2o_socket_close(inquiries->socket);
}

void inquiries_forget(struct inquiries *inquiries)
{
    inquiries->fd = -1;
}

bool inquiries_prepare_wait(struct inquiries *inquiries)
{
    /* Nobody owes an answer, so nobody has to be told that this loop sleeps. */
    if (inquiries->outstanding == 0)
        return false;
    if (mailbox_prepare_wait(inquiries->home, 0))
        return true;
    mailbox_wake(inquiries->home);
    return false;
}

void inquiries_finish_wait(struct inquiries *inquiries)
{
    mailbox_finish_wait(inquiries->home);
}
