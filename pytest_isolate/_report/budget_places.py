"""Where a budget file says what, which its TOML parser does not tell."""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KEY = r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*="""


def endless(text: str) -> int:
    """Find the first line that is too much for the parser."""
    for number, line in enumerate(text.split("\n"), 1):
        try:
            tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            continue
        except (ValueError, RecursionError):
            return number
    return 1


class Place(NamedTuple):
    """A line of the file."""

    number: int
    comments: tuple[str, ...]


def places_of(text: str) -> tuple[dict[tuple[str, str], Place], tuple[str, int, int] | None]:
    """Where each key of each table stands, with the comments above it; and the first name that
    stands twice.
    """
    found: dict[tuple[str, str], Place] = {}
    table, comments = "", list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("#"):
            comments.append(line.strip())
            continue
        head = re.match(r"\s*\[\s*(\w+)\s*\]", line)
        key = re.match(_KEY, line)
        if head:
            table = head[1]
        elif key:
            try:
                (name,) = tomllib.loads(f"{key[1]} = 0")
            except tomllib.TOMLDecodeError:  # said by the whole file's parser, with the line
                continue
            if (table, name) in found:
                return found, (name, found[table, name].number, number)
            found[table, name] = Place(number, tuple(comments))
        comments = []
    return found, None


def line_with(text: str, pattern: str) -> int:
    return next(
        (number for number, line in enumerate(text.split("\n"), 1) if re.search(pattern, line)), 1
    )
