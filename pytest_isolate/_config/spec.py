"""From command line, ini file, profiles and markers to one ``Spec``, remembering where each value
came from.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pytest_isolate._config import networking, paths, pyproject, settings, together
from pytest_isolate._config.destinations import Forward
from pytest_isolate._config.keywords import KEYWORDS, LIMITS, STRICT
from pytest_isolate._config.networking import Networking
from pytest_isolate._config.roots import RootFs
from pytest_isolate._config.values import meant
from pytest_isolate._config.values import shown as shown_value
from pytest_isolate._errors import BadValueError

if TYPE_CHECKING:
    from pytest_isolate._config.internet import Internet
    from pytest_isolate._config.layers import Layer
    from pytest_isolate._config.network import Network
    from pytest_isolate._config.rules import Rule, Rules

Node = Any  # pytest's nodes have no public base class


@dataclass(frozen=True)
class Spec:
    """What one test asked for, every value checked: a field for each keyword, in its unit, and
    where each was set.
    """

    net: bool | str | Network | Internet
    forward: Forward
    memory: int | None
    cpu: float | None
    cpu_time: float | None
    timeout: float | None
    pids: int | None
    disk: int | None
    files: int | None
    io_read: int | None
    io_write: int | None
    fs: str
    rootfs: RootFs | None
    layers: tuple[str | Layer, ...]
    fs_allow: tuple[str, ...] | None
    fs_hide: tuple[str, ...]
    bind: tuple[paths.Bind, ...]
    hostname: str
    user: str | int | None
    env: Mapping[str, str | None] | str
    fixtures: str | tuple[str, ...]
    scope: str
    serial: bool
    leaks: str
    on_missing: str
    profile: str | None
    origins: Mapping[str, str] = field(compare=False)

    @property
    def named_fresh(self) -> tuple[str, ...]:
        """Wider fixtures by name that are set up inside."""
        return () if isinstance(self.fixtures, str) else self.fixtures

    def limits(self) -> dict[str, int | float]:
        """Collect the limits that were given, for the report."""
        named = {each.name: getattr(self, each.name) for each in LIMITS}
        return {name: value for name, value in named.items() if value is not None}

    @functools.cached_property
    def recipe_key(self) -> tuple[object, ...]:
        """What the plan of its sandbox is made from: tests with the same have the same one, as far
        as their servers are the same too.
        """
        return tuple(
            each.recipe(getattr(self, each.name))
            for each in KEYWORDS.values()
            if each.recipe is not None
        )

    @property
    def kind(self) -> tuple[object, ...]:
        """What decides whether this machine can build its sandbox."""
        return self.networking.is_own, self.fs, self.rootfs

    @property
    def networking(self) -> Networking:
        """What its ``net`` means."""
        return networking.of(self.net)

    @property
    def strict(self) -> bool:
        """Whether the built-in profile is chosen."""
        return self.profile == STRICT

    @property
    def reaches_fixtures(self) -> bool:
        """Whether the servers that shared fixtures started are there for it."""
        return self.forward.fixtures and self.fixtures != "fresh" and not self.strict

    def origin(self, name: str) -> str:
        """Where a value was set, in words."""
        return self.origins.get(name, "by default")


@dataclass(frozen=True)
class _Given:
    """One level's keywords as they were written."""

    values: Mapping[str, object]
    origin: Mapping[str, str]


# What an item's own marker came to: it is asked for before its turn too
_RESOLVED = pytest.StashKey[tuple[tuple[object, ...], Spec]]()


