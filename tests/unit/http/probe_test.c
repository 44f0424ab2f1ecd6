#include "probe.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A server for one connection that reads the request and answers with given bytes. */
struct server {
    int listener;
    uint16_t port;
    const char *answer; /* NULL: never answers */
    char asked[256];
    pthread_t thread;
};

static void *serve(void *context)
{
    struct server *server = context;
    int fd = accept(server->listener, NULL, NULL);
    cr_assert_geq(recv(fd, server->asked, sizeof server->asked - 1, 0), 0);
    if (server->answer == NULL) {
        char byte;
        (void)recv(fd, &byte, 1, 0); /* until the probe gives up */
    } else {
        /* In two pieces, some time apart: nobody promised that a line comes at once. */
        size_t len = strlen(server->answer), first = len < 5 ? len : 5;
        (void)send(fd, server->answer, first, MSG_NOSIGNAL);
        (void)poll(NULL, 0, 20);
        (void)send(fd, server->answer + first, len - first, MSG_NOSIGNAL);
    }
    close(fd);
    return NULL;
}

static void server_start(struct server *server, const char *answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    *server = (struct server){.listener = socket(AF_INET, SOCK_STREAM, 0), .answer = answer};
    cr_assert_eq(bind(server->listener, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(server->listener, 1), 0);
    cr_assert_eq(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
    server->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server)
{
    pthread_join(server->thread, NULL);
    close(server->listener);
}

Test(probe, the_code_is_that_of_the_answers_first_line)
{
    static const struct {
        const char *answer;
        enum status status;
        int code;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\n\r\n{}", STATUS_OK, 200},
        {"HTTP/1.1 503 Service Unavailable\r\n\r\n", STATUS_OK, 503},
        {"HTTP/1.1 200", STATUS_OK, 200},
        {"HTTP/1.1 20", STATUS_UNAVAILABLE, 0},
        {"HTTP/1.1 2x0 OK", STATUS_UNAVAILABLE, 0},
        {"HTTP/2.0 200 OK", STATUS_UNAVAILABLE, 0},
        {"SSH-2.0-OpenSSH_9.2", STATUS_UNAVAILABLE, 0},
        {"", STATUS_UNAVAILABLE, 0},
    };
    static const char *const hosts[] = {"127.0.0.1", "0.0.0.0"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct server server;
        server_start(&server, rows[i].answer);
        int code = -1;
        const struct probe_target target = {.host = hosts[i % 2], .port = server.port};
        cr_expect_eq(probe_ready(&target, 60000, &code), rows[i].status, "%s", rows[i].answer);
        cr_expect_eq(code, rows[i].code, "%s", rows[i].answer);
        server_stop(&server);
        cr_expect_eq(strncmp(server.asked, "GET /health/ready HTTP/1.1\r\n", 28), 0, "%s", server.asked);
    }
}

Test(probe, who_never_answers_is_given_up_in_time)
{
    struct server server;
    int code = -1;
    server_start(&server, NULL);
    const struct probe_target target = {.host = "127.0.0.1", .port = server.port};
    cr_expect_eq(probe_ready(&target, 100, &code), STATUS_UNAVAILABLE);
    cr_expect_eq(code, 0);
    server_stop(&server);
}

Test(probe, an_answer_in_cleartext_is_none_where_tls_is_spoken)
{
    struct server server;
    int code = -1;
    server_start(&server, "HTTP/1.1 400 Bad Request\r\n\r\n");
    const struct probe_target target = {.host = "127.0.0.1", .port = server.port, .is_tls = true};
    cr_expect_eq(probe_ready(&target, 60000, &code), STATUS_UNAVAILABLE);
    cr_expect_eq(code, 0);
    server_stop(&server);
}

Test(probe, a_name_is_no_address)
{
    int code = -1;
    const struct probe_target target = {.host = "localhost.example", .port = 80};
    cr_expect_eq(probe_ready(&target, 100, &code), STATUS_INVALID);
    cr_expect_eq(code, 0);
}
