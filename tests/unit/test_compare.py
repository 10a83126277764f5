"""Two reports side by side."""

import json

import pytest

from pytest_isolate._cli import main

MIB = 1 << 20


@pytest.fixture
def report(tmp_path):
    def write(name, **tests):
        path = tmp_path / name
        entries = [
            {"nodeid": test, "outcome": "passed", "usage": usage} for test, usage in tests.items()
        ]
        path.write_text(json.dumps({"schema": 1, "tests": entries}))
        return str(path)

    return write


def test_what_moved_beyond_the_tolerance_is_a_row_heavier_first(report, capsys):
    """The table, the tests that came and went, and exit status 1."""
    base = report(
        "b",
        grown={"memory_peak_bytes": 10 * MIB},
        shrunk={"cpu_seconds": 2.0},
        same={"memory_peak_bytes": 10 * MIB},
        gone={},
    )
    head = report(
        "h",
        grown={"memory_peak_bytes": 20 * MIB},
        shrunk={"cpu_seconds": 0.5},
        same={"memory_peak_bytes": 11 * MIB},
        fresh={},
    )
    assert main.main(["compare", base, head]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "         resource    base    head  change  test",
        "heavier  memory    10 MiB  20 MiB   +100%  grown",
        "lighter  cpu          2 s  500 ms    -75%  shrunk",
        "appeared  fresh",
        "vanished  gone",
        "1 heavier, 1 lighter beyond the tolerance; 1 test appeared, 1 vanished",
    ]


def test_a_test_that_failed_in_one_run_has_not_vanished(tmp_path, report, capsys):
    """It is there, and did not do all its work: nothing to compare, which is said."""
    base, head = report("b", one={"cpu_seconds": 1.0}, two={"cpu_seconds": 1.0}), tmp_path / "h"
    usage = {"cpu_seconds": 1.0}
    tests = [
        {"nodeid": "one", "outcome": "failed", "verdict": "ok", "usage": usage},
        {"nodeid": "two", "outcome": "skipped", "verdict": "ok", "usage": {}},
    ]
    head.write_text(json.dumps({"schema": 1, "tests": tests}))
    assert main.main(["compare", base, str(head)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"not compared  one (failed in {head})",
        f"not compared  two (skipped in {head})",
        "0 heavier, 0 lighter beyond the tolerance; 0 tests appeared, 0 vanished, 2 not compared",
    ]
    assert main.main(["compare", str(head), base, "--format=markdown"]) == 0
    assert f"- not compared: one (failed in {head})" in capsys.readouterr().out.replace("\\", "")


def test_lighter_is_no_failure_and_a_tolerance_can_be_named(report, capsys):
    """Only heavier is status 1, and only beyond what the user allows; wall time counts when it is
    named.
    """
    base, head = (
        report("b", t={"memory_peak_bytes": 20 * MIB, "wall_seconds": 1}),
        report("h", t={"memory_peak_bytes": 10 * MIB, "wall_seconds": 9}),
    )
    assert main.main(["compare", base, head]) == 0
    assert main.main(["compare", head, base]) == 1
    assert main.main(["compare", head, base, "--tolerance", "memory=100%"]) == 0
    assert main.main(["compare", base, head, "--tolerance", "wall=1s"]) == 1
    capsys.readouterr()


def test_a_name_cannot_break_out_of_the_markdown_table(report, capsys):
    """What a test is called is text: no cells, no HTML, no links of its own."""
    name = "t[|</td><script>\n[x](http://x)]"
    assert (
        main.main(
            [
                "compare",
                report("b", **{name: {"pids_peak": 1}}),
                report("h", **{name: {"pids_peak": 9}}),
                "--format=markdown",
            ]
        )
        == 1
    )
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "pids" in line]
    assert (
        row == r"| heavier | pids | 1 | 9 | \+800% | t\[\|&lt;/td&gt;&lt;script&gt;"
        r" \[x\]\(http://x\)\] |"
    )


