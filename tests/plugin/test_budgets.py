"""Budgets over whole runs: written, held, and refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from running import HEARING, PYTEST

pytestmark = pytest.mark.kernel

TESTS = """
import pytest
from pytest_isolate import isolate
@isolate
def test_block(): block = b"x" * (20 << 20)
@isolate
@pytest.mark.parametrize("name", ["a", "b"])
def test_small(name): pass
"""
CHECK, UPDATE = "--isolate-budgets=budgets.toml", "--isolate-update-budgets"
# Longer: of two files of one size and second Python runs the byte code of the first
HEAVIER = TESTS.replace("20 <<", "2 * 20 <<")


@pytest.fixture
def budgets(pytester):
    path = pytester.path / "budgets.toml"

    def write(text):
        path.write_text(text)
        return path

    write.path = path
    return write


def names(path):
    return [
        line.split('"')[1] for line in path.read_text().split("[tests]")[1].splitlines() if line
    ]


@pytest.mark.needs("memory")
@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_a_change_that_doubles_a_tests_memory_fails_with_the_sentence(
    pytester, isolated, budgets, workers
):
    """Written, then held: in this process and in xdist's workers, whose figures arrive in the one
    file.
    """
    budgets('[tolerance]\ncpu = "1h"\n')  # this test is of memory
    pytester.makepyfile(test_it=TESTS)
    isolated(CHECK, UPDATE, *workers).assert_outcomes(passed=3)
    assert names(budgets.path) == [
        "test_it.py::test_block",
        "test_it.py::test_small[a]",
        "test_it.py::test_small[b]",
    ]
    written = budgets.path.read_bytes()
    isolated(CHECK, *workers).assert_outcomes(passed=3)
    pytester.makepyfile(test_it=HEAVIER)
    result = isolated(CHECK, "--isolate-report=report.json", *workers)
    result.assert_outcomes(passed=2, failed=1)
    line = next(
        number
        for number, text in enumerate(written.decode().splitlines(), 1)
        if "test_block" in text
    )
    (said,) = [each for each in result.outlines if each.startswith("E   BudgetExceeded: used 4")]
    assert re.search(r" MiB of 2\S* MiB, its budget of memory: .* \(\d+%\) over it, ", said)
    assert said.endswith(f", with a tolerance of 25% or 2M (set in budgets.toml:{line})")
    entries = {
        entry["nodeid"]: entry
        for entry in json.loads((pytester.path / "report.json").read_text())["tests"]
    }
    violated = entries["test_it.py::test_block"]
    assert (violated["outcome"], violated["verdict"]) == ("failed", "violation")
    assert [each["resource"] for each in violated["violations"]] == ["budget.memory"]
    assert {entry["worker"] is None for entry in entries.values()} == {not workers}
    assert all(entry["started"] > 1.5e9 and entry["line"] for entry in entries.values())
    assert budgets.path.read_bytes() == written


@pytest.mark.needs("pids")
@pytest.mark.parametrize(("first", "then"), [("7", "13"), ("13", "7"), ("1", "3"), ("3", "1")])
def test_threads_that_meet_or_miss_each_other_are_neither_over_the_budget_nor_room_in_it(
    pytester, isolated, budgets, monkeypatch, first, then
):
    """How many threads of an unchanged test live at once is the scheduler's choice: 7 to 13 of the
    six clients of a threading server.
    """
    del budgets
    pytester.makepyfile("""
        import os, threading
        from pytest_isolate import isolate
        @isolate
        def test_it():
            count = int(os.environ["AT_ONCE"])
            met = threading.Barrier(count)
            threads = [threading.Thread(target=met.wait) for _ in range(count - 1)]
            for each in threads: each.start()
            met.wait()
            for each in threads: each.join()
    """)
    monkeypatch.setenv("AT_ONCE", first)
    isolated(CHECK, UPDATE).assert_outcomes(passed=1)
    monkeypatch.setenv("AT_ONCE", then)
    result = isolated(CHECK)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*room to tighten*")


@pytest.mark.needs("memory")
@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        ("", "xfailed"),
        ("raises=BudgetExceeded, strict=True", "xfailed"),
        ("raises=ValueError", "failed"),
    ],
)
def test_xfail_covers_a_budget_when_it_names_it_or_names_nothing(
    pytester, isolated, budgets, arguments, outcome
):
    """Like every violation."""
    budgets('[tests]\n"test_it.py::test_it" = { memory = "2M" }\n')
    pytester.makepyfile(
        test_it=f"""
        import pytest
        from pytest_isolate import isolate, BudgetExceeded
        @isolate
        @pytest.mark.xfail({arguments})
        def test_it(): block = b"x" * (20 << 20)
        """
    )
    isolated(CHECK).assert_outcomes(**{outcome: 1})


@pytest.mark.needs("memory")
def test_a_failing_test_is_not_compared(pytester, isolated, budgets):
    """Its own failure is what its author must read."""
    budgets('[tests]\n"test_it.py::test_it" = { memory = "1M" }\n')
    pytester.makepyfile(
        test_it="def test_it():\n    block = b'x' * (20 << 20)\n    assert block == b'y'"
    )
    result = isolated("--isolate-all", CHECK)
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*budget.memory*")


def test_new_renamed_vanished_and_roomy_budgets_are_listed(pytester, isolated, budgets):
    """What nobody keeps in step by hand."""
    budgets(
        '[tests]\n"old.py::test_small[a]" = { pids = 1 }\n"test_it.py::test_block" = { wall = "5h"'
        ' }\n"test_it.py::gone" = { pids = 1 }\n'
    )
    pytester.makepyfile(test_it=TESTS)
    result = isolated(CHECK)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines_random(
        [
            (
                "2 tests without a budget; to write one for each: pytest --isolate-budgets=budgets.toml"
                " --isolate-update-budgets"
            ),
            "  test_it.py::test_small[[]a[]] (renamed? old.py::test_small[[]a[]])",
            "2 budgets of tests that are gone, still in budgets.toml",
            "  old.py::test_small[[]a[]]",
            "  test_it.py::gone",
            "1 budget with room to tighten",
            "  test_it.py::test_block: wall 18000 s could be * (budgets.toml:3)",
        ]
    )


@pytest.mark.parametrize(
    "partial",
    [("-k", "block"), ("test_it.py::test_block",), ("-x", "--deselect=test_it.py::test_small")],
)
def test_an_update_from_a_partial_run_keeps_who_did_not_run(pytester, isolated, budgets, partial):
    """Their lines stay as they are, in their order."""
    line = '"test_it.py::test_small[a]" = { pids = 7 }'
    budgets(f'[tests]\n{line}\n"untouched.py::test" = {{ pids = 7 }}\n')
    pytester.makepyfile(test_it=TESTS, untouched="def test(): pass")
    isolated(CHECK, UPDATE, *partial).assert_outcomes(
        passed=1, deselected=0 if "::" in partial[0] else 2
    )
    assert names(budgets.path) == [
        "test_it.py::test_block",
        "test_it.py::test_small[a]",
        "untouched.py::test",
    ]
    assert line in budgets.path.read_text().splitlines()


@pytest.mark.parametrize("arguments", [(CHECK,), (CHECK, UPDATE)])
def test_a_bad_file_ends_the_run_at_its_start_and_stays_as_it_is(
    pytester, isolated, budgets, arguments
):
    """Also for an update: nothing that somebody wrote is lost."""
    text = '[tests]\n"a" = { memory = "12MB" }\n'
    path = budgets(text)
    pytester.makepyfile(test_it=TESTS)
    result = isolated(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --isolate-budgets: budgets.toml:2: memory = '12MB': *write '12M' or '12MiB'"]
    )
    assert path.read_text() == text


def test_a_byte_order_mark_is_no_part_of_the_file(pytester, isolated, budgets):
    """Some editors put one there."""
    budgets('\ufeff[tests]\n"test_it.py::test_block" = { pids = 1 }\n')
    pytester.makepyfile(test_it=TESTS)
    isolated(CHECK).assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            (CHECK,),
            (
                "--isolate-budgets=budgets.toml: there is no such file; write it with: pytest"
                " --isolate-budgets=budgets.toml --isolate-upd*"
            ),
        ),
        ((UPDATE,), "--isolate-update-budgets needs --isolate-budgets=PATH*"),
        (
            ("--isolate-budgets=test_it.py/b.toml", UPDATE),
            (
                "--isolate-budgets=test_it.py/b.toml: */b.toml cannot be written: Not a directory;"
                " name a file in a directory*"
            ),
        ),
        (
            ("--isolate-report=test_it.py/r.json",),
            "--isolate-report=test_it.py/r.json: */r.json cannot be written: Not a directory; *",
        ),
        (
            ("--isolate-html=/proc/p.html",),
            "--isolate-html=/proc/p.html: /proc/p.html cannot be written: *",
        ),
        (
            ("-n1", "--isolate-report=test_it.py/r.json"),
            "--isolate-report=test_it.py/r.json: */r.json cannot be written: *",
        ),
        (
            ("--isolate-oci=/proc/foo",),
            "--isolate-oci=/proc/foo: nothing can be made in /proc/foo: No such file*",
        ),
        (
            ("--isolate-keep=all", "--isolate-artifacts=test_it.py"),
            "--isolate-artifacts=test_it.py: nothing can be made in */test_it.py: Not a directory*",
        ),
        (("--isolate-top=none",), "--isolate-top=none: it must be a whole number, at least 1*"),
    ],
)
def test_what_cannot_be_read_or_written_is_said_at_the_start(pytester, isolated, arguments, said):
    """Not after an hour of tests."""
    pytester.makepyfile(test_it=TESTS)
    result = isolated(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


def test_the_terminal_is_quiet_when_there_is_nothing_to_say(pytester, isolated):
    """No section without violations, budgets and --isolate-top."""
    pytester.makepyfile(test_it=TESTS)
    result = isolated()
    result.assert_outcomes(passed=3)
    assert not [line for line in result.outlines if line.strip("= ") == "isolate"]


@pytest.mark.needs("cpu")
def test_the_heaviest_tests_are_shown_by_each_resource(pytester, isolated):
    """As many as were asked for, the heaviest first."""
    busy = (
        "def test_block():\n    import time\n    end = time.process_time() + 0.2\n    while"
        " time.process_time() < end: pass\n    "
    )
    pytester.makepyfile(test_it=TESTS.replace("def test_block(): ", busy))
    out = isolated("--isolate-top=1").outlines
    (at,) = [
        number
        for number, line in enumerate(out)
        if line.split() == ["memory", "cpu", "wall", "heaviest", "by", "cpu"]
    ]
    assert "test_it.py::test_block" in out[at + 1]
    assert out[at + 2].endswith("heaviest by wall")


def test_an_interrupted_run_leaves_a_valid_report_of_what_was_done(pytester, isolated):
    """Ctrl-C in the second of three tests: the file is whole, and the first has its figures."""
    pytester.makepyfile("""
        def test_first(): pass
        def test_second(): raise KeyboardInterrupt
        def test_third(): pass
        """)
    result = isolated("--isolate-all", "--isolate-report=report.json")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    report = json.loads((pytester.path / "report.json").read_text())
    assert [(entry["nodeid"].split("::")[1], entry["outcome"]) for entry in report["tests"]] == [
        ("test_first", "passed"),
        ("test_second", "error"),  # it did not come to its end
    ]
    assert report["tests"][0]["usage"]["wall_seconds"] > 0


LONG = """
import os, pytest
@pytest.mark.parametrize("number", range(3))
def test_before(number): pass
@pytest.mark.isolate(bind=["there"])
def test_long():
    os.close(os.open("there/up", os.O_WRONLY))
    os.read(os.pipe()[0], 1)
