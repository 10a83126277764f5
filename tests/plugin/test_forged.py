"""Frames that a test forges: each is the failure of that test, and the tests after it run as if
nothing had been.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET

import pytest

pytestmark = [pytest.mark.anybody, pytest.mark.hostile]

TRACEBACK = {
    "reprentries": [{"type": "ReprEntryNative", "data": {"lines": ["a"], "style": "native"}}],
    "extraline": None,
    "style": "long",
}
PLACE = {"path": "a", "lineno": 1, "message": "m"}
FAILURE = {"reprcrash": PLACE, "reprtraceback": TRACEBACK, "sections": [], "chain": None}
ENTRY = {
    "lines": ["x"],
    "style": "long",
    "reprfuncargs": None,
    "reprlocals": None,
    "reprfileloc": None,
}


def failed(**changes):
    return {"outcome": "failed", "longrepr": {**FAILURE, **changes}}


def entry(**changes):
    return failed(
        reprtraceback={
            **TRACEBACK,
            "reprentries": [{"type": "ReprEntry", "data": {**ENTRY, **changes}}],
        }
    )


#: What a forged report says instead of a true one -> what is wrong with it, by the violation's
#: sentence.
REPORTS = {
    "nodeid-number": ({"nodeid": 5}, "'nodeid' is 5"),
    "nodeid-other": (
        {"nodeid": "test_it.py::test_other"},
        "it is for another test, 'test_it.py::test_other'",
    ),
    "when": ({"when": "collect"}, "'when' is 'collect'"),
    "when-list": ({"when": ["call"]}, "'when' is ['call']"),
    "outcome-number": ({"outcome": 1}, "'outcome' is 1"),
    "outcome-warnings": ({"outcome": "warnings"}, "'outcome' is 'warnings'"),
    "outcome-xfailed": ({"outcome": "xfailed"}, "'outcome' is 'xfailed'"),
    "outcome-empty": ({"outcome": ""}, "'outcome' is ''"),
    "skip-text": (
        {"outcome": "skipped", "longrepr": "why"},
        "its outcome is 'skipped' and its 'longrepr' is 'why'",
    ),
    "skip-two": ({"outcome": "skipped", "longrepr": ["a", "b"]}, "'longrepr' is ['a', 'b']"),
    "skip-types": ({"outcome": "skipped", "longrepr": [1, 2, 3]}, "'longrepr' is [1, 2, 3]"),
    "passed-skip": (
        {"longrepr": ["a", 1, "b"]},
        "its outcome is 'passed' and its 'longrepr' is ['a', 1, 'b']",
    ),
    "failed-silent": ({"outcome": "failed", "longrepr": None}, "it is a failure that says nothing"),
    "failed-number": ({"outcome": "failed", "longrepr": 7}, "'longrepr' is 7"),
    "failed-no-traceback": (failed(reprtraceback=None), "'longrepr' is {"),
    "failed-crash": (failed(reprcrash={"path": 1, "lineno": 1, "message": "m"}), "'longrepr' is {"),
    "failed-message": (
        failed(reprcrash={"path": "a", "lineno": 1, "message": None}),
        "'longrepr' is {",
    ),
    "failed-chain": (failed(chain=[[TRACEBACK, PLACE]]), "'longrepr' is {"),
    "failed-section": (failed(sections=[["a", "b", ""]]), "'longrepr' is {"),
    "failed-entries": (failed(reprtraceback={**TRACEBACK, "reprentries": [5]}), "'longrepr' is {"),
    "entry-lines": (entry(lines=[1]), "'longrepr' is {"),
    "entry-place": (entry(reprfileloc={**PLACE, "message": 5}), "'longrepr' is {"),
    "entry-locals": (entry(reprlocals={"lines": 5}), "'longrepr' is {"),
    "entry-arguments": (entry(reprfuncargs={"args": [["a"]]}), "'longrepr' is {"),
    "entry-more": (entry(reprfuncargs={"args": [], "more": 1}), "TypeError: "),
    "sections-number": ({"sections": 5}, "'sections' is 5"),
    "sections-three": ({"sections": [["a", "b", "c"]]}, "'sections' is [['a', 'b', 'c']]"),
    "sections-types": ({"sections": [["a", None]]}, "'sections' is [['a', None]]"),
    "properties-object": ({"user_properties": {"a": 1}}, "'user_properties' is {'a': 1}"),
    "properties-pair": ({"user_properties": ["ab"]}, "'user_properties' is ['ab']"),
    "properties-name": ({"user_properties": [[None, 1]]}, "'user_properties' is [[None, 1]]"),
    "duration-text": ({"duration": "x"}, "'duration' is 'x'"),
    "duration-nan": ({"duration": float("nan")}, "'duration' is nan"),
    "duration-huge": ({"duration": 10**400}, "'duration' is 1000"),
    "duration-none": ({"duration": None}, "'duration' is None"),
    "start": ({"start": "now"}, "'start' is 'now'"),
    "stop": ({"stop": 1e300}, "'stop' is 1e+300"),
    "keywords": ({"keywords": 5}, "'keywords' is 5"),
    "wasxfail": (
        {"outcome": "skipped", "longrepr": None, "wasxfail": {"a": 1}},
        "'wasxfail' is {'a': 1}",
    ),
    "node": ({"node": 5}, "it sets 'node', which is not a child's to set"),
    "worker_id": ({"worker_id": "gw7"}, "it sets 'worker_id'"),
    "method": ({"toterminal": 5}, "it sets 'toterminal'"),
    "property": ({"longreprtext": 5}, "it sets 'longreprtext'"),
    "class": ({"__class__": 5}, "it sets '__class__'"),
    "id": ({"_id": 5}, "it sets '_id'"),
    "collected": ({"$report_type": "CollectReport"}, "TypeError: "),
    "unknown-type": ({"$report_type": "Other"}, "AssertionError: "),
    "part": (
        {"$report_type": "TestReport", "_subtest.context": {"msg": [], "kwargs": {}}},
        "'_subtest.context' is {",
    ),
}
#: The same for whole frames.
FRAMES = {
    "kind": ({"kind": "surprise"}, "a frame is of the kind 'surprise'"),
    "no-report": (
        {"kind": "report", "when": "call", "report": [], "seen": []},
        "of a frame 'report' 'report' is []",
    ),
    "seen": (
        {"kind": "report", "when": "call", "report": {}, "seen": 5},
        "of a frame 'report' 'seen' is 5",
    ),
    "twice": (
        {"kind": "entered", "pid": 2, "base": 0, "traces": False},
        "a frame 'entered' comes after the test began",
    ),
    "broken": (
        {"kind": "broken", "step": "mount", "path": "/", "errno": 1},
        "a frame 'broken' comes after the test began",
    ),
    "tmp_path": ({"kind": "tmp_path"}, "of a frame 'tmp_path' 'path' is None"),
    "tmp_path-nul": (
        {"kind": "tmp_path", "path": "/a\0b"},
        r"of a frame 'tmp_path' 'path' is '/a\x00b'",
    ),
    "phase": (
        {"kind": "phase", "when": "else", "sections": []},
        "of a frame 'phase' 'when' is 'else'",
    ),
    "phase-sections": (
        {"kind": "phase", "when": "call", "sections": [["a", 5]]},
        "of a frame 'phase' 'sections' is [['a', 5]]",
    ),
    "warning": ({"kind": "warning", "message": 5}, "of a frame 'warning' 'message' is 5"),
    "raised": (
        {"kind": "raised", "what": "else", "message": ""},
        "of a frame 'raised' 'what' is 'else'",
    ),
    "raised-stack": (
        {"kind": "raised", "what": "interrupt", "message": "", "stack": [["/a.py", "1", "f"]]},
        "of a frame 'raised' 'stack' is [['/a.py', '1'",
    ),
    "raised-code": (
        {"kind": "raised", "what": "exit", "message": "", "returncode": 1 << 80},
        "of a frame 'raised' 'returncode' is",
    ),
    "stop-type": (
        {"kind": "stop", "shouldstop": 5, "shouldfail": ""},
        "of a frame 'stop' 'shouldstop' is 5",
    ),
    "junit": (
        {"kind": "junit", "properties": 5, "attributes": []},
        "of a frame 'junit' 'properties' is 5",
    ),
    "junit-name": (
        {"kind": "junit", "properties": [], "attributes": [["a b", "c"]]},
        "of a frame 'junit' 'attributes' is [['a b', 'c']]",
    ),
    "oversized": ({"kind": "oversized"}, "of a frame 'oversized' 'message' is None"),
    "allocations": (
        {"kind": "allocations", "lines": [["f", 1, 10**400, 1]]},
        "of a frame 'allocations' 'lines' is [['f', 1, 1000",
    ),
    "refused": ({"kind": "refused", "port": "80"}, "of a frame 'refused' 'port' is '80'"),
    "shell": (
        {"kind": "shell", "when": "call", "directory": "/", "environment": {"A=B": "C"}},
        "of a frame 'shell' 'environment' is {'A=B': 'C'}",
    ),
}
FORGE = """
import json, pytest, sys
def frames(request):
    return request.config.pluginmanager.getplugin("isolate-run").side.child._line.writer
