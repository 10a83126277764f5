"""Patterns as in a shell with ``**``: of tests, in rules, and of paths, in ``fs_allow``.

Wildcards are ``*``, ``?`` and ``**``; all else is meant literally.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

WILD = re.compile(r"\*\*/|\*\*|\*|\?")
_IN_NAME = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def translated(text: str, wild: Mapping[str, str]) -> Iterator[str]:
    """Give the parts of a regular expression, in which wildcards mean what is said."""
    end = 0
    for found in WILD.finditer(text):
        yield re.escape(text[end : found.start()])
        yield wild[found[0]]
        end = found.end()
    yield re.escape(text[end:])


class Paths:
    """Absolute paths by pattern. Each pattern counts for what it names and for everything in there.

    It is given as the directory where it begins, meant literally, and the pattern of what is in
    there. ``exact`` are further paths, meant literally and without what is in them; ``called`` are
    names of what is one of them wherever it is.
    """

    def __init__(
        self,
        patterns: Iterable[tuple[str, str]],
        exact: Iterable[str] = (),
        called: Iterable[str] = (),
    ) -> None:
        whole, ways = [f".*/{re.escape(name)}(?:/.*)?" for name in called], list[str]()
        for start, below in patterns:
            names = [f"/{re.escape(name)}" for name in start.split("/") if name]
            names += [_of_name(name) for name in below.split("/") if name]
            whole.append("".join(names) + "(?:/.*)?")
            ways += ["".join(names[:end]) for end in range(1, len(names))]
        self._whole = _any_of(whole)
        self._one = _any_of(map(re.escape, exact))
        self._ways = _any_of(dict.fromkeys(ways))

    def hold(self, path: str) -> bool:
        """Tell whether a path is one of them."""
        return bool(self._whole.fullmatch(path) or self._one.fullmatch(path))

    def hold_all_in(self, directory: str) -> bool:
        """Tell whether a directory is one of them, and everything that could be in it."""
        return self._whole.fullmatch(directory) is not None

    def need(self, directory: str) -> bool:
        """Tell whether a directory is on the way to one of them, and has to be made first."""
        return self._ways.fullmatch(directory) is not None


def _of_name(name: str) -> str:
    return "(?:/.*)?" if name == "**" else "/" + "".join(translated(name, _IN_NAME))


def _any_of(expressions: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in expressions) or "(?!)", re.DOTALL)