"""


@pytest.mark.parametrize(
    ("sent", "workers"),
    [(signal.SIGINT, ()), (signal.SIGTERM, ()), (signal.SIGINT, ("-p", "xdist", "-n1"))],
)
def test_an_interrupt_from_outside_leaves_all_reports_and_budgets_of_what_was_done(
    pytester, budgets, sent, workers
):
    """In the midst of a test that would not end: JSON, page, JUnit XML and budgets have the tests
    before it, which is in no budget.
    """
    pytester.makepyfile(test_it=LONG)
    os.mkfifo(pytester.mkdir("there") / "up")
    command = [
        *PYTEST, "--isolate-all",
        CHECK, UPDATE, *workers,
        "--isolate-report=r.json", "--isolate-html=p.html", "--junitxml=j.xml",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    with subprocess.Popen(
        command,
        cwd=pytester.path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        (pytester.path / "there/up").read_bytes()  # until the test has opened it
        run.send_signal(sent)
        said = run.communicate(timeout=60)[0]
    assert run.returncode == pytest.ExitCode.INTERRUPTED, said
    entries = {
        each["nodeid"]: each["outcome"]
        for each in json.loads((pytester.path / "r.json").read_text())["tests"]
    }
    done = [f"test_it.py::test_before[{number}]" for number in range(3)]
    assert entries == dict.fromkeys(done, "passed") | (
        {} if workers else {"test_it.py::test_long": "error"}
    )
    assert (pytester.path / "p.html").read_text().rstrip().endswith("</html>")
    assert len(list(ET.parse(pytester.path / "j.xml").getroot().iter("testcase"))) >= 3
    assert names(budgets.path) == done


def test_a_report_that_could_not_be_written_at_the_end_costs_no_other(pytester, isolated):
    """The disk is full by then: a sentence, a status of its own, and the page and the terminal's
    section are there.
    """
    pytester.makepyfile("def test_it(): pass")
    result = isolated(
        "--isolate-all", "--isolate-report=/dev/full", "--isolate-html=p.html", "--isolate-top=1"
    )
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*= isolate =*",
            "--isolate-report=/dev/full: it could not be written: No space left on device; *",
            "*heaviest by wall",
        ]
    )
    assert "test_it" in (pytester.path / "p.html").read_text()


EXAMPLE = Path(__file__).parents[2] / "example_project"
LOOP = "    lines: dict[str, Line] = {}\n"
CACHE = """    with path.open("rb") as file:
        recent = file.read(4 << 20)  # to be quick when it is asked for again
    assert recent
