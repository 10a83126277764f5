"""Options of ours and of pytest's, each with each other: a run starts and ends as the plain one
does.

docs/together.md says what was tried. Each row of the table is one run; between them every two
options meet that can.
"""

import itertools
import os
import re
import shutil
import tempfile

import pytest
import warm

SOURCE = """
import logging, unittest, warnings
import pytest

@pytest.fixture(scope="module")
def shared():
    return []

def test_passes(shared): print("said")
@pytest.mark.parametrize("n", [1, 2])
def test_numbers(n, shared): assert n
@pytest.mark.skip
def test_skipped(): pass
@pytest.mark.xfail
def test_expected(): assert 0
class TestUnit(unittest.TestCase):
    def test_unit(self): pass
@pytest.mark.xdist_group("one")
class TestGroup:
    def test_warns(self):
        logging.getLogger().warning("logged")
        warnings.warn("told")
    def test_fails(self, tmp_path): assert [1] == [2]
"""

#: What can be said in place of each other. The first of each is the default: nothing is typed.
FACTORS: dict[str, tuple[str, ...]] = {
    "stop": ("", "-x", "--maxfail=1"),
    "order": ("", "--lf", "--ff", "--sw"),
    "workers": ("", "-n2", "-n2 --dist=loadgroup", "-n2 --dist=loadscope"),
    "terminal": ("", "-v", "-p no:terminal"),
    "debug": ("", "--debug"),
    "capture": ("", "-s", "--capture=sys", "--capture=tee-sys"),
    "setup": ("", "--setup-show"),
    "live log": ("", "--log-cli-level=INFO"),
    "junit": ("", "--junitxml=junit.xml"),
    "jobs": ("", "--isolate-jobs=2", "--isolate-jobs=auto"),
    "report": ("", "--isolate-report=out/r.json"),
    "html": ("", "--isolate-html=out/r.html"),
    "top": ("", "--isolate-top=2"),
    "budgets": ("", "--isolate-budgets=budgets.toml --isolate-update-budgets"),
    "keep": ("", "--isolate-keep=all", "--isolate-keep=failed"),
    "fs": ("", "--isolate-fs=readonly", "--isolate-fs=host"),
    "net": ("", "--isolate-net=deny", "--isolate-net=host"),
    "fixtures": ("", "--isolate-fixtures=fresh"),
    "scope": ("", "--isolate-scope=class", "--isolate-scope=module"),
    "serial": ("", "--isolate-serial=true"),
    "profile": ("", "--isolate-profile=strict"),
    "limits": ("",
               "--isolate-memory=512M --isolate-pids=200 --isolate-timeout=60 --isolate-disk=64M --isolate-files=200 --isolate-cpu=2"),
    "who": ("", "--isolate-env=A=1 --isolate-hostname=box --isolate-leaks=error"),
}  # fmt: skip
#: What ends in an INTERNALERROR of pytest's own: without its terminal nobody can write what is set
#: up.
IMPOSSIBLE = {("terminal", "-p no:terminal", "setup", "--setup-show")}
Row = dict[str, str]


def _meet(row: Row) -> set[tuple[str, str, str, str]]:
    return {
        (a, row[a], b, row[b])
        for a, b in itertools.combinations(FACTORS, 2)
        if a in row and b in row
    }


def _all_pairs() -> set[tuple[str, str, str, str]]:
    return {
        (a, x, b, y)
        for a, b in itertools.combinations(FACTORS, 2)
        for x in FACTORS[a]
        for y in FACTORS[b]
    } - IMPOSSIBLE


def table() -> list[Row]:
    """Few rows in which every two values of two factors meet: a row takes, factor by factor, the
    value that meets most that is new.
    """
    missing = _all_pairs()
    rows = []
    while missing:
        first = min(missing)
        row = {first[0]: first[1], first[2]: first[3]}
        for factor, values in FACTORS.items():
            if factor not in row:
                possible = [
                    value for value in values if not _meet({**row, factor: value}) & IMPOSSIBLE
                ]
                row[factor] = max(
                    possible, key=lambda value: len(_new({**row, factor: value}, factor, missing))
                )
        rows.append({factor: row[factor] for factor in FACTORS})
        missing -= _meet(rows[-1])
    return rows


