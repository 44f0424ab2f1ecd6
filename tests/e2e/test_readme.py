"""README.md says which test shows which sentence of the contract: every test it names is there."""

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_named_test_is_there():
    text = (HERE / "README.md").read_text()
    c_tests = set()
    for folder in ("unit", "integration", "simulation"):
        for source in (HERE.parent / folder).rglob("*.c"):
            c_tests |= set(re.findall(r"^(?:Test|ParameterizedTest)\((?:[^,()]*,)?\s*(\w+),\s*(\w+)", source.read_text(), re.M))
            c_tests |= set(re.findall(r"^Test\((\w+),\s*(\w+)", source.read_text(), re.M))
    named = re.findall(r"`(test_\w+)::(\w+)`", text)
    missing = [f"{file}::{name}" for file, name in named if not (HERE / f"{file}.py").exists() or f"def {name}(" not in (HERE / f"{file}.py").read_text()]
    missing += [f"{suite}/{name}" for suite, name in re.findall(r"`([a-z_0-9]+)/([a-z_0-9]+)`", text) if (suite, name) not in c_tests and suite != "tests"]
    assert len(named) > 100 and not missing, missing
