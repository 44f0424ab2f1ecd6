#define _GNU_SOURCE /* setenv, unsetenv */

#include "notify.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TEXT_LEN_MAX = 512 };

/* What systemd holds: a datagram socket. An address that begins with a zero byte needs no file. */
static int manager_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    int len = snprintf(name, sizeof name, "@pm-test-notify-%d", (int)getpid());
    memcpy(address.sun_path, name, (size_t)len);
    address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, address_len), 0);
    cr_assert_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

/* The next message, or an empty text where none came. */
static const char *manager_heard(int fd)
{
    static char text[TEXT_LEN_MAX];
    ssize_t len = recv(fd, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

static const struct notify_facts starting = {.stage = NOTIFY_STARTING, .is_live = true};
static const struct notify_facts serving = {
    .stage = NOTIFY_SERVING, .is_live = true, .database_connected = true, .queue_connected = true};

Test(notify, readiness_and_the_stop_are_told_once)
{
    struct notify notify;
    int manager = manager_open();
    notify_init(&notify);
    (void)notify_tell(&notify, &starting);
    cr_assert(strstr(manager_heard(manager), "READY=1") == NULL);
    (void)notify_tell(&notify, &serving);
    cr_assert(strstr(manager_heard(manager), "READY=1\n") != NULL);
    (void)notify_tell(&notify, &serving);
    cr_assert_str_eq(manager_heard(manager), "WATCHDOG=1\n");
    struct notify_facts stopping = serving;
    stopping.stage = NOTIFY_STOPPING;
    (void)notify_tell(&notify, &stopping);
    cr_assert(strstr(manager_heard(manager), "STOPPING=1\n") != NULL);
    (void)notify_tell(&notify, &stopping);
    cr_assert_str_eq(manager_heard(manager), "WATCHDOG=1\n");
    close(manager);
}

Test(notify, a_start_that_waits_asks_for_more_time)
{
    struct notify notify;
    int manager = manager_open();
    notify_init(&notify);
    for (int i = 0; i < 3; i++) {
        (void)notify_tell(&notify, &starting);
        cr_assert(strstr(manager_heard(manager), "EXTEND_TIMEOUT_USEC=") != NULL, "call %d", i);
    }
    (void)notify_tell(&notify, &serving);
    cr_assert(strstr(manager_heard(manager), "EXTEND_TIMEOUT_USEC=") == NULL);
    close(manager);
}

Test(notify, what_is_stuck_does_not_feed_the_watchdog)
{
    struct notify notify;
    int manager = manager_open();
    notify_init(&notify);
    (void)notify_tell(&notify, &serving);
    (void)manager_heard(manager);
    struct notify_facts stuck = serving;
    stuck.is_live = false;
    (void)notify_tell(&notify, &stuck);
    const char *heard = manager_heard(manager);
    cr_assert(strstr(heard, "WATCHDOG=1") == NULL && strstr(heard, "STATUS=Stuck") != NULL, "%s", heard);
    (void)notify_tell(&notify, &stuck);
    cr_assert_str_eq(manager_heard(manager), "");
    (void)notify_tell(&notify, &serving);
    cr_assert(strstr(manager_heard(manager), "WATCHDOG=1\n") != NULL);
    close(manager);
}

Test(notify, the_words_say_which_neighbour_is_away)
{
    static const struct {
        struct notify_facts facts;
        const char *words;
    } rows[] = {
        {{NOTIFY_STARTING, true, false, false}, "Starting: waiting for PostgreSQL"},
        {{NOTIFY_STARTING, true, true, false}, "Starting: loading positions"},
        {{NOTIFY_SERVING, true, true, true}, "Serving"},
        {{NOTIFY_SERVING, true, false, true}, "Serving from memory: PostgreSQL is away"},
        {{NOTIFY_SERVING, true, true, false}, "Serving: RabbitMQ is away"},
        {{NOTIFY_SERVING, true, false, false}, "Serving from memory: PostgreSQL and RabbitMQ are away"},
        {{NOTIFY_SERVING, false, true, true}, "Stuck: a thread does not go round"},
        {{NOTIFY_STOPPING, false, true, true}, "Stopping: committing and acknowledging what is in flight"},
    };
    cr_assert_eq(unsetenv("NOTIFY_SOCKET"), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct notify notify;
        notify_init(&notify);
        cr_assert_str_eq(notify_tell(&notify, &rows[i].facts), rows[i].words, "row %zu", i);
    }
}

Test(notify, the_watchdog_is_fed_three_times_in_its_time)
{
    static const struct {
        const char *watchdog_us;
        int period_ms;
    } rows[] = {{NULL, 1000}, {"30000000", 1000}, {"3000000", 1000}, {"1500000", 500}, {"1000", 1}, {"nonsense", 1000}};
    cr_assert_eq(unsetenv("WATCHDOG_PID"), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)unsetenv("WATCHDOG_USEC");
        if (rows[i].watchdog_us != NULL)
            (void)setenv("WATCHDOG_USEC", rows[i].watchdog_us, 1);
        cr_assert_eq(notify_period_ms(1000), rows[i].period_ms, "row %zu", i);
    }
}