class Defaults:
    """Command line and ini file, read once."""

    def __init__(self, config: pytest.Config, rules: Rules | None = None) -> None:
        self._config = config
        self._rules = rules
        self._profiles: dict[str, object] | None = None
        ini = {
            name: value
            for name, keyword in KEYWORDS.items()
            if (value := settings.ini(config, keyword.dest)) is not None
        }
        line = {
            name: value
            for name, keyword in KEYWORDS.items()
            if (value := config.getoption(keyword.dest)) is not None
        }
        where = settings.place(config)
        self._levels = [
            _Given(
                line, {name: f"on the command line as {KEYWORDS[name].option}" for name in line}
            ),
            _Given(ini, {name: f"as {KEYWORDS[name].dest} in {where}" for name in ini}),
        ]
        self._known: dict[tuple[object, ...], Spec] = {}

    def check(self) -> None:
        """Raise ``pytest.UsageError`` for a value that nobody can obey."""
        try:
            self.spec([])
            for rule in self._rules.all if self._rules is not None else ():
                self.spec([_of_rule(rule, rule.patterns[0][0])])
        except BadValueError as error:
            raise pytest.UsageError(str(error)) from None

    def spec_of(self, item: pytest.Item) -> Spec:
        """Merge an item's markers over the defaults. Raises ``BadValueError``."""
        marks = list(item.iter_markers_with_node("isolate"))
        rules = () if self._rules is None else self._rules.of(str(item.nodeid))
        # Marks live as long as their classes and modules
        key = (
            *(id(mark) for _, mark in marks),
            *((rule.number, pattern) for rule, pattern in rules),
        )
        if key in self._known:
            return self._known[key]
        if (known := item.stash.get(_RESOLVED, None)) is not None and known[0] == key:
            return known[1]
        spec = self.spec(
            [*_marker_levels(item), *(_of_rule(rule, pattern) for rule, pattern in rules)]
        )
        if all(node is not item for node, _ in marks):  # else its origins name the function
            self._known[key] = spec
        elif not spec.bind:
            # What a path leads to is looked up anew when an earlier test is over, which may have
            # made a link
            item.stash[_RESOLVED] = key, spec
        return spec

    def spec(self, levels: list[_Given]) -> Spec:
        """Merge levels, nearest first, over the defaults. Raises ``BadValueError``."""
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        written: object = None
        for given in self._with_profile([*levels, *self._levels]):
            for name, value in given.values.items():
                if name not in values:
                    values[name] = _checked(name, value, given.origin[name])
                    origins[name] = given.origin[name]
                    if name == "bind":
                        written = value
        for name, keyword in KEYWORDS.items():
            values.setdefault(name, keyword.default)
        together.check(values, origins, written)
        values["fs_hide"] = paths.absolute(values["fs_hide"], str(self._config.rootpath))
        check_layers(spec := Spec(**values, origins=origins))
        return spec

    def _with_profile(self, levels: list[_Given]) -> Iterator[_Given]:
        """Give the levels, and behind the nearest one that names a profile what is in it."""
        chosen = False
        for level in levels:
            yield level
            if chosen or "profile" not in level.values:
                continue
            chosen = True
            if (name := level.values["profile"]) is not None:
                origin = level.origin["profile"]
                profile = self._profile(name, origin)
                yield _Given(
                    profile, dict.fromkeys(profile, f"in profile {name!r}, chosen {origin}")
                )

    def _profile(self, name: object, origin: str) -> Mapping[str, object]:
        if self._profiles is None:
            path = self._config.rootpath / "pyproject.toml"
            try:
                table = pyproject.table(path, "profiles")
            except ValueError as error:
                raise BadValueError(f"isolate: {error}") from None
            if not (table is None or isinstance(table, dict)):
                raise BadValueError(
                    f"isolate: {path}: [tool.pytest_isolate.profiles] must be a table of tables"
                )
            self._profiles = table or {}
        if name == STRICT:
            if name in self._profiles:
                raise BadValueError(
                    f"isolate: profile={name!r} ({origin}): that profile is built in and cannot be"
                    " redefined; give the one in [tool.pytest_isolate.profiles] of"
                    f" {self._config.rootpath / 'pyproject.toml'} another name"
                )
            return {}
        profile = self._profiles.get(str(name))
        if not isinstance(profile, dict):
            known = ", ".join(sorted(self._profiles)) or "none"
            raise BadValueError(
                f"isolate: profile={name!r} ({origin}): it is not defined in"
                f" [tool.pytest_isolate.profiles] of {self._config.rootpath / 'pyproject.toml'},"
                f" which has: {known}{meant(name, [*self._profiles, STRICT])}"
            )
        if "profile" in profile:
            raise BadValueError(
                f"isolate: profile={name!r} ({origin}): a profile cannot name another profile"
            )
        return profile


def check_layers(spec: Spec) -> None:
    """Refuse layers where there is no root of the test's own. Raises ``BadValueError``."""
    if spec.layers and spec.fs == "host":
        shown = KEYWORDS["layers"].show(spec.layers)
        raise BadValueError(
            f"isolate: fs='host' ({spec.origin('fs')}): the test has layers ({shown}, "
            f"{spec.origin('layers')}), which lie over a root of its own: fs='overlay' or "
            "'readonly'"
        )


def _of_rule(rule: Rule, pattern: str) -> _Given:
    return _Given(rule.keywords, dict.fromkeys(rule.keywords, rule.origin(pattern)))


def _checked(name: str, value: object, origin: str) -> object:
    keyword = KEYWORDS.get(name)
    if keyword is None:
        raise BadValueError(
            f"isolate: {name}={shown_value(value)} ({origin}): there is no such keyword"
            f"{meant(name, KEYWORDS)}; there are {', '.join(KEYWORDS)}"
        )
    if value is None and not keyword.takes_none:  # back to the default, against a wider level
        return keyword.default
    try:
        return keyword.parse(value)
    except ValueError as error:
        why: object = error
    except Exception as error:  # noqa: BLE001 - of a value's own methods
        why = f"to read it raised {type(error).__name__}: {shown_value(error, str)}"
    raise BadValueError(f"isolate: {name}={shown_value(value)} ({origin}): {why}")


def _derived_classes_first(marks: list[tuple[Node, pytest.Mark]]) -> list[tuple[Node, pytest.Mark]]:
    """Put nearest first what pytest lists the other way round: the marks of a class come after
    those of its bases.
    """
    ordered: list[tuple[Node, pytest.Mark]] = []
    for node, group in itertools.groupby(marks, key=lambda pair: pair[0]):
        pairs = list(group)
        ordered += reversed(pairs) if isinstance(node, pytest.Class) else pairs
    return ordered


def _marker_levels(item: pytest.Item) -> Iterator[_Given]:
    """Give an item's markers, nearest first: its parameter's, its function's (innermost first), its
    classes', its module's.
    """
    marks = list(item.iter_markers_with_node("isolate"))
    callspec = getattr(item, "callspec", None)
    of_parameter = {id(mark) for mark in callspec.marks} if callspec is not None else set()
    # Stable: only the parameter's go forward
    marks.sort(key=lambda pair: id(pair[1]) not in of_parameter)
    marks = _derived_classes_first(marks)
    for node, mark in marks:
        kind = (
            "parameter"
            if id(mark) in of_parameter
            else "function"
            if node is item
            else type(node).__name__.lower()
        )
        origin = f"by @isolate on {kind} {node.nodeid}"
        if mark.args:
            raise BadValueError(
                f"isolate: {shown_value(mark.args[0])} ({origin}): it takes keywords only, such as"
                " memory='64M'"
            )
        yield _Given(mark.kwargs, dict.fromkeys(mark.kwargs, origin))
