"""What people read of the program, whole: each project of ``projects`` is run, and what it says is
held against its file in ``said``.

``UPDATE_MESSAGES=1 pytest tests/messages`` writes the files: read what changed, as its readers will.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import warm
from projects import BAD, COMMANDS, PROJECTS, REPORTS

from pytest_isolate._cli import main
from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.settings import SETTINGS
from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux.environment import SANDBOX, Environment
from pytest_isolate._plan.remedies import explain

pytestmark = [
    pytest.mark.skipif(
        pytest.version_tuple < (9, 2), reason="what pytest says around it is another version's"
    ),
]
SAID = Path(__file__).parent / "said"
_SIZE = r"[\d.]+ (?:[KMGT]i)?B\b"
_TIME = r"[\d.]+ m?s\b"
STEPS = (
    ("clone into new", "namespaces"),
    ("mount", "overlay on /"),
    ("overlay", "/proc/root/tmp"),
    ("make control group", "/sys/fs/cgroup/memory/x"),
    ("fork", "pytest"),
    ("open", "/proc"),
)
#: What differs from run to run and from machine to machine, and what stands for it.
VARIES = (
    (r"\n(?:platform|cachedir|rootdir|configfile|plugins|collected|collecting)\b.*", ""),
    (r"\bpid \d+", "pid N"),
    (r"\S*python\S* -c \\n.*?\(pid N\)", "python (pid N)"),  # as long as what is in front of it lets it
    (rf"\bused {_SIZE} of", "used N of"),
    (rf"\bused {_TIME} of", "used N of"),
    (rf"(still in \w+ after) {_TIME}", r"\1 N"),
    (rf"\bwall {_TIME}, cpu {_TIME}, memory {_SIZE} at most, pids \d+", "wall N, cpu N, memory N at most, pids N"),
    (rf", disk {_SIZE}\n", ", disk N\n"),
    (rf"(\(pid N\)) {_SIZE}", r"\1 N"),
    (rf"(of \w+:) {_SIZE} \(\d+%\)", r"\1 N (N%)"),
    (rf"\btest printed {_SIZE}", "test printed N"),
    (r"(test_disk_of_many_files0/)\d+", r"\1N"),
    (r" +\[ *\d+%\]", ""),
    (r"(?m)^-+ (generated .*?) -+$", r"\1"),
    (r"0x[0-9a-f]{6,}", "0xN"),
    (r'\n  File "(?:[^"]*/runpy\.py|<string>|<frozen runpy>)".*', ""),
    (r"(\n  \(frames of pytest and pluggy\))+", r"\1"),
    (r"(in) [\d.]+s\b", r"\1 Ns"),
    (rf"(?m)^ *{_SIZE} +{_TIME} +{_TIME} ", "         N           N           N "),
    (r"(?m)^[\d.]+s (?:setup|call|teardown) .*\n", ""),
    (r"\(\d+ durations < .* hidden\. .*\)", ""),
    (r"\n{2,}(?=isolate: )", "\n"),
    (rf"highest: {_SIZE} by", "highest: N by"),
    (rf"could be (?:{_SIZE}|{_TIME})", "could be N"),
    (rf"(this machine has), {_SIZE}", r"\1, N"),
    (rf"\((?:{_TIME}), (?:{_SIZE})\)", "(N, N)"),
    (r"(?m)(?<=           N  )test_it.*", "TEST"),
    (r"(?m)^ +N +N +N  TEST\n(?: +N +N +N  TEST\n)+", "         N           N           N  TEST\n"),
    (r"(?m)^((?:FAILED|ERROR) .* used N of [^:]*:) .*", r"\1 ..."),
    (r"; Linux [\d.]+, [^;\n]*", "; MACHINE"),
    (r"; no limits of [^;\n]*says why\)", ""),
    (r"=========+", "========="),
    (r"(?<!_)_____+|_____+(?!_)", "___"),
    (r"-----+", "-----"),
    (r"\nExtension modules: .*", ""),
    (r"(?s)\n----- isolate: native stacks -----\n.*?(?=\n(?:-----|___|=====))", ""),
    (r"\n[ ^~]+(?=\n)", ""),
    (r"pytest-of-\w+/pytest-\d+", "pytest-of-USER/pytest-N"),
    (r"(?m)^(x{100})x+$", r"\1..."),
    (r"(?m)(^x{100}\.\.\.\n)+", r"\1"),
    (r"\[Errno \d+\]", "[Errno N]"),
)  # fmt: skip


def said(name: str, directory: Path) -> str:
    """Run a project, and tell all that it says."""
    project, told = PROJECTS[name], []
    for path, text in project.files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    environment = {
        key: value for key, value in os.environ.items() if key not in {"PYTEST_ADDOPTS", "CI", "GITHUB_ACTIONS"}
    } | {"COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1", **project.environment}  # fmt: skip
    for arguments in project.runs:
        ini = (
            []
            if "-c " in arguments or "pyproject.toml" in project.files
            else ["-c", "/dev/null", "--rootdir=."]
        )
        command = ["-p", "isolate", "-p", "no:cacheprovider", *ini, *arguments.split()]
        if project.within:
            line = [*project.within, sys.executable, "-m", "pytest", *command]
            done = subprocess.run(line, cwd=directory, env=environment, capture_output=True, timeout=60, check=False)  # fmt: skip
            output, errors = done.stdout, done.stderr
        else:
            _, output, errors = warm.run(command, str(directory), environment, timeout=60)
        text = normalised((output + errors).decode(), directory)
        if project.only:
            lines = [
                line for line in text.splitlines() if any(each in line for each in project.only)
            ]
            text = "\n".join(
                line for line in lines if not line.startswith(("ERROR test_", "FAILED "))
            )
        told.append(f"$ pytest {arguments}\n{text.strip()}\n" if arguments else f"{text.strip()}\n")
    return "\n".join(told)


def normalised(text: str, directory: Path) -> str:
    """Put words in the place of what varies."""
    for path in dict.fromkeys((os.path.realpath(directory), str(directory))):
        text = text.replace(path, "/project")
    text = text.replace(sys.executable, "/usr/bin/python").replace(
        os.path.realpath(sys.executable), "/usr/bin/python"
    )
    for pattern, words in VARIES:
        text = re.sub(pattern, words, text)
    return text


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_said_is_what_was_read(name, tmp_path, host):
    """Every sentence of these runs, as people see it."""
    if PROJECTS[name].limits and (os.geteuid() != 0 or host.obstacles):
        pytest.skip("what is said elsewhere is another sentence")
    _held(name, said(name, tmp_path))


def _held(name: str, found: str) -> None:
    """Hold what is said against its file."""
    golden = SAID / f"{name}.txt"
    if os.environ.get("UPDATE_MESSAGES"):
        golden.write_text(found)
    assert found.splitlines() == golden.read_text().splitlines(), (
        "read what changed, and write it with UPDATE_MESSAGES=1"
    )


def test_what_the_commands_say(tmp_path, monkeypatch, capsys):
    """``pytest-isolate``: tables and errors; argparse's own words are Python's."""
    for name, text in REPORTS.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["pytest-isolate"])
    told = []
    for arguments in COMMANDS:
        try:
            status: object = main.main(arguments.split())
        except SystemExit as left:
            status = left.code
        found = capsys.readouterr()
        lines = (found.out + normalised(found.err, tmp_path)).splitlines()
        lines = [line for line in lines if not line.startswith(("usage:", " "))]
        shown = "\n".join(normalised(line, tmp_path) for line in lines)
        told.append(f"$ pytest-isolate {arguments}\n{shown}\n(status {status})\n")
    _held("commands", "\n".join(told))


def test_what_the_help_says():
    """A line for each option; how it is laid out is argparse's."""
    lines = [f"{each.option}: {each.help}" for each in SETTINGS]
    lines += [f"{each.option}: {each.help_with_unit}" for each in KEYWORDS.values()]
    _held("help", "\n".join(lines) + "\n")


