/*
 * http_fixture: a server in this process on a free loopback port, over a directory that the test fills, and clients for
 * it.
 */
#ifndef PM_HTTP_FIXTURE_H
#define PM_HTTP_FIXTURE_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "directory.h"
#include "server.h"

#define KEY       "integration-key"
#define SMALL_KEY "small-key"

/* For what has to come, and for what must not take until then: longer than a busy machine keeps anybody waiting. */
enum { HEAR_WAIT_MS = 20000 };

/* libh2o never gives back a queue and the blocks that a thread kept for reuse; Criterion forgets its own. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:h2o_mem_alloc_recycle\nleak:h2o_multithread_create_queue\nleak:libcriterion\n";
}

struct fixture {
    struct board board;
    struct directory *directory;
    struct asset_pattern assets;
    struct decimal limit;
    struct server_settings settings;
    struct server *server;
};

static struct fixture fixture;

static inline size_t render_text(void *context, char **out)
{
    (void)context;
    *out = strdup("# HELP up x\n# TYPE up gauge\nup 1\n");
    return strlen(*out);
}

static inline size_t render_summary(void *context, char **out)
{
    (void)context;
    *out = strdup("{\"database_connected\":true}");
    return strlen(*out);
}

static inline struct decimal number(const char *text)
{
    struct decimal out;
    cr_assert_eq(decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &out), STATUS_OK);
    return out;
}

static inline void publish(const char *asset, enum position_mode mode, const char *size, const char *price)
{
    struct position position;
    position_init(&position, asset, mode, uuid_generate(), clock_wall_us());
    position.version = 1;
    position.size = number(size);
    if (mode == POSITION_MODE_HEDGE) {
        position.long_size = position.size;
        position.short_size = DECIMAL_ZERO;
    }
    if (price != NULL) {
        position.current_price = number(price);
        position.price_updated_at_us = clock_wall_us();
    }
    position.last_updated_us = clock_wall_us();
    size_t part = directory_part_index(fixture.directory, asset);
    (void)directory_publish(directory_part(fixture.directory, part), &position);
}

/* Settings that a test may change before fixture_start(). */
static inline void fixture_prepare(void)
{
    static const struct api_key keys[] = {{KEY, 1000000}, {SMALL_KEY, 3}};
    fixture.directory = directory_create(2);
    cr_assert_eq(asset_pattern_init(&fixture.assets, ASSET_PATTERN_DEFAULT), STATUS_OK);
    fixture.board.database_connected = true;
    fixture.board.inbound_connected = true;
    fixture.board.outbound_connected = true;
    fixture.board.positions_loaded = true;
    fixture.board.started_steady_us = clock_steady_us();
    fixture.settings = (struct server_settings){
        .host = "127.0.0.1",
        .thread_count = 2,
        .keys = keys,
        .key_count = 2,
        .rate_limit_enabled = true,
        .service_name = "position-manager",
        .version = "1.2.3",
        .assets = &fixture.assets,
        .staleness_us = 300 * 1000000LL,
        .portfolio_ttl_us = 10 * 1000000LL,
        .render_metrics = render_text,
        .render_metrics_json = render_summary,
    };
}

static inline void fixture_start(void)
{
    cr_assert_eq(server_create(&fixture.settings, &fixture.board, fixture.directory, &fixture.server), STATUS_OK);
    cr_assert_eq(server_start(fixture.server), STATUS_OK);
}

/* Four positions: two of BTCUSDT, one short, one without a price. */
static inline void fixture_up(void)
{
    fixture_prepare();
    publish("ETHUSDT", POSITION_MODE_ONE_WAY, "-2", "3000");
    publish("BTCUSDT", POSITION_MODE_HEDGE, "0.5", "50000");
    publish("BTCUSDT", POSITION_MODE_ONE_WAY, "1", "50000");
    publish("XRPUSDT", POSITION_MODE_ONE_WAY, "100", NULL);
    fixture_start();
}

static inline void fixture_down(void)
{
    if (fixture.server != NULL) {
        server_stop(fixture.server, 3000);
        server_destroy(fixture.server);
    }
    directory_destroy(fixture.directory);
    asset_pattern_finish(&fixture.assets);
}

/* ---- libcurl ---- */

struct answer {
    long code;
    long version; /* CURL_HTTP_VERSION_* */
    char headers[4096];
    char body[65536];
    size_t headers_len, body_len;
};

struct ask {
    const char *method; /* NULL: GET */
    const char *key;    /* NULL: none */
    const char *header; /* one more, NULL: none */
    const char *scheme; /* NULL: http */
    long version;       /* 0: HTTP/1.1 */
    const char *upload; /* body, NULL: none */
    size_t upload_len;
    CURL *curl; /* NULL: a connection of its own */
};

