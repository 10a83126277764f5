"""A step of a recipe: what is done once, by PID 1 or by whoever makes it."""

from __future__ import annotations

import errno
from abc import abstractmethod

from pytest_isolate._errors import StepFailedError
from pytest_isolate._sandbox.records import Record


class Step(Record):
    """One step."""

    _where = "path"  # the field that errors name
    is_last = False  # behind it no path leads to the private file system

    @property
    def said(self) -> str:
        """What errors call it: ``OverlayOrReadOnly`` is "overlay or read only"."""
        return "".join(
            f" {each.lower()}" if each.isupper() else each for each in type(self).__name__
        ).strip()

    @property
    def path_said(self) -> str:
        """The path that errors name."""
        return str(getattr(self, self._where))


class Action(Step):
    """One that is done at once, and done then."""

    @abstractmethod
    def perform(self) -> None:
        """Do it. Raises ``OSError``."""


def perform(step: Step) -> None:
    """Perform one step. Raises ``StepFailedError``."""
    assert isinstance(step, Action)  # the builder goes on with the others
    try:
        step.perform()
    except OSError as error:
        raise StepFailedError(step.said, step.path_said, error.errno or errno.EIO) from error
