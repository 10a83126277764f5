"""Which fixtures a test has, what pytest keeps of them, and the values that hooks look at."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from _pytest.scope import Scope


def knows_fixture(item: pytest.Item, name: str) -> bool:
    """Whether a test could have a fixture of a name."""
    return bool(item.session._fixturemanager.getfixturedefs(name, item))


def with_dependents(
    item: pytest.Item, names: Iterable[str], known: Iterable[pytest.FixtureDef[Any]]
) -> frozenset[str]:
    """Names of fixtures, and of those of a test, or ``known`` otherwise, that need one of them."""
    definitions = [*fixtures_of(item), *known]
    found, more = set(names), True
    while more:
        needing = {
            definition.argname
            for definition in definitions
            if not found.isdisjoint(definition.argnames)
        }
        more = not needing <= found
        found |= needing
    return frozenset(found)


def asked_fixture(item: pytest.Item, name: str) -> Any:  # noqa: ANN401 - of which only the scope is public
    """Return the fixture that a test gets by ``getfixturevalue`` of a name."""
    found = item.session._fixturemanager.getfixturedefs(name, item)
    return found[-1] if found else None


def names_of(item: pytest.Item) -> list[str]:
    info = getattr(item, "_fixtureinfo", None)
    return [] if info is None else list(info.names_closure)


def fixtures_of(item: pytest.Item) -> list[Any]:
    """All that a test could have of the fixtures that it needs, also those that another of the same
    name hides.
    """
    info: Any = getattr(item, "_fixtureinfo", None)
    return (
        [each for found in info.name2fixturedefs.values() for each in found]
        if info is not None
        else []
    )


def is_shared(item: pytest.Item, fixturedef: Any) -> bool:  # noqa: ANN401 - of which only the scope is public
    """Whether a fixture is wider than a test: one of class scope is a function's own outside of
    classes.

    The fixture that pytest makes of a unittest class's own set-up and teardown counts if the class
    has one of them.
    """
    scope = fixturedef._scope
    if scope is Scope.Function or (scope is Scope.Class and item.getparent(pytest.Class) is None):
        return False
    return not (
        fixturedef.argname.startswith(_OF_UNITTEST_CLASSES)
        and _does_nothing(getattr(item, "cls", None))
    )


# pytest 8.4 to 9.2; under another name a class is a barrier for jobs
_OF_UNITTEST_CLASSES = "_unittest_setUpClass_fixture_"


def of_unittest_class(item: pytest.Item) -> list[str]:
    """Return the fixture that pytest makes of the set-up and teardown of a unittest class."""
    return [name for name in names_of(item) if name.startswith(_OF_UNITTEST_CLASSES)]


def _does_nothing(cls: Any) -> bool:  # noqa: ANN401 - whatever the item says
    """Whether setUpClass and tearDownClass of a unittest class are those of unittest itself."""
    base: Any = getattr(sys.modules.get("unittest"), "TestCase", None)
    if (
        base is None
        or not isinstance(cls, type)
        or not issubclass(cls, base)
        or getattr(cls, "_class_cleanups", None)
    ):
        return False
    names = ("setUpClass", "tearDownClass")
    return all(
        getattr(getattr(cls, name), "__func__", None) is getattr(base, name).__func__
        for name in names
    )


def is_in_closure(item: pytest.Item, name: str) -> bool:
    """Whether a test needs a fixture by its signature, marks or another fixture's, and not only by
    ``getfixturevalue``.
    """
    return name in names_of(item)


def wide_parameters(item: pytest.Item) -> tuple[tuple[str, int], ...]:
    """Name and index of an item's parameters of wider scopes, for which pytest reorders and
    re-makes shared fixtures.

    ``callspec`` has no public description; ``_arg2scope`` is the one place that says which scope a
    parameter has.
    """
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return ()
    scopes = callspec._arg2scope
    return tuple(
        (name, index)
        for name, index in sorted(callspec.indices.items())
        if scopes[name].value != "function"
    )


def function_arguments(item: pytest.Item) -> dict[str, Any] | None:
    """``Item.funcargs``, which only functions have, and they only during their protocol."""
    return getattr(item, "funcargs", None)


@contextlib.contextmanager
def given_arguments(item: pytest.Item, more: Mapping[str, object]) -> Iterator[None]:
    """In pytest, for hooks that look at a test's fixtures: the values of the wider ones, and
    ``more``.
    """
    if not hasattr(item, "funcargs"):
        yield
        return
    before = item.funcargs
    item.funcargs = _Arguments({**wide_values(item), **more}, names_of(item))
    try:
        yield
    finally:
        item.funcargs = before


def wide_values(item: pytest.Item, asked: Iterable[str] = ()) -> dict[str, object]:
    """In pytest: the values of a test's wider fixtures that are set up, and of those that it has
    ``asked`` for while it ran.
    """
    info: Any = getattr(item, "_fixtureinfo", None)
    last = (
        {name: found[-1] for name, found in info.name2fixturedefs.items() if found}
        if info is not None
        else {}
    )
    last |= {name: each for name in asked if (each := asked_fixture(item, name)) is not None}
    wide = {
        name: each.cached_result
        for name, each in last.items()
        if is_shared(item, each) and each.cached_result
    }
    return {name: result[0] for name, result in wide.items() if result[2] is None}


class _Arguments(dict[str, object]):
    """Values of fixtures, of which those of function scope are in the sandbox."""

    def __init__(self, there: Mapping[str, object], elsewhere: Iterable[str]) -> None:
        super().__init__(there)
        self._elsewhere = frozenset(elsewhere)

    def __missing__(self, name: str) -> object:
        raise NotHereError(name) if name in self._elsewhere else KeyError(name)


class NotHereError(KeyError):
    """A hook wants a value that only the test's own process has, where the same hook has had it."""