def report(request, changes):
    item = request.node
    true = pytest.TestReport(item.nodeid, item.location, {}, "passed", None, "call")
    data = request.config.hook.pytest_report_to_serializable(config=request.config, report=true)
    return {"kind": "report", "when": "call", "report": {**data, **changes}, "seen": []}
"""


@pytest.fixture(autouse=True)
def _whole_lines(monkeypatch):
    # Else pytest shortens its summary's lines to the terminal's width
    monkeypatch.setenv("CI", "true")


OUTPUTS = (
    "-v",
    "-rA",
    "--durations=0",
    "--junitxml=junit.xml",
    "--isolate-report=report.json",
    "--isolate-html=page.html",
)


def test_no_report_that_a_test_forges_reaches_pytest(pytester, isolated):
    """Whatever a test puts into a report: a crash of that test, in words, and the tests before and
    after it are untouched.
    """
    pytester.makepyfile(
        test_it=f"""{FORGE}
from pathlib import Path
FORGED = json.loads(Path("forged.json").read_text())
@pytest.mark.parametrize("name", FORGED)
def test_forged(name, request):
    frames(request).send(report(request, FORGED[name]))
@pytest.mark.parametrize("name", FORGED)
def test_after(name): pass
"""
    )
    (pytester.path / "forged.json").write_text(
        json.dumps({name: changes for name, (changes, _) in REPORTS.items()})
    )
    result = isolated("--isolate-all", *OUTPUTS)
    result.assert_outcomes(failed=len(REPORTS), passed=len(REPORTS))
    for name, (_, why) in REPORTS.items():
        said = [
            line
            for line in result.outlines
            if line.startswith(f"FAILED test_it.py::test_forged[{name}]")
        ]
        assert len(said) == 1
        assert " - Crashed: its process wrote a report that pytest cannot read: " in said[0]
        assert why in said[0]
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert [each["verdict"] for each in tests] == ["crash"] * len(REPORTS) + ["ok"] * len(REPORTS)
    assert len(list(ET.parse(pytester.path / "junit.xml").getroot().iter("testcase"))) == 2 * len(
        REPORTS
    )


def test_no_frame_that_a_test_forges_is_believed(pytester, isolated):
    """The same for frames of every other kind; a test cannot say that its sandbox, and not itself,
    is broken.
    """
    pytester.makepyfile(
        test_it=f"""{FORGE}
