"""Pytest's state of what is set up: collectors, shared fixtures and their finalizers."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Container, Iterable
from typing import Any

import pytest
from _pytest.fixtures import SubRequest
from _pytest.runner import SetupState
from _pytest.scope import Scope

from pytest_isolate._pytest.fixtures import asked_fixture, is_shared, names_of

Finalizers = list[Callable[[], object]]


_FORGOTTEN: list[object] = []  # in the child: what must not be collected


def _forget_finalizers(
    definition: Any,  # noqa: ANN401
) -> None:
    """In the child: a fixture's are the parent's to run.

    They hold its generator, whose end would run what stands behind its yield.
    """
    _FORGOTTEN.extend(definition._finalizers)
    definition._finalizers.clear()


def forget_parents_finalizers(item: pytest.Item) -> None:
    """In the child: keep the set-up nodes that the test is below, but none of their finalizers.

    ``SetupState.stack`` maps each active node to its finalizers. They are the parent's to run; a
    child runs only those that it adds itself. There is no public way to see or empty them.
    """
    for finalizers, _ in item.session._setupstate.stack.values():
        finalizers.clear()
    info: Any = getattr(item, "_fixtureinfo", None)
    for definitions in info.name2fixturedefs.values() if info is not None else ():
        # Of one with another parameter, which a rehearsal finds, pytest runs its own
        for definition in definitions:
            if definition.cached_result is not None:
                _forget_finalizers(definition)
    # Of an attempt after the loop has gone on to other collectors
    item.session._setupstate.teardown_exact(item)


def forget_shared_fixtures(item: pytest.Item, known: Iterable[pytest.FixtureDef[Any]]) -> None:
    """In the child, for ``fixtures="fresh"``: nothing counts as set up, so that everything is set
    up again, inside.
    """
    item.session._setupstate.stack.clear()
    forget_fixtures(known)


def forget_fixtures(known: Iterable[pytest.FixtureDef[Any]]) -> None:
    """In the child: some count as not set up."""
    for definition in known:
        definition.cached_result = None
        _forget_finalizers(definition)


def tear_down_rest(session: pytest.Session) -> None:
    """In the child: finalize what it set up itself on wider nodes, which the next item (in the
    parent) would keep alive.
    """
    session._setupstate.teardown_exact(None)


def leaves_shared_fixtures(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Whether something of a wider scope is finalized when ``nextitem`` follows ``item``.

    ``SetupState.stack`` has each active node with its finalizers, the first of which is the node's
    own, empty ``teardown``.
    """
    stays = set(nextitem.listchain()) if nextitem is not None else set()
    stack = item.session._setupstate.stack
    return any(
        len(finalizers) > 1 or not is_pytests_own(node, "teardown")
        for node, (finalizers, _) in stack.items()
        if node is not item and node not in stays
    )


def is_pytests_own(node: object, name: str) -> bool:
    method: Any = getattr(type(node), name, None)
    return str(method.__module__).startswith("_pytest.")


