#include "prices_web.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { HEADER_LEN_MAX = 1200 }; /* a key of 1,024 characters and its name */

struct web_slot {
    CURL *easy; /* kept over its requests */
    struct curl_slist *headers;
    web_done_fn *done;
    void *context;
    bool in_use;
    bool is_too_large;
    size_t body_len;
    char body[WEB_BODY_LEN_MAX];
};

struct web_client {
    CURLM *multi;
    struct web_slot slots[WEB_REQUESTS_MAX];
};

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct web_slot *slot = context;
    size_t len = size * count;
    if (len > WEB_BODY_LEN_MAX - slot->body_len) {
        slot->is_too_large = true;
        return 0; /* ends the transfer */
    }
    memcpy(slot->body + slot->body_len, bytes, len);
    slot->body_len += len;
    return len;
}

struct web_client *web_client_create(void)
{
    struct web_client *client = calloc(1, sizeof *client);
    pm_assert(client != NULL);
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    pm_assert(code == CURLE_OK);
    client->multi = curl_multi_init();
    pm_assert(client->multi != NULL);
    (void)curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)WEB_REQUESTS_MAX);
    for (size_t i = 0; i < WEB_REQUESTS_MAX; i++) {
        client->slots[i].easy = curl_easy_init();
        pm_assert(client->slots[i].easy != NULL);
    }
    return client;
}

static void finish_slot(struct web_client *client, struct web_slot *slot)
{
    (void)curl_multi_remove_handle(client->multi, slot->easy);
    curl_slist_free_all(slot->headers);
    slot->headers = NULL;
    slot->in_use = false;
}

void web_client_destroy(struct web_client *client)
{
    if (client == NULL)
        return;
    for (size_t i = 0; i < WEB_REQUESTS_MAX; i++) {
        if (client->slots[i].in_use)
            finish_slot(client, &client->slots[i]);
        curl_easy_cleanup(client->slots[i].easy);
    }
    (void)curl_multi_cleanup(client->multi);
    curl_global_cleanup();
    free(client);
}

static bool add_header(struct web_slot *slot, const char *name, const char *value)
{
    char line[HEADER_LEN_MAX];
    int len = snprintf(line, sizeof line, "%s: %s", name, value);
    if (len < 0 || (size_t)len >= sizeof line || strpbrk(line, "\r\n") != NULL)
        return false;
    struct curl_slist *longer = curl_slist_append(slot->headers, line);
    if (longer == NULL)
        return false;
    slot->headers = longer;
    return true;
}

static bool set_headers(struct web_slot *slot, const struct web_request *request)
{
    bool done = add_header(slot, "Accept", "application/json");
    if (request->body != NULL)
        done = done && add_header(slot, "Content-Type", "application/json");
    if (request->header_name != NULL)
        done = done && add_header(slot, request->header_name, request->header_value);
    return done;
}

static bool set_options(struct web_slot *slot, const struct web_request *request)
{
    CURL *easy = slot->easy;
    curl_easy_reset(easy); /* connections stay */
    CURLcode code = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_URL, request->url);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, slot->headers);
    if (code == CURLE_OK && request->body != NULL)
        code = curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
    if (code != CURLE_OK)
        return false;
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* A name that is not resolved in time must not hold up the thread, nor the stop. */
    (void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_MAXFILESIZE, (long)WEB_BODY_LEN_MAX);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "position-manager");
    return true;
}

static struct web_slot *free_slot(struct web_client *client)
{
    for (size_t i = 0; i < WEB_REQUESTS_MAX; i++)
        if (!client->slots[i].in_use)
            return &client->slots[i];
    return NULL;
}

enum status web_client_start(struct web_client *client, const struct web_request *request, web_done_fn *done,
                             void *context)
{
    struct web_slot *slot = free_slot(client);
    if (slot == NULL)
        return STATUS_FULL;
    slot->done = done;
    slot->context = context;
    slot->body_len = 0;
    slot->is_too_large = false;
    if (!set_headers(slot, request) || !set_options(slot, request) ||
        curl_multi_add_handle(client->multi, slot->easy) != CURLM_OK) {
        curl_slist_free_all(slot->headers);
        slot->headers = NULL;
        return STATUS_UNAVAILABLE;
    }
    slot->in_use = true;
    return STATUS_OK;
}

/* libcurl has some hundred codes; these are the words for what an operator can do something about. */
static const char *failure_word(const struct web_slot *slot, CURLcode code)
{
    if (code == CURLE_OK)
        return NULL;
    if (slot->is_too_large || code == CURLE_FILESIZE_EXCEEDED)
        return "too_large";
    if (code == CURLE_OPERATION_TIMEDOUT)
        return "timeout";
    if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY)
        return "unresolved";
    if (code == CURLE_COULDNT_CONNECT)
        return "unreachable";
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR)
        return "tls";
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
        return "bad_url";
    return "lost";
}

static void finish_request(struct web_client *client, CURL *easy, CURLcode code)
{
    char *private_pointer = NULL;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private_pointer);
    struct web_slot *slot = (void *)private_pointer;
    struct web_answer answer = {.failure = failure_word(slot, code), .body = slot->body, .body_len = slot->body_len};
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer.code);
    finish_slot(client, slot);
    slot->done(slot->context, &answer);
}

void web_client_perform(struct web_client *client)
{
    int running = 0;
    (void)curl_multi_perform(client->multi, &running);
    CURLMsg *message;
    int left = 0;
    while ((message = curl_multi_info_read(client->multi, &left)) != NULL)
        if (message->msg == CURLMSG_DONE)
            finish_request(client, message->easy_handle, message->data.result);
}

void web_client_wait(struct web_client *client, int fd, int timeout_ms)
{
    struct curl_waitfd extra = {.fd = fd, .events = CURL_WAIT_POLLIN};
    (void)curl_multi_poll(client->multi, &extra, 1, timeout_ms, NULL);
}
