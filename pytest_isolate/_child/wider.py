"""In a test's process: the fixtures wider than a test, which are pytest's to set up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from pytest_isolate._child import layers
from pytest_isolate._messages.mend import without_ours
from pytest_isolate._pytest import fixtures, setup_output, setup_state


@dataclass
class Wider:
    """What pytest has set up for this test, and what this process may have it set up besides."""

    known: Collection[pytest.FixtureDef[object]] = ()  # that pytest has set up
    fresh: frozenset[str] = frozenset()  # names of those that are set up in here
    layers: Collection[object] = ()  # that the test stands on
    seconds: float = 0.0  # of the test's set-up, in pytest
    error: BaseException | None = None  # that pytest had in it
    #: Whether pytest sets up those of this test when it comes to the first.
    rehearses: bool = False
    #: Whether pytest sets up one that the test asks for while it runs.
    asks: bool = False
    #: Those that were asked for, and what they said.
    requested: dict[str, setup_output.Said] = field(default_factory=dict)

    def forget(self, item: pytest.Item, *, all_fresh: bool) -> None:
        """Have those count as not set up that this process sets up for itself."""
        if all_fresh:
            setup_state.forget_shared_fixtures(item, self.known)
            return
        setup_state.forget_parents_finalizers(item)
        setup_state.forget_fixtures(each for each in self.known if each.argname in self.fresh)
        layers.forget(self.known, self.layers)

    def say(self, item: pytest.Item) -> None:
        """Have set-ups that pytest has made say here what they said there, or raise it."""
        setup_output.say_when_asked(item, self.requested)
        if self.error is not None:
            setup_state.raise_whole(self.error, without_ours)
        setup_output.say_at_setup(item)

    def has_to_wait(
        self, item: pytest.Item, fixturedef: pytest.FixtureDef[object], *, running: bool
    ) -> tuple[bool, bool]:
        """Tell whether pytest has to set up a fixture first; if so, whether a rehearsal found it.

        ``running``: in a phase in which this process can begin anew.
        """
        name = fixturedef.argname
        if name in self.fresh or not fixtures.is_shared(item, fixturedef):
            return False, False
        is_foreseen = fixtures.is_in_closure(item, name)
        if self.rehearses and is_foreseen:
            return True, True
        return self.asks and not is_foreseen and name not in self.requested and running, False

    def go_on(self) -> None:
        """Begin a further test of this process, which finds everything set up."""
        self.rehearses = self.asks = False