def leaves_nothing(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Whether nothing of anybody's is finalized between two tests; then the collectors that only
    the first is below are taken down.
    """
    if nextitem is None or leaves_shared_fixtures(item, nextitem):
        return False
    item.session._setupstate.teardown_exact(nextitem)
    return True


def set_up_shared(item: pytest.Item, fresh: Container[str], asked: str | None = None) -> None:
    """In pytest: set up the collectors of a test and, in pytest's order, every fixture of its
    closure that is wider and not ``fresh``.

    Behind these the one that was ``asked`` for while the test ran, by whatever name; one that is
    not wider is not for pytest to set up.

    What raises here stays in the fixture's or the collector's result, for the test to meet. A wide
    fixture can stand behind one of the same name that overrides it for functions. There is no
    public way to set up a part of what a test needs.
    """
    if not hasattr(item, "_request"):  # an item without fixtures, of a conftest's collector, say
        type(item.session._setupstate).setup(item.session._setupstate, item.parent)  # type: ignore[arg-type] # of which a node is enough
        return
    state = item.session._setupstate
    try:
        type(state).setup(state, item.parent)  # type: ignore[arg-type]
        # pytest 9.2 takes a request of an item that is not there for one during its teardown
        state.stack[item] = ([], None)
        for name in names_of(item):
            if name in fresh:
                continue
            request: Any = item._request
            for fixturedef in reversed(item._fixtureinfo.name2fixturedefs.get(name, ())):  # type: ignore[attr-defined]
                if is_shared(item, fixturedef):
                    request._get_active_fixturedef(name)
                elif name in fixturedef.argnames:
                    request = SubRequest(
                        request, Scope.Function, None, 0, fixturedef, _ispytest=True
                    )
                    continue
                break
        if (
            asked is not None
            and (found := asked_fixture(item, asked)) is not None
            and is_shared(item, found)
        ):
            item._request._get_active_fixturedef(asked)
    finally:
        state.stack.pop(item, None)
        item._initrequest()  # type: ignore[attr-defined]


def set_up_nodes(session: pytest.Session) -> tuple[object, ...]:
    """Return the collectors that are set up."""
    return tuple(session._setupstate.stack)


def has_shared(item: pytest.Item, fresh: Container[str]) -> bool:
    """Whether all that ``set_up_shared`` would set up is there, or has failed."""
    stack = item.session._setupstate.stack
    if any(
        node not in stack and not is_pytests_own(node, "setup") for node in item.listchain()[:-1]
    ):
        return False
    info: Any = getattr(item, "_fixtureinfo", None)
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    for name in info.names_closure if info is not None else ():
        for fixturedef in reversed(() if name in fresh else info.name2fixturedefs.get(name, ())):
            if is_shared(item, fixturedef):
                if fixturedef.cached_result is None or fixturedef.cached_result[
                    1
                ] is not parameters.get(name):
                    return False
            elif name in fixturedef.argnames:
                continue
            break
    return True


Cut = Callable[[types.TracebackType | None], types.TracebackType | None]


def raise_whole(error: BaseException, cut: Cut) -> None:
    """In the child of the first test that meets a wider fixture's or collector's error: it comes by
    all the hooks that it passed in pytest.

    Pytest keeps an ``Exception`` of a fixture and of a collector. Of what else there is
    (``SystemExit``, what its own hook of a fixture's set-up says) it keeps nothing, and a second
    set-up would fail otherwise, or not at all. Only frames tell through which of them it came.
    """
    step = error.__traceback__
    # What such a frame itself raised is of no set-up, and comes again by itself
    while step is not None and step.tb_next is not None:
        code, found = step.tb_frame.f_code, step.tb_frame.f_locals
        if code is pytest.FixtureDef.execute.__code__:
            found["self"].cached_result = (
                None,
                found["self"].cache_key(found["request"]),
                (error, cut(step.tb_next)),
            )
        elif code is SetupState.setup.__code__:
            stack, node = found["self"].stack, found["col"]
            stack[node] = (stack[node][0], (error, cut(step.tb_next)))
        step = step.tb_next


def forget_request(item: pytest.Item) -> None:
    """Do what pytest does at the end of a test's protocol, so that values of fixtures
    go with it.
    """
    if hasattr(item, "_request"):
        item._request = False
        item.funcargs = None  # type: ignore[attr-defined]


def before_setup_of_collectors(item: pytest.Item, tell: Callable[[str], object]) -> None:
    """In a child that rehearses: have it tell when pytest would set up somebody's own collector,
    which pytest has not.
    """
    for node in item.listchain()[:-1]:
        if node not in item.session._setupstate.stack and not is_pytests_own(node, "setup"):
            node.setup = functools.partial(tell, node.nodeid)  # type: ignore[method-assign, assignment]
