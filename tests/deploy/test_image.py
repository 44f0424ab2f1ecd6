"""The Dockerfile, as far as it can be judged without an engine; heavy_compose.py builds and runs it."""

import json
import re
import subprocess

import pytest

@pytest.fixture(scope="module")
def dockerfile(root):
    return (root / "Dockerfile").read_text()


def instructions(text):
    """[(instruction, argument)], continued lines joined."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines()]


def stages(text):
    """{name: [(instruction, argument)]}, in the file's order."""
    found, current = {}, None
    for instruction, argument in instructions(text):
        if instruction == "FROM":
            current = found.setdefault(argument.split(" AS ")[1], [])
        elif current is not None:
            current.append((instruction, argument))
    return found


def packages_of(stage):
    for instruction, argument in stage:
        installed = re.search(r"apt-get install -y --no-install-recommends ([a-z0-9 .+-]+?) *&&", argument)
        if instruction == "RUN" and installed:
            return set(installed.group(1).split())
    return set()


def test_shellcheck_has_nothing_to_say_about_the_commands(dockerfile, root):
    for text in (dockerfile, (root / "tests" / "deploy" / "stand-in" / "Dockerfile").read_text()):
        commands = [argument for instruction, argument in instructions(text) if instruction == "RUN" and not argument.startswith("[")]
        assert commands
        # Build arguments are variables from outside.
        script = "#!/bin/sh\nVERSION=${VERSION:?}\nREVISION=${REVISION:?}\nexport VERSION REVISION\n" + "\n".join(commands) + "\n"
        checked = subprocess.run(["shellcheck", "-"], input=script, stdout=subprocess.PIPE, text=True)
        assert checked.returncode == 0, checked.stdout


def test_installations_are_lean_and_nothing_comes_from_elsewhere(dockerfile):
    for instruction, argument in instructions(dockerfile):
        assert instruction != "ADD"
        if "apt-get install" in argument:
            assert "--no-install-recommends" in argument and "rm -rf /var/lib/apt/lists/*" in argument and "apt-get update" in argument
        assert not re.search(r"\b(curl|wget|sudo|apt-get (dist-)?upgrade)\b", argument.replace("libcurl4", "")), argument
    assert instructions(dockerfile)[0] == ("ARG", "BASE=debian:bookworm-slim")


def test_what_runs_is_the_last_stage_and_nobody_special(dockerfile):
    names = list(stages(dockerfile))
    assert names == ["build", "demo", "service"]
    service = dict(stages(dockerfile)["service"])
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", service["USER"])
    assert json.loads(service["ENTRYPOINT"]) == ["/usr/bin/position-manager"]
    assert service["STOPSIGNAL"] == "SIGTERM" and service["EXPOSE"] == "4800"
    assert dict(stages(dockerfile)["demo"])["USER"] == service["USER"]
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in service["LABEL"]


def test_the_health_check_is_an_option_that_exists(dockerfile, binary):
    check = dict(stages(dockerfile)["service"])["HEALTHCHECK"]
    program, option = json.loads(check.split("CMD ")[1])
    assert program == "/usr/bin/position-manager"
    assert f"  {option} " in subprocess.run([binary, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout


def test_the_version_is_the_programs(dockerfile, root):
    version = re.search(r"project\(position-manager VERSION (\S+)", (root / "CMakeLists.txt").read_text()).group(1)
    assert set(re.findall(r"^ARG VERSION=(\S+)$", dockerfile, re.MULTILINE)) == {version}


def test_it_is_built_with_the_same_libraries_as_everywhere_else(dockerfile, root):
    listed = re.search(r"PM_PACKAGES_RUN=\(([^)]*)\)", (root / "deploy" / "lib" / "packages.sh").read_text()).group(1).split()
    assert {name for name in listed if name.startswith("lib") and name.endswith("-dev")} | {"gcc", "cmake", "ninja-build", "pkg-config"} == \
        packages_of(stages(dockerfile)["build"])


def test_it_runs_with_every_library_that_the_program_needs(dockerfile, binary):
    needed = set(re.findall(r"NEEDED\s+(\S+)", subprocess.run(["objdump", "-p", binary], stdout=subprocess.PIPE, text=True, check=True).stdout))
    installed = packages_of(stages(dockerfile)["service"])
    files = subprocess.run(["dpkg", "-L", *sorted(installed)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.splitlines()
    brought = {file.rsplit("/", 1)[-1] for file in files} | {"libc.so.6", "libm.so.6", "libasan.so.8", "libubsan.so.1", "libtsan.so.2"}
    assert not needed - brought, f"the image has only {sorted(installed)}"


def test_only_what_it_is_made_of_is_sent_to_the_engine(root):
    lines = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines[1:] if line.startswith("!")}
    assert allowed == {"CMakeLists.txt", "CMakePresets.json", "LICENSE", "cmake", "src", "tests/race/environment.cmake", "deploy/lib/publish.py"}
