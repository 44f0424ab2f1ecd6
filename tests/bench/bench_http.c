/*
 * bench_http: the bare libh2o handler that the service is measured against. GET /<n>… answers n bytes; it looks at
 * nothing else, so that the request may be as long as the service's own. HTTP/1.1 and HTTP/2 (prior knowledge; by ALPN
 * with TLS), one loop and one listener a thread.
 *
 *   bench_http <port> <threads> [<certificate> <key>]
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <h2o.h>
#include <openssl/ssl.h>

enum { BODY_LEN_MAX = 64 * 1024 * 1024, BACKLOG = 4096, ACCEPTS_A_TURN = 32, THREADS_MAX = 64 };

static char body[BODY_LEN_MAX];
static h2o_globalconf_t config;
static SSL_CTX *tls;
static uint16_t port;

struct loop {
    h2o_context_t context;
    h2o_accept_ctx_t accept;
};

static void die(const char *what)
{
    fprintf(stderr, "bench_http: %s\n", what);
    exit(1);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *request)
{
    (void)handler;
    static h2o_generator_t generator = {NULL, NULL};
    size_t len = strtoull(request->path_normalized.base + 1, NULL, 10);
    if (len > BODY_LEN_MAX)
        return -1;
    h2o_iovec_t part = h2o_iovec_init(body, len);
    request->res.status = 200;
    request->res.reason = "OK";
    request->res.content_length = len;
    h2o_add_header(&request->pool, &request->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, H2O_STRLIT("application/json"));
    h2o_start_response(request, &generator);
    h2o_send(request, &part, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

static void on_connection(h2o_socket_t *listener, const char *error)
{
    struct loop *loop = listener->data;
    for (int i = 0; error == NULL && i < ACCEPTS_A_TURN; i++) {
        h2o_socket_t *socket = h2o_evloop_socket_accept(listener);
        if (socket == NULL)
            return;
        h2o_accept(&loop->accept, socket);
    }
}

static int open_listener(void)
{
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, BACKLOG) != 0)
        die("cannot listen");
    return fd;
}

static void *serve(void *argument)
{
    struct loop *loop = argument;
    h2o_context_init(&loop->context, h2o_evloop_create(), &config);
    loop->accept = (h2o_accept_ctx_t){.ctx = &loop->context, .hosts = config.hosts, .ssl_ctx = tls};
    h2o_socket_t *listener = h2o_evloop_socket_create(loop->context.loop, open_listener(), H2O_SOCKET_FLAG_DONT_READ);
    listener->data = loop;
    h2o_socket_read_start(listener, on_connection);
    while (h2o_evloop_run(loop->context.loop, INT32_MAX) == 0)
        continue;
    return NULL;
}

static void open_tls(const char *certificate, const char *key)
{
    tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        die("cannot use certificate and key");
    (void)SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    h2o_ssl_register_alpn_protocols(tls, h2o_http2_alpn_protocols);
}

int main(int count, char **arguments)
{
    static struct loop loops[THREADS_MAX];
    if (count != 3 && count != 5) {
        fputs("usage: bench_http <port> <threads> [<certificate> <key>]\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    memset(body, 'x', sizeof body);
    port = (uint16_t)strtoul(arguments[1], NULL, 10);
    size_t threads = strtoul(arguments[2], NULL, 10);
    if (threads < 1 || threads > THREADS_MAX)
        die("1 to 64 threads");
    h2o_config_init(&config);
    h2o_hostconf_t *host = h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    if (count == 5)
        open_tls(arguments[3], arguments[4]);
    for (size_t i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, &loops[i]) != 0)
            die("cannot start a thread");
    }
    serve(&loops[0]);
    return 0;
}
