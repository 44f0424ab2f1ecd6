#!/bin/bash
# profile.sh: where the service spends its time while executions come at full speed.
#
#   tests/bench/profile.sh [executions|market]
#
# Builds the release preset with frame pointers in build-profile, records with perf for as long as a filled queue lasts,
# and leaves in build-profile/profile: threads.txt (CPU by thread), functions.txt (by thread and function), folded.txt
# (whole stacks, a line each, what flame graph tools read), flame.svg where flamegraph.pl is installed, perf.data, and
# syscalls.txt (a second run under strace). perf counts by the processor's clock where there are no hardware counters.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
export PM_BENCH_BUILD=$root/build-profile PM_BENCH_CFLAGS="-g -fno-omit-frame-pointer"
for tool in perf strace; do
    command -v "$tool" >/dev/null || {
        echo "profile.sh needs $tool (Debian: apt-get install linux-perf strace)" >&2
        exit 1
    }
done
"$root/tests/bench/run.sh" "profile_${1:-executions}"
out=$root/build-profile/profile
perf report -i "$out/perf.data" --no-children -g none --sort comm --stdio 2>/dev/null | grep -v '^#' | grep % \
    >"$out/threads.txt"
perf report -i "$out/perf.data" --no-children -g none --sort comm,dso,symbol --stdio 2>/dev/null | grep -v '^#' |
    grep % >"$out/functions.txt"
perf script -i "$out/perf.data" -F comm,ip,sym 2>/dev/null | /usr/bin/python3 "$root/tests/bench/fold.py" >"$out/folded.txt"
if command -v flamegraph.pl >/dev/null; then flamegraph.pl "$out/folded.txt" >"$out/flame.svg"; fi
cat "$out/threads.txt"
head -n 30 "$out/functions.txt"
head -n 15 "$out/syscalls.txt"
echo "All of it is in $out"
