"""Counts tests in a `ctest -V` log or a pytest JUnit file: prints "<passed> <failed>", and what failed on standard error.

A Criterion program is one test to ctest and many to us: its closing line says how many. A program that says it ran none
has failed, and so has a log without any test: an empty run must never look green.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
RESULT = re.compile(r"^\s*\d+/\d+ Test\s+#(\d+): (\S+) [.\s]*(\**\s*\S.*?)\s+[\d.]+ sec")
SYNTHESIS = re.compile(r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")
OUTPUT = re.compile(r"^(\d+): (.*)$")
LINES_SHOWN = 60


def count_one(ctest_passed, synthesis):
    """(passed, failed) of one ctest test."""
    if synthesis is None:
        return (1, 0) if ctest_passed else (0, 1)
    tested, passing, failing, crashing = synthesis
    if ctest_passed:
        # An alarm is a test that has to fail inside and is then good outside.
        return (passing, 0) if tested and not failing and not crashing else (1, 0) if tested else (0, 1)
    return passing, max(1, failing + crashing)


def tally_ctest(path):
    outputs, synthesis, passed, failed = {}, {}, 0, 0
    for raw in open(path, encoding="utf-8", errors="replace"):
        line = ANSI.sub("", raw.rstrip("\n"))
        output = OUTPUT.match(line)
        result = RESULT.match(line)
        if output:
            outputs.setdefault(output[1], []).append(output[2])
            found = SYNTHESIS.search(output[2])
            if found:
                synthesis[output[1]] = tuple(int(number) for number in found.groups())
        elif result:
            good = result[3].strip() == "Passed"
            one = count_one(good, synthesis.get(result[1]))
            passed, failed = passed + one[0], failed + one[1]
            if one[1]:
                print(f"--- {result[2]}: {result[3].strip()}", file=sys.stderr)
                for shown in outputs.get(result[1], [])[-LINES_SHOWN:]:
                    print(f"    {shown}", file=sys.stderr)
    return passed, failed


def tally_junit(path):
    passed = failed = 0
    for case in ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            # Nothing here is optional: a test that did not run has not passed.
            print(f"--- skipped: {case.get('name')}", file=sys.stderr)
            failed += 1
        else:
            passed += 1
    return passed, failed


def main():
    passed, failed = {"ctest": tally_ctest, "junit": tally_junit}[sys.argv[1]](sys.argv[2])
    if passed + failed == 0:
        print("--- no test was run", file=sys.stderr)
        failed = 1
    print(passed, failed)


if __name__ == "__main__":
    main()
