"""A test's turn in pytest's loop has come: what it asks for, and whether that makes sense."""

from __future__ import annotations

from pytest_isolate._child.group import Group, key_of
from pytest_isolate._errors import BadValueError
from pytest_isolate._pytest import fixtures, plugins, setup_state
from pytest_isolate._test import shared
from pytest_isolate._test.states import Hooks, IsolatedTest, Refused, Requested, Skipped


def skip(test: IsolatedTest) -> Skipped:
    """Give the state of a test that a mark skips; what is wrong with its keywords matters to
    nobody.
    """
    try:
        return Skipped(test, test.run.defaults.spec_of(test.item))
    except BadValueError:
        return Skipped(test, None)


def request(test: IsolatedTest, hooks: Hooks, before: Group | None) -> Requested | Refused:
    """Resolve a test's marker.

    What is wrong with it is said when the test's turn to be reported comes.

    ``before`` is the sandbox of the test before, if that goes on; it ends here when this test is
    not one of its own.
    """
    try:
        spec = test.run.defaults.spec_of(test.item)
    except BadValueError as error:
        if before is not None:
            before.close()
        return Refused(test, str(error), "keyword")
    requested = Requested(test, hooks, spec, key_of(spec, test.item))
    if before is not None:
        if before.key == requested.key and before.supervisor.alive:
            requested.shared = before
        else:
            before.close()
    for name in spec.named_fresh:
        if not fixtures.knows_fixture(test.item, name):
            requested.close()
            named = f"fixtures={list(spec.named_fresh)!r}, set {spec.origin('fixtures')}"
            return Refused(test, f"isolate: {named}: there is no fixture {name!r}", "keyword")
    # Those of whose plugins it is known, and what stands on them
    if names := {*spec.named_fresh, *plugins.fresh_fixtures(test.item)}:
        requested.fresh = fixtures.with_dependents(test.item, names, test.run.wider)
    if requested.shares:
        requested.rehearses = not setup_state.has_shared(
            test.item, requested.fresh
        ) and not shared.is_foreseeable(test.item)
    return requested
