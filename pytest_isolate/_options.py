"""From command line, ini file, profiles and markers to one ``Spec``, remembering where each value came from.

One table of keywords drives all of it: options, ini values, checking, error sentences and the documentation.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from pytest_isolate import _values
from pytest_isolate._values import Parser

Node = Any  # pytest's nodes have no public base class

_ON_MISSING = "error" if sys.platform == "linux" else "skip"


@dataclass(frozen=True)
class Keyword:
    """One keyword of ``@isolate``, of ``--isolate-...`` and of the ini file."""

    name: str
    parse: Parser
    default: object
    help: str
    several: bool = False

    @property
    def option(self) -> str:
        """Its command line option."""
        return "--isolate-" + self.name.replace("_", "-")

    @property
    def dest(self) -> str:
        """Its name in ``config.option`` and in the ini file."""
        return "isolate_" + self.name


_SIZE_HELP = "a size such as 64M"
KEYWORDS = {
    keyword.name: keyword
    for keyword in (
        Keyword("net", _values.boolean, True, "own network, with nothing in it but loopback; False shares the host's"),
        Keyword("memory", _values.size(1 << 20), None, f"{_SIZE_HELP}: what the process tree may use, swap included"),
        Keyword("cpu", _values.cores, None, "cores: bandwidth quota of the process tree, such as 0.5"),
        Keyword("timeout", _values.duration, None, "seconds or '250ms', '2m': wall time of setup, call and teardown inside"),
        Keyword("pids", _values.count(1, "the test itself is one"), None, "processes and threads of the tree"),
        Keyword("disk", _values.size(1 << 16), None, f"{_SIZE_HELP}: what the test may write to its private file systems"),
        Keyword("files", _values.count(16, "Python and pytest hold some themselves"), None, "open file descriptors per process"),
        Keyword("fs", _values.choice("overlay", "readonly", "host"), "overlay", "what / is: overlay, readonly or host"),
        Keyword("bind", _values.binds, (), "host paths that stay shared, PATH or PATH:ro", several=True),
        Keyword("hostname", _values.hostname, "isolate", "the host name inside"),
        Keyword("user", _values.user, None, "who the test runs as: a name, a uid or 'root'; as the caller by default"),
        Keyword("env", _values.environment, {}, "variables added, NAME=VALUE, or 'clean'", several=True),
        Keyword("fixtures", _values.choice("shared", "fresh"), "shared", "shared: wider scopes set up once, in pytest; fresh: inside"),
        Keyword("leaks", _values.choice("error", "warn", "ignore"), "warn", "what processes left behind are: error, warn or ignore"),
        Keyword("on_missing", _values.choice("error", "skip", "warn"), _ON_MISSING, "when this machine cannot give it: error, skip, warn"),
        Keyword("profile", _values.text, None, "a set of these from [tool.pytest_isolate.profiles.NAME] in pyproject.toml"),
    )
}  # fmt: skip


class BadValueError(Exception):
    """A keyword that cannot be obeyed: one sentence with keyword, value, origin and what is allowed."""


@dataclass(frozen=True)
class Spec:
    """What one test asked for, every value checked. Sizes in bytes, durations in seconds."""

    net: bool
    memory: int | None
    cpu: float | None
    timeout: float | None
    pids: int | None
    disk: int | None
    files: int | None
    fs: str
    bind: tuple[tuple[str, bool], ...]
    hostname: str
    user: str | int | None
    env: Mapping[str, str | None] | str
    fixtures: str
    leaks: str
    on_missing: str
    profile: str | None
    origins: Mapping[str, str] = field(compare=False)

    def limits(self) -> dict[str, int | float]:
        """The limits that were given, for the report."""
        named = {name: getattr(self, name) for name in ("memory", "cpu", "timeout", "pids", "disk", "files")}
        return {name: value for name, value in named.items() if value is not None}

    def origin(self, name: str) -> str:
        """Where a value was set, in words."""
        return self.origins.get(name, "by default")


def add_options(parser: pytest.Parser) -> None:
    """Register options and ini values."""
    group = parser.getgroup("isolate", "isolated tests (pytest-isolate-ns)")
    group.addoption("--isolate-all", action="store_true", help="isolate every test, marked or not")
    group.addoption("--isolate-off", action="store_true", help="run marked tests as plain tests")
    group.addoption(
        "--isolate-doctor", action="store_true", help="say what this machine can isolate, why not, and the command that fixes it"
    )
    group.addoption("--isolate-report", metavar="PATH", default=None, help="write a JSON report of every isolated test")
    for keyword in KEYWORDS.values():
        group.addoption(
            keyword.option, dest=keyword.dest, default=None, metavar="VALUE",
            action="append" if keyword.several else "store", help=f"default for all isolated tests; {keyword.help}",
        )  # fmt: skip
        kind: Literal["linelist", "string"] = "linelist" if keyword.several else "string"
        parser.addini(keyword.dest, keyword.help, type=kind, default=None)


@dataclass(frozen=True)
class _Given:
    """One level's keywords as they were written."""

    values: Mapping[str, object]
    origin: Mapping[str, str]


