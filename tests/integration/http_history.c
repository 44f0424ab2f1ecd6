/*
 * Snapshots and validations over HTTP, with a history that this test plays: it answers, does not, is full, or comes
 * when the client has gone.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "guard.h"
#include "http_fixture.h"
#include "http_frames.h"
#include "inquiries.h"
#include "mailbox.h"
#include "message.h"

enum { LANE_CAPACITY = 3, THREADS = 2 }; /* a power of two less one: what a ring holds exactly */

/* What the history is to do with what it is asked. */
enum plan { ANSWER, KEEP, LEAVE };

static struct {
    struct mailbox *mailbox;
    struct outlet outlets[THREADS];
    pthread_t thread;
    atomic_int plan; /* enum plan */
    atomic_bool is_ending;
    atomic_int asked; /* messages received */
    struct history_request *kept[256];
    atomic_int kept_count;
    struct history_request last; /* as asked; read it after the answer has come */
    enum status status;
    const char *body; /* NULL: none */
} history;

static void answer_one(struct history_request *request)
{
    struct message *message = &request->head;
    request->status = history.status;
    if (history.body != NULL) {
        request->body = strdup(history.body);
        request->body_len = strlen(history.body);
    }
    mailbox_send_reserved(request->home.mailbox, request->home.lane, &message);
}

static void *play_history(void *unused)
{
    struct message *message;
    (void)unused;
    while (!atomic_load(&history.is_ending)) {
        mailbox_wait(history.mailbox, 20);
        while (atomic_load(&history.plan) != LEAVE && mailbox_receive(history.mailbox, &message, 1) == 1) {
            struct history_request *request = (struct history_request *)message;
            const bool is_kept = atomic_load(&history.plan) != ANSWER;
            history.last = *request;
            if (is_kept)
                history.kept[atomic_fetch_add(&history.kept_count, 1)] = request;
            atomic_fetch_add(&history.asked, 1); /* before the answer: who has it may look */
            if (!is_kept)
                answer_one(request);
        }
    }
    return NULL;
}

