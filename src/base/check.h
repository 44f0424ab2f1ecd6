/*
 * check: asserts for a programmer's mistakes, on in every build.
 *
 * Nothing that a stranger sends can reach one: what comes from outside is a status. A failed assert prints where, what
 * and the thread's name, and aborts; what was not acknowledged comes again after the restart.
 */
#ifndef PM_CHECK_H
#define PM_CHECK_H

/* Prints and aborts. Thread: any. */
void check_failed(const char *file, int line, const char *expression) __attribute__((noreturn, cold));

#define pm_assert(expression)                                                                                          \
    do {                                                                                                               \
        if (__builtin_expect(!(expression), 0))                                                                        \
            check_failed(__FILE__, __LINE__, #expression);                                                             \
    } while (0)

#endif
