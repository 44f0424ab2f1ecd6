#include "tcp.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Two ends of a connection over the loopback interface. */
struct pair {
    int near, far;
};

static struct pair pair_make(void)
{
    struct pair pair;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    pair.near = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(pair.near, (struct sockaddr *)&address, sizeof address), 0);
    pair.far = accept(listener, NULL, NULL);
    cr_assert_geq(pair.far, 0);
    (void)close(listener);
    return pair;
}

static void pair_close(struct pair pair)
{
    (void)close(pair.near);
    (void)close(pair.far);
}

/* What comes for that socket is thrown away before TCP sees it, as a network does that swallows packets. */
static void swallow(int fd)
{
    struct sock_filter nothing = {.code = BPF_RET | BPF_K, .k = 0};
    const struct sock_fprog program = {.len = 1, .filter = &nothing};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
}

static void rest_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

Test(tcp, what_arrives_nowhere_is_unheard_after_some_repeats, .timeout = 300)
{
    const struct pair pair = pair_make();
    swallow(pair.far);
    bool is_unheard_at_once = true;
    for (int tries = 0; tries < 20 && is_unheard_at_once; tries++) { /* a busy machine may not look at once */
        const struct pair other = pair_make();
        swallow(other.far);
        cr_assert_eq(send(other.near, "x", 1, 0), 1);
        is_unheard_at_once = tcp_is_unheard(other.near);
        pair_close(other);
    }
    cr_assert_not(is_unheard_at_once);
    cr_assert_eq(send(pair.near, "x", 1, 0), 1);
    for (int i = 0; i < 300 && !tcp_is_unheard(pair.near); i++)
        rest_ms(100);
    cr_assert(tcp_is_unheard(pair.near));
    cr_assert_not(tcp_is_unheard(pair.far), "the other end sent nothing");
    pair_close(pair);
}

Test(tcp, who_reads_nothing_is_heard_all_the_same, .timeout = 300)
{
    static char much[65536];
    const struct pair pair = pair_make();
    /* Until it fits neither into the other end's buffer nor into ours: the kernel there says that there is no room. */
    while (send(pair.near, much, sizeof much, MSG_DONTWAIT) > 0) {
    }
    for (int i = 0; i < 30; i++) {
        cr_assert_not(tcp_is_unheard(pair.near), "after %d ms", i * 100);
        rest_ms(100);
    }
    pair_close(pair);
}

Test(tcp, what_is_no_connection_is_not_unheard)
{
    int ends[2];
    cr_assert_not(tcp_is_unheard(-1));
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    cr_assert_not(tcp_is_unheard(ends[0]));
    (void)close(ends[0]);
    (void)close(ends[1]);
}