class Defaults:
    """Command line and ini file, read once; a bad value there ends the run before it starts."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._profiles: dict[str, object] | None = None
        ini = {name: value for name, keyword in KEYWORDS.items() if (value := config.getini(keyword.dest)) not in (None, [], "")}
        line = {name: value for name, keyword in KEYWORDS.items() if (value := config.getoption(keyword.dest)) is not None}
        where = config.inipath.name if config.inipath else "the ini file"
        self._levels = [
            _Given(line, {name: f"on the command line as {KEYWORDS[name].option}" for name in line}),
            _Given(ini, {name: f"as {KEYWORDS[name].dest} in {where}" for name in ini}),
        ]
        try:
            self.spec([])
        except BadValueError as error:
            raise pytest.UsageError(str(error)) from None

    def spec_of(self, item: pytest.Item) -> Spec:
        """Merge an item's markers over the defaults. Raises ``BadValueError``."""
        return self.spec(list(_marker_levels(item)))

    def spec(self, levels: list[_Given]) -> Spec:
        """Merge levels, nearest first, over the defaults. Raises ``BadValueError``."""
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for given in self._with_profile([*levels, *self._levels]):
            for name, value in given.values.items():
                if name not in values:
                    values[name] = _checked(name, value, given.origin[name])
                    origins[name] = given.origin[name]
        for name, keyword in KEYWORDS.items():
            values.setdefault(name, keyword.default)
        return Spec(**values, origins=origins)

    def _with_profile(self, levels: list[_Given]) -> Iterator[_Given]:
        """The levels, and behind the nearest one that names a profile what is in it."""
        chosen = False
        for level in levels:
            yield level
            if chosen or "profile" not in level.values:
                continue
            chosen = True
            if (name := level.values["profile"]) is not None:
                origin = level.origin["profile"]
                profile = self._profile(name, origin)
                yield _Given(profile, dict.fromkeys(profile, f"in profile {name!r}, chosen {origin}"))

    def _profile(self, name: object, origin: str) -> Mapping[str, object]:
        if self._profiles is None:
            self._profiles = _read_profiles(self._config.rootpath / "pyproject.toml")
        profile = self._profiles.get(str(name))
        if not isinstance(profile, dict):
            known = ", ".join(sorted(self._profiles)) or "none"
            raise BadValueError(
                f"isolate: profile={name!r} ({origin}): it is not defined in [tool.pytest_isolate.profiles] of "
                f"{self._config.rootpath / 'pyproject.toml'}, which has: {known}"
            )
        if "profile" in profile:
            raise BadValueError(f"isolate: profile={name!r} ({origin}): a profile cannot name another profile")
        return profile


def _read_profiles(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - only runs that name a profile pay for it
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        table: object = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadValueError(f"isolate: {path} cannot be read: {error}") from None
    for key in ("tool", "pytest_isolate", "profiles"):
        table = table.get(key, {}) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        raise BadValueError(f"isolate: {path}: [tool.pytest_isolate.profiles] must be a table of tables")
    return table


def _checked(name: str, value: object, origin: str) -> object:
    keyword = KEYWORDS.get(name)
    if keyword is None:
        raise BadValueError(f"isolate: {name}={value!r} ({origin}): there is no such keyword; there are {', '.join(KEYWORDS)}")
    if value is None:  # back to the default, against a wider level
        return keyword.default
    try:
        return keyword.parse(value)
    except ValueError as error:
        raise BadValueError(f"isolate: {name}={value!r} ({origin}): {error}") from None


def _derived_classes_first(marks: list[tuple[Node, pytest.Mark]]) -> list[tuple[Node, pytest.Mark]]:
    """Put nearest first what pytest lists the other way round: the marks of a class come after those of its bases."""
    ordered: list[tuple[Node, pytest.Mark]] = []
    for node, group in itertools.groupby(marks, key=lambda pair: pair[0]):
        pairs = list(group)
        ordered += reversed(pairs) if isinstance(node, pytest.Class) else pairs
    return ordered


def _marker_levels(item: pytest.Item) -> Iterator[_Given]:
    """An item's markers, nearest first: its parameter's, its function's (innermost first), its classes', its module's."""
    marks = list(item.iter_markers_with_node("isolate"))
    callspec = getattr(item, "callspec", None)
    of_parameter = {id(mark) for mark in callspec.marks} if callspec is not None else set()
    marks.sort(key=lambda pair: id(pair[1]) not in of_parameter)  # stable: only the parameter's go forward
    marks = _derived_classes_first(marks)
    for node, mark in marks:
        kind = "parameter" if id(mark) in of_parameter else "function" if node is item else type(node).__name__.lower()
        origin = f"by @isolate on {kind} {node.nodeid}"
        if mark.args:
            raise BadValueError(f"isolate: {mark.args[0]!r} ({origin}): it takes keywords only, such as memory='64M'")
        yield _Given(mark.kwargs, dict.fromkeys(mark.kwargs, origin))