from pathlib import Path
FORGED = json.loads(Path("forged.json").read_text())
@pytest.mark.parametrize("name", FORGED)
def test_forged(name, request, tmp_path):
    frames(request).send(FORGED[name])
@pytest.mark.parametrize("name", FORGED)
def test_after(name): pass
"""
    )
    (pytester.path / "forged.json").write_text(
        json.dumps({name: frame for name, (frame, _) in FRAMES.items()})
    )
    result = isolated("--isolate-all", *OUTPUTS)
    for name in FRAMES:
        said = [
            line
            for line in result.outlines
            if line.startswith(f"FAILED test_it.py::test_forged[{name}]")
        ]
        assert len(said) == 1
        assert (
            " - Crashed: its process wrote a report that pytest cannot read:"
            f" {FRAMES[name][1]}" in said[0]
        )
    result.assert_outcomes(failed=len(FRAMES), passed=len(FRAMES))


def test_no_number_that_a_test_forges_is_too_long_to_write(pytester, isolated):
    """Attempts to leave its network, of so many digits each that Python refuses to
    write their sum.
    """
    pytester.makepyfile(
        test_it=f"""{FORGE}
def test_forged(request):
    sys.set_int_max_str_digits(0)
    frames(request).send({{"kind": "network", "attempts": [["name", None, True, 9 * 10**4299, ""]] * 20}})
    assert False
