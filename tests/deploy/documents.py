"""What is in the documents: their code blocks, and which of them a test runs.

A block of commands (```bash, or one without a language) follows a comment that says what becomes of it:

    <!-- run -->                 run by test_documentation.py beside a private PostgreSQL, RabbitMQ and service
    <!-- run: local -->          run by heavy_documents.py in a fresh copy of the checkout
    <!-- run: test_x -->         that test, of tests/, runs the same
    <!-- not run: why -->        shown only

Blocks of other languages (text, json, sql, ini, yaml …) show something and are not commands. One <!-- expect: text --> after
a block that is run names what its output has to contain.
"""

import re
import subprocess
import textwrap
from dataclasses import dataclass, field

COMMANDS = ("bash", "sh", "console", "")
FENCE = re.compile(r"^ *```(\w*)\s*\n(.*?)^ *```\s*$", re.M | re.S)
MARK = re.compile(r"<!--\s*(not run|run)(?::\s*([^>]*?))?\s*-->\s*\Z")
EXPECT = re.compile(r"\A\s*<!--\s*expect:\s*(.*?)\s*-->")


@dataclass
class Block:
    page: str
    line: int
    language: str
    text: str
    kind: str = ""  # "run", "not run", "" where it has no mark
    where: str = ""  # "" beside private servers, "local", a test's name, or the reason
    expected: list = field(default_factory=list)

    @property
    def place(self):
        return f"{self.page}:{self.line}"


def pages(root):
    return [root / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((root / "docs").glob("*.md"))


def blocks(path, root):
    """Every block of a page, in order."""
    text, found = path.read_text(), []
    for fence in FENCE.finditer(text):
        block = Block(str(path.relative_to(root)), text.count("\n", 0, fence.start()) + 1, fence.group(1), textwrap.dedent(fence.group(2)))
        mark = MARK.search(text[:fence.start()].rstrip())
        if mark:
            block.kind, block.where = mark.group(1), mark.group(2) or ""
        rest = text[fence.end():]
        while expected := EXPECT.match(rest):
            block.expected.append(expected.group(1))
            rest = rest[expected.end():]
        found.append(block)
    return found


def run_page(chosen, environment, directory, timeout):
    """Runs a page's blocks in one shell, in order, and checks what each printed."""
    # What a block prints may end without a line break.
    script = "".join(f"printf '\\n@@@ {number}\\n'\n{block.text}\n" for number, block in enumerate(chosen))
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=directory, env=environment, timeout=timeout,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    outputs = re.split(r"^@@@ \d+\n", done.stdout, flags=re.M)[1:]
    last = chosen[min(len(outputs), len(chosen)) - 1]
    assert done.returncode == 0, f"{last.place} ended with {done.returncode}:\n{done.stdout[-3000:]}"
    for block, output in zip(chosen, outputs):
        for expected in block.expected:
            assert expected in output, f"{block.place} did not print {expected!r} but:\n{output[-3000:]}"
    return done.stdout


def named_tests(root):
    """Every test function of tests/."""
    names = set()
    for path in (root / "tests").rglob("*.py"):
        names |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.M))
    return names

