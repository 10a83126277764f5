"""What GitHub reads: one command a violation, whatever is in it, and a summary that is a table."""

import re
from pathlib import Path

import pytest

from pytest_isolate._report import github, terminal

USAGE = dict.fromkeys(
    [
        "wall_seconds",
        "cpu_seconds",
        "memory_peak_bytes",
        "pids_peak",
        "disk_bytes",
        "io_read_bytes",
        "io_write_bytes",
    ]
)


def entry(nodeid="t.py::test", message="memory: much", outcome="failed", **more):
    return {
        "nodeid": nodeid,
        "outcome": outcome,
        "usage": USAGE,
        "violations": [{"resource": "memory", "message": message}],
        **more,
    }


def annotation(workspace, each):
    return github.annotation(Path("/repo/sub"), workspace, each, each["violations"][0])


def test_an_annotation_is_one_line_whatever_the_test_wrote():
    """A line end would start a command of the test's own; a comma or colon another property."""
    said = annotation(
        "/repo", entry("t.py::test[a,b:c\n::set-env::]", "100%\r\n::error::forged", line=7)
    )
    assert (
        said == "::error file=sub/t.py,line=7,title=memory%3A"
        " t.py%3A%3Atest[a%2Cb%3Ac%0A%3A%3Aset-env%3A%3A]::100%25%0D%0A::error::forged"
    )


HOSTILE = (
    "t.py::test[|\\| `code` <img src=x> ![a](http://b) \x1b[31m\x00\u202e\udcff\x85 ~~a~~ **b**"
    " @all\r\n| --- |\n::error::forged %0A]"
)


def test_an_annotation_shows_control_characters_and_never_sends_them():
    """A runner's log is read on terminals too; what is escaped for the runner is not
    escaped twice.
    """
    said = annotation("/repo", entry(HOSTILE, HOSTILE))
    assert re.fullmatch(r"::error file=[^\s,:]+,title=[^:,\x00-\x1f\x7f]*::[^\x00-\x1f\x7f]*", said)
    assert said.count("\\x1b[31m\\x00\\u202e\\udcff\\x85") == 2
    assert said.endswith("%0D%0A| --- |%0A::error::forged %250A]")
    said.encode("utf-8")


def test_an_annotation_is_cut_and_says_so():
    """A name of a megabyte is no reason to send one."""
    said = annotation("/repo", entry("t.py::" + "n" * 1_000_000, "%" * 1_000_000))
    assert len(said) < 10_000
    assert said.endswith("%25... (998000 more characters)")


def test_no_name_breaks_out_of_the_summarys_tables():
    """Each row has the cells of its head, and nothing in it is Markdown or HTML."""
    usage = {**USAGE, "memory_peak_bytes": 5}
    lines = list(
        github.summary(
            [
                {**entry(HOSTILE, HOSTILE), "usage": usage},
                {**entry("n" * 10**6, HOSTILE * 10**4), "usage": usage},
            ]
        )
    )
    rows = [line for line in lines if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", row))) for row in rows] == [
        4,
        4,
        4,
        4,
        5,
        5,
        5,
        5,
    ]
    text = "\n".join(rows)
    assert not re.search(
        r"(?<!\\)[`*_\[\]#!~@]|[<>\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text
    )
    assert "&lt;img src=x&gt;" in text
    assert len(text) < 100_000


@pytest.mark.parametrize("workspace", [None, "/elsewhere"])
def test_a_file_outside_of_the_workspace_keeps_its_whole_path(workspace):
    """And a test without a line has none."""
    assert annotation(workspace, entry()).startswith("::error file=/repo/sub/t.py,title=")


def test_a_covered_violation_is_not_told():
    """``xfail`` covers it: nobody needs to act."""
    assert list(terminal.violations([entry(outcome="xfailed")])) == []
    assert "1 test, 0 violations" in list(github.summary([entry(outcome="xfailed")]))


def test_the_summary_counts_what_it_leaves_out():
    """GitHub drops a summary that is too long."""
    lines = list(github.summary([entry() for _ in range(60)]))
    assert sum(line.startswith("| t.py") for line in lines) == 50
    assert "\nand 10 more" in lines


def test_the_terminal_shows_control_characters_and_never_sends_them():
    """What is said can quote what a test chose, such as its name."""
    named = [entry(verdict="sandbox_error", reason="\x1b]0;owned\x07") for _ in range(2)]
    line, *_ = terminal.lines(named, None, None, 0, 80)
    assert line.text == "2 tests had no sandbox: \\x1b]0;owned\\x07"


def test_a_long_name_keeps_its_end_within_the_width():
    """The end of a test's name is what tells it from others."""
    usage = {**USAGE, "memory_peak_bytes": 5}
    shown = terminal.lines(
        [{**entry("x" * 200 + "::the_end", outcome="passed"), "usage": usage}], None, None, 1, 80
    )
    assert shown[-1].text.endswith("::the_end")
    assert max(len(line.text) for line in shown) <= 80


def unbuilt(nodeid, reason="no namespaces here; remedy: buy one"):
    return {
        **entry(nodeid, outcome="error"),
        "violations": [],
        "verdict": "sandbox_error",
        "reason": reason,
    }


def test_a_fault_of_our_own_is_headed_by_what_was_raised():
    """Of its traceback; the whole is where the test's failure is shown."""
    reason = (
        "pytest-isolate itself failed:\nTraceback (most recent call last):\n  File x\nTypeError:"
        " no\n"
    )
    assert [
        line
        for line in github.summary([unbuilt("t.py::test_a", reason)])
        if "had no sandbox" in line
    ] == ["**1 test had no sandbox: pytest-isolate itself failed: TypeError: no**"]


def test_tests_without_a_sandbox_head_the_summary_and_have_one_annotation_for_each_reason(
    tmp_path, monkeypatch
):
    """Forty errors of one reason are one sentence, and come first; a name that only differs by the
    test is the same reason.
    """
    entries = [
        unbuilt(name, f"cannot isolate net (asked by @isolate on function {name})")
        for name in ("t.py::test_a", "t.py::test_b")
    ]
    entries += [unbuilt(f"t.py::test[{number}]") for number in range(40)]
    lines = list(github.summary([*entries, entry()]))
    assert lines[2] == "43 tests, **42 without a sandbox**, 1 violation"
    headings = [line for line in lines if "had no sandbox" in line]
    assert [line.split(" had")[0] for line in headings] == ["**40 tests", "**2 tests"]
    assert lines.index(headings[1]) < lines.index("| test | resource | what |")
    assert "- and 30 more" in lines
    written = []

    class Reporter:
        def ensure_newline(self):
            pass

        def write_line(self, line, **_):
            written.append(line)

    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    github.tell(Reporter(), [*entries, entry()], tmp_path)
    assert [line.split("title=")[1].split("::")[0].split("%3A")[0] for line in written] == [
        "no sandbox",
        "no sandbox",
        "memory",
    ]


def test_each_file_whose_tests_had_no_sandbox_says_so_at_its_first(tmp_path, monkeypatch):
    """Who looks at a file of a change sees it there, once, and not for each of its tests."""
    written = []

    class Reporter:
        def ensure_newline(self):
            pass

        def write_line(self, line, **_):
            written.append(line)

    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    tests = [f"{file}.py::test[{number}]" for number in range(3) for file in ("a", "b")]
    github.tell(Reporter(), [unbuilt(name) | {"line": 7} for name in tests], tmp_path)
    assert [line.split(",title=")[0] for line in written] == [
        f"::error file={tmp_path}/{file}.py,line=7" for file in ("a", "b")
    ]
    assert all("::3 tests had no sandbox: " in line for line in written)
