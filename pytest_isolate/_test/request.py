"""A test's turn in pytest's loop has come: what it asks for, and whether that makes sense."""

from __future__ import annotations

from pytest_isolate._child.group import Group, Key, goes_on, key_of
from pytest_isolate._errors import BadValueError
from pytest_isolate._pytest import fixtures, plugins, setup_state
from pytest_isolate._test import shared
from pytest_isolate._test.states import (
    Finished,
    Hooks,
    IsolatedTest,
    Judged,
    Refused,
    Requested,
    Skipped,
)

#: Why a test has another sandbox than those before that would have shared one with it.
ENDED = "that has ended since the test before"


def skip(test: IsolatedTest) -> Skipped:
    """Give the state of a test that a mark skips; what is wrong with its keywords matters to
    nobody.
    """
    try:
        return Skipped(test, test.run.defaults.spec_of(test.item))
    except BadValueError:
        return Skipped(test, None)


def lost(judged: Judged) -> tuple[Key, str] | None:
    """Tell which tests go on without the sandbox that they shared so far, and why in words; None
    where nothing but their number ended it.
    """
    test, ended = judged.test, judged.ended
    key = ended.requested.key if isinstance(ended, Finished) else None
    if key is None:
        return None
    if (verdict := judged.verdict.kind) != "ok":
        return key, f"that ended with {test.name} ({verdict.replace('_', ' ')})"
    return (key, ENDED) if goes_on(test.run, key, test.nextitem) else None


def _go_on_with(requested: Requested, before: Group) -> None:
    if before.key == requested.key and before.supervisor.alive:
        requested.shared = before
        return
    if before.key == requested.key:
        requested.anew = ENDED
    before.close()


def request(
    test: IsolatedTest, hooks: Hooks, before: Group | None, lost: tuple[Key, str] | None = None
) -> Requested | Refused:
    """Resolve a test's marker.

    What is wrong with it is said when the test's turn to be reported comes.

    ``before`` is the sandbox of the test before, if that goes on; it ends here when this test is
    not one of its own. ``lost``: that of which tests has ended before its time, and why.
    """
    try:
        spec = test.run.defaults.spec_of(test.item)
    except BadValueError as error:
        if before is not None:
            before.close()
        return Refused(test, str(error), "keyword")
    requested = Requested(test, hooks, spec, key_of(spec, test.item))
    if lost is not None and lost[0] == requested.key:
        requested.anew = lost[1]
    if before is not None:
        _go_on_with(requested, before)
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
