"""What a child tells, in what JSON can say: texts that are cut, exceptions in words, values as
plain ones.
"""

from __future__ import annotations

import traceback

from pytest_isolate._sandbox.frames import LARGEST_FRAME, Frame
from pytest_isolate._verdict.thread_stacks import MOST_FRAMES, is_pytests_own

LARGEST_TEXT = 4 << 20  # characters of one report's section; what is more is left out in the middle
MOST_LOST = 20  # of what is told in a list
_MOST_CLASSES, _DEEPEST = 20, 3  # of an exception's bases that are told, and of groups in groups
_SCALARS = (bool, int, float, str)
# Of a number: a Python may be told to write and read no more than 640 decimal digits, by default
# 4300
_MOST_BITS = 2048
assert LARGEST_TEXT * 3 < LARGEST_FRAME


def told(error: BaseException, depth: int = 0) -> Frame:
    """Give an exception in words, with what it is made of where JSON can say that."""
    kind = type(error)
    arguments = list(error.args)
    if isinstance(error, OSError) and len(arguments) == 2 and error.filename is not None:
        arguments.append(error.filename)
    said: Frame = {
        "classes": [
            [str(each.__module__), str(each.__qualname__)] for each in kind.__mro__[:_MOST_CLASSES]
        ],
        "message": shortened(text_of(error), LARGEST_TEXT >> 4),
        "arguments": None,
        "stack": [list(place) for place in stack_of(error)],
        "exceptions": [],
    }
    if all(map(_is_scalar, arguments)) and len(repr(arguments)) < LARGEST_TEXT >> 4:
        said["arguments"] = arguments
    if depth < _DEEPEST:
        said["exceptions"] = [
            told(each, depth + 1)
            for each in getattr(error, "exceptions", ())[:MOST_LOST]
            if isinstance(each, Exception)
        ]
    return said


def stack_of(error: BaseException) -> list[tuple[str, int, str]]:
    """Give file, line and function of each of its traceback's frames, the innermost last, without
    pytest's own if there are others.
    """
    found = [
        (frame.f_code.co_filename, line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return ([place for place in found if not is_pytests_own(place[0])] or found)[-MOST_FRAMES:]


def shortened(text: str, longest: int = LARGEST_TEXT) -> str:
    """Leave out the middle of what is too long."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return (
        f"{text[:half]}\n... {len(text) - longest} characters left out by pytest-isolate"
        f" ...\n{text[-half:]}"
    )


def is_plain(value: object) -> bool:
    """Whether JSON can say it."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return _is_scalar(value)


def _is_scalar(value: object) -> bool:
    """Whether it is one value that Python writes as JSON, and reads again in pytest."""
    return value is None or (
        isinstance(value, _SCALARS)
        and not (isinstance(value, int) and int.bit_length(value) > _MOST_BITS)
    )


def text_of(value: object) -> str:
    """Give a value as text, whatever its class makes of that."""
    try:
        return str(value)
    except Exception as unsaid:  # noqa: BLE001 - a class of somebody's
        return hex(value) if isinstance(value, int) else f"<{type(unsaid).__name__} in its __str__>"


def plain(value: object) -> object:
    """Give a value as JSON can say it; what it cannot say becomes its text rather than cost the
    report.
    """
    if _is_scalar(value):
        return value
    if isinstance(value, dict):
        return {text_of(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return text_of(value)
