"""The Debian package: what is in it and what it asks for. That it installs and goes again is shown by heavy_package.py."""

import re
import shutil
import subprocess

import pytest

NEEDED = ("cpack", "dpkg-deb", "dpkg-shlibdeps")
pytestmark = pytest.mark.skipif(any(shutil.which(tool) is None for tool in NEEDED), reason=f"needs {', '.join(NEEDED)}")


def run(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


@pytest.fixture(scope="module")
def package(binary, tmp_path_factory):
    """Made of the build that is tested, by somebody who lets nobody else look at his files."""
    directory = tmp_path_factory.mktemp("package")
    run("cpack", "-G", "DEB", "--config", str(binary.parent / "CPackConfig.cmake"), "-B", str(directory), umask=0o077)
    return next(directory.glob("*.deb"))


@pytest.fixture(scope="module")
def control(package):
    return dict(re.findall(r"^([A-Z]\S*): (.*)$", run("dpkg-deb", "-f", str(package)), re.M))


def test_the_files_are_where_debian_wants_them_and_belong_to_root(package):
    listed = {}
    for line in run("dpkg-deb", "-c", str(package)).splitlines():
        mode, owner, _, _, _, path = line.split(maxsplit=5)
        listed[path.removeprefix(".")] = (mode, owner)
    files = {path: mode for path, (mode, _) in listed.items() if not path.endswith("/")}
    assert files == {
        "/etc/position-manager/position-manager.env": "-rw-r-----",
        "/usr/bin/position-manager": "-rwxr-xr-x",
        "/usr/lib/systemd/system/position-manager.service": "-rw-r--r--",
        "/usr/share/doc/position-manager/changelog.gz": "-rw-r--r--",
        "/usr/share/doc/position-manager/copyright": "-rw-r--r--",
        "/usr/share/doc/position-manager/env.example": "-rw-r--r--",
        "/usr/share/man/man8/position-manager.8.gz": "-rw-r--r--",
    }
    assert {owner for _, owner in listed.values()} == {"root/root"}
    assert {mode for path, (mode, _) in listed.items() if path.endswith("/")} == {"drwxr-xr-x"}


def test_it_depends_on_what_the_program_links_and_on_no_server(control):
    for library in ("libc6", "libpq5", "librabbitmq4", "libh2o-evloop", "libjson-c5", "libcurl4", "libssl3", "libck0", "libxxhash0", "libsystemd0"):
        assert library in control["Depends"], library
    assert "postgresql" not in control["Depends"] and "rabbitmq-server" not in control["Depends"]
    assert "adduser" in control["Depends"]


def test_one_version_everywhere(control, binary, root):
    version = control["Version"]
    assert run(str(binary), "--version").split()[1] == version
    assert (root / "deploy/debian/changelog").read_text().startswith(f"position-manager ({version}) ")
    assert f'"position-manager {version}"' in (root / "deploy/man/position-manager.8").read_text()


def test_settings_are_kept_when_the_package_is_upgraded(package):
    assert run("dpkg-deb", "-I", str(package), "conffiles") == "/etc/position-manager/position-manager.env\n"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_maintainer_scripts_are_clean(root):
    run("shellcheck", *(str(root / "deploy/debian" / script) for script in ("postinst", "prerm", "postrm")))


def test_the_manual_page_names_every_option_and_no_other(root, binary):
    page = (root / "deploy/man/position-manager.8").read_text().replace("\\-", "-")
    options = page[page.index(".SH OPTIONS"):page.index(".SH SETTINGS")]
    of_page = set(re.findall(r"--[a-z-]+", options))
    of_program = set(re.findall(r"^  (--[a-z-]+)", run(str(binary), "--help"), re.M))
    assert of_page == of_program
    assert of_program <= set(re.findall(r"--[a-z-]+", page[:page.index(".SH DESCRIPTION")])), "the synopsis"


@pytest.mark.skipif(shutil.which("man") is None, reason="needs man")
def test_the_manual_page_is_well_formed(root):
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", str(root / "deploy/man/position-manager.8")],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={"MANPAGER": "cat", "MANWIDTH": "80", "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0 and not done.stderr, done.stderr
