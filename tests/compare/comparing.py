"""The same project run plain and isolated, with the same arguments: nothing may differ but what is
ours to say.

A comparison can only fail if there is something to compare, so each case names lines that the plain
run must show. ``test_harness.py`` proves that differences are seen.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest
import warm

PROJECTS = Path(__file__).with_name("projects")
PLAIN = ("-p", "no:isolate")
ISOLATED = ("-p", "isolate", "--isolate-all")
#: Set by `tox run -e jobs`: how many isolated tests are in flight at once.
JOBS = os.environ.get("COMPARED_JOBS", "1")


@dataclass(frozen=True)
class Case:
    """One row of a group's table."""

    claim: str
    project: str
    # Arguments of runs in one copy of the project, one after the other; the last is compared
    runs: tuple[tuple[str, ...], ...]
    # Regular expressions that the plain run's last output, its JUnit file or another file must
    # contain
    says: tuple[str, ...]
    status: int
    cwd: str
    # Uncaptured, where an isolated test is told of when it is over: without words and letters of
    # outcomes
    late: bool
    files: tuple[str, ...]  # written by the run, compared as well


def case(
    name: str,
    claim: str,
    project: str,
    args: str = "",
    *,
    says: str | tuple[str, ...],
    status: int = 1,
    first: str | None = None,
    cwd: str = ".",
    late: bool = False,
    files: tuple[str, ...] = (),
    in_flight: str | None = None,
) -> object:
    """A row.

    ``first`` has the arguments of an earlier run in the same copy (for caches). ``in_flight`` says
    what two tests in flight at once are documented to do otherwise.
    """
    says = (says,) if isinstance(says, str) else says
    runs = (*(() if first is None else (tuple(shlex.split(first)),)), tuple(shlex.split(args)))
    differs = (
        [pytest.mark.xfail(reason=in_flight, strict=False)]
        if in_flight is not None and JOBS != "1"
        else []
    )
    return pytest.param(
        Case(claim, project, runs, says, status, cwd, late, files), id=name, marks=differs
    )


@dataclass(frozen=True)
class Seen:
    """What a run left for people and machines to read, without what differs from one run to the
    next.
    """

    status: int
    cases: tuple[str, ...]
    lines: tuple[str, ...]
    files: tuple[str, ...] = ()

    def differences(self, other: Seen) -> str:
        """A unified diff of everything; empty when nothing differs."""
        return "\n".join(
            difflib.unified_diff(self._all(), other._all(), "plain", "isolated", lineterm="", n=3)
        )

    @property
    def text(self) -> str:
        """Everything, JUnit's part and files as well."""
        return "\n".join(self._all())

    def _all(self) -> list[str]:
        return [f"exit status {self.status}", *self.cases, *self.lines, *self.files]


# Properties: the second has run times in it
_OF_TIME_OR_OURS = ("isolate.", "hypothesis-statistics")