static inline size_t on_answer_header(char *bytes, size_t size, size_t count, void *context)
{
    struct answer *answer = context;
    size_t len = size * count;
    if (answer->headers_len + len < sizeof answer->headers) {
        memcpy(answer->headers + answer->headers_len, bytes, len);
        answer->headers_len += len;
    }
    return len;
}

static inline size_t on_answer_body(char *bytes, size_t size, size_t count, void *context)
{
    struct answer *answer = context;
    size_t len = size * count;
    if (answer->body_len + len < sizeof answer->body) {
        memcpy(answer->body + answer->body_len, bytes, len);
        answer->body_len += len;
    }
    return len;
}

static inline CURLcode ask_raw(const char *path, struct ask ask, struct answer *answer)
{
    char url[2048], key[512];
    struct curl_slist *list = NULL;
    CURL *curl = ask.curl != NULL ? ask.curl : curl_easy_init();
    memset(answer, 0, sizeof *answer);
    snprintf(url, sizeof url, "%s://127.0.0.1:%u%s", ask.scheme != NULL ? ask.scheme : "http",
             server_port(fixture.server), path);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 60000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, ask.version != 0 ? ask.version : (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_answer_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (ask.upload != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask.upload);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)ask.upload_len);
        list = curl_slist_append(list, "Expect:");
    }
    if (ask.method != NULL && strcmp(ask.method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (ask.method != NULL)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask.method);
    if (ask.key != NULL) {
        snprintf(key, sizeof key, "X-API-Key: %s", ask.key);
        list = curl_slist_append(list, key);
    }
    if (ask.header != NULL)
        list = curl_slist_append(list, ask.header);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->code);
    curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &answer->version);
    curl_slist_free_all(list);
    if (ask.curl == NULL)
        curl_easy_cleanup(curl);
    else
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    return result;
}

static inline struct answer *ask(const char *path, struct ask how)
{
    static struct answer answer;
    CURLcode result = ask_raw(path, how, &answer);
    cr_assert_eq(result, CURLE_OK, "%s: %s", path, curl_easy_strerror(result));
    return &answer;
}

/* GET with the usual key. */
static inline struct answer *get(const char *path)
{
    return ask(path, (struct ask){.key = KEY});
}

static inline bool has(const struct answer *answer, const char *part)
{
    return strstr(answer->body, part) != NULL;
}

/* The value of a header, or NULL. name: in lower case. */
static inline const char *header_of(const struct answer *answer, const char *name)
{
    static char value[512];
    size_t len = strlen(name);
    for (const char *line = answer->headers; line != NULL && *line != '\0';) {
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *start = line + len + 1 + strspn(line + len + 1, " ");
            snprintf(value, sizeof value, "%.*s", (int)strcspn(start, "\r\n"), start);
            return value;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return NULL;
}

/* ---- raw sockets ---- */

static inline int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static inline int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(server_port(fixture.server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Returns whether all of it was taken. */
static inline bool say(int fd, const void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)bytes + done, len - done, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/*
 * Reads until text has come `count` times (NULL: there is none to wait for), the peer closes, `wait_ms` pass in
 * silence, or out is full; terminated. Returns the length.
 */
static inline size_t hear_text(int fd, char *out, size_t size, const char *text, int count, int wait_ms, bool *closed)
{
    size_t len = 0;
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    *closed = false;
    out[0] = '\0';
    while ((text == NULL || count_of(out, text) < count) && len + 1 < size && poll(&poller, 1, wait_ms) > 0) {
        ssize_t n = recv(fd, out + len, size - 1 - len, 0);
        if (n <= 0) {
            *closed = true;
            break;
        }
        len += (size_t)n;
        out[len] = '\0';
    }
    return len;
}

static inline size_t hear(int fd, char *out, size_t size, int wait_ms, bool *closed)
{
    return hear_text(fd, out, size, NULL, 0, wait_ms, closed);
}

static inline size_t hear_until(int fd, char *out, size_t size, const char *text, int count, bool *closed)
{
    return hear_text(fd, out, size, text, count, HEAR_WAIT_MS, closed);
}

/* Waits until at most `count` connections are open. */
static inline bool connections_fall_to(uint32_t count, int64_t within_us)
{
    int64_t until_us = clock_steady_us() + within_us;
    struct server_reading reading;
    do {
        server_read(fixture.server, &reading);
        if (reading.connections <= count)
            return true;
        poll(NULL, 0, 10);
    } while (clock_steady_us() < until_us);
    return false;
}

#endif