def test_what_helps_is_said():
    """Against each failed step, for each kind of caller: what a person can do."""
    lines = []
    new, old = (6, 1), (5, 4)
    places = {
        "root": Environment(new),
        "a user": Environment(new, 1000),
        "a user of an old kernel": Environment(old, 1000),
        "root of Docker": Environment(new, capabilities=1 << 21, container="Docker"),
        "a user in Docker": Environment(new, 1000, container="Docker", masked_proc=True),
        "behind a filter": Environment(new, 1000, filtered=True),
        "in a strict test": Environment(new, container=SANDBOX, filtered=True),
    }
    codes = (errno.EPERM, errno.ENOSPC, errno.EINVAL, errno.ENOSYS, errno.EMFILE, errno.EAGAIN)
    for step, path in STEPS:
        for code in (*codes, errno.ENODEV, errno.ELOOP):
            error, helps = StepFailedError(step, path, code), dict[str, list[str]]()
            for who, here in places.items():
                _, _, remedy = explain(error, here).partition("; remedy: ")
                helps.setdefault(remedy or "-", []).append(who)
            lines += [str(error), *(f"  {', '.join(who)}: {each}" for each, who in helps.items())]
    _held("remedies", "\n".join(lines) + "\n")


def test_each_keyword_has_a_bad_value():
    """A new one is not forgotten."""
    assert set(KEYWORDS) <= set(re.findall(r"dict\((\w+)=", BAD))
