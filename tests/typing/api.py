"""The public names as users write them: checked by mypy, never run."""

import pytest

import pytest_isolate
from pytest_isolate import MemoryExceeded, Violation, isolate


@isolate
def bare() -> None: ...


@isolate(net=False, memory="64M", pids=20, timeout="5s", env={"A": "b", "C": None}, bind=["/srv", "/etc:ro"])
def with_keywords() -> None: ...


@isolate(memory=64 << 20, cpu=0.5, fs="readonly", fixtures="fresh", leaks="error", on_missing="skip", user=1000)
class OnAClass:
    def method(self) -> int:
        return 1


@isolate(fs="nowhere")  # type: ignore[call-overload, untyped-decorator]
def with_a_word_that_is_not_allowed() -> None: ...


pytestmark = isolate(profile="small")
parameter = pytest.param(1, marks=isolate(net=True))
expected = pytest.mark.xfail(raises=(MemoryExceeded, pytest_isolate.TimeoutExceeded))
instance: int = OnAClass().method()


def look(violation: Violation) -> tuple[str, str]:
    return violation.resource, violation.phase
