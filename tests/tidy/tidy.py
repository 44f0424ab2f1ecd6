#!/usr/bin/python3
"""Checks the rules of style that a machine can check: tidy.py <root of the project>.

Prints one line a finding, `file:line: rule: what is wrong`, and exits with 1 if there is any. The rules are those of
CONTRIBUTING.md; each has a test in test_tidy.py that breaks it and sees it found.
"""

import re
import sys
from pathlib import Path

# Which folders a folder of src/ may include from, beside itself (ARCHITECTURE.md, "The house").
BELOW = {
    "base": set(),
    "domain": {"base"},
    "mailbox": {"base"},
    "codec": {"domain", "base"},
    "actors": {"domain", "mailbox", "base"},
    "storage": {"codec", "actors", "domain", "mailbox", "base"},
    "amqp": {"codec", "actors", "domain", "mailbox", "base"},
    "http": {"codec", "actors", "domain", "mailbox", "base"},
    "service": {"http", "amqp", "storage", "codec", "actors", "domain", "mailbox", "base"},
}

# Library, its header, its names, and where they may stand (path below src/).
LIBRARIES = [
    ("libh2o", r"h2o", r"h2o_\w+|H2O_\w+", r"http/"),
    ("libpq", r"libpq-fe|libpq/", r"PG[a-z]\w*|PGRES_\w+|PQ[a-z]\w*|PQTRANS_\w+", r"storage/"),
    ("rabbitmq-c", r"amqp\.h|rabbitmq-c/", r"amqp_\w+|AMQP_\w+", r"amqp/"),
    ("Concurrency Kit", r"ck_", r"ck_\w+|CK_\w+", r"mailbox/|actors/directory"),
    ("json-c", r"json-c/|json\.h", r"json_object\w*|json_tokener\w*", r"codec/|actors/prices"),
    ("libsystemd", r"systemd/", r"sd_[a-z]\w*|SD_[A-Z]\w*", r"service/notify"),
    ("libcurl", r"curl/", r"curl_\w+|CURL\w*", r"actors/prices"),
]

# Banned calls, and what to use.
BANNED = {
    "strcpy": "memcpy with a known length",
    "strcat": "memcpy with a known length",
    "strncat": "memcpy with a known length",
    "sprintf": "snprintf, or the writers of codec/text.h",
    "vsprintf": "vsnprintf",
    "atoi": "a parser that can fail",
    "atol": "a parser that can fail",
    "atoll": "a parser that can fail",
    "atof": "decimal_parse",
    "strtod": "decimal_parse",
    "strtok": "a loop over the text",
    "gets": "fgets",
    "sleep": "a deadline",
    "usleep": "a deadline",
    "nanosleep": "a deadline",
    "alloca": "a buffer with a bound",
    "assert": "pm_assert, which is on in every build",
}
CLOCKS = ("clock_gettime", "gettimeofday", "timespec_get", "ftime", "time", "clock")

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
# Put together, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
TEXT_SUFFIXES = {".c", ".h", ".py", ".sh", ".cmake", ".txt", ".md", ".json", ".yml", ".yaml", ".sql", ".supp"}
SKIPPED_FOLDERS = {".git", ".run", "__pycache__", ".pytest_cache"}

COMMENT = r"/\*.*?\*/|//[^\n]*"
LITERAL = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
TOKEN = re.compile(f"(?P<comment>{COMMENT})|(?P<literal>{LITERAL})", re.S)


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    return TOKEN.sub(lambda m: blank(m.group()) if m.group("comment") else m.group(), text)


def code_only(text):
    """The text with comments and the insides of literals blanked out; lines and columns stay."""
    return TOKEN.sub(
        lambda m: blank(m.group()) if m.group("comment") else m.group()[0] + blank(m.group()[1:-1]) + m.group()[-1], text
    )


