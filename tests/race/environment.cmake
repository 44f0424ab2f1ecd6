# What programs of a sanitizer build are told at run time: to end at the first finding, with a failure.
# abort_on_error is what makes a Criterion test with a leak fail; tests/alarm shows that each of these works.
set(PM_SANITIZER_ENVIRONMENT
    "ASAN_OPTIONS=abort_on_error=1:detect_leaks=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions='${CMAKE_CURRENT_LIST_DIR}/tsan.supp'")
