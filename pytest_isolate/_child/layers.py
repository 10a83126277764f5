"""In a test's process: layers that fixtures give are there from its beginning, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, TypeGuard

import pytest

from pytest_isolate._pytest import setup_state

if TYPE_CHECKING:
    from pytest_isolate._config.layers import Layer


def _is_elsewhere(value: object, here: Collection[object]) -> TypeGuard[Layer]:
    module = sys.modules.get("pytest_isolate._config.layers")  # of those who have one
    return module is not None and isinstance(value, module.Layer) and value not in here


def forget(known: Iterable[pytest.FixtureDef[object]], here: Collection[object]) -> None:
    """Have fixtures that gave layers which this test has not count as not set up.

    So that it says so when it asks for one.
    """
    if "pytest_isolate._config.layers" in sys.modules:
        setup_state.forget_fixtures(
            each
            for each in known
            if each.cached_result is not None and _is_elsewhere(each.cached_result[0], here)
        )


def refuse(fixturedef: pytest.FixtureDef[object], value: object, here: Collection[object]) -> None:
    """Refuse a layer that a fixture gives in here: it would have to be below what is there."""
    if _is_elsewhere(value, here):
        pytest.fail(
            f"isolate: the {fixturedef.scope}-scoped fixture {fixturedef.argname!r} gives {value!r}"
            " inside the test's sandbox, where it is too late for a layer: give the fixture a wider"
            " scope and do not set it up inside (fixtures=, scope=), or name the layer in layers=",
            pytrace=False,
        )
