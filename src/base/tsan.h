/*
 * tsan: tells ThreadSanitizer of a hand-over that it cannot see, because Concurrency Kit's atomics are assembly.
 *
 * What the releasing thread did before TSAN_RELEASE(address) counts as done before what another does after
 * TSAN_ACQUIRE(address). Nothing in other builds: the real ordering is the library's. Thread: any.
 */
#ifndef PM_TSAN_H
#define PM_TSAN_H

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TSAN_ACQUIRE(address) __tsan_acquire(address)
#define TSAN_RELEASE(address) __tsan_release(address)
#else
#define TSAN_ACQUIRE(address) ((void)0)
#define TSAN_RELEASE(address) ((void)0)
#endif

#endif
