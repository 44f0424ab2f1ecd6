"""The documents: every command in them is run, or says why not; every setting is explained; every link leads somewhere."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from documents import COMMANDS, blocks, named_tests, pages, run_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = pages(ROOT)


def name_of(path):
    return path.name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_commands_is_run_or_says_why_not(page):
    tests = named_tests(ROOT)
    wrong = []
    for block in blocks(page, ROOT):
        if block.language not in COMMANDS:
            continue
        if not block.kind:
            wrong.append(f"{block.place}: has no mark")
        elif block.kind == "not run" and len(block.where) < 5:
            wrong.append(f"{block.place}: does not say why it is not run")
        elif block.kind == "run" and block.where not in ("", "local") and block.where not in tests:
            wrong.append(f"{block.place}: there is no test {block.where}")
    assert not wrong, wrong


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            wrong.append(target)
        elif anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            if anchor not in anchors:
                wrong.append(target)
    assert not wrong, wrong


@pytest.fixture(scope="module")
def settings_of_program(binary):
    example = subprocess.run([str(binary), "--env-example"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(re.findall(r"^([A-Z]\w*)=(.*)$", example, re.M))


def test_every_setting_is_explained_once_with_its_default(settings_of_program):
    rows = re.findall(r"^\| `([A-Z]\w+)` \| (?:`(.*?)`)? ?\| (.+) \|$", (ROOT / "docs/settings.md").read_text(), re.M)
    assert len(rows) == len({name for name, _, _ in rows}), "a setting stands there twice"
    assert {name: default for name, default, _ in rows} == settings_of_program
    assert all(len(what) > 8 for _, _, what in rows)


def test_every_setting_that_a_page_names_is_one(settings_of_program):
    known = set(settings_of_program)
    short = {name.removeprefix("POSITION_MANAGER_") for name in known}
    wrong = []
    for page in PAGES:
        for name in re.findall(r"\b(?:POSITION_MANAGER|POSTGRES|RABBITMQ|WS_GATEWAY)_[A-Z_]+\b", page.read_text()):
            if name not in known and name.removeprefix("POSITION_MANAGER_") not in short and not name.endswith("_"):
                wrong.append(f"{page.name}: {name}")
    assert not wrong, wrong


def literals(folder):
    return set(re.findall(r'"([a-z][a-z0-9_]+)"', "".join(path.read_text() for path in (ROOT / folder).rglob("*.c"))))


def test_every_log_event_and_metric_of_the_failure_guide_exists(world):
    text = (ROOT / "docs/failures.md").read_text()
    events = set(re.findall(r"event `([a-z_]+)`", text))
    known = literals("src")
    assert len(events) > 15 and not events - known, events - known
    metrics = set(re.findall(r"`(position_manager_[a-z_]+)(?:\{[^`]*)?`", text))
    service = world.service().start()
    page = service.get("/metrics").text
    tables = {"position_manager_journal", "position_manager_orders", "position_manager_outbox", "position_manager_instance", "position_manager_migrations"}
    missing = [name for name in metrics - tables if not re.search(rf"^{name}(_bucket|_sum|_count)?[ {{]", page, re.M)]
    service.stop()
    assert len(metrics) >= 5 and not missing, missing


def remove_what_pages_make(world):
    for database in ("pm_production", "pm_shadow", "restored"):
        world.db.query(f"drop database if exists {database}")
    world.db.query("drop role if exists pm_production")


@pytest.fixture
def environment(world, servers, binary, tmp_path):
    """What a person has who follows a page: the service's settings, PostgreSQL's own variables, and the tools."""
    service = world.service({"POSITION_MANAGER_LOG_LEVEL": "INFO"}).start()
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "position-manager").symlink_to(binary)
    (tools / "rabbitmqctl").write_text(f'#!/bin/sh\nexec "{ROOT}/tests/tools/servers.sh" ctl "{servers.directory}" "$@"\n')
    (tools / "rabbitmqctl").chmod(0o755)
    remove_what_pages_make(world)
    yield {**service.environment, "PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(tmp_path), "SCRATCH": str(tmp_path),
           "LOG": str(service.log_path)}
    service.stop()
    remove_what_pages_make(world)


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.kind == "run" and not block.where for block in blocks(page, ROOT))],
                         ids=name_of)
def test_the_commands_of_the_page_work(page, environment, world):
    chosen = [block for block in blocks(page, ROOT) if block.kind == "run" and not block.where]
    run_page(chosen, environment, ROOT, 120)
