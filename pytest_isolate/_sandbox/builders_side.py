"""What a sandbox needs of who orders it from the builder."""

from __future__ import annotations

from typing import Protocol, TypeVar

from pytest_isolate._linux.cgroup.hierarchy import Hierarchy
from pytest_isolate._sandbox.requests import Message

Ordered = TypeVar("Ordered")  # a sandbox


class BuildersSide(Protocol[Ordered]):
    """``builder_client.BuilderClient``, as its sandboxes know it."""

    places: dict[str, Hierarchy]
    answers_within: float  # seconds that the builder has to answer
    closing: list[Ordered]  # whose tests are over
    open: set[Ordered]  # all that have something open
    unreaped: list[int]  # tests that came to their end, whose exit nobody waited for

    @property
    def pid(self) -> int:
        """The pid of the builder."""

    def tell(self, request: Message) -> None:
        """Tell the builder something. Raises ``ConnectionError`` when it has died."""

    def death(self, within: float = 0.0) -> str | None:
        """How it died, in words; None while it lives."""

    def kill(self) -> None:
        """End one that does not answer."""

    def release(self, number: int) -> None:
        """Tell it that it may unmake a sandbox."""
