"""Plugins that show results."""

from __future__ import annotations

import html
import json
import re

import pytest

FILES = {
    "test_all.py": (
        """
        import warnings
        import pytest
        def test_passes(): print("said")
        def test_fails(): print("said before"); assert 0
        @pytest.mark.skip(reason="why")
        def test_skipped(): pass
        @pytest.mark.xfail
        def test_expected(): assert 0
        @pytest.mark.xfail
        def test_unexpected(): pass
        @pytest.fixture
        def broken(): raise OSError("broken")
        def test_error(broken): pass
        @pytest.mark.parametrize("value", ["a", "<b>"])
        def test_each(value): pass
        """
    )
}
TESTS = 8


def rows(text: str) -> list[tuple[str, str]]:
    """Test id and result of every row of pytest-html's table, sorted."""
    data = json.loads(html.unescape(re.search(r'data-jsonblob="([^"]*)"', text)[1]))
    return sorted((name, each["result"]) for name, tests in data["tests"].items() for each in tests)


@pytest.mark.plugins(pytest_html="html", pytest_metadata="metadata")
@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["alone", "n2"])
def test_html_has_the_same_rows(both, args):
    """Rows and results of the page, alone and with `-n 2`."""
    plain, isolated = both(
        FILES,
        "-p",
        "html_fixtures",
        "--html=report.html",
        *(("-p", "xdist", *args) if args else ()),
        tests=TESTS,
    )
    pages = [(each.directory / "report.html").read_text() for each in (plain, isolated)]
    assert rows(pages[1]) == rows(pages[0])
    assert len(rows(pages[0])) >= TESTS
    assert "said before" in pages[1]


@pytest.mark.plugins(pytest_sugar="sugar")
def test_sugar_shows_the_same_bars(both):
    """The counts of its summary, and a line for every test with `-v`."""
    plain, isolated = both(FILES, "--force-sugar", "-v", tests=TESTS)
    counts = re.compile(r"^\W*\d+ \w+$", re.MULTILINE)
    strip = re.compile(r"\x1b\[[\d;?]*\w")
    found = [sorted(counts.findall(strip.sub("", each.output))) for each in (plain, isolated)]
    assert found[1] == found[0] != []