"""
REPORT_TEST = "tests/test_report.py::test_reads_a_log_that_does_not_fit_into_memory"


@pytest.mark.needs("memory", "pids")
def test_the_example_projects_budgets_catch_a_change_that_doubles_a_tests_memory(
    pytester, isolated, monkeypatch
):
    """As CI runs it: the whole suite holds the committed budgets; then a cache slips into the
    report, and the sentence names the test.
    """
    shutil.copytree(
        EXAMPLE, pytester.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    unchanged = isolated(CHECK)
    assert unchanged.ret == pytest.ExitCode.OK
    assert not [line for line in unchanged.outlines if line.startswith("::error")]
    report = pytester.path / "pantry/report.py"
    assert LOOP in report.read_text()
    report.write_text(report.read_text().replace(LOOP, LOOP + CACHE))
    changed = isolated(CHECK)
    said = [line for line in changed.outlines if line.startswith("E   BudgetExceeded: ")]
    number = next(
        n
        for n, line in enumerate((EXAMPLE / "budgets.toml").read_text().splitlines(), 1)
        if REPORT_TEST in line
    )
    assert len(said) == 2
    assert " of 2.3 MiB, its budget of memory: " in said[0]
    assert said[0].endswith(f", with a tolerance of 25% or 2M (set in budgets.toml:{number})")
    failed = [line.split(" ")[1] for line in changed.outlines if line.startswith("FAILED")]
    # Whose workers make the same report
    assert failed == [REPORT_TEST, "tests/test_report.py::test_reads_several_logs_at_once"]
    annotations = [line for line in changed.outlines if line.startswith("::error")]
    assert len(annotations) == 2
    assert annotations[0].startswith("::error file=tests/test_report.py,line=")
    assert " of 2.3 MiB, its budget of memory: " in annotations[0]
    assert "35 tests, 2 violations" in (pytester.path / "summary.md").read_text()
    assert (pytester.path / "budgets.toml").read_bytes() == (EXAMPLE / "budgets.toml").read_bytes()


def test_the_page_of_an_xdist_run_has_every_worker_and_the_output_of_violations(pytester, isolated):
    """The whole way: two workers, a crash with what it said before, one file."""
    pytester.makepyfile("""
        import os, pytest
        @pytest.mark.parametrize("number", range(8))
        def test_fine(number): pass
        def test_dies():
            print("last <b>words</b>", flush=True)
            os._exit(3)
        """)
    isolated("--isolate-all", "-n2", "--isolate-html=page.html").assert_outcomes(passed=8, failed=1)
    page = (pytester.path / "page.html").read_text()
    assert all(f"test_fine[{number}]" in page for number in range(8))
    assert '"gw0"' in page
    assert '"gw1"' in page
    assert "last \\u003cb\\u003ewords\\u003c/b\\u003e" in page
    assert "<b>words" not in page


DYING = """
import os, signal, threading
import pytest
from pytest_isolate import isolate