class Comparison:
    """Runs projects in copies that all have the same path, one after the other."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self._project = pytester.path / "project"

    def run(self, case: Case, *how: str) -> Seen:
        """Run a case and read what came of it."""
        for left_over in (self._project, self._pytester.path / "tmp"):
            shutil.rmtree(left_over, ignore_errors=True)
        shutil.copytree(
            PROJECTS / case.project,
            self._project,
            ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"),
        )
        (self._pytester.path / "tmp").mkdir()
        for args in case.runs:
            seen = self._once(case, (*how, *args))
        return seen

    def _once(self, case: Case, args: tuple[str, ...]) -> Seen:
        junit = self._pytester.path / "junit.xml"
        junit.unlink(missing_ok=True)
        environment = {
            # Hypothesis keeps nothing in CI
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("PYTEST", "COV", "TOX", "CI"))
            },
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_DEBUG_TEMPROOT": str(self._pytester.path / "tmp"),
            "HOME": str(self._pytester.path),
            "COLUMNS": "120",
            # As on a terminal: a pipe's buffer is emptied before the fork, in a plain run at its
            # end
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",  # pytest colours levels of logs by sets
        }
        status, output, errors = warm.run(
            [f"--junitxml={junit}", *args], str(self._project / case.cwd), environment, 120
        )
        text = (
            output.decode("utf-8", "surrogateescape")
            + "stderr:\n"
            + errors.decode("utf-8", "surrogateescape")
        )
        lines = _without_outcomes(normal(text)) if case.late else normal(text)
        return Seen(status, _cases(junit), tuple(lines), tuple(self._files(case)))

    def _files(self, case: Case) -> list[str]:
        found = []
        for name in case.files:
            path = self._project / name
            found += [
                f"file {name}:",
                *(normal(path.read_text()) if path.exists() else ["is not there"]),
            ]
        return found

    def same(self, case: Case) -> int:
        """Assert that a case's plain run is what the case says it is, and that the isolated one
        does not differ.

        Returns how many test cases were found the same.
        """
        plain = self.run(case, *PLAIN)
        shown = plain.text
        assert plain.status == case.status, shown
        for pattern in case.says:
            assert re.search(pattern, shown, re.MULTILINE), (
                f"the plain run does not say {pattern!r}:\n{shown}"
            )
        isolated = self.run(case, *ISOLATED, f"--isolate-jobs={JOBS}")
        assert not (found := plain.differences(isolated)), f"not true: {case.claim}\n{found}"
        return max(1, len(plain.cases))


_MASKS = (
    (re.compile(r"\bisolate_network, "), ""),  # of ours, among the fixtures that there are
    # of ours, behind the word for an outcome, and what moves by it
    (re.compile(r"(?<=[A-Z]) \((?:\d+ ms|[\d.]+ s)(?:, [\d.]+ MiB)?\)"), ""),
    (re.compile(r" +(\[ *\d+%\])"), r" \1"),
    (re.compile(r"\b\d+:\d\d:\d\d ago\b"), "TIME ago"),
    (re.compile(r"\b\d+(\.\d+)?(e-\d+)?(s|ms|us)\b( *\(\d+:\d\d:\d\d\))?"), "TIMEs"),
    (re.compile(r"0x[0-9a-f]{4,}"), "0xADDRESS"),
    (re.compile(r"\bpid[ =]\d+"), "pid PID"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "HEX"),
    # As wide as the time is long
    (re.compile(r"^(\x1b\[\d+m)*=+ (.*TIMEs.*?) =+(\x1b\[\d+m)*$"), r"=== \2 ==="),
)
_SECTION = re.compile(r"^(\x1b\[\d+m)*-{3,} (?P<name>.*?) -{3,}")
# Of --durations: its heading, which nothing else stands under, and what is below
_OF_FIGURES = re.compile(
    r"(\x1b\[\d+m)*=+ isolate =+(\x1b\[\d+m)*$| +memory +cpu +wall  slowest$"
    r"|(?= {3})[ \d.]+ [KM]?i?B +[\d.]+ m?s +[\d.]+ m?s  \S"
)
_OF_THE_RUN = re.compile(r"isolate: (\d+ of \d+ tests|off |every test)")


def normal(text: str) -> list[str]:
    """Lines without what differs between any two runs, and without the sections that only isolated
    tests have.
    """
    lines: list[str] = []
    ours = False
    for line in text.split("\n"):
        section = _SECTION.match(line)
        if section is not None:
            ours = section["name"] == "isolate"
            if ours:
                continue
        ours = (
            ours
            and re.match(r"(limits|used|files \(discarded\)): |tmp_path is kept in ", line)
            is not None
        )
        if ours or line.startswith("plugins: ") or _OF_THE_RUN.match(line):
            continue
        if _OF_FIGURES.match(line):
            continue
        masked = line
        for pattern, mask in _MASKS:
            masked = pattern.sub(mask, masked)
        lines.append(masked.rstrip())
    for start, end in _durations(lines):  # in the order of their length, which chance decides
        lines[start:end] = sorted(lines[start:end])
    return lines


def _without_outcomes(lines: list[str]) -> list[str]:
    text = re.sub(r"(PASSED|FAILED|ERROR)?( *\[ *\d+%\])|PASSED|FAILED|ERROR", "", "\n".join(lines))
    text = re.sub(r"^[.FE]+(?=[a-z])|(?<=\.py )[.FE]+|[ ]?[.FE]+$", "", text, flags=re.MULTILINE)
    return [line.rstrip() for line in text.split("\n") if line.strip()]


def _durations(lines: list[str]) -> list[tuple[int, int]]:
    found = [
        index for index, line in enumerate(lines) if re.match(r"TIMEs (setup|call|teardown) ", line)
    ]
    return [(found[0], found[-1] + 1)] if found else []


def _cases(junit: Path) -> tuple[str, ...]:
    """Every test case of a JUnit file, with all it says, but for usage figures and time."""
    if not junit.exists():
        return ("no JUnit file",)
    found = []
    for element in ET.parse(junit).getroot().iter():
        if element.tag not in {"testcase", "testsuite"}:
            continue
        names = (
            ("classname", "name")
            if element.tag == "testcase"
            else ("tests", "errors", "failures", "skipped")
        )
        extra = {
            name: value
            for name, value in element.attrib.items()
            if name not in {"time", "timestamp", "hostname"}
        }
        said = [f"{element.tag} {[element.get(name) for name in names]} {sorted(extra.items())}"]
        for child in element:
            if child.tag == "testcase":
                continue
            if child.tag == "properties":
                said += [
                    f"{each.get('name')}={each.get('value')}"
                    for each in child
                    if not str(each.get("name")).startswith(_OF_TIME_OR_OURS)
                ]
            else:
                said += [child.tag, *normal(f"{child.get('message')}"), *normal(child.text or "")]
        found.append("\n  ".join(said))
    return tuple(found)
