/* What the server does with clients that break rules, stall, vanish or are still there when it stops; and TLS. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "http_fixture.h"
#include "http_frames.h"
#include "metrics.h"

TestSuite(http_hostile, .init = fixture_up, .fini = fixture_down, .timeout = 300);
TestSuite(http_tls, .fini = fixture_down, .timeout = 300);
TestSuite(http_stop, .init = fixture_up, .fini = fixture_down, .timeout = 300);

#define MIB (1024 * 1024)

static const char *large_upload(void)
{
    static char upload[3 * MIB];
    return upload;
}

/* Sends a request in HTTP/1.1 and returns what came back until the server closed. */
static const char *exchange(const char *request, size_t len, bool *closed)
{
    static char out[65536];
    int fd = dial();
    say(fd, request, len);
    (void)hear(fd, out, sizeof out, HEAR_WAIT_MS, closed);
    close(fd);
    return out;
}

Test(http_hostile, a_large_body_is_refused_by_its_declared_length)
{
    static const struct {
        const char *length;
        const char *status;
    } rows[] = {{"1048577", "HTTP/1.1 413 "},
                {"99999999999", "HTTP/1.1 413 "},
                {"-1", "HTTP/1.1 400 "},
                {"12x", "HTTP/1.1 400 "}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char request[256];
        bool closed;
        int len =
            snprintf(request, sizeof request,
                     "POST /api/v1/positions HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY "\r\nContent-Length: %s\r\n\r\n",
                     rows[i].length);
        const char *answer = exchange(request, (size_t)len, &closed);
        cr_expect_eq(strncmp(answer, rows[i].status, 13), 0, "%s: %s", rows[i].length, answer);
        cr_expect(strstr(answer, "application/json") != NULL, "%s", rows[i].length);
        cr_expect(strstr(answer, "\"error_code\":\"") != NULL, "%s: %s", rows[i].length, answer);
        cr_expect(closed, "%s", rows[i].length);
    }
}

Test(http_hostile, a_client_that_sends_its_large_body_at_once_still_reads_why)
{
    static const char head[] =
        "POST /api/v1/positions HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY "\r\nContent-Length: 3145728\r\n\r\n";
    char out[4096];
    bool is_taken = false, closed;
    for (int tries = 0; tries < 20 && !is_taken;
         tries++) { /* it is taken for two seconds: a busy machine may be late */
        int fd = dial();
        is_taken = say(fd, head, sizeof head - 1);
        for (int i = 0; i < 12 && is_taken; i++) {
            is_taken = say(fd, large_upload(), MIB / 4);
            poll(NULL, 0, 5);
        }
        (void)hear(fd, out, sizeof out, HEAR_WAIT_MS, &closed);
        close(fd);
    }
    cr_expect(is_taken, "a client that only reads afterwards would give up");
    cr_expect_eq(strncmp(out, "HTTP/1.1 413 ", 13), 0, "'%s'", out);
    cr_expect(strstr(out, "PAYLOAD_TOO_LARGE") != NULL);
    cr_expect(connections_fall_to(0, 20000000));
}

Test(http_hostile, bodies_up_to_a_mebibyte_pass_and_chunks_beyond_are_refused)
{
    static char upload[MIB + 1];
    struct ask how = {.method = "POST", .key = KEY, .upload = upload, .upload_len = MIB};
    cr_expect_eq(ask("/api/v1/positions", how)->code, 405, "the body was no obstacle");
    how.upload_len = MIB + 1;
    cr_expect_eq(ask("/api/v1/positions", how)->code, 413);
    how.version = CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    cr_expect_eq(ask("/api/v1/positions", how)->code, 413);
    how.version = 0;
    how.header = "Transfer-Encoding: chunked";
    struct answer *answer = ask("/api/v1/positions", how);
    cr_expect_eq(answer->code, 413);
    cr_expect(has(answer, "PAYLOAD_TOO_LARGE"));
}