@isolate
@pytest.mark.parametrize("number", range(3))
def test_before(number): pass

def test_the_worker_dies(): os.kill(os.getpid(), signal.SIGKILL)

@isolate
def test_after(): pass
"""


@pytest.mark.needs("pids")
def test_a_killed_worker_costs_no_entry_of_the_tests_before_it(pytester, isolated, budgets):
    """Entries travel with each test: the report, the page and the budgets have those of the dead
    worker and of the one after it.
    """
    pytester.makepyfile(test_it=DYING)
    isolated(
        "-n1", CHECK, UPDATE, "--isolate-report=report.json", "--isolate-html=page.html"
    ).assert_outcomes(passed=4, failed=1)
    wanted = [
        "test_it.py::test_after",
        *(f"test_it.py::test_before[{number}]" for number in range(3)),
    ]
    entries = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert sorted(entry["nodeid"] for entry in entries) == wanted
    assert {entry["worker"] for entry in entries} == {"gw0", "gw1"}
    assert all(entry["usage"]["pids_peak"] == 1 for entry in entries)
    assert names(budgets.path) == wanted
    page = (pytester.path / "page.html").read_text()
    assert all(f'"{name}"' in page for name in wanted)


def test_a_test_that_ends_an_xdist_run_has_its_entry(pytester, isolated):
    """``pytest.exit`` in a worker: no last report goes out that the entry could travel with."""
    pytester.makepyfile(
        "import pytest\ndef test_first(): pass\ndef test_exits(): pytest.exit('enough')"
    )
    isolated("--isolate-all", "-n1", "--isolate-report=report.json")
    entries = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert [entry["nodeid"].split("::")[1] for entry in entries] == ["test_first", "test_exits"]


def test_a_name_of_any_bytes_comes_through_xdist(pytester, isolated):
    """What a test creates may have a name that is not text: no worker dies for it, and the report
    lists it.
    """
    pytester.makepyfile(
        "import os\ndef test_it(): os.close(os.open(b'/var/tmp/isolate-\\xff', os.O_CREAT))"
    )
    isolated("--isolate-all", "-n1", "--isolate-report=report.json").assert_outcomes(passed=1)
    (entry,) = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert "/var/tmp/isolate-\udcff" in entry["files"]["created"]


SLOW_ENTRY = """
import faulthandler, os, time
pytest_process, enable = os.getpid(), faulthandler.enable
def slow(*args, **keywords):
    while os.getpid() != pytest_process and time.process_time() < 0.4: pass
    return enable(*args, **keywords)
