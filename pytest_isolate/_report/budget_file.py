"""The budget file: TOML with one test a line, so that a change is one line of a diff and two
changes merge.

Pure: text in, ``Budgets`` out, and back. Figures are bytes, seconds and counts.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_isolate._config import values
from pytest_isolate._report.budget_places import Place, endless, line_with, places_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Number = int | float
_BYTE = 1e-5  # of a tenth of 1M, and a bit: reading 12.3M rounds down to whole bytes


class BudgetFileError(ValueError):
    """What is wrong with a budget file: one sentence with file, line and what is allowed."""


def _size_text(number: Number) -> str:
    """Round up, so that what was used fits; read back and written again it is the same text."""
    if number < 1 << 10:
        return str(math.ceil(number))
    if number < 1 << 20:
        return f"{math.ceil(number / 1024)}K"
    return (
        f"{math.ceil(number / (1 << 20) * 10 - _BYTE) / 10:.1f}M".replace(".0M", "M")
        if number < 10**6 << 20
        else f"{math.ceil(number / (1 << 20))}M"
    )


def _duration_text(number: Number) -> str:
    return (
        f"{math.ceil(round(number * 1000, 6))}ms"
        if number < 10
        else f"{math.ceil(round(number * 10, 6)) / 10:.1f}s"
    )


def _duration(value: object) -> float:
    return (
        0.0
        if value in (0, "0", "0ms", "0s") and not isinstance(value, bool)
        else values.duration(value)
    )


class Key(NamedTuple):
    """One figure that can have a budget."""

    usage: str  # its name in the JSON report
    parse: Callable[[object], object]
    text: Callable[[Number], str]  # as it stands in the file
    show: Callable[[Number], str]  # as a sentence says it
    tolerance: str  # the default, from benchmarks/noise.py
    written: bool  # on a new test's line
    example: str


def _size(usage: str, tolerance: str, *, written: bool) -> Key:
    return Key(
        usage,
        values.size(0),
        _size_text,
        lambda number: values.format_size(int(number)),
        tolerance,
        written,
        "'12M'",
    )


def _time(usage: str, tolerance: str, *, written: bool) -> Key:
    return Key(
        usage, _duration, _duration_text, values.format_duration, tolerance, written, "'250ms'"
    )


KEYS = {
    "memory": _size("memory_peak_bytes", "25% or 2M", written=True),
    "cpu": _time("cpu_seconds", "100% or 50ms", written=True),
    "wall": _time("wall_seconds", "200% or 1s", written=False),
    "pids": Key(
        "pids_peak",
        values.count(0, "processes and threads"),
        lambda n: f"{n:g}",
        lambda n: f"{n:g}",
        "100% or 2",
        True,
        "3",
    ),
    "disk": _size("disk_bytes", "10% or 64K", written=True),
    "io_read": _size("io_read_bytes", "150% or 1M", written=False),
    "io_write": _size("io_write_bytes", "150% or 1M", written=False),
}


class Tolerance(NamedTuple):
    """How far over a budget is still no violation: a share of the figure or an amount, whichever is
    more.
    """

    share: float
    least: Number
    text: str

    def of(self, figure: Number) -> Number:
        """Tell by what a figure may be exceeded."""
        return max(figure * self.share, self.least)


def parse_tolerance(key: str, value: object) -> Tolerance:
    """``"10%"``, ``"1M"`` or ``"10% or 1M"``. Raises ``ValueError``."""
    allowed = (
        f"it must be a share, an amount or both, such as '10%', {KEYS[key].example} or"
        f" '{KEYS[key].tolerance}'"
    )
    parts = (
        str(value).split(" or ")
        if isinstance(value, str | int) and not isinstance(value, bool)
        else []
    )
    share, least = 0.0, 0
    if not 1 <= len(parts) <= 2:
        raise ValueError(allowed)
    for part in parts:
        match = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*%\s*", part)
        if match:
            share = float(match[1]) / 100
            continue
        try:
            least = KEYS[key].parse(part)  # type: ignore[assignment]
        except ValueError as error:
            raise ValueError(f"{allowed}; {part.strip()!r} is not: {error}") from None
    return Tolerance(share, least, str(value))


def default_tolerances() -> dict[str, Tolerance]:
    """Tell what applies where the file says nothing."""
    return {name: parse_tolerance(name, key.tolerance) for name, key in KEYS.items()}


@dataclass(frozen=True)
class Line:
    """The budgets of one test, or of all that a pattern matches."""

    name: str
    number: int  # in the file; 0 for one that is not in it yet
    figures: Mapping[str, Number]
    comments: tuple[str, ...] = ()  # the lines above it
    matches: Callable[[str], object] = field(default=lambda _: None, compare=False)

    @property
    def is_pattern(self) -> bool:
        """Whether it may stand for several tests."""
        return "*" in self.name or "?" in self.name


def make_line(
    name: str, number: int, figures: Mapping[str, Number], comments: tuple[str, ...] = ()
) -> Line:
    """Make a line.

    ``*`` is any text and ``?`` any one character; brackets are themselves, because parameters stand
    in them.
    """
    wild = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in name)
    return Line(name, number, figures, comments, re.compile(wild, re.DOTALL).fullmatch)


@dataclass(frozen=True)
class Budgets:
    """A whole file."""

    path: str
    tolerances: Mapping[str, Tolerance]
    lines: Mapping[str, Line]
    header: tuple[str, ...] = ()

    def line_of(self, nodeid: str) -> Line | None:
        """Find a test's line: its own, or the matching pattern with the most letters of its own."""
        own = self.lines.get(nodeid)
        if own is not None:
            return own
        found = [line for line in self.lines.values() if line.is_pattern and line.matches(nodeid)]
        return max(
            found,
            key=lambda line: (
                len(line.name) - line.name.count("*") - line.name.count("?"),
                line.name,
            ),
            default=None,
        )