def test_after(): pass
"""
    )
    isolated("--isolate-all", *OUTPUTS).assert_outcomes(failed=1, passed=1)


ENTERED = {"kind": "entered", "pid": 2, "base": 0, "traces": False}
#: What the first test of a shared sandbox has its child say for the second one.
ENTRIES = {
    "errno": {**ENTERED, "lost": [["opened", 1 << 40]]},
    "group": {**ENTERED, "pid": 0},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_what_a_test_forges_for_the_next_one_of_its_sandbox(pytester, isolated, name):
    """The child that is told to go on is the first test's by then: its word that the second one
    begins harms that test at most.

    A process of the number 0 is every process of PID 1's group, and with it the builder of all
    sandboxes.
    """
    pytester.makepyfile(
        test_it=f"""{FORGE}
import os, time
from pytest_isolate import isolate
kept = open("opened", "w")
class TestShared:
    pytestmark = isolate(scope="class", timeout="300ms")
    def test_first(self, request):
        entry = {ENTRIES[name]!r}
        entry["lost"] = [[os.path.abspath(path), why] for path, why in entry.get("lost", ())]
        inside = request.config.pluginmanager.getplugin("isolate-run").side.child
        inside._enter = lambda: inside._line.writer.send(entry)
    def test_second(self): time.sleep({60 if name == "group" else 0})
def test_after(): pass
"""
    )
    result = isolated("--isolate-all", "-v")
    result.stdout.fnmatch_lines(
        ["*::test_first PASSED*", "*::test_second *", "*::test_after PASSED*"]
    )
    assert "the builder" not in result.stdout.str()
    if name == "group":
        result.stdout.fnmatch_lines(["*TimeoutExceeded: took more than 300 ms*"])


ODD = "half \ud800 nul \0 escape \x1b[2J bell \a "


def test_odd_text_in_every_place_breaks_no_output(pytester, isolated):
    """Lone surrogates, NULs and escapes in names, sections, properties and messages: terminal,
    JUnit, JSON and HTML are written.
    """
    pytester.makepyfile(
        test_it=f"""{FORGE}
ODD = {ODD!r}
PLACE = {{"path": ODD, "lineno": -5, "message": ODD}}
TRACE = {{"reprentries": [{{"type": "ReprEntryNative", "data": {{"lines": [ODD], "style": "native"}}}}], "extraline": ODD, "style": "long"}}
FAILURE = {{"reprcrash": PLACE, "reprtraceback": TRACE, "sections": [[ODD, ODD, "-"]], "chain": [[TRACE, PLACE, ODD]]}}
CASES = {{
    "failed": {{"outcome": "failed", "longrepr": FAILURE, "sections": [[ODD, ODD]], "user_properties": [[ODD, ODD]]}},
    "keywords": {{"keywords": {{ODD: ODD}}}},
    "skipped": {{"outcome": "skipped", "longrepr": [ODD, None, ODD]}},
    "xfailed": {{"outcome": "skipped", "longrepr": ODD, "wasxfail": ODD}},
    "xpassed": {{"wasxfail": ODD, "sections": [[ODD, ODD], [ODD, ODD]]}},
    "retried": {{"outcome": "retried", "longrepr": ODD}},
    "extra": {{"extras": [{{"name": ODD, "content": ODD}}]}},
    "deep": {{"user_properties": [["deep", eval("[" * 90 + "]" * 90)]]}},
    "times": {{"duration": -5e10, "start": -5e10, "stop": 5e10}},
}}
@pytest.mark.parametrize("name", CASES)
def test_odd(name, request):
    frames(request).send(report(request, CASES[name]))
    frames(request).send({{"kind": "junit", "properties": [[ODD, ODD]], "attributes": [["a", ODD]]}})
    frames(request).send({{"kind": "warning", "message": ODD, "module": ODD, "category": ODD, "filename": ODD, "lineno": -1}})
