"""The page: everything in it, nothing from elsewhere, and what tests wrote stays text."""

import json
import re
import sys
import time

import pytest

from pytest_isolate._report import html

NAMES = (
    "wall_seconds",
    "cpu_seconds",
    "memory_peak_bytes",
    "pids_peak",
    "disk_bytes",
    "io_read_bytes",
    "io_write_bytes",
)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}\udcff\u2028"


def entry(number, name="test", outcome="passed", violations=()):
    usage = dict.fromkeys(NAMES) | {
        "wall_seconds": 0.1,
        "cpu_seconds": 0.05,
        "memory_peak_bytes": number << 20,
    }
    return {
        "nodeid": f"t.py::{name}[{number}]", "outcome": outcome, "usage": usage,
        "violations": list(violations),
        "started": 1e9 + number / 10,
        "worker": f"gw{number % 4}", "output": name,
    }  # fmt: skip


COMMIT = {
    "name": "ab" * 20,
    "date": "2026-01-01",
    "subject": "Calm",
    "branch": "main",
    "changed": False,
}
ABOUT = {
    "command": "pytest", "directory": "/project", "started": 1e9, "seconds": 2.5, "python": "CPython 3.12",
    "platform": "Linux", "pytest": "9.2", "plugins": ["pytest-isolate-ns 0.1"], "commit": COMMIT,
}  # fmt: skip


def body(page):
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_what_a_test_wrote_is_shown_and_never_obeyed():
    """Names, messages, output and a machine's reasons: no element of theirs reaches the page."""
    violation = {"resource": "crash", "message": HOSTILE}
    host = {"net": {"available": False, "reason": HOSTILE}}
    said = entry(1, HOSTILE, "failed", [violation]) | {"output": f"{HOSTILE}\x1b[2J\0"}
    hostile = html.page(
        host,
        [said],
        ABOUT | {"command": HOSTILE, "commit": COMMIT | {"subject": HOSTILE, "branch": HOSTILE}},
    )
    calm = html.page(
        host | {"net": {"available": False, "reason": ""}},
        [entry(1, "calm", "failed", [violation | {"message": "calm"}])],
        ABOUT,
    )
    assert hostile.count("<script") == calm.count("<script")
    assert hostile.count("</script") == calm.count("</script")
    assert "<img" not in body(hostile)
    assert "{{ 7*7 }}" in body(hostile)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", body(hostile))
    hostile.encode("utf-8")


def test_the_page_reaches_for_nothing():
    """No address in it is loaded: scripts and styles are inside, and a policy forbids the rest."""
    page = html.page({}, [entry(1)], ABOUT)
    assert "default-src 'none'" in page
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", body(page))


def test_every_test_is_in_the_tables_data():
    """With each resource; null is null."""
    data = json.loads(re.search(r'id="tests">(.*?)</script>', html.page({}, [entry(3)], {}))[1])
    assert data == [["t.py::test[3]", "passed", 3 << 20, 0.05, 0.1, None, None, None, None, ""]]


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 violations"), (1, "1 violation"), (2, "2 violations")]
)
def test_violations_are_counted_in_words(number, said):
    """One is no plural."""
    page = body(
        html.page(
            {},
            [entry(1, "failed", "failed", [{"resource": "crash", "message": "gone"}] * number)],
            {},
        )
    )
    assert re.search(r"1 test, <[^>]*>([^<]*)</", page)[1] == said


def test_a_run_without_a_test_inside_has_a_page():
    """Also an interrupted one."""
    assert 'id="plots">{"plots":[],"legend":[]}<' in html.page({}, [], ABOUT)


def test_ten_thousand_tests_are_a_page_in_seconds():
    """Generous for a slow machine: 20 s of processor time; a quadratic step would take minutes."""
    entries = [entry(number) for number in range(10_000)]
    begun = time.process_time()
    html.page({}, entries, {})
    assert time.process_time() - begun < 20


def test_the_extra_is_named_when_it_is_missing(monkeypatch):
    """The command that helps stands in the sentence."""
    monkeypatch.setitem(sys.modules, "bokeh", None)  # Python's own way to say that there is none
    with pytest.raises(
        pytest.UsageError,
        match=r"bokeh is not installed: python -m pip install bokeh$",
    ):
        html.check_installed("page.html")


def test_tests_without_a_sandbox_come_first_with_their_reason_and_nothing_is_green():
    """A run that isolated nothing is no run without violations; the same reason stands
    there once.
    """
    errors = [
        entry(number, "failed", "error") | {"verdict": "sandbox_error", "reason": HOSTILE}
        for number in range(3)
    ]
    page = body(html.page({}, [*errors, entry(9)], {}))
    assert re.search(r"4 tests, <b class=\"bad\">3 without a sandbox</b>", page)
    assert page.count("3 tests had no sandbox: ") == 1
    assert page.index("had no sandbox") < page.index("Timeline")
    assert "good" not in page.split("<h2>Timeline")[0].split("</style>")[1]
    assert "<img" not in page


def details(entries):
    page = html.page({}, entries, {})
    return json.loads(re.search(r'id="details">(.*?)</script>', page)[1])


def test_a_row_opens_to_what_there_is_to_tell_and_to_nothing_else():
    """What many tests have in common stands in the page once."""
    limited = {"limits": {"memory": 64 << 20, "of_tomorrow": 3}, "origins": {"memory": "by a rule"}}
    found = details([entry(1), entry(2) | limited, entry(3) | limited])
    assert found["tests"] == [
        {"worker": "gw1", "output": "test"},
        {"worker": "gw2", "output": "test", "limits": 0, "limit": 64 << 20},
        {"worker": "gw3", "output": "test", "limits": 0, "limit": 64 << 20},
    ]
    assert found["common"] == [
        [["memory", "64 MiB", 64 << 20, "by a rule"], ["of_tomorrow", "3", 3, ""]]
    ]


def test_a_page_of_many_long_texts_keeps_those_of_failures():
    """16 MiB of them in all: a page has to open."""
    long = {"failure": "E" * (1 << 16), "output": None}
    passed = [entry(number) | long for number in range(300)]
    found = details([*passed, entry(300, outcome="failed") | long])["tests"]
    assert found[-1]["failure"] == "E" * (1 << 16)
    assert sum(len(each["failure"]) for each in found) < 17 << 20
    assert found[299]["failure"].startswith("left out: ")
