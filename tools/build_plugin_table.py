"""Write docs/plugins.md from the results of tests/plugins: which plugin, which version, what was
compared, with which result.

``python tools/build_plugin_table.py JUNIT-FILE`` rewrites the page; ``tox run -e plugins`` makes
the file and calls this. Nothing of the table is typed by hand but the reasons below, why a plugin
does not do inside what it does outside.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "plugins.md"
HEAD = """# Other plugins

`tox run -e plugins` runs small projects with each of these plugins, plain and isolated, compares
every outcome and message, and what is named here, and then writes this page. All of it is the same
but what **differs**.

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


def page(found: list[tuple[str, str, str]]) -> str:
    """Write the page: what was compared with the same plugins stands in one row."""
    claims: dict[str, list[str]] = {}
    for plugins, claim, result in found:
        told = claim if result == "same" else f"**{result}.** {claim}"
        claims.setdefault(plugins, []).append(told)
    table = [
        ("plugin and version", "what was compared"),
        ("---", "---"),
        *((plugins, "<br>".join(told)) for plugins, told in claims.items()),
    ]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Rewrite the page. Returns the exit status."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} JUNIT-FILE")
    found, bad = rows(Path(sys.argv[1]))
    if bad or not found:
        print(
            f"{PAGE} is not written;"
            f" {'failed: ' + ', '.join(bad) if bad else 'no test of a plugin has run'}",
            file=sys.stderr,
        )
        return 1
    PAGE.write_text(page(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