faulthandler.enable = slow  # which a forked child calls on its way in
"""


@pytest.mark.parametrize("scope", ["function", "module"])
def test_wall_and_processor_time_begin_with_the_tests_own_code(pytester, isolated, scope):
    """What its process spends on its way into the sandbox is in neither, and processor time is what
    went by on the clock at most.
    """
    pytester.makeconftest(SLOW_ENTRY)
    pytester.makepyfile(f"""
        import time
        from pytest_isolate import isolate
        pytestmark = isolate(scope="{scope}")
        def test_nothing(): pass
        def test_busy():
            end = time.process_time() + 0.2
            while time.process_time() < end: pass
    """)
    isolated("--isolate-report=report.json").assert_outcomes(passed=2)
    nothing, busy = (
        each["usage"] for each in json.loads((pytester.path / "report.json").read_text())["tests"]
    )
    assert nothing["wall_seconds"] < 0.3
    assert busy["wall_seconds"] >= 0.2
    if nothing["cpu_seconds"] is not None:
        assert nothing["cpu_seconds"] < 0.1
        assert 0.2 <= busy["cpu_seconds"] < 0.3
        assert nothing["cpu_seconds"] <= nothing["wall_seconds"]


#: Which a busy machine does now and then: the test's process has ended by then.
LATE_LOOK = HEARING + "at('over', lambda nodeid: os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT))\n"


@pytest.mark.needs("cpu")
def test_processor_time_ends_when_wall_time_does(pytester, isolated):
    """What its process uses on its way out is counted too, and is not the test's, however late
    pytest comes to look.
    """
    pytester.makeconftest(LATE_LOOK)
    pytester.makepyfile("""
        import os, time
        from pytest_isolate._child import inside
        def leave(status):
            end = time.process_time() + 0.5
            while time.process_time() < end: pass
            os._exit(status)
        def test_nothing(): inside._exit = leave
    """)
    isolated("--isolate-all", "--isolate-report=report.json").assert_outcomes(passed=1)
    (usage,) = (
        each["usage"] for each in json.loads((pytester.path / "report.json").read_text())["tests"]
    )
    assert 0 < usage["cpu_seconds"] <= usage["wall_seconds"]
    assert usage["cpu_seconds"] < 0.5


@pytest.mark.needs("cpu")
def test_no_test_says_by_itself_how_much_processor_time_was_not_its_own(pytester, isolated):
    """A test that shares its sandbox with the next can have its process say anything before that:
    nothing is taken off for it.
    """
    pytester.makepyfile("""
        import time
        from pytest_isolate import isolate
        from pytest_isolate._child import inside
        pytestmark = isolate(scope="module")
        def test_lies():
            mine = next(each for each in __import__("gc").get_objects() if type(each) is inside.Inside)
            mine._before = type("Before", (), {"processor": lambda self: (0.25, 0.0)})()
        def test_busy():
            end = time.process_time() + 0.3
            while time.process_time() < end: pass
    """)
    isolated("--isolate-report=report.json").assert_outcomes(passed=2)
    busy = json.loads((pytester.path / "report.json").read_text())["tests"][1]["usage"]
    assert busy["cpu_seconds"] >= 0.3