def test_after(): pass
"""
    )
    result = isolated("--isolate-all", *OUTPUTS)
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["test_it.py::test_after PASSED*"])
    assert len(json.loads((pytester.path / "report.json").read_text())["tests"]) == 10
    assert len(list(ET.parse(pytester.path / "junit.xml").getroot().iter("testcase"))) >= 10
    assert (pytester.path / "page.html").exists()


def test_pytest_reads_no_file_that_a_test_names(pytester, isolated):
    """A warning, or an interruption, at line 1 of a pipe or of /dev/zero: pytest would wait, or
    fill its memory, for ever.
    """
    os.mkfifo(pytester.path / "pipe")
    pytester.makepyfile(
        test_it=f"""{FORGE}
import os, warnings
@pytest.mark.parametrize("path", ["/dev/zero", "/proc/kmsg", os.path.abspath("pipe"), "/a\\0b", "/\\ud800"])
def test_warns(path): warnings.warn_explicit("said", UserWarning, path, 1)
def test_after(): pass
def test_interrupts(request):
    frames(request).send({{"kind": "raised", "what": "interrupt", "message": "", "stack": [
        ["/dev/zero", 1, "f\\n" * 9999], ["/a\\0b", -1, "\\ud800"], [os.path.abspath("pipe"), 1 << 40, ""]]}})
"""
    )
    result = isolated("--isolate-all", "--fulltrace")
    result.assert_outcomes(passed=7, warnings=5)
    assert result.ret == pytest.ExitCode.INTERRUPTED


ENDINGS = {
    "exit": "pytest.exit('enough', 0)",
    "interrupt": "raise KeyboardInterrupt",
    "stop": "request.session.shouldstop = 'enough'",
    "fail": "request.session.shouldfail = 'enough'",
    "forged": "frames(request).send({'kind': 'raised', 'what': 'internal', 'message': 'forged'})",
    "internal": "request.config.pluginmanager.register(Broken())",
}
PLUGIN = """
class Broken:
    def pytest_runtest_logreport(self, report): raise RuntimeError("a plugin broke")
    def pytest_runtest_makereport(self): raise RuntimeError("a plugin broke")
"""


@pytest.mark.needs("strict")
def test_no_strict_test_ends_the_run(pytester, isolated):
    """pytest.exit, Ctrl-C, shouldstop, an internal error, true or forged: a crash of that test, and
    the next one runs.
    """
    tests = "".join(
        f"def test_{name}(request): {body}\ndef test_after_{name}(): pass\n"
        for name, body in ENDINGS.items()
    )
    pytester.makepyfile(test_it=f"{FORGE}{PLUGIN}{tests}")
    result = isolated("--isolate-all", "--isolate-profile=strict", "-rA")
    for name in ENDINGS:
        said = [
            line
            for line in result.outlines
            if line.startswith(
                (f"FAILED test_it.py::test_{name} ", f"ERROR test_it.py::test_{name} ")
            )
        ]
        assert len(said) == 1, name
        assert " - Crashed: its process wanted to end the whole run (" in said[0]
        assert "which profile='strict' lets no test do" in said[0]
    # Shouldstop is told behind the last phase
    result.assert_outcomes(failed=4, errors=2, passed=len(ENDINGS) + 2)


@pytest.mark.parametrize("name", ENDINGS)
def test_a_test_that_is_not_strict_ends_the_run_as_in_a_plain_one(pytester, isolated, name):
    """Without the profile a sandbox protects from accidents: a plugin's internal error is shown and
    ends the run, as in plain pytest.
    """
    pytester.makepyfile(
        test_it=f"{FORGE}{PLUGIN}def test_it(request): {ENDINGS[name]}\ndef test_after(): pass\n"
    )
    result = isolated("--isolate-all", "-v")
    assert "test_after PASSED" not in result.stdout.str()
    assert ("INTERNALERROR" in result.stdout.str()) == (name in {"forged", "internal"})