class Tidy:
    def __init__(self, root):
        self.root = Path(root)
        self.findings = []
        self.sources = sorted(p for p in self.root.glob("src/*/*") if p.suffix in (".c", ".h"))
        self.folders_of_header = {}
        for path in self.sources:
            if path.suffix == ".h":
                self.folders_of_header.setdefault(path.name, []).append(path.parent.name)

    def find(self, path, line, rule, message):
        self.findings.append((str(path.relative_to(self.root)), line, rule, message))

    def find_all(self, path, text, pattern, rule, message):
        for number, line in enumerate(text.split("\n"), 1):
            for match in re.finditer(pattern, line):
                self.find(path, number, rule, message(match))

    def run(self):
        for path in self.sources:
            text = path.read_text(encoding="utf-8")
            self.check_includes(path, text)
            self.check_libraries(path, text)
            self.check_calls(path, text)
            self.check_functions(path, text)
            if path.suffix == ".h":
                self.check_header(path, text)
        self.check_dead_headers()
        for path in self.c_files():
            self.check_c_file(path, path.read_text(encoding="utf-8"))
        for path in self.text_files():
            self.check_text(path, path.read_text(encoding="utf-8", errors="replace"))
        return sorted(self.findings)

    def c_files(self):
        return sorted(p for top in ("src", "tests") for p in self.root.glob(f"{top}/**/*") if p.suffix in (".c", ".h"))

    def text_files(self):
        for path in sorted(self.root.rglob("*")):
            parts = path.relative_to(self.root).parts
            if any(part in SKIPPED_FOLDERS or part.startswith("build") for part in parts[:-1]):
                continue
            if path.is_file() and path.suffix in TEXT_SUFFIXES:
                yield path

    # ---- rules for src/ ----

    def check_includes(self, path, text):
        folder = path.parent.name
        if folder not in BELOW:
            self.find(path, 1, "layers", f"src/{folder} is no folder that tidy.py knows")
            return
        for number, line in enumerate(without_comments(text).split("\n"), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if match is None or match.group(1).startswith("../"):
                continue
            folders = self.folders_of_header.get(match.group(1))
            if folders is None:
                self.find(path, number, "layers", f"{match.group(1)} is in no folder of src/")
            elif folder not in folders and not BELOW[folder] & set(folders):
                self.find(path, number, "layers", f"{folder} must not include {folders[0]}/{match.group(1)}")

    def check_libraries(self, path, text):
        place = str(path.relative_to(self.root / "src"))
        code = code_only(text)
        for name, header, names, allowed in LIBRARIES:
            if re.match(allowed, place):
                continue
            self.find_all(path, without_comments(text), rf"^\s*#\s*include\s+<({header})", "library",
                          lambda m, name=name: f"the header of {name} stands outside its folder")
            self.find_all(path, code, rf"\b(?:{names})\b", "library",
                          lambda m, name=name: f"{m.group()} of {name} stands outside its folder")

    def check_calls(self, path, text):
        code = code_only(text)
        banned = "|".join(BANNED)
        self.find_all(path, code, rf"(?<![\w.>])({banned})\s*\(", "banned",
                      lambda m: f"{m.group(1)}: use {BANNED[m.group(1)]}")
        if str(path.relative_to(self.root)) != "src/base/clock.c":
            self.find_all(path, code, rf"(?<![\w.>])({'|'.join(CLOCKS)})\s*\(", "clock",
                          lambda m: f"{m.group(1)}: only base/clock.c asks for the time")
        if path.parent.name in ("domain", "codec"):
            self.find_all(path, code, r"\b(float|double)\b", "float", lambda m: f"{m.group()}: numbers are exact decimals")

    def check_functions(self, path, text):
        """Linux braces: a body opens and closes with a brace in the first column; its head begins behind a blank line."""
        lines = code_only(text).split("\n")
        for number, line in enumerate(lines):
            if line.rstrip() != "{" or number == 0 or not lines[number - 1].rstrip().endswith(")"):
                continue
            head = number - 1
            while head > 0 and lines[head][:1] in (" ", "\t"):
                head -= 1
            end = next((n for n in range(number, len(lines)) if lines[n].startswith("}")), len(lines) - 1)
            length = end - head + 1
            if length > FUNCTION_LINES_MAX:
                self.find(path, head + 1, "function", f"{length} lines, at most {FUNCTION_LINES_MAX}")

    def check_header(self, path, text):
        if not text.startswith("/*"):
            self.find(path, 1, "comment", "a header begins with a comment that tells its contract")
        guard = "PM_" + re.sub(r"\W", "_", path.stem).upper() + "_H"
        code = without_comments(text).strip()
        if not (re.match(rf"#ifndef {guard}\n#define {guard}\n", code) and code.endswith("#endif")):
            self.find(path, 1, "guard", f"the include guard should be {guard}, around all")
        if len(self.folders_of_header[path.name]) > 1 and self.folders_of_header[path.name][0] != path.parent.name:
            self.find(path, 1, "layers", f"{path.name} is also in {self.folders_of_header[path.name][0]}")

    def check_dead_headers(self):
        used = set()
        for path in self.c_files():
            used |= set(re.findall(r'#\s*include\s+"(?:[^"/]*/)*([^"/]+)"', path.read_text(encoding="utf-8")))
        for path in self.sources:
            if path.suffix == ".h" and path.name not in used:
                self.find(path, 1, "dead", "nobody includes this header")

    # ---- rules for more ----

    def is_product(self, path):
        return path.relative_to(self.root).parts[0] == "src"

    def check_c_file(self, path, text):
        count = text.count("\n")
        # A table of test cases may be as long as the rule that it tests needs.
        if count > FILE_LINES_MAX and self.is_product(path):
            self.find(path, FILE_LINES_MAX + 1, "file", f"{count} lines, at most {FILE_LINES_MAX}: split it by meaning")
        self.find_all(path, without_comments(text), r'#\s*include\s+"\.\./', "include",
                      lambda m: "includes name no folders above")
        self.find_all(path, text, r"\t", "blanks", lambda m: "a tab; indentation is blanks")

    def check_text(self, path, text):
        self.find_all(path, text, UNFINISHED, "unfinished", lambda m: f"{m.group()} is no plan; finish it or open an issue")
        self.find_all(path, text, r"[ \t\r]+$", "blanks", lambda m: "blanks at the end of the line")
        if text and not text.endswith("\n"):
            self.find(path, text.count("\n") + 1, "blanks", "the last line has no end")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    findings = Tidy(sys.argv[1]).run()
    for path, line, rule, message in findings:
        print(f"{path}:{line}: {rule}: {message}")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
