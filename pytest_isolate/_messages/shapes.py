"""What a value that a child sent may look like: shapes, and what fits them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_LARGEST_NUMBER = 6e10  # seconds: durations, and times that datetime can say
_LARGEST_INTEGER = 1 << 62
_LARGEST_ERRNO = 4095  # of the kernel's, include/linux/err.h
_LONGEST_PATH = 4096
MOST_VARIABLES = 2000  # of an environment
LARGEST_ENVIRONMENT = 1 << 20  # characters of all names and values
# What the terminal sorts reports, and other things than reports, under: a report of such a word is
# not what it expects there.
_RESERVED_WORDS = {
    "",
    "error",
    "warnings",
    "deselected",
    "xfailed",
    "xpassed",
    "subtests passed",
    "subtests failed",
    "subtests skipped",
}


_WORD = re.compile(r"[a-z][a-z _-]{0,30}")  # "rerun", "retried": a plugin's own outcome
_XML_NAME = re.compile(r"[A-Za-z_:][\w.:-]*")
# xdist sets these, or they hold what pytest knows by itself
RESERVED_ATTRIBUTES = {"node", "item_index", "worker_id", "testrun_uid", "_id", "context"}


@dataclass(frozen=True)
class Either:
    """Any one of several shapes."""

    shapes: tuple[object, ...]


def either(*shapes: object) -> Either:
    return Either(shapes)


def is_number(value: object) -> bool:
    """Whether it is a number of seconds."""
    return type(value) in {int, float} and abs(value) < _LARGEST_NUMBER  # type: ignore[arg-type] # not a bool, not NaN


def is_integer(value: object) -> bool:
    return type(value) is int and abs(value) < _LARGEST_INTEGER


def is_process(value: object) -> bool:
    """Whether it is the number of one process, and not of PID 1, nor what kill(2) takes for
    several.
    """
    return type(value) is int and 1 < value < 1 << 31


def is_amount(value: object) -> bool:
    return is_integer(value) and value >= 0  # type: ignore[operator] # a number


def is_errno(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_ERRNO


def is_path(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= _LONGEST_PATH
        and "\0" not in value
        and is_unicode(value)
    )


def is_environment(value: object) -> bool:
    """Whether execve(2) takes it, and it is no larger than our own code says one."""
    return (
        isinstance(value, dict)
        and len(value) <= MOST_VARIABLES
        and all(isinstance(each, str) and is_variable(name, each) for name, each in value.items())
        and sum(map(len, (*value, *value.values()))) <= LARGEST_ENVIRONMENT
    )


def is_variable(name: str, value: str) -> bool:
    clean = name and "=" not in name and "\0" not in name + value
    return bool(clean) and is_unicode(name + value)


def is_unicode(text: str) -> bool:
    """Whether the machine has a name for it: half of a surrogate stands for a byte only if Python
    made it of one.
    """
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def is_xml_name(value: object) -> bool:
    return isinstance(value, str) and _XML_NAME.fullmatch(value) is not None


def is_outcome(value: object) -> bool:
    return (
        isinstance(value, str)
        and _WORD.fullmatch(value) is not None
        and value not in _RESERVED_WORDS
    )


def is_character(value: object) -> bool:
    return isinstance(value, str) and len(value) == 1


def anything(value: object) -> bool:
    del value
    return True


def fits(value: object, shape: object) -> bool:
    """Whether a JSON value has a shape.

    A shape is a type (exactly that one), None, the ``repr`` of a text, a function that tells, an
    ``Either``, ``{key: shape}``, ``[shape of each]`` or ``(shape of the first, of the second,
    ...)``.
    """
    if isinstance(shape, type):
        found = type(value) is shape
    elif isinstance(shape, Either):
        found = any(fits(value, each) for each in shape.shapes)
    elif isinstance(shape, dict):
        found = isinstance(value, dict) and all(
            fits(value.get(key), each) for key, each in shape.items()
        )
    elif isinstance(shape, list):
        found = isinstance(value, list) and all(fits(each, shape[0]) for each in value)
    elif isinstance(shape, tuple):
        found = (
            isinstance(value, list) and len(value) == len(shape) and all(map(fits, value, shape))
        )
    elif isinstance(shape, str):
        found = isinstance(value, str) and repr(value) == shape
    else:
        found = value is None if shape is None else bool(shape(value))  # type: ignore[operator]
    return found