def _new(row: Row, factor: str, missing: set[tuple[str, str, str, str]]) -> list[object]:
    pairs = ((a, row[a], factor,
              row[factor]) if list(FACTORS).index(a) < list(FACTORS).index(factor) else (factor, row[factor], a, row[a])
             for a in row if a != factor)  # fmt: skip
    return [pair for pair in pairs if pair in missing]


#: With these no test body runs, so that whatever else is asked for only has to be understood.
BODILESS = ("--co", "--setup-only", "--setup-plan")
ROWS = table()
pytestmark = [pytest.mark.together, pytest.mark.dear]


@pytest.fixture
def run(pytester, monkeypatch):
    """A run of pytest with these options; gives its exit status, the counts of its last line, and
    what it wrote.
    """
    pytester.makepyfile(test_it=SOURCE)
    pytester.makeini("[pytest]\nmarkers =\n    xdist_group\n")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "GITHUB_"))
    }
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"

    def start(*options):
        # Or --lf and --sw would go on where the plain run ended
        shutil.rmtree(".pytest_cache", ignore_errors=True)
        args = ["-p", "isolate", "--isolate-on-missing=warn", *options]
        status, stdout, stderr = warm.run(args, os.getcwd(), environment, 120)
        said = (stdout + stderr).decode("utf-8", "replace")
        counts = [line for line in said.splitlines() if re.search(r" in \d+\.\d\ds", line)]
        found = (
            dict(
                reversed(pair.split())
                for pair in re.findall(r"\d+ (?:passed|failed|skipped|xfailed|errors?)", counts[-1])
            )
            if counts
            else {}
        )
        return status, found, said

    # One of its own: whoever sweeps the shared one of old directories meets others who do, and ends
    with tempfile.TemporaryDirectory() as temporary:
        environment["PYTEST_DEBUG_TEMPROOT"] = temporary
        yield start


def test_every_two_options_meet_in_the_table():
    """Or a pair that nobody tried would look tried."""
    assert set().union(*map(_meet, ROWS)) == _all_pairs()


@pytest.mark.parametrize(
    "row",
    ROWS,
    ids=lambda row: " ".join(filter(None, row.values())).replace("--isolate-", "--i-") or "nothing",
)
def test_options_work_together(run, row):
    """The same exit status and counts as plain, whatever else is asked for."""
    options = [word for value in row.values() for word in value.split()]
    # How far other workers have come is chance
    _compare(run, *options, counts=not (row["workers"] and row["stop"]))


@pytest.mark.parametrize("option", BODILESS)
def test_a_run_without_bodies_understands_every_option(run, option):
    """All of ours at once, and those of pytest."""
    _compare(
        run,
        option,
        *(
            word
            for values in FACTORS.values()
            for word in values[-1].split()
            if word != "-p" and "no:" not in word
        ),
    )


#: pytest's own plugins that it can do without.
BUILTIN = (
    "assertion", "cacheprovider", "capture", "debugging", "doctest", "faulthandler", "junitxml",
    "legacypath", "logging", "monkeypatch",
    "pastebin", "pytester", "pytester_assertions", "recwarn", "reports", "setuponly", "setupplan",
    "skipping", "stepwise", "subtests",
    "terminal", "terminalprogress", "threadexception", "tmpdir", "unittest", "unraisableexception",
    "warnings",
)  # fmt: skip


@pytest.mark.parametrize("name", BUILTIN)
def test_pytest_without_one_of_its_plugins(run, name):
    """What a plugin of pytest's does may be gone; that tests are isolated may not."""
    _compare(run, "-p", f"no:{name}", "--isolate-jobs=2", "--isolate-report=r.json")


def _compare(run, *options, counts=True):
    if "-n2" in options:
        pytest.importorskip("xdist")
        options = ("-p", "xdist", *options)
    plain, isolated = run("--isolate-off", *options), run("--isolate-all", *options)
    assert "INTERNALERROR" not in isolated[2], isolated[2]
    assert isolated[0] == plain[0], isolated[2]
    if counts:
        assert isolated[1] == plain[1], isolated[2]
