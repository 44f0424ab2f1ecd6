"""Folds `perf script -F comm,ip,sym` from standard input: one line a stack, outermost first, and how often it was seen."""

import collections
import sys


def fold(lines):
    counts, thread, frames = collections.Counter(), None, []
    for line in [*lines, ""]:
        if not line.strip():
            if thread:
                counts[";".join([thread, *reversed(frames)])] += 1
            thread, frames = None, []
        elif not line[0].isspace():
            thread = line.strip()
        else:
            parts = line.split(None, 1)
            frames.append(parts[1].strip() if len(parts) > 1 else "?")
    return counts


if __name__ == "__main__":
    for stack, count in sorted(fold(sys.stdin).items()):
        print(stack, count)
