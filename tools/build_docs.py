"""Write what is taken from tables of the code: the docs' tables of keywords and of environments,
and the marker's type; and what pages show of recipes' files and sessions.

``python tools/build_docs.py`` rewrites what stands between the marker comments of each file, and
the block behind each comment ``shows: FILE, from (or after) TEXT, before TEXT``; with ``--check``
it only looks and exits 1 when one is stale.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# Of this checkout; what the tests assert is what the docs say
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "kernel")]
from environments import ENVIRONMENTS, Environment  # noqa: E402

from pytest_isolate._config.keywords import KEYWORDS, Keyword  # noqa: E402
from pytest_isolate._config.settings import SETTINGS  # noqa: E402

#: What several keywords say alike: the page has it once, above its table.
ALIKE = (
    (re.compile(r"a number of bytes, or text such as .* \(powers of 1024\)"), "a size"),
    (re.compile(r"a number of seconds, or text such as .*'2m'"), "a duration"),
    (re.compile(r": with less no test can run"), ""),
)


def allowed(keyword: Keyword) -> str:
    """What a keyword takes, in the words of the error that a user would read: its parser is asked
    with two wrong values.
    """
    sentences: dict[str, None] = {}
    for wrong in (object(), 0):
        try:
            keyword.parse(wrong)
        except ValueError as error:
            sentence = str(error).removeprefix("it must be ")
            for words, short in ALIKE:
                sentence = words.sub(short, sentence)
            sentences[sentence] = None
    return "; ".join(sentences)


def default(keyword: Keyword) -> str:
    """The built-in default, the same on whatever system this runs."""
    if keyword.name == "on_missing":
        return "`'error'`; `'skip'` where the system is not Linux"
    if keyword.name == "forward":
        return "`'fixtures'`"
    return (
        "none"
        if keyword.default is None or keyword.default in ((), {})
        else f"`{keyword.default!r}`"
    )


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Any table, as Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


def keywords() -> str:
    """What users can ask for."""
    rows = [
        (f"`{each.name}`<br>`{each.option}`", default(each), allowed(each), each.help_with_unit)
        for each in KEYWORDS.values()
    ]
    return table(("keyword", "default", "allowed", "meaning"), rows)


#: Capabilities that are lacking together or not at all, in every environment, by one name.
TOGETHER = {
    "namespaces": ("namespaces", "net", "readonly", "disk"),
    "overlay": ("overlay",),
    "groups": ("memory", "pids", "cpu"),
    "strict": ("strict",),
    "process": ("process",),
    "landlock": ("landlock",),
}


def _lacks(environment: Environment) -> str:
    missing = []
    for name, capabilities in TOGETHER.items():
        found = {each in environment.lacks for each in capabilities}
        if len(found) > 1:
            sys.exit(f"{environment.name}: {', '.join(capabilities)} need names of their own")
        if True in found:
            missing.append(name)
    return ", ".join(missing) or "nothing"


def _fixes(environment: Environment) -> str:
    return "<br>".join(f"`{fix.strip()}`" for fix in dict.fromkeys(environment.lacks.values()))


def options() -> str:
    """The options that are no keywords."""
    rows = [
        (
            f"`{each.option}{f'={each.metavar}' if each.metavar else ''}`",
            f"`{each.name}`",
            each.help,
            "none" if each.default is None else f"`{str(each.default).lower()}`",
        )
        for each in SETTINGS
    ]
    return table(("option", "ini value", "meaning", "default"), rows)


def environments() -> str:
    """What works where: environments that lack the same, with the same fix, in one row."""
    alike: dict[tuple[str, str], list[str]] = {}
    for each in ENVIRONMENTS:
        alike.setdefault((_lacks(each), _fixes(each)), []).append(each.name)
    rows = ((lacks, "; ".join(names), fixes) for (lacks, fixes), names in alike.items())
    return table(("lacks", "environments", "the fix has"), rows)


def made() -> str:
    """How each environment is made."""
    rows = ((each.name, each.how, _lacks(each)) for each in ENVIRONMENTS)
    return table(("environment", "made by", "lacks"), rows)


def marker() -> str:
    """The marker's type with keywords, and what an editor shows beside them."""
    taken = (f"        {each.name}: {each.type} | None = ...," for each in KEYWORDS.values())
    indent = " " * 12
    told = (
        textwrap.fill(
            f"{each.name}: {each.help_with_unit}",
            width=100,
            initial_indent=indent,
            subsequent_indent=indent + " " * 4,
        )
        for each in KEYWORDS.values()
    )
    return "\n".join((
        "    @overload", "    def __call__(", "        self,", "        *,", *taken,
        "    ) -> pytest.MarkDecorator:",
        '        """Run the test in namespaces, limits and an overlay of its own.', "",
        "        Args:", *told, "", '        """', "",
    ))  # fmt: skip


#: File, name of the markers in it, what they begin and end with, what stands between them.
COMMENT, CODE = ("<!-- {} -->", "<!-- {} -->"), ("    # {}", "    # {}, of the marker")
PAGES: tuple[tuple[str, str, tuple[str, str], Callable[[], str]], ...] = (
    ("docs/configuration.md", "keywords", COMMENT, keywords),
    ("docs/options.md", "options", COMMENT, options),
    ("docs/environments.md", "environments", COMMENT, environments),
    ("tests/kernel/ENVIRONMENTS.md", "environments", COMMENT, made),
    ("pytest_isolate/_typing.py", "keywords", CODE, marker),
)


#: A comment that names lines of a file, and the block that shows them.
SHOWS = re.compile(
    r"(<!-- shows: (?P<file>\S+?)(?:, (?P<how>from|after) `(?P<first>.+?)`)?"
    r"(?:, before `(?P<last>.+?)`)? -->\n```\w*\n)(?P<shown>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def _lines_of(found: re.Match[str]) -> str:
    path = PROJECT / "docs" / found["file"]
    lines = path.read_text("utf-8").splitlines(keepends=True)
    start, end = 0, len(lines)
    if found["first"]:
        at = [number for number, line in enumerate(lines) if found["first"] in line]
        if not at:
            sys.exit(f"{path} has no line with {found['first']}")
        start = at[0] + (found["how"] == "after")
    if found["last"]:
        behind = range(start + 1, end)
        end = next((number for number in behind if found["last"] in lines[number]), end)
    return f"{found[1]}{''.join(lines[start:end]).rstrip()}\n```"


def pages() -> Iterable[tuple[Path, str]]:
    """Each file that this writes, and what it has to be."""
    for name, what, (opens, closes), write in PAGES:
        path = PROJECT / name
        begin, end = (
            opens.format(f"{what}: begin, written by tools/build_docs.py"),
            closes.format(f"{what}: end"),
        )
        page = path.read_text("utf-8")
        if page.count(begin) != 1 or page.count(end) != 1:
            sys.exit(f"{path} must have each of these lines once:\n{begin}\n{end}")
        before, _, rest = page.partition(begin)
        yield path, f"{before}{begin}\n{write()}\n{end}{rest.partition(end)[2]}"
    for path in (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))):
        yield path, SHOWS.sub(_lines_of, path.read_text("utf-8"))


def main() -> int:
    """Rewrite the pages, or with ``--check`` compare. Returns the exit status."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    status = 0
    for path, fresh in pages():
        page = path.read_text("utf-8")
        if fresh != page and sys.argv[1:]:
            print(f"{path} is stale: run python tools/build_docs.py", file=sys.stderr)
            status = 1
        elif fresh != page:
            path.write_text(fresh, "utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
