#!/bin/sh
# expect_timeout.sh <ctest> <program>: succeeds if ctest ends the program at its TIMEOUT and calls that a failure.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
printf 'add_test(hang "%s")\nset_tests_properties(hang PROPERTIES TIMEOUT 2)\n' "$2" >"$folder/CTestTestfile.cmake"
exec_output=$(cd "$folder" && "$1" 2>&1)
status=$?
if [ "$status" -eq 0 ] || ! printf '%s\n' "$exec_output" | grep -q 'Timeout'; then
    printf '%s\nThe planted hang was not caught: ctest said %s.\n' "$exec_output" "$status"
    exit 1
fi
echo 'Caught by the timeout.'