def test_a_test_that_failed_for_its_budget_alone_is_compared(report, tmp_path, capsys):
    """It did all its work and is the one to look at; one that failed otherwise did not."""
    for resource, status in (("budget.memory", 1), ("memory", 0)):
        usage, violations = {"memory_peak_bytes": 20 * MIB}, [{"resource": resource}]
        tests = [{"nodeid": "t", "outcome": "failed", "usage": usage, "violations": violations}]
        (tmp_path / "h").write_text(json.dumps({"schema": 1, "tests": tests}))
        assert (
            main.main(
                ["compare", report("b", t={"memory_peak_bytes": 10 * MIB}), str(tmp_path / "h")]
            )
            == status
        )
    capsys.readouterr()


def test_a_figure_that_one_report_lacks_is_not_compared(report, capsys):
    """Null is no 0."""
    assert (
        main.main(["compare", report("b", t={"pids_peak": None}), report("h", t={"pids_peak": 9})])
        == 0
    )
    capsys.readouterr()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, ": No such file or directory; write a report with: pytest --isolate-report="),
        ("{", ": this is no JSON: "),
        ("[" * 100_000, ": this is no JSON: "),
        ("[]", ": this is no report of schema 1; write one with: "),
        ('{"schema": 2, "tests": []}', ": this is no report of schema 1; write one with: "),
        ('{"schema": 1, "tests": [1]}', ": an entry of its tests has no nodeid or no usage"),
        (
            '{"schema": 1, "tests": [{"nodeid": "t", "usage": {"pids_peak": "9"}}]}',
            ": 't': pids_peak must be a number of at least 0, or null, not '9'",
        ),
        (
            '{"schema": 1, "tests": [{"nodeid": "t", "usage": {"pids_peak": Infinity}}]}',
            ": 't': pids_peak must be a number of at least 0",
        ),
        (
            '{"schema": 1, "tests": [{"nodeid": "t", "usage": {"pids_peak": NaN}}]}',
            ": 't': pids_peak must be a number of at least 0",
        ),
        (
            (
                '{"schema": 1, "tests": [{"nodeid": "t", "usage": {"pids_peak":'
                f" 1{'0' * 400}}}}}]}}"
            ),
            ": 't': pids_peak must be a number of",
        ),
    ],
)
def test_what_is_no_report_is_status_2_and_a_sentence(tmp_path, report, capsys, text, said):
    """Which file, and what writes one."""
    path = tmp_path / "r.json"
    if text is not None:
        path.write_text(text)
    assert main.main(["compare", report("b"), str(path)]) == 2
    assert f"pytest-isolate compare: {path}{said}" in capsys.readouterr().err


def test_a_bad_tolerance_is_status_2(report, capsys):
    """Before anything is read."""
    with pytest.raises(SystemExit) as raised:
        main.main(["compare", "a", "b", "--tolerance", "ram=1"])
    assert raised.value.code == 2
    assert "KEY one of memory, cpu" in capsys.readouterr().err


@pytest.mark.parametrize("style", ["text", "markdown"])
def test_a_run_without_sandboxes_is_no_clean_comparison(tmp_path, report, capsys, style):
    """Nothing was measured: it says so, with the reason, and the status is that of what cannot be
    compared. Nobody appeared or vanished.
    """
    base, head = report("b", one={"cpu_seconds": 1.0}, two={"cpu_seconds": 1.0}), tmp_path / "h"
    error = {
        "outcome": "error",
        "verdict": "sandbox_error",
        "usage": {},
        "reason": "no namespaces here",
    }
    errors = [error | {"nodeid": name} for name in ("one", "two")]
    head.write_text(json.dumps({"schema": 1, "tests": errors}))
    for paths in ([base, str(head)], [str(head), base]):
        assert main.main(["compare", *paths, f"--format={style}"]) == 2
        first, *_, last = capsys.readouterr().out.splitlines()
        assert "2 tests had no sandbox: no namespaces here; not compared" in first
        assert last == "0 heavier, 0 lighter beyond the tolerance; 0 tests appeared, 0 vanished"
