#!/bin/sh
# expect_caught.sh <extended regex> <command...>: succeeds if the command fails and its output matches.
set -u
regex=$1
shift
output=$("$@" 2>&1)
status=$?
if [ "$status" -eq 0 ]; then
    printf '%s\nThe planted fault was not caught: exit status 0.\n' "$output"
    exit 1
fi
if ! printf '%s\n' "$output" | grep -Eq -- "$regex"; then
    printf '%s\nExit status %s, but nothing in the output matches: %s\n' "$output" "$status" "$regex"
    exit 1
fi
printf 'Caught, exit status %s.\n' "$status"