static void history_start(uint32_t capacity)
{
    uint32_t capacities[THREADS] = {capacity, capacity};
    history.mailbox = mailbox_create("history", capacities, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        history.outlets[i] = (struct outlet){.mailbox = history.mailbox, .lane = i};
    history.status = STATUS_OK;
    history.body = "{\"made\":\"up\"}";
    atomic_store(&history.plan, ANSWER);
    fixture.settings.history = history.outlets;
    cr_assert_eq(pthread_create(&history.thread, NULL, play_history, NULL), 0);
}

/* From the test's thread, while the history's keeps away from what it kept. */
static void answer_kept(void)
{
    for (int i = 0; i < atomic_load(&history.kept_count); i++)
        answer_one(history.kept[i]);
    atomic_store(&history.kept_count, 0);
}

static void history_stop(void)
{
    struct message *message;
    atomic_store(&history.is_ending, true);
    mailbox_wake(history.mailbox);
    pthread_join(history.thread, NULL);
    history.status = STATUS_UNAVAILABLE;
    history.body = NULL;
    answer_kept();
    while (mailbox_receive(history.mailbox, &message, 1) == 1)
        answer_one((struct history_request *)message);
}

static bool is_asked_within(int count, int wait_ms)
{
    int64_t until_us = clock_steady_us() + wait_ms * 1000LL;
    while (atomic_load(&history.asked) < count && clock_steady_us() < until_us)
        poll(NULL, 0, 5);
    return atomic_load(&history.asked) >= count;
}

static void up_with(uint32_t capacity, size_t thread_count)
{
    fixture_prepare();
    fixture.settings.thread_count = thread_count;
    publish("BTCUSDT", POSITION_MODE_HEDGE, "0.5", "50000");
    publish("ETHUSDT", POSITION_MODE_ONE_WAY, "-2", "3000");
    history_start(capacity);
    fixture_start();
}

static void up(void)
{
    up_with(INQUIRIES_MAX, THREADS);
}

static void up_narrow(void)
{
    up_with(LANE_CAPACITY, 1);
}

static void up_alone(void)
{
    up_with(INQUIRIES_MAX, 1);
}

/* The order of the service: the server, then the history, and only then the memory. */
static void down(void)
{
    server_stop(fixture.server, 3000);
    history_stop();
    fixture_down();
    mailbox_destroy(history.mailbox);
}

TestSuite(http_history, .init = up, .fini = down, .timeout = 300);
TestSuite(http_history_narrow, .init = up_narrow, .fini = down, .timeout = 300);
TestSuite(http_history_alone, .init = up_alone, .fini = down, .timeout = 300);
TestSuite(http_history_none, .init = fixture_up, .fini = fixture_down, .timeout = 300);

#define ASSET_PATH "/api/v1/positions/ETHUSDT"

Test(http_history, questions_are_asked_as_the_parameters_say)
{
    static const struct {
        const char *method, *path;
        int code;
        struct history_request asked;
    } rows[] = {
        {"POST", ASSET_PATH "/validate", 200, {.kind = HISTORY_VALIDATE, .fix = true}},
        {"POST", ASSET_PATH, 200, {.kind = HISTORY_VALIDATE, .fix = true}},
        {"POST", ASSET_PATH "?fix_discrepancies=No", 200, {.kind = HISTORY_VALIDATE}},
        {"POST", "/api/v1/positions/ethusdt/snapshot", 201, {.kind = HISTORY_SNAPSHOT_TAKE}},
        {"GET", ASSET_PATH "/snapshots", 200, {.kind = HISTORY_SNAPSHOT_LIST, .limit = 100}},
        {"GET", ASSET_PATH "/snapshots?limit=1&offset=0", 200, {.kind = HISTORY_SNAPSHOT_LIST, .limit = 1}},
        {"GET",
         ASSET_PATH "/snapshots?limit=1000&offset=2147483647",
         200,
         {.kind = HISTORY_SNAPSHOT_LIST, .limit = 1000, .offset = 2147483647}},
        {"GET",
         ASSET_PATH "/snapshots?from=1970-01-01T00:00:02Z&to=1000",
         200,
         {.kind = HISTORY_SNAPSHOT_LIST, .limit = 100, .from_us = 2000000, .to_us = 1000000}},
        {"GET",
         ASSET_PATH "/snapshots?from=1970-01-01T01:00:02+01:00",
         200,
         {.kind = HISTORY_SNAPSHOT_LIST, .limit = 100, .from_us = 2000000}},
        {"GET",
         ASSET_PATH "/snapshots?at=3000&limit=7&from=1000",
         200,
         {.kind = HISTORY_SNAPSHOT_AT, .at_us = 3000000}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct history_request *want = &rows[i].asked;
        struct answer *answer = ask(
            rows[i].path, (struct ask){.method = rows[i].method, .key = KEY, .header = "X-Trace-Id: trace-of-mine"});
        cr_expect_eq(answer->code, rows[i].code, "%s: %ld %s", rows[i].path, answer->code, answer->body);
        cr_expect_str_eq(answer->body, history.body, "%s", rows[i].path);
        cr_expect_str_eq(header_of(answer, "x-trace-id"), "trace-of-mine");
        cr_expect_not_null(header_of(answer, "ratelimit-remaining"));
        cr_expect_eq(history.last.head.type, MESSAGE_HISTORY);
        cr_expect_eq(history.last.kind, want->kind, "%s", rows[i].path);
        cr_expect_eq(history.last.mode, POSITION_MODE_ONE_WAY, "%s", rows[i].path);
        cr_expect_str_eq(history.last.asset, "ETHUSDT");
        cr_expect_str_eq(history.last.trace_id, "trace-of-mine");
        cr_expect_eq(history.last.fix, want->fix, "%s", rows[i].path);
        if (want->kind == HISTORY_SNAPSHOT_LIST) {
            cr_expect_eq(history.last.limit, want->limit, "%s", rows[i].path);
            cr_expect_eq(history.last.offset, want->offset, "%s", rows[i].path);
            cr_expect_eq(history.last.from_us, want->from_us != 0 ? want->from_us : TIME_NONE, "%s", rows[i].path);
            cr_expect_eq(history.last.to_us, want->to_us != 0 ? want->to_us : TIME_NONE, "%s", rows[i].path);
        }
        if (want->kind == HISTORY_SNAPSHOT_AT)
            cr_expect_eq(history.last.at_us, want->at_us);
    }
    cr_expect_eq(ask("/api/v1/positions/BTCUSDT?mode=hedge", (struct ask){.method = "POST", .key = KEY})->code, 200);
    cr_expect_eq(history.last.mode, POSITION_MODE_HEDGE);
}

Test(http_history, what_cannot_be_asked_is_refused_before_it_is_asked)
{
    static const struct {
        const char *method, *path, *key;
        int code;
        const char *part;
    } rows[] = {
        {"POST", ASSET_PATH "/validate", NULL, 401, "UNAUTHORIZED"},
        {"POST", ASSET_PATH "/validate?mode=both", KEY, 400, "mode"},
        {"POST", ASSET_PATH "/validate?fix_discrepancies=", KEY, 400, "fix_discrepancies"},
        {"POST", ASSET_PATH "/validate?fix_discrepancies=1&fix_discrepancies=1", KEY, 400, "fix_discrepancies"},
        {"POST", "/api/v1/positions/NOUSDT/validate", KEY, 404, "NOT_FOUND"},
        {"POST", "/api/v1/positions/x'--/snapshot", KEY, 404, "NOT_FOUND"},
        {"POST", "/api/v1/positions/%00/snapshot", KEY, 404, "NOT_FOUND"},
        {"POST", ASSET_PATH "/snapshot?mode=hedge", KEY, 404, "NOT_FOUND"},
        {"GET", "/api/v1/positions/NOUSDT/snapshots", KEY, 404, "NOT_FOUND"},
        {"GET", ASSET_PATH "/snapshots?limit=0", KEY, 400, "limit must be a whole number from 1 to 1000"},
        {"GET", ASSET_PATH "/snapshots?limit=1001", KEY, 400, "limit"},
        {"GET", ASSET_PATH "/snapshots?limit=", KEY, 400, "limit"},
        {"GET", ASSET_PATH "/snapshots?limit=-1", KEY, 400, "limit"},
        {"GET", ASSET_PATH "/snapshots?limit=%2B1", KEY, 400, "limit"},
        {"GET", ASSET_PATH "/snapshots?limit=1.0", KEY, 400, "limit"},
        {"GET", ASSET_PATH "/snapshots?limit=18446744073709551617", KEY, 400, "limit"},
        {"GET", ASSET_PATH "/snapshots?offset=2147483648", KEY, 400, "offset"},
        {"GET", ASSET_PATH "/snapshots?offset=99999999999999999999999999", KEY, 400, "offset"},
        {"GET", ASSET_PATH "/snapshots?from=yesterday", KEY, 400, "from must be a time"},
        {"GET", ASSET_PATH "/snapshots?from=", KEY, 400, "from"},
        {"GET", ASSET_PATH "/snapshots?to=2025-02-30T00:00:00Z", KEY, 400, "to must be a time"},
        {"GET", ASSET_PATH "/snapshots?at=2025-01-15T10:00:00%00", KEY, 400, "at must stand once"},
        {"GET", ASSET_PATH "/snapshots?at=1'%20OR%20'1'='1", KEY, 400, "at must be a time"},
        {"GET", ASSET_PATH "/snapshots?at=1000&limit=0", KEY, 400, "limit"},
        {"GET", ASSET_PATH "/validate", KEY, 405, "METHOD_NOT_ALLOWED"},
        {"GET", ASSET_PATH "/snapshot", KEY, 405, "METHOD_NOT_ALLOWED"},
        {"HEAD", ASSET_PATH "/snapshot", KEY, 405, ""},
        {"POST", ASSET_PATH "/snapshots", KEY, 405, "METHOD_NOT_ALLOWED"},
        {"DELETE", ASSET_PATH, KEY, 405, "METHOD_NOT_ALLOWED"},
        {"POST", ASSET_PATH "/other", KEY, 404, "NOT_FOUND"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct answer *answer = ask(rows[i].path, (struct ask){.method = rows[i].method, .key = rows[i].key});
        cr_expect_eq(answer->code, rows[i].code, "%s: %ld %s", rows[i].path, answer->code, answer->body);
        cr_expect(has(answer, rows[i].part), "%s: %s", rows[i].path, answer->body);
    }
    cr_expect_str_eq(header_of(ask(ASSET_PATH "/validate", (struct ask){.key = KEY}), "allow"), "POST");
    cr_expect_str_eq(header_of(ask(ASSET_PATH, (struct ask){.method = "PUT", .key = KEY}), "allow"), "GET, HEAD, POST");
    fixture.board.positions_loaded = false;
    cr_expect_eq(ask(ASSET_PATH, (struct ask){.method = "POST", .key = KEY})->code, 503);
    cr_expect_eq(atomic_load(&history.asked), 0);
}

Test(http_history, what_the_history_says_becomes_the_code)
{
    static const struct {
        const char *path;
        enum status status;
        bool has_body;
        int code;
        const char *word;
    } rows[] = {
        {"/snapshots", STATUS_NOT_FOUND, false, 404, "NOT_FOUND"},
        {"/snapshots?at=1000", STATUS_NOT_FOUND, false, 404, "there is no snapshot"},
        {"/snapshots", STATUS_UNAVAILABLE, false, 503, "UNAVAILABLE"},
        {"/snapshots", STATUS_UNAVAILABLE, true, 503, "UNAVAILABLE"},
        {"/snapshots", STATUS_INVALID, false, 500, "INTERNAL"},
        {"/snapshots", STATUS_FULL, true, 500, "INTERNAL"},
        {"/snapshots", STATUS_OK, false, 500, "INTERNAL"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, ASSET_PATH "%s", rows[i].path);
        history.status = rows[i].status;
        history.body = rows[i].has_body ? "{}" : NULL;
        struct answer *answer = get(path);
        cr_expect_eq(answer->code, rows[i].code, "row %zu: %ld", i, answer->code);
        cr_expect(has(answer, rows[i].word), "row %zu: %s", i, answer->body);
        cr_expect_eq(header_of(answer, "retry-after") != NULL, rows[i].code == 503, "row %zu", i);
    }
}

Test(http_history, bodies_are_ignored_and_head_tells_only_the_length)
{
    static char upload[1024 * 1024];
    static const long versions[] = {CURL_HTTP_VERSION_1_1, CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE};
    memset(upload, '{', sizeof upload);
    for (size_t i = 0; i < 2; i++) {
        struct ask how = {.method = "POST", .key = KEY, .version = versions[i], .upload = upload, .upload_len = 1000};
        cr_expect_eq(ask(ASSET_PATH "/validate", how)->code, 200);
        how.upload_len = sizeof upload;
        cr_expect_eq(ask(ASSET_PATH "/snapshot", how)->code, 201);
        how = (struct ask){.method = "HEAD", .key = KEY, .version = versions[i]};
        struct answer *answer = ask(ASSET_PATH "/snapshots", how);
        cr_expect_eq(answer->code, 200);
        cr_expect_eq(answer->body_len, 0);
        cr_expect_eq((size_t)atol(header_of(answer, "content-length")), strlen(history.body));
    }
}

Test(http_history, a_long_answer_arrives_whole)
{
    static char body[60001];
    memset(body, 'x', sizeof body - 1);
    history.body = body;
    cr_expect_str_eq(get(ASSET_PATH "/snapshots")->body, body);
}

enum { ASKERS = 6, QUESTIONS = 200, SLOW_US = 400000 };

static atomic_int failures, slow_ones;

static void *ask_often(void *unused)
{
    CURL *curl = curl_easy_init();
    static _Thread_local struct answer answer;
    (void)unused;
    for (int i = 0; i < QUESTIONS; i++) {
        struct ask how = {.key = KEY, .curl = curl};
        const int64_t began_us = clock_steady_us();
        if (ask_raw(ASSET_PATH "/snapshots", how, &answer) != CURLE_OK || answer.code != 200)
            atomic_fetch_add(&failures, 1);
        if (clock_steady_us() - began_us > SLOW_US)
            atomic_fetch_add(&slow_ones, 1);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

Test(http_history, no_answer_is_slept_over)
{
    pthread_t threads[ASKERS];
    for (size_t i = 0; i < ASKERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
    for (size_t i = 0; i < ASKERS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&failures), 0);
    /* A lost wake-up costs half a second, the loop's longest wait, unless another question comes: of those under way in
     * a loop one would wait so long each time. A busy machine makes a few slow. */
    cr_expect_lt(atomic_load(&slow_ones), ASKERS * QUESTIONS / 10, "%d", atomic_load(&slow_ones));
}

/* Sends a question on a connection of its own and does not wait for the answer. */
static int ask_and_leave(const char *method)
{
    char text[256];
    int fd = dial();
    int len = snprintf(text, sizeof text, "%s " ASSET_PATH "/%s HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY "\r\n\r\n",
                       method, strcmp(method, "GET") == 0 ? "snapshots" : "snapshot");
    say(fd, text, (size_t)len);
    return fd;
}

Test(http_history_narrow, a_full_mailbox_is_told_at_once)
{
    int fds[LANE_CAPACITY];
    char out[4096];
    bool closed;
    atomic_store(&history.plan, LEAVE);
    for (size_t i = 0; i < LANE_CAPACITY; i++)
        fds[i] = ask_and_leave("POST");
    int64_t until_us = clock_steady_us() + 20000000;
    while (mailbox_depth(history.mailbox, 0) < LANE_CAPACITY && clock_steady_us() < until_us)
        poll(NULL, 0, 5);
    struct answer *answer = ask(ASSET_PATH "/validate", (struct ask){.method = "POST", .key = KEY});
    cr_expect_eq(answer->code, 503, "%ld", answer->code);
    cr_expect(has(answer, "UNAVAILABLE"));
    cr_expect_str_eq(header_of(answer, "retry-after"), "1");
    atomic_store(&history.plan, ANSWER);
    for (size_t i = 0; i < LANE_CAPACITY; i++) {
        (void)hear_until(fds[i], out, sizeof out, "\r\n\r\n", 1, &closed);
        cr_expect(strstr(out, "HTTP/1.1 201 Created") == out, "%s", out);
        close(fds[i]);
    }
    cr_expect_eq(get(ASSET_PATH "/snapshots")->code, 200);
}

Test(http_history_alone, no_more_questions_than_the_bound_are_outstanding)
{
    int fds[INQUIRIES_MAX];
    atomic_store(&history.plan, KEEP);
    for (size_t i = 0; i < INQUIRIES_MAX; i++)
        fds[i] = ask_and_leave("GET");
    cr_assert(is_asked_within(INQUIRIES_MAX, 20000));
    cr_expect_eq(get(ASSET_PATH "/snapshots")->code, 503);
    cr_expect_eq(get("/api/v1/portfolio")->code, 200, "what needs no history goes on");
    for (size_t i = 0; i < INQUIRIES_MAX; i++)
        close(fds[i]);
    cr_expect_eq(get(ASSET_PATH "/snapshots")->code, 503, "a client that has gone makes no room");
    answer_kept();
    atomic_store(&history.plan, ANSWER);
    cr_expect(connections_fall_to(0, 20000000));
    cr_expect_eq(get(ASSET_PATH "/snapshots")->code, 200);
    cr_expect_eq(atomic_load(&history.asked), INQUIRIES_MAX + 1);
}

Test(http_history, clients_that_vanish_meanwhile_leave_nothing_behind)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    atomic_store(&history.plan, KEEP);
    for (int i = 0; i < 20; i++) {
        int fd = ask_and_leave(i % 2 == 0 ? "GET" : "POST");
        cr_assert(is_asked_within(i + 1, 20000));
        if (i % 3 == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    answer_kept();
    cr_expect(connections_fall_to(0, 20000000));
    atomic_store(&history.plan, ANSWER);
    cr_expect_eq(get(ASSET_PATH "/snapshots")->code, 200);
}

Test(http_history, streams_reset_meanwhile_leave_nothing_behind)
{
    unsigned char block[256], out[512], code[4] = {0, 0, 0, 8}, ping[8] = {0};
    size_t block_len = frame_get_block(block, ASSET_PATH "/snapshots", KEY);
    int fd = dial_http2();
    bool closed;
    static char heard[65536];
    atomic_store(&history.plan, KEEP);
    for (uint32_t i = 0; i < 10; i++)
        say(fd, out, frame(out, 1, 5, 1 + 2 * i, block, block_len));
    cr_assert(is_asked_within(10, 20000));
    for (uint32_t i = 0; i < 10; i += 2)
        say(fd, out, frame(out, 3, 0, 1 + 2 * i, code, 4));
    say(fd, out, frame(out, 6, 0, 0, ping, sizeof ping)); /* when it is answered the resets have been seen */
    size_t len = hear_frames(fd, heard, sizeof heard, 6, 1, &closed);
    cr_assert_eq(frame_count(heard, len, 6), 1);
    answer_kept();
    len = hear_frames(fd, heard, sizeof heard, 1, 5, &closed);
    cr_expect_eq(frame_count(heard, len, 1), 5, "the others are answered");
    cr_expect_not(closed);
    /* And a whole connection that goes with its streams. */
    for (uint32_t i = 10; i < 20; i++)
        say(fd, out, frame(out, 1, 5, 1 + 2 * i, block, block_len));
    cr_assert(is_asked_within(20, 20000));
    close(fd);
    cr_expect(connections_fall_to(0, 20000000));
    answer_kept();
    atomic_store(&history.plan, ANSWER);
    cr_expect_eq(get(ASSET_PATH "/snapshots")->code, 200);
}

Test(http_history_alone, resets_of_unanswered_requests_end_the_connection)
{
    unsigned char block[256], out[512], code[4] = {0, 0, 0, 8};
    size_t block_len = frame_get_block(block, ASSET_PATH "/snapshots", KEY);
    int fd = dial_http2();
    bool closed = false;
    char heard[4096];
    atomic_store(&history.plan, KEEP);
    for (uint32_t i = 0; i < 2 * GUARD_RESETS_MAX; i++) {
        /* In one write, so that no answer comes between. */
        size_t len = frame(out, 1, 5, 1 + 2 * i, block, block_len);
        len += frame(out + len, 3, 0, 1 + 2 * i, code, 4);
        if (!say(fd, out, len))
            break;
        while (!closed && !is_asked_within((int)i + 1, 5))
            (void)hear(fd, heard, sizeof heard, 0, &closed);
        if (closed)
            break;
        answer_kept();
    }
    for (int i = 0; i < 400 && !closed; i++)
        (void)hear(fd, heard, sizeof heard, 50, &closed);
    cr_expect(closed);
    cr_expect_lt(atomic_load(&history.asked), 2 * GUARD_RESETS_MAX);
    close(fd);
    atomic_store(&history.plan, ANSWER);
    cr_expect_eq(get(ASSET_PATH "/snapshots")->code, 200);
}

static void *answer_later(void *unused)
{
    (void)unused;
    poll(NULL, 0, 700);
    answer_kept();
    return NULL;
}

Test(http_history, a_stop_waits_for_answers_within_its_deadline)
{
    char out[4096];
    bool closed;
    pthread_t thread;
    atomic_store(&history.plan, KEEP);
    int fd = ask_and_leave("POST");
    int gone = ask_and_leave("POST");
    cr_assert(is_asked_within(2, 20000));
    close(gone);
    int64_t began_us = clock_steady_us();
    cr_assert_eq(pthread_create(&thread, NULL, answer_later, NULL), 0);
    server_stop(fixture.server, 2 * HEAR_WAIT_MS);
    cr_expect_gt(clock_steady_us() - began_us, 500000);
    cr_expect_lt(clock_steady_us() - began_us, HEAR_WAIT_MS * 1000LL);
    pthread_join(thread, NULL);
    (void)hear(fd, out, sizeof out, HEAR_WAIT_MS, &closed);
    cr_expect(strstr(out, "HTTP/1.1 201 Created") == out && strstr(out, history.body) != NULL, "%s", out);
    cr_expect(closed);
    close(fd);
    struct server_reading reading;
    server_read(fixture.server, &reading);
    cr_expect_eq(reading.connections, 0);
}

Test(http_history, a_stop_does_not_wait_longer_and_later_answers_do_no_harm)
{
    unsigned char block[256], out[512];
    size_t block_len = frame_get_block(block, ASSET_PATH "/snapshots", KEY);
    atomic_store(&history.plan, KEEP);
    int h2 = dial_http2();
    say(h2, out, frame(out, 1, 5, 1, block, block_len));
    cr_assert(is_asked_within(1, 20000));
    close(h2);
    cr_expect(connections_fall_to(0, 20000000));
    int64_t began_us = clock_steady_us();
    server_stop(fixture.server, 700);
    cr_expect_lt(clock_steady_us() - began_us, INQUIRY_WAIT_US, "nor until the server gives it up");
    /* down() has the history answer what it kept: nobody waits for that any more. */
}

Test(http_history_none, without_a_history_the_answer_is_unavailable)
{
    struct answer *answer = ask(ASSET_PATH "/snapshot", (struct ask){.method = "POST", .key = KEY});
    cr_expect_eq(answer->code, 503);
    cr_expect(has(answer, "UNAVAILABLE"));
    cr_expect_str_eq(header_of(answer, "retry-after"), "1");
    cr_expect_eq(ask(ASSET_PATH, (struct ask){.method = "POST", .key = KEY})->code, 503);
    cr_expect_eq(get(ASSET_PATH "/snapshots")->code, 503);
}

Test(http_history_alone, a_silent_history_is_given_up_and_its_late_answer_does_no_harm)
{
    static const char next[] = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    char out[4096];
    bool closed;
    atomic_store(&history.plan, KEEP);
    int64_t began_us = clock_steady_us();
    int fd = ask_and_leave("POST");
    say(fd, next, sizeof next - 1);
    (void)hear(fd, out, sizeof out, 200, &closed);
    cr_expect_eq(out[0], '\0', "%s", out);
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    (void)poll(&poller, 1, INQUIRY_WAIT_US / 1000 + 2 * HEAR_WAIT_MS);
    cr_expect_geq(clock_steady_us() - began_us, INQUIRY_WAIT_US);
    (void)hear_until(fd, out, sizeof out, "alive", 1, &closed);
    cr_expect(strstr(out, "HTTP/1.1 503 ") == out && strstr(out, "may still be done") != NULL, "%s", out);
    cr_expect_not_null(strstr(out, "alive"), "the connection goes on: %s", out);
    answer_kept();
    atomic_store(&history.plan, ANSWER);
    cr_expect_eq(get(ASSET_PATH "/snapshots")->code, 200);
    close(fd);
}
