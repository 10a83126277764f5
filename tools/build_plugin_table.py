"""Write docs/plugins.md, which plugins work and what differs, and tests/plugins/COMPARED.md, what
was compared, from the results of tests/plugins.

``python tools/build_plugin_table.py JUNIT-FILE`` rewrites both; ``tox run -e plugins`` makes
the file and calls this. Nothing of the table is typed by hand but the reasons below, why a plugin
does not do inside what it does outside.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "plugins.md"
COMPARED = PROJECT / "tests" / "plugins" / "COMPARED.md"
HEAD = """# Other plugins

`tox run -e plugins` runs small projects with each of these plugins, plain and isolated, compares
every outcome and message and what the plugin writes, and then writes this page. What was compared
is in `tests/plugins/COMPARED.md`.

"""
FULL = """# What was compared

By `tox run -e plugins`, plain and isolated, with the same result but what **differs**.

"""
#: By test function: what is not as in a plain run, and why.
DIFFERS = {
    "test_cov_does_not_count_a_killed_test": (
        "as a killed plain process; a plain run would have been killed as a whole"
    ),
    "test_syrupy_compares_snapshots": (
        "its counts and updates live in the memory of the process that compares"
    ),
    "test_harvest_has_what_tests_kept": "it reads fixtures in the memory of pytest",
    "test_syrupy_updates_no_snapshots_of_isolated_tests": (
        "it would delete what isolated tests compare"
    ),
    "test_timeout_ends_a_slow_test": "with `thread` the test's process ends, and not the run",
    "test_benchmark_has_the_same_rows": (
        "its table lives in the memory of the process that measures"
    ),
    "test_gevent_patched_works_inside": "greenlets of the parent are not in a copy of it",
    "test_forked_is_warned_of": "two plugins cannot fork the same test",
}


def rows(junit: Path) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Rows of the table, sorted, and the names of tests that did not pass: a table of those would
    not be true.
    """
    found: dict[tuple[str, str, str], None] = {}
    bad = []
    for case in ET.parse(junit).getroot().iter("testcase"):
        properties = [(each.get("name"), each.get("value") or "") for each in case.iter("property")]
        plugins = ", ".join(value for name, value in properties if name == "plugin")
        claim = next((value for name, value in properties if name == "claim"), "")
        name = (case.get("name") or "").partition("[")[0]
        if case.find("failure") is not None or case.find("error") is not None:
            bad.append(f"{case.get('classname')}.{case.get('name')}")
        elif case.find("skipped") is None and plugins:
            found[plugins, claim, f"differs: {DIFFERS[name]}" if name in DIFFERS else "same"] = None
    return sorted(found, key=lambda row: (row[0].lower(), row[1])), bad


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in lines
    )


def full(found: list[tuple[str, str, str]]) -> str:
    """Write everything; what was compared with the same plugins stands in one row."""
    claims: dict[str, list[str]] = {}
    for plugins, claim, result in found:
        told = claim if result == "same" else f"**{result}.** {claim}"
        claims.setdefault(plugins, []).append(told)
    rows = ((plugins, "<br>".join(told)) for plugins, told in claims.items())
    return FULL + _table(("plugin and version", "what was compared"), rows)


def page(found: list[tuple[str, str, str]]) -> str:
    """Write one row a plugin: with which others it was tried, and what differs."""
    others: dict[str, dict[str, None]] = {}
    differs: dict[str, list[str]] = {}
    for plugins, claim, result in found:
        first, *rest = plugins.split(", ")
        others.setdefault(first, {}).update(dict.fromkeys(each.split()[0] for each in rest))
        if result != "same":
            reason = result.removeprefix("differs: ")
            differs.setdefault(first, []).append(f"{claim.rstrip('.')} ({reason}).")
    rows = (
        (plugin, ", ".join(rest), "<br>".join(differs.get(plugin, ["nothing"])))
        for plugin, rest in others.items()
    )
    return HEAD + _table(("plugin and version", "with", "differs"), rows)


def main() -> int:
    """Rewrite both pages. Returns the exit status."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} JUNIT-FILE")
    found, bad = rows(Path(sys.argv[1]))
    if bad or not found:
        print(
            f"{PAGE} and {COMPARED} are not written;"
            f" {'failed: ' + ', '.join(bad) if bad else 'no test of a plugin has run'}",
            file=sys.stderr,
        )
        return 1
    PAGE.write_text(page(found), "utf-8")
    COMPARED.write_text(full(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
