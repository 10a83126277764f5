"""Write the table of keywords in ``docs/configuration.md`` from the plugin's own option table.

``python tools/build_docs.py`` rewrites what stands between the two marker comments; with ``--check`` it only looks and exits 1
when the page is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pytest_isolate._options import KEYWORDS, Keyword

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
BEGIN = "<!-- keywords: begin, written by tools/build_docs.py -->"
END = "<!-- keywords: end -->"
HEAD = ("keyword", "command line", "default", "allowed", "meaning")


def allowed(keyword: Keyword) -> str:
    """What a keyword takes, in the words of the error that a user would read: its parser is asked with two wrong values."""
    sentences: dict[str, None] = {}
    for wrong in (object(), 0):
        try:
            keyword.parse(wrong)
        except ValueError as error:
            sentences[str(error).removeprefix("it must be ")] = None
    return "; ".join(sentences)


def default(keyword: Keyword) -> str:
    """The built-in default, the same on whatever system this runs."""
    if keyword.name == "on_missing":
        return "`'error'`; `'skip'` where the system is not Linux"
    return "none" if keyword.default is None or keyword.default in ((), {}) else f"`{keyword.default!r}`"


def table() -> str:
    """The whole table, as Markdown."""
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [(f"`{each.name}`", f"`{each.option}`", default(each), allowed(each), each.help) for each in KEYWORDS.values()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def main() -> int:
    """Rewrite the page, or with ``--check`` compare. Returns the exit status."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    page = PAGE.read_text("utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"{PAGE} must have each of these lines once:\n{BEGIN}\n{END}")
    before, _, rest = page.partition(BEGIN)
    fresh = f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"
    if fresh == page:
        return 0
    if sys.argv[1:]:
        print(f"{PAGE} is stale: run python tools/build_docs.py", file=sys.stderr)
        return 1
    PAGE.write_text(fresh, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
