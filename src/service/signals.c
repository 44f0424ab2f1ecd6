#include "signals.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int stop_fd = -1;
static atomic_int signal_count;
static atomic_bool *stop_flag;

static void on_signal(int number)
{
    (void)number;
    if (atomic_fetch_add(&signal_count, 1) > 0)
        _exit(1);
    atomic_store(stop_flag, true);
    uint64_t one = 1;
    (void)!write(stop_fd, &one, sizeof one);
}

static void on_alarm(int number)
{
    (void)number;
    _exit(0);
}

static bool handle(int number, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    (void)sigemptyset(&action.sa_mask);
    return sigaction(number, &action, NULL) == 0;
}

bool signals_catch(atomic_bool *stopping)
{
    stop_flag = stopping;
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return stop_fd >= 0 && handle(SIGTERM, on_signal) && handle(SIGINT, on_signal) && handle(SIGPIPE, SIG_IGN);
}

int signals_fd(void)
{
    return stop_fd;
}

void signals_block(bool blocked)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &signals, NULL);
}

void signals_bound_stop(unsigned seconds)
{
    (void)handle(SIGALRM, on_alarm);
    (void)alarm(seconds);
}
