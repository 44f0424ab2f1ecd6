"""The pages that build and start everything, followed word for word in a fresh copy of the checkout (tests/run.sh documents)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from documents import blocks, pages, run_page

ROOT = Path(__file__).resolve().parents[2]


def of_checkout(page):
    return [block for block in blocks(page, ROOT) if block.kind == "run" and block.where == "local"]


@pytest.fixture
def checkout(tmp_path):
    """What git would give: tracked files and new ones, without what was built."""
    copy = tmp_path / "position-manager"
    copy.mkdir()
    listed = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            check=True, stdout=subprocess.PIPE).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    yield copy
    subprocess.run([copy / "deploy/local.sh", "down", "--purge"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("page", [page for page in pages(ROOT) if of_checkout(page)], ids=lambda page: page.name)
def test_the_page_can_be_followed(page, checkout):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PM_", "POSTGRES_", "RABBITMQ_", "POSITION_MANAGER_"))}
    run_page(of_checkout(page), clean, checkout, 900)
