"""What a child wrote is checked before pytest sees it: whatever passes, pytest can show."""

from __future__ import annotations

import copy
import io
import json
import linecache
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._messages import reading, sources
from pytest_isolate._sandbox.frames import GarbledError
from pytest_isolate._sandbox.salvage import Reader

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def true_reports() -> dict[str, dict[str, object]]:
    """What pytest itself makes of a pass, a failure with all that a traceback can have, a skip and
    an expected failure.
    """

    def fail() -> None:
        try:
            int("first")
        except ValueError as error:
            raise RuntimeError("second") from error

    with pytest.raises(RuntimeError) as caught:
        fail()
    made = {
        "passed": ("passed", None),
        "failed": ("failed", caught.getrepr(showlocals=True, funcargs=True)),
        "native": ("failed", caught.getrepr(style="native")),
        "skipped": ("skipped", ("a.py", 3, "why")),
    }
    found = {}
    for name, (outcome, longrepr) in made.items():
        report = pytest.TestReport(
            "a.py::test",
            ("a.py", 1, "test"),
            {"test": 1},
            outcome,
            longrepr,
            "call",
            [("a", "b")],
            0.5,
            1,
            2,
        )
        report.user_properties = [("a", [1, {"b": None}])]
        found[name] = json.loads(json.dumps(report._to_json() | {"$report_type": "TestReport"}))
    found["xfailed"] = found["failed"] | {"outcome": "skipped", "wasxfail": "reason"}
    return found


TRUE = true_reports()


class Item:
    """As much of an item as reading a report asks for; pytest's own function does the work."""

    nodeid, location = "a.py::test", ("a.py", 1, "test")

    def __init__(self, config: pytest.Config) -> None:
        self.config = config


@pytest.mark.parametrize("name", TRUE)
def test_what_pytest_writes_is_read_as_it_was(name, pytestconfig):
    """A true report passes, and comes out the same."""
    frame = {"kind": "report", "when": "call", "report": copy.deepcopy(TRUE[name]), "seen": []}
    assert reading.checked([frame], strict=True) == ([frame], None)
    report = reading.report(Item(pytestconfig), frame, strict=False)
    assert json.loads(json.dumps(report._to_json())) | {"$report_type": "TestReport"} == TRUE[name]


