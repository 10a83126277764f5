import subprocess
from pathlib import Path

from pytest_isolate import isolate


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@isolate(env={"HOME": "/root", "GIT_CONFIG_GLOBAL": None})
def test_git_config_is_that_of_the_test(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("git", "config", "--global", "user.name", "Nobody")
    run("git", "config", "--global", "user.email", "nobody@example.org")
    run("git", "init", "-q")
    run("git", "commit", "-q", "--allow-empty", "-m", "first")
    assert run("git", "log", "--format=%an") == "Nobody\n"


@isolate(leaks="error", pids=50)
def test_the_tool_cleans_up(tmp_path):
    subprocess.Popen(["sleep", "600"])  # a helper that nobody waits for


@isolate(user="root")
def test_an_installer_that_wants_root():
    Path("/usr/local/bin/hello").write_text("#!/bin/sh\necho hello\n")
    Path("/usr/local/bin/hello").chmod(0o755)
    assert run("hello") == "hello\n"
