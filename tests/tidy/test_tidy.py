#!/usr/bin/python3
"""Breaks each rule of tidy.py once, in a small project of its own, and sees it found at its line."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tidy import Tidy  # noqa: E402

HEADER = "/* {name}: for the test. */\n#ifndef PM_{guard}_H\n#define PM_{guard}_H\n\nint {name}_value(void);\n\n#endif\n"


def header(name):
    return HEADER.format(name=name, guard=name.upper())


def body(statement):
    """A file whose line 5 is the statement."""
    return f'#include "thing.h"\n\nint thing(void)\n{{\n    {statement}\n    return 0;\n}}\n'


CLEAN = {
    "src/base/check.h": header("check"),
    "src/base/clock.h": header("clock"),
    "src/base/clock.c": '#include "clock.h"\n\nint clock_wall(void)\n{\n    return clock_gettime();\n}\n',
    "src/domain/thing.h": header("thing"),
    "src/domain/thing.c": '#include "thing.h"\n\n#include "check.h"\n#include "clock.h"\n\n'
    "/* strcpy(), h2o_send() and time() may be spoken of. */\n"
    'int thing(void)\n{\n    return check("sprintf(PQexec(amqp_x)) \\" double", strtok_r);\n}\n',
    "src/http/page.c": '#include <h2o.h>\n\n#include "thing.h"\nint page(void)\n{\n    h2o_send();\n    return 0;\n}\n',
    "src/mailbox/ring.c": "#include <ck_ring.h>\nck_ring_t ring;\n",
    "src/actors/directory_pool.c": "#include <ck_epoch.h>\nck_epoch_t epoch;\n",
    "src/actors/prices.c": "#include <curl/curl.h>\n#include <json-c/json.h>\nCURL *curl_handle;\nstruct json_object *o;\n",
    "src/storage/pg.c": "#include <libpq-fe.h>\nPGconn *c;\n",
    "src/amqp/link.c": "#include <amqp.h>\namqp_connection_state_t s;\n",
    "tests/unit/domain/test_thing.c": '#include "thing.h"\n',
    "build/junk.c": "bad \n",
}

# What is planted: file, text, line of the finding, rule.
PLANTED = {
    "include upwards": ("src/domain/thing.c", '#include "thing.h"\n#include "page.h"\n#include "check.h"\n#include "clock.h"\n', 2, "layers"),
    "include sideways": ("src/storage/pg.c", '#include "page.h"\n', 1, "layers"),
    "include of nothing": ("src/domain/more.c", '#include "nowhere.h"\n', 1, "layers"),
    "unknown folder": ("src/misc/a.c", "int a;\n", 1, "layers"),
    "a header's name twice": ("src/domain/check.h", header("check"), 1, "layers"),
    "h2o outside http": ("src/domain/more.c", "int x;\nh2o_req_t *r;\n", 2, "library"),
    "h2o header outside http": ("src/service/more.c", "#include <h2o.h>\n", 1, "library"),
    "libpq outside storage": ("src/actors/more.c", "PGresult *r;\n", 1, "library"),
    "libpq call outside storage": ("src/service/more.c", "int f(void)\n{\n    PQfinish(c);\n}\n", 3, "library"),
    "rabbitmq-c outside amqp": ("src/service/more.c", "amqp_bytes_t b;\n", 1, "library"),
    "ck outside mailbox and directory": ("src/actors/shard.c", "ck_ring_t r;\n", 1, "library"),
    "json-c outside codec": ("src/storage/more.c", "struct json_object *o;\n", 1, "library"),
    "curl outside prices": ("src/actors/shard.c", "CURL *c;\n", 1, "library"),
    "strcpy": ("src/domain/more.c", body("strcpy(a, b);"), 5, "banned"),
    "strcat": ("src/domain/more.c", body("strcat(a, b);"), 5, "banned"),
    "sprintf": ("src/domain/more.c", body("sprintf(a, b);"), 5, "banned"),
    "atoi": ("src/domain/more.c", body("x = atoi(b);"), 5, "banned"),
    "strtok": ("src/domain/more.c", body("strtok (a, b);"), 5, "banned"),
    "sleep": ("src/service/more.c", body("sleep(1);"), 5, "banned"),
    "usleep": ("src/service/more.c", body("(void)usleep(1);"), 5, "banned"),
    "plain assert": ("src/domain/more.c", body("assert(x);"), 5, "banned"),
    "clock_gettime": ("src/actors/more.c", body("clock_gettime(0, &t);"), 5, "clock"),
    "time": ("src/service/more.c", body("x = time(NULL);"), 5, "clock"),
    "binary floating point": ("src/domain/more.c", body("double x = 1;"), 5, "float"),
    "long function": ("src/domain/more.c", "int a;\n\nstatic int f(int b,\n             int c)\n{\n" + "    b++;\n" * 67 + "}\n", 3, "function"),
    "long file": ("src/domain/more.c", "int a;\n" * 601, 601, "file"),
    "include of a folder above": ("tests/unit/domain/more.c", '#include "../thing.h"\n', 1, "include"),
    "no comment": ("src/domain/thing.h", header("thing").split("\n", 1)[1], 1, "comment"),
    "wrong guard": ("src/domain/thing.h", header("thing").replace("PM_THING_H", "THING_H"), 1, "guard"),
    "no guard": ("src/domain/thing.h", "/* thing */\nint thing(void);\n", 1, "guard"),
    "unused header": ("src/domain/lonely.h", header("lonely"), 1, "dead"),
    "unfinished": ("src/domain/more.c", "int a; /* TO" + "DO later */\n", 1, "unfinished"),
    "unfinished script": ("deploy/run.sh", "\n# FIX" + "ME\n", 2, "unfinished"),
    "trailing blank": ("src/domain/more.c", "int a;\nint b; \n", 2, "blanks"),
    "trailing blank in a document": ("README.md", "# Title \n", 1, "blanks"),
    "tab": ("src/domain/more.c", "int\ta;\n", 1, "blanks"),
    "no end of the last line": ("src/domain/more.c", "int a;", 1, "blanks"),
}


def project(folder, changes):
    for name, text in {**CLEAN, **changes}.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


class TidyTest(unittest.TestCase):
    def findings(self, changes):
        with tempfile.TemporaryDirectory() as folder:
            return Tidy(project(folder, changes)).run()

    def test_clean_project_has_no_findings(self):
        self.assertEqual(self.findings({}), [])

    def test_each_planted_violation_is_found_at_its_line(self):
        for name, (path, text, line, rule) in PLANTED.items():
            with self.subTest(name):
                changes = {path: text}
                if "page.h" in text:
                    changes["src/http/page.h"] = header("page")
                found = self.findings(changes)
                self.assertEqual([f[:3] for f in found], [(path, line, rule)], name)

    def test_function_and_file_of_just_the_allowed_length_pass(self):
        text = "int a;\n\nstatic int f(int b)\n{\n" + "    b++;\n" * 67 + "}\n"
        self.assertEqual(self.findings({"src/domain/more.c": text}), [])
        self.assertEqual(self.findings({"src/domain/more.c": "int a;\n" * 600}), [])
        self.assertEqual(self.findings({"tests/unit/domain/more.c": "int a;\n" * 601}), [])

    def test_program_prints_findings_and_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            project(folder, {"src/domain/more.c": body("strcpy(a, b);")})
            program = [sys.executable, "-B", str(Path(__file__).with_name("tidy.py")), folder]
            run = subprocess.run(program, capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 1)
            self.assertTrue(run.stdout.startswith("src/domain/more.c:5: banned: strcpy"), run.stdout)
            Path(folder, "src/domain/more.c").unlink()
            self.assertEqual(subprocess.run(program, capture_output=True, check=False).returncode, 0)


if __name__ == "__main__":
    unittest.main()
