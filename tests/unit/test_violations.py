"""The exceptions that users name."""

import pytest

import pytest_isolate
from pytest_isolate import Violation, _violations

NAMES = {
    "MemoryExceeded", "PidsExceeded", "CpuTimeExceeded", "TimeoutExceeded", "DiskExceeded",
    "FilesExceeded", "ProcessesLeaked",
    "NetworkDenied", "FilesystemDenied", "BudgetExceeded", "Crashed",
}  # fmt: skip


def test_the_contracts_names_stand_below_violation_and_are_public():
    """``xfail(raises=...)`` can name each of them, and Violation covers them all."""
    assert {each.__name__ for each in Violation.__subclasses__()} == NAMES
    values = {"Internet", "Layer", "Link", "LiveNetwork", "Network", "NetworkUnavailable"}
    assert set(pytest_isolate.__all__) == {*NAMES, *values, "Violation", "isolate"}
    assert all(getattr(pytest_isolate, name).__name__ == name for name in values)
    assert all(getattr(pytest_isolate, name) is getattr(_violations, name) for name in NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_violation_says_its_own_sentence_and_knows_its_figures(name):
    """Its text is the message; resource, phase, limit and used are for the report."""
    raised = getattr(_violations, name)("memory", "memory: too much", "call", 64, 65)
    assert str(raised) == raised.message == "memory: too much"
    assert (raised.resource, raised.phase, raised.limit, raised.used) == ("memory", "call", 64, 65)


def test_figures_that_there_are_not_are_none():
    """A crash has neither limit nor use."""
    raised = _violations.Crashed("crash", "crash: gone", "setup")
    assert (raised.limit, raised.used) == (None, None)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_pytest_takes_a_violation_for_a_failure_of_the_test(name):
    """It is one of pytest's own outcomes, without a traceback of ours, and its summary names the
    class without a path.
    """
    raised = getattr(_violations, name)("memory", "memory: too much", "call")
    assert isinstance(raised, pytest.fail.Exception)
    assert isinstance(raised, Violation)
    assert raised.pytrace is False
    with pytest.raises(Violation) as caught:
        raise raised
    assert caught.exconly() == f"{name}: memory: too much"


def test_ordinary_code_that_catches_exceptions_does_not_swallow_one():
    """As pytest's outcomes it is no ``Exception``: ``except Exception`` in a fixture
    lets it pass.
    """
    assert not issubclass(Violation, Exception)