Test(http_hostile, http2_says_why_a_larger_body_is_refused)
{
    static char upload[20 * MIB];
    static const size_t sizes[] = {MIB + 1, 2 * MIB, 10 * MIB, 20 * MIB};
    struct ask how = {.method = "POST", .key = KEY, .upload = upload, .version = CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        how.upload_len = sizes[i];
        struct answer *answer = ask("/api/v1/positions", how);
        cr_expect_eq(answer->code, 413, "%zu: %ld", sizes[i], answer->code);
        cr_expect(has(answer, "PAYLOAD_TOO_LARGE"), "%zu", sizes[i]);
        cr_expect(header_of(answer, "ratelimit-limit") != NULL, "%zu", sizes[i]);
    }
    how = (struct ask){.method = "POST", .upload = upload, .upload_len = 2 * MIB, .version = how.version};
    cr_expect_eq(ask("/api/v1/positions", how)->code, 401, "without a key nothing else is told");
    cr_expect(connections_fall_to(0, 20000000));
}

Test(http_hostile, what_is_no_http_is_refused_and_the_server_lives)
{
    static const struct {
        const char *name, *bytes, *answer;
    } rows[] = {
        {"noise", "\x16\x03\x01 garbage\r\n\r\n", "HTTP/1.1 400"},
        {"no version", "GET /\r\n\r\n", "HTTP/1.1 400"},
        {"star", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 4"},
        {"above the root", "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 401"},
        {"absolute form", "GET http://x/health/live HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200"},
        {"absolute form with a query", "GET HTTPS://x:1/health/live?a HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200"},
        {"absolute form above the root", "GET http://x/../api/v1/positions HTTP/1.1\r\nHost: x\r\n\r\n",
         "HTTP/1.1 401"},
        {"absolute form of nothing", "GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 401"},
        {"absolute form without a path", "GET http://x?a HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 401"},
        {"another scheme", "GET ftp://x/health/live HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 401"},
        {"broken chunk", "POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
         "HTTP/1.1 400"},
        {"unknown coding", "POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 400"},
        {"unknown expectation", "POST /health HTTP/1.1\r\nHost: x\r\nExpect: 7\r\nContent-Length: 1\r\n\r\nx",
         "HTTP/1.1 417"},
        {"no host", "GET /health/live HTTP/1.1\r\n\r\n", "HTTP/1.1 200"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char answer[4096];
        bool closed;
        int fd = dial();
        say(fd, rows[i].bytes, strlen(rows[i].bytes));
        (void)hear_until(fd, answer, sizeof answer, "\r\n\r\n", 1, &closed);
        close(fd);
        cr_expect_eq(strncmp(answer, rows[i].answer, strlen(rows[i].answer)), 0, "%s: %s", rows[i].name, answer);
        cr_expect_eq(get("/api/v1/portfolio")->code, 200, "after %s", rows[i].name);
    }
}

Test(http_hostile, too_many_header_fields_are_refused)
{
    static char request[65536];
    bool closed;
    size_t len = (size_t)snprintf(request, sizeof request, "GET /health HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 80; i++)
        len += (size_t)snprintf(request + len, sizeof request - len, "X-%d: y\r\n", i);
    len += (size_t)snprintf(request + len, sizeof request - len, "\r\n");
    const char *answer = exchange(request, len, &closed);
    cr_expect_eq(strncmp(answer, "HTTP/1.1 400 ", 13), 0, "%s", answer);
    cr_expect(strstr(answer, "header fields") != NULL);
    cr_expect(closed);
}

Test(http_hostile, pipelined_requests_are_answered_in_order)
{
    char out[65536], request[4096];
    bool closed;
    size_t len = 0;
    int fd = dial();
    for (int i = 0; i < 20; i++)
        len += (size_t)snprintf(request + len, sizeof request - len,
                                "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Trace-Id: number-%d\r\n\r\n", i);
    say(fd, request, len);
    (void)hear_until(fd, out, sizeof out, "number-19\r\n", 1, &closed);
    close(fd);
    cr_expect_eq(count_of(out, "HTTP/1.1 200"), 20);
    const char *at = out;
    for (int i = 0; i < 20; i++) {
        char trace[32];
        snprintf(trace, sizeof trace, "number-%d\r\n", i);
        at = strstr(at, trace);
        cr_assert(at != NULL, "%s", trace);
    }
}

Test(http_hostile, clients_that_vanish_leave_nothing_behind)
{
    for (int i = 0; i < 300; i++) {
        static const char request[] = "GET /api/v1/positions HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY "\r\n\r\n";
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        int fd = dial();
        say(fd, request, i % 3 == 0 ? sizeof request / 2 : sizeof request - 1);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    cr_expect(connections_fall_to(0, 20000000));
    cr_expect_eq(get("/api/v1/positions")->code, 200);
}

/* ---- HTTP/2 by hand ---- */

static bool is_closed_within(int fd, int wait_ms)
{
    static char out[65536];
    bool closed = false;
    int64_t until_us = clock_steady_us() + wait_ms * 1000LL;
    while (!closed && clock_steady_us() < until_us)
        (void)hear(fd, out, sizeof out, 50, &closed);
    return closed;
}

Test(http_hostile, rapid_resets_end_the_connection)
{
    unsigned char block[64], batch[64 * 1024], code[4] = {0, 0, 0, 8};
    size_t block_len = frame_get_block(block, "/openapi.json", NULL);
    uint64_t refused = metric_value(METRIC_HTTP_CONNECTIONS_REFUSED);
    int fd = dial_http2();
    uint32_t stream = 1;
    for (int round = 0; round < 20; round++) {
        size_t len = 0;
        for (int i = 0; i < 500; i++, stream += 2) {
            len += frame(batch + len, 1, 5, stream, block, block_len);
            len += frame(batch + len, 3, 0, stream, code, 4);
        }
        say(fd, batch, len);
    }
    cr_expect(is_closed_within(fd, 20000));
    close(fd);
    cr_expect_gt(metric_value(METRIC_HTTP_CONNECTIONS_REFUSED), refused);
    cr_expect_eq(get("/api/v1/positions")->code, 200);
    cr_expect(connections_fall_to(0, 20000000));
}

Test(http_hostile, a_header_bomb_ends_the_connection)
{
    unsigned char block[4096], out[8192];
    size_t len = frame_get_block(block, "/openapi.json", NULL);
    /* One-byte indexed fields (accept-encoding: gzip, deflate). */
    memset(block + len, 0x90, 2000);
    int fd = dial_http2();
    say(fd, out, frame(out, 1, 5, 1, block, len + 2000));
    cr_expect(is_closed_within(fd, 20000));
    close(fd);
    cr_expect_eq(get("/api/v1/positions")->code, 200);
}

Test(http_hostile, many_streams_at_once_are_all_answered)
{
    unsigned char block[64], batch[16384];
    static char out[1 << 22];
    size_t block_len = frame_get_block(block, "/openapi.json", NULL), len = 0;
    bool closed;
    int fd = dial_http2();
    for (uint32_t i = 0; i < 90; i++)
        len += frame(batch + len, 1, 5, 1 + 2 * i, block, block_len);
    say(fd, batch, len);
    len = hear_frames(fd, out, sizeof out, 1, 90, &closed);
    close(fd);
    cr_expect_eq(frame_count(out, len, 1), 90);
}

/* ---- TLS ---- */

static void make_certificate(const char *cert_path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    cr_assert(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *file = fopen(cert_path, "w");
    PEM_write_X509(file, cert);
    fclose(file);
    file = fopen(key_path, "w");
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

Test(http_tls, alpn_chooses_and_old_versions_are_refused)
{
    static char directory[] = "/tmp/pm-http-tls-XXXXXX";
    char cert[64], key[64];
    static struct answer answer;
    cr_assert_not_null(mkdtemp(directory));
    snprintf(cert, sizeof cert, "%s/cert.pem", directory);
    snprintf(key, sizeof key, "%s/key.pem", directory);
    make_certificate(cert, key);
    fixture_prepare();
    publish("BTCUSDT", POSITION_MODE_ONE_WAY, "1", "50000");
    fixture.settings.tls_cert = cert;
    fixture.settings.tls_key = key;
    fixture_start();
    static const struct {
        long asked, got;
    } rows[] = {{CURL_HTTP_VERSION_1_1, CURL_HTTP_VERSION_1_1}, {CURL_HTTP_VERSION_2TLS, CURL_HTTP_VERSION_2_0}};
    for (int i = 0; i < 2; i++) {
        CURL *curl = curl_easy_init();
        for (int again = 0; again < 50; again++) {
            struct answer *got =
                ask("/api/v1/positions",
                    (struct ask){.key = KEY, .scheme = "https", .version = rows[i].asked, .curl = curl});
            cr_expect_eq(got->code, 200);
            cr_expect_eq(got->version, rows[i].got);
        }
        curl_easy_cleanup(curl);
    }
    cr_expect_neq(ask_raw("/health", (struct ask){.scheme = "http"}, &answer), CURLE_OK, "cleartext to a TLS port");
    bool closed;
    (void)exchange("not tls at all\r\n\r\n", 18, &closed);
    cr_expect(closed);
    unlink(cert), unlink(key), rmdir(directory);
}

/* ---- stopping ---- */

Test(http_stop, idle_connections_are_closed_and_the_port_is_free)
{
    int h1 = dial();
    int h2 = dial_http2();
    poll(NULL, 0, 100);
    int64_t began_us = clock_steady_us();
    server_stop(fixture.server, 2 * HEAR_WAIT_MS);
    cr_expect_lt(clock_steady_us() - began_us, HEAR_WAIT_MS * 1000LL);
    struct server_reading reading;
    server_read(fixture.server, &reading);
    cr_expect_eq(reading.connections, 0);
    cr_expect(is_closed_within(h1, 20000));
    cr_expect(is_closed_within(h2, 20000));
    close(h1);
    close(h2);
    uint16_t port = server_port(fixture.server);
    server_destroy(fixture.server);
    fixture.settings.port = port;
    cr_expect_eq(server_create(&fixture.settings, &fixture.board, fixture.directory, &fixture.server), STATUS_OK);
}

static atomic_bool enough;
static atomic_int answered;
static atomic_int broken;

/* Asks on one connection until the server says that it closes it; whatever was asked before must be answered in full.
 */
static void *keep_asking(void *connection)
{
    static const char request[] = "GET /api/v1/portfolio HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY "\r\n\r\n";
    int fd = *(int *)connection;
    while (!atomic_load(&enough)) {
        char out[8192];
        size_t len = 0;
        say(fd, request, sizeof request - 1);
        out[0] = '\0';
        for (ssize_t n; strstr(out, "calculated_at") == NULL && (n = recv(fd, out + len, sizeof out - 1 - len, 0)) > 0;)
            len += (size_t)n, out[len] = '\0';
        if (len == 0)
            break; /* closed between two requests */
        if (strstr(out, "calculated_at") == NULL)
            atomic_fetch_add(&broken, 1);
        else
            atomic_fetch_add(&answered, 1);
        if (strstr(out, "Connection: close") != NULL || strstr(out, "connection: close") != NULL)
            break;
    }
    close(fd);
    return NULL;
}

Test(http_stop, busy_clients_get_whole_answers_until_the_end)
{
    pthread_t threads[8];
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = dial();
        cr_assert_eq(pthread_create(&threads[i], NULL, keep_asking, &fds[i]), 0);
    }
    poll(NULL, 0, 300);
    for (int i = 0; i < 4000 && atomic_load(&answered) <= 8; i++)
        poll(NULL, 0, 5);
    server_stop(fixture.server, 5000);
    atomic_store(&enough, true);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    cr_expect_gt(atomic_load(&answered), 8);
    cr_expect_eq(atomic_load(&broken), 0);
}

Test(http_stop, a_reader_that_does_not_read_does_not_hold_up_the_stop)
{
    static const char request[] = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    int small = 2048, fd = dial();
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 2000; i++) {
        if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
    }
    poll(NULL, 0, 200);
    int64_t began_us = clock_steady_us();
    server_stop(fixture.server, 1000);
    cr_expect_lt(clock_steady_us() - began_us, HEAR_WAIT_MS * 1000LL);
    server_destroy(fixture.server);
    fixture.server = NULL;
    close(fd);
}

Test(http_stop, stopping_twice_and_stopping_what_never_ran_is_fine)
{
    struct server *second = NULL;
    server_stop(fixture.server, 100);
    server_stop(fixture.server, 100);
    fixture.settings.port = 0;
    cr_assert_eq(server_create(&fixture.settings, &fixture.board, fixture.directory, &second), STATUS_OK);
    server_stop(second, 100);
    server_destroy(second);
}