def places(value, path=()):
    """Every place in a JSON value at which something else can be put."""
    yield path
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in pairs:
        yield from places(inner, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = changed(value[path[0]], path[1:], new)
    return value


PLACES = [(name, path) for name, data in TRUE.items() for path in places(data) if path]


@pytest.mark.parametrize("name", TRUE)
def test_a_report_may_lack_anything(pytestconfig, name):
    """Any key or element left out: refused in words, or shown without it."""
    for path in places(TRUE[name]):
        if path:
            data = copy.deepcopy(TRUE[name])
            inner = data
            for key in path[:-1]:
                inner = inner[key]
            del inner[path[-1]]
            shown_or_refused(
                {"kind": "report", "when": "call", "report": data, "seen": []}, pytestconfig
            )


@given(
    place=st.sampled_from(PLACES), new=values, more=st.dictionaries(st.text(), values, max_size=2)
)
def test_whatever_passes_can_be_shown(pytestconfig, place, new, more):
    """Anything at any place of a true report, anything added: refused in words, or written by
    everything that writes reports.
    """
    name, path = place
    data = changed(TRUE[name], path, new) | {
        key: value for key, value in more.items() if key not in TRUE[name]
    }
    frame = {"kind": "report", "when": "call", "report": copy.deepcopy(data), "seen": []}
    shown_or_refused(frame, pytestconfig)


def shown_or_refused(frame, config):
    kept, wrong = reading.checked([frame], strict=False)
    if wrong is not None:
        assert wrong.startswith("wrote a report that pytest cannot read: ")
        return
    try:
        report = reading.report(Item(config), kept[0], strict=False)
    except GarbledError:
        return
    show(report, config)


def show(report: pytest.TestReport, config: pytest.Config) -> None:
    from _pytest.config import create_terminal_writer
    from _pytest.junitxml import LogXML

    writer = create_terminal_writer(config, io.StringIO())
    report.toterminal(writer)
    assert isinstance(report.longreprtext, str)
    assert report.head_line is not None
    assert isinstance(report.caplog + report.capstdout + report.capstderr, str)
    json.dumps(report._to_json(), default=str)
    format(report.duration, ".3f")
    xml = LogXML("unwritten.xml", "", "pytest", "all", "total", "xunit1", True)
    xml.pytest_runtest_logreport(report)
    [reporter.to_xml() for reporter in xml.node_reporters_ordered]


@given(
    frame=st.dictionaries(
        st.sampled_from(["pid", "what", "message", "report", "when", "seen", "path"]) | st.text(),
        values,
    ),
    data=st.data(),
)
def test_any_frame_is_checked_without_an_exception(frame, data):
    """Whatever an object with a kind holds: it passes, or is refused in words."""
    frame["kind"] = data.draw(st.sampled_from(sorted(reading._FRAMES)) | st.text())
    kept, wrong = reading.checked([frame], strict=data.draw(st.booleans()))
    assert (kept == [] and isinstance(wrong, str)) or (kept == [frame] and wrong is None)


def test_nothing_behind_a_wrong_frame_counts():
    """What came before it does."""
    sent = [{"kind": "end"}, {"kind": "surprise"}, {"kind": "end"}]
    assert reading.checked(sent, strict=False) == (
        sent[:1],
        "wrote a report that pytest cannot read: a frame is of the kind 'surprise'",
    )


@pytest.mark.parametrize(
    "path",
    [
        "/dev/null",
        "/dev/zero",
        "/proc/kmsg",
        "/proc/self/../self/maps",
        "/sys/kernel/mm",
        "/",
        "",
        "a\0b",
        "\ud800",
    ],
)
def test_devices_and_the_kernels_files_are_no_source(path):
    """Nor are directories, pipes, and what is no path at all."""
    assert reading.shown_line(path, None) == ""
    assert reading.places([(path, 1, "f")], None) == [("?", 1, "f")]


def test_files_are_source_as_long_as_they_are_files(tmp_path):
    """A file is, one that is not there harms nobody, a pipe and a link to a device are not."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    paths = (__file__, tmp_path / "none", tmp_path / "pipe", tmp_path / "link")
    assert [sources.may_show(str(path), None) for path in paths] == [True, True, False, False]


def test_what_may_be_shown_is_read_once_and_forgotten_with_the_run(tmp_path):
    """Whatever comes to stand in its place meanwhile is not opened: a pipe would be waited for."""
    path = tmp_path / "file.py"
    path.write_text("first\nsecond\n")
    assert sources.may_show(str(path), None)
    assert sources.may_show(str(tmp_path / "later"), None)
    path.unlink()
    for each in (path, tmp_path / "later"):
        os.mkfifo(each)
    linecache.checkcache()
    assert linecache.getline(str(path), 2) == "second\n"
    assert linecache.getline(str(tmp_path / "later"), 1) == ""
    path.unlink()
    path.write_text("new\n")
    sources.forget()
    assert linecache.getline(str(path), 1) == "new\n"


def test_whose_rights_to_read_count(tmp_path):
    """Those of the test, for the file and for each directory above it."""
    above = [*tmp_path.parents, tmp_path]
    (tmp_path / "file").write_text("secret\n")
    (tmp_path / "file").chmod(0o600)
    everybody = Reader(12345, frozenset())
    assert sources.may_show(str(tmp_path / "file"), None)
    assert not sources.may_show(str(tmp_path / "file"), everybody)
    assert (
        not sources.may_show(str(tmp_path / "file"), Reader(os.getuid(), frozenset()))
        or os.stat(tmp_path).st_uid == os.getuid()
    )
    (tmp_path / "file").chmod(0o644)
    assert sources.may_show(str(tmp_path / "file"), everybody) == all(
        each.stat().st_mode & 1 for each in above
    )
    assert sources.may_show("/etc/passwd", everybody)
    sources.forget()


@pytest.mark.parametrize(
    "links",
    [
        None,
        "a",
        [["a", "b", 1, 2]],
        [["a", "b", -1, 0, 0]],
        [["a", 1, 1, 1, 1]],
        [["a", "b", 1 << 70, 0, 0]],
    ],
)
def test_links_are_names_and_amounts(links):
    kept, wrong = reading.checked([{"kind": "links", "links": links}], strict=False)
    assert kept == []
    assert wrong.startswith("wrote a report that pytest cannot read: of a frame 'links' ")
