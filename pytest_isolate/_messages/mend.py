"""What a child's reports lose or double on their way, put right."""

from __future__ import annotations

import os
import re
import sys
import types
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

_NOT_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def xml_text(text: str) -> str:
    """Replace characters that XML has no way to say, as pytest does in values: a name of a property
    it writes as it is.
    """
    return _NOT_XML.sub(lambda found: f"#x{ord(found[0]):02X}", text)


class _Writer(Protocol):
    def line(self, s: str = "") -> None: ...


class Drawn:
    """How an item (a doctest, say) shows its failure, as text.

    Not a ``str``, because of which the summary would quote it.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def toterminal(self, writer: _Writer) -> None:
        """As pytest has it draw itself."""
        writer.line(self._text)


def joined(inside: list[tuple[str, str]], outside: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """One section of each name, as in a plain run, of what was captured inside and then
    in pytest.
    """
    found = dict(inside)
    if len(found) < len(inside):  # somebody's own sections of one name
        return [*inside, *outside]
    for name, text in outside:
        found[name] = (
            _added(found[name], text, logged=name.startswith("Captured log"))
            if name in found
            else text
        )
    return list(found.items())


def _added(first: str, second: str, *, logged: bool) -> str:
    """Join two texts; logs are stripped, a section each."""
    return f"{first}\n{second}" if logged and first and second else first + second


def raise_at(places: Sequence[tuple[str, int, str]], error: BaseException) -> NoReturn:
    """Raise from the places (file, line, function; the innermost last) where a child was, as if
    they were in this process.
    """
    step = _standing_at(_RAISES, places[-1], error)
    for place in reversed(places[:-1]):
        step = _standing_at(_CALLS, place, step)
    step()
    raise error


def is_raised_at(traceback: types.TracebackType | None) -> bool:
    """Whether ``raise_at`` raised it."""
    step = traceback
    while step is not None and step.tb_frame.f_code is not raise_at.__code__:
        step = step.tb_next
    return step is not None


def innermost_of_ours(traceback: types.TracebackType | None) -> types.TracebackType | None:
    """Return what a traceback has behind the last frame of this package, which no plain run has."""
    found = step = traceback
    while step is not None:
        if step.tb_frame.f_code.co_filename.startswith(_HERE):
            found = step.tb_next
        step = step.tb_next
    return found


def without_ours(traceback: types.TracebackType | None) -> types.TracebackType | None:
    """Leave out the frames of this package, and the second entry that each makes of the pluggy's
    that called it.
    """
    steps: list[types.TracebackType] = []
    while traceback is not None:
        steps.append(traceback)
        traceback = traceback.tb_next
    found: types.TracebackType | None = None
    passed = False
    for step in reversed(steps):
        if step.tb_frame.f_code.co_filename.startswith(_HERE):
            passed = True
        elif not (passed and found is not None and found.tb_frame is step.tb_frame):
            found, passed = (
                types.TracebackType(found, step.tb_frame, step.tb_lasti, step.tb_lineno),
                False,
            )
    return found


_HERE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


def _code(body: str) -> types.CodeType:
    """Make a function's code, all of one line and of no columns, which would be marked in a line of
    somebody else's.
    """
    module = compile(f"def at(): {body}", "?", "exec")
    code = next(each for each in module.co_consts if isinstance(each, types.CodeType))
    if sys.version_info < (3, 11):
        return code
    units = len(code.co_code) // 2
    entries = [
        bytes((0x80 | _NO_COLUMNS << 3 | min(_MOST_UNITS, units - at) - 1, 0))
        for at in range(0, units, _MOST_UNITS)
    ]
    return code.replace(co_linetable=b"".join(entries))


# Kind of an entry of a location table, and how many code units it is for (CPython's InternalDocs)
_NO_COLUMNS, _MOST_UNITS = 13, 8
_RAISES, _CALLS = _code("raise it from None"), _code("it()")


def _standing_at(
    code: types.CodeType, place: tuple[str, int, str], it: object
) -> Callable[[], object]:
    path, line, function = place
    at = line if 1 <= line < 1 << 24 else 1
    return types.FunctionType(
        code.replace(co_filename=path, co_firstlineno=at, co_name=function), {"it": it}
    )
