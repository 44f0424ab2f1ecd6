"""Every shell script of the project, whether it ends in .sh or not, is one that shellcheck has nothing to say about."""

import subprocess


def shell_scripts(root):
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={root}", "-C", root, "ls-files", "-co", "--exclude-standard"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        path = root / name
        if not path.is_file():
            continue
        with path.open("rb") as file:
            first = file.readline(80)
        if name.endswith(".sh") or (first.startswith(b"#!") and first.rstrip().endswith((b"/sh", b"/bash", b"/bash -eu"))):
            yield name


def test_shellcheck_has_nothing_to_say(root):
    scripts = list(shell_scripts(root))
    assert "tests/run.sh" in scripts and ".ci/run" in scripts
    checked = subprocess.run(["shellcheck", *scripts], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert checked.returncode == 0, checked.stdout
