"""What ``net=`` means to everybody who plans, watches and judges a sandbox: nobody else compares
its values.

A further case is a row in ``_CASES``, with its word in ``_WORDS``, in ``_SENTENCE`` and in the type
of the keyword's row (``_config.keywords``); values of a class are a line in ``parse`` and in
``of``. What it has that no other case has becomes a field of ``Networking``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import TypeGuard

    from pytest_isolate._config.internet import Allowed, Internet
    from pytest_isolate._config.network import Network
    from pytest_isolate._config.topology import Topology

_SENTENCE = (
    "it must be True (a network of its own, with loopback only), 'deny' (the same, and an attempt"
    " to leave fails the test), 'internet' or a pytest_isolate.Internet (the same, and a way out to"
    " everybody or to a few), 'host' or False (the machine's own network) or a"
    " pytest_isolate.Network (hosts of its own)"
)


class Networking(NamedTuple):
    """What network a test has.

    - ``is_own``: the test begins in a network namespace of its own, whose counters say what had no
      way out.
    - ``denies``: an attempt to leave it fails the test.
    - ``leaves``: what is sent can arrive beyond it.
    - ``topology``: of hosts that stand beside it.
    - ``leads_out``: from a network of its own, to ``allowed`` or, without these, to everybody.
    """

    is_own: bool
    denies: bool = False
    leaves: bool = False
    topology: Topology | None = None
    leads_out: bool = False
    allowed: tuple[Allowed, ...] | None = None

    @property
    def is_sealed(self) -> bool:
        """Whether nothing of what a test does to its network can be seen by anybody else."""
        return self.is_own and not self.leaves


_CASES: dict[object, Networking] = {
    True: Networking(is_own=True),
    "deny": Networking(is_own=True, denies=True),
    False: Networking(is_own=False, leaves=True),
}
#: What is had instead of a network of its own, where none can be made.
HOST = False
_INTERNET = "internet"
_WORDS: dict[object, bool | str] = {"host": HOST, "deny": "deny", "true": True, "false": HOST}


def of(value: object) -> Networking:
    """Tell what a checked value of ``net`` means."""
    if (known := _CASES.get(value)) is not None:  # first: most tests have one of these
        return known
    if is_network(value):
        return Networking(is_own=True, topology=value.topology)
    assert is_internet(value)
    return Networking(is_own=True, leaves=True, leads_out=True, allowed=value.allowed)


def is_network(value: object) -> TypeGuard[Network]:
    """Whether it is a ``Network``, whose module is imported by those who have one."""
    module = sys.modules.get("pytest_isolate._config.network")
    return module is not None and isinstance(value, module.Network)


def is_internet(value: object) -> TypeGuard[Internet]:
    """Whether it is an ``Internet``, whose module is imported by those who have one."""
    module = sys.modules.get("pytest_isolate._config.internet")
    return module is not None and isinstance(value, module.Internet)


def in_recipe(value: object) -> object:
    """Tell what of a value the plan of a sandbox is made from: who is denied something has the same
    one.
    """
    if is_network(value) or is_internet(value):
        return value
    return of(value).is_own, of(value).leaves


def parse(value: object) -> bool | str | Network | Internet:
    """Read ``True``, ``"deny"``, a ``Network``, an ``Internet``, whose word is ``"internet"``, or
    ``False`` for ``"host"``, its word.

    An ini file says true and false in words.
    """
    word = value.lower() if isinstance(value, str) else value
    if isinstance(word, bool):
        return word
    if isinstance(word, str) and word in _WORDS:
        return _WORDS[word]
    if is_network(value):
        value.topology  # noqa: B018 - raises, for what cannot be
        return value
    if word == _INTERNET:
        from pytest_isolate._config.internet import Internet  # noqa: PLC0415 - as is said above

        return Internet()
    if is_internet(value):
        value.allowed  # noqa: B018 - as above
        return value
    raise ValueError(_SENTENCE)


def show(value: bool | str | Network | Internet) -> str:
    """Write a value as users do."""
    if is_internet(value) and value.allow is None:
        return _INTERNET
    return "host" if value is HOST else str(value)
