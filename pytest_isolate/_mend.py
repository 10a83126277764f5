"""What a child's reports lose or double on their way, put right."""

from __future__ import annotations

import re
import types
from typing import NoReturn, Protocol

_NOT_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def xml_text(text: str) -> str:
    """The same without characters that XML has no way to say, as pytest writes them in values: a name of a property is written as it is."""
    return _NOT_XML.sub(lambda found: f"#x{ord(found[0]):02X}", text)


class _Writer(Protocol):
    def line(self, s: str = "") -> None: ...


class Drawn:
    """How an item (a doctest, say) shows its failure, as text. Not a ``str``, because of which the summary would quote it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def toterminal(self, writer: _Writer) -> None:
        """As pytest has it draw itself."""
        writer.line(self._text)


def joined(inside: list[tuple[str, str]], outside: list[tuple[str, str]], *, again: bool) -> list[tuple[str, str]]:
    """One section of each name, as in a plain run, of what was captured inside and then in the parent.

    With ``again`` the same hooks ran on both sides: lines with which both sections begin or end were said by them, and are said once.
    """
    found = dict(inside)
    if len(found) < len(inside):  # somebody's own sections of one name
        return [*inside, *outside]
    for name, text in outside:
        first, second = found.get(name, "").splitlines(keepends=True), text.splitlines(keepends=True)
        begin = _common(first, second) if again else 0
        end = _common(first[begin:][::-1], second[begin:][::-1]) if again else 0
        found[name] = "".join([*first[: len(first) - end], *second[begin:]])
    return list(found.items())


def _common(first: list[str], second: list[str]) -> int:
    return next((index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))


def interrupt_at(path: str, line: object, error: KeyboardInterrupt) -> NoReturn:
    """Raise from the line where the child was interrupted: pytest shows the innermost place of a traceback."""

    def interrupted() -> NoReturn:
        raise error

    at = line if isinstance(line, int) and 1 < line < 1 << 24 else 2  # the line above is the function's own
    types.FunctionType(interrupted.__code__.replace(co_filename=path, co_firstlineno=at - 1), {}, closure=interrupted.__closure__)()
    raise error
