"""What ``net=`` means to everybody who plans, watches and judges a sandbox: nobody else compares its values.

A further case is a row in ``_CASES``, with its word in ``_WORDS``, in ``_SENTENCE`` and in the type of the keyword's row
(``_config.keywords``); values of a class are a line in ``parse`` and in ``of``. What it has that no other case has becomes a field of
``Networking``.
"""

from __future__ import annotations

from typing import NamedTuple

_SENTENCE = (
    "it must be True (a network of its own, with loopback only), 'deny' (the same, and an attempt to leave fails the test) "
    "or 'host' (the machine's network)"
)


class Networking(NamedTuple):
    """What network a test has.

    - ``is_own``: the test begins in a network namespace of its own, whose counters say what had no way out.
    - ``denies``: an attempt to leave it fails the test.
    - ``leaves``: what is sent can arrive beyond it.
    """

    is_own: bool
    denies: bool = False
    leaves: bool = False

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
_WORDS: dict[object, bool | str] = {"host": HOST, "deny": "deny", "true": True, "false": HOST}


def of(value: object) -> Networking:
    """What a checked value of ``net`` means."""
    return _CASES[value]


def in_recipe(value: object) -> tuple[bool, bool]:
    """What of a value the plan of a sandbox is made from: who is denied something has the same one."""
    return of(value).is_own, of(value).leaves


def parse(value: object) -> bool | str:
    """``True``, ``"deny"``, or ``False`` for ``"host"``, which is the word for it. An ini file says true and false in words."""
    word = value.lower() if isinstance(value, str) else value
    if isinstance(word, bool):
        return word
    if isinstance(word, str) and word in _WORDS:
        return _WORDS[word]
    raise ValueError(_SENTENCE)


def show(value: bool | str) -> str:
    """Write a value as users do."""
    return "host" if value is HOST else str(value)