_LINE_FORM = (
    "write each test on a line of its own below [tests], such as"
    ' "test_a.py::test_b" = { memory = "12M", cpu = "250ms" }'
)
_HEADER = (
    (
        "# What each isolated test may use. Written by pytest --isolate-budgets=PATH"
        " --isolate-update-budgets."
    ),
)


def parse(path: str, text: str) -> Budgets:
    """Read a file's text. Raises ``BudgetFileError``."""
    places, duplicate = places_of(text)
    if duplicate is not None:
        name, first, second = duplicate
        raise BudgetFileError(
            f"{path}:{second}: {name!r} has a line already, {path}:{first}; keep one of the two"
        )
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = found[1] if found else text.count("\n") + 1
        raise BudgetFileError(f"{path}:{line}: this is no TOML: {error}; {_LINE_FORM}") from None
    except (ValueError, RecursionError):
        raise BudgetFileError(
            f"{path}:{endless(text)}: a number of thousands of digits, or brackets without end;"
            f" {_LINE_FORM}"
        ) from None
    for table, content in document.items():
        if table not in {"tolerance", "tests"} or not isinstance(content, dict):
            number = line_with(text, rf"\[?\s*[\"']?{re.escape(table)}\b")
            raise BudgetFileError(
                f"{path}:{number}: there is no {table!r} here; there are the tables [tolerance] and"
                " [tests]"
            )
    tolerances = default_tolerances()
    for name, value in document.get("tolerance", {}).items():
        number = places.get(("tolerance", name), Place(1, ())).number
        _known(path, number, name)
        try:
            tolerances[name] = parse_tolerance(name, value)
        except ValueError as error:
            raise BudgetFileError(
                f"{path}:{number}: tolerance of {name} = {value!r}: {error}"
            ) from None
    lines = {}
    for name, figures in document.get("tests", {}).items():
        place = places.get(("tests", name))
        if place is None or not isinstance(figures, dict):
            number = place.number if place else line_with(text, re.escape(name))
            raise BudgetFileError(f"{path}:{number}: {name!r}: {_LINE_FORM}")
        parsed = {key: _figure(path, place.number, key, value) for key, value in figures.items()}
        lines[name] = make_line(name, place.number, parsed, place.comments)
    return Budgets(path, tolerances, lines, _header(text))


def _header(text: str) -> tuple[str, ...]:
    header = []
    for line in text.split("\n"):
        if not line.startswith("#"):
            break
        header.append(line)
    return tuple(header)


def _known(path: str, number: int, key: str) -> Key:
    if key not in KEYS:
        raise BudgetFileError(
            f"{path}:{number}: there is no budget {key!r}; there are {', '.join(KEYS)}"
        )
    return KEYS[key]


def _figure(path: str, number: int, key: str, value: object) -> Number:
    try:
        return _known(path, number, key).parse(value)  # type: ignore[return-value]
    except BudgetFileError:
        raise
    except ValueError as error:
        raise BudgetFileError(f"{path}:{number}: {key} = {value!r}: {error}") from None


def _quoted(name: str) -> str:
    """Write a TOML string.

    What no UTF-8 file can hold becomes ``?``, which matches any one character.
    """
    text = json.dumps(re.sub("[\ud800-\udfff]", "?", name), ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def render(budgets: Budgets) -> str:
    """Write the file's text: tolerances, then the tests, sorted."""
    out = [*(budgets.header or _HEADER), "", "[tolerance]"]
    out += [f'{name} = "{budgets.tolerances[name].text}"' for name in KEYS]
    out += ["", "[tests]"]
    for name in sorted(budgets.lines):
        line = budgets.lines[name]
        figures = (
            f"{key} = {_toml_figure(key, line.figures[key])}" for key in KEYS if key in line.figures
        )
        out += [*line.comments, f"{_quoted(name)} = {{ {', '.join(figures)} }}"]
    return "\n".join(out) + "\n"


def _toml_figure(key: str, figure: Number) -> str:
    text = KEYS[key].text(figure)
    return text if text.isdigit() else f'"{text}"'
