"""``[[tool.pytest_isolate.rules]]`` of pyproject.toml: keywords by pattern, so that a directory is
isolated without touching it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pytest_isolate._config import pyproject
from pytest_isolate._config.patterns import WILD, translated

_LETTER = "(?:(?!::)[^/])"
_IN_PATH = {"**/": "(?:(?:(?!::).)*/)?", "**": "(?:(?!::).)*", "*": f"{_LETTER}*", "?": _LETTER}
_IN_NAME = {"**/": ".*/", "**": ".*", "*": ".*", "?": "."}


class Rule(NamedTuple):
    """One rule. It counts for what its patterns name and everything in there."""

    number: int  # from 1
    patterns: tuple[tuple[str, re.Pattern[str]], ...]
    isolates: bool
    keywords: Mapping[str, object]

    def origin(self, pattern: str) -> str:
        """Where its values were set, in words."""
        return f"by rule {self.number} of pyproject.toml ({pattern})"

    def matching(self, nodeid: str) -> str | None:
        """Find the first of its patterns that a test matches."""
        return next((text for text, compiled in self.patterns if compiled.fullmatch(nodeid)), None)


class Rules:
    """All of them; of two that match a test the later one counts, keyword by keyword.

    Raises ``ValueError`` with a sentence.
    """

    def __init__(self, rootpath: Path) -> None:
        path = rootpath / "pyproject.toml"
        written = pyproject.table(path, "rules")
        if written is not None and not (
            isinstance(written, list) and all(isinstance(each, dict) for each in written)
        ):
            raise ValueError(
                f"{path}: rules must be written as [[tool.pytest_isolate.rules]], one for each rule"
            )
        self.all = tuple(
            _rule(number, each, rootpath) for number, each in enumerate(written or (), 1)
        )
        self._known: dict[str, tuple[tuple[Rule, str], ...]] = {}

    def of(self, nodeid: str) -> tuple[tuple[Rule, str], ...]:
        """Those that match a test, each with the pattern that does, the nearest first."""
        if nodeid not in self._known:
            found = ((rule, rule.matching(nodeid)) for rule in reversed(self.all))
            self._known[nodeid] = tuple(
                (rule, pattern) for rule, pattern in found if pattern is not None
            )
        return self._known[nodeid]

    def unmatched(self, nodeids: Sequence[str]) -> Iterator[str]:
        """Say a sentence for each pattern that names something in files of these tests which is not
        there: mistyped, or renamed since.
        """
        for rule in self.all:
            for pattern, compiled in rule.patterns:
                path, separator, _ = pattern.partition("::")
                files = _compiled(path)
                below = (
                    [nodeid for nodeid in nodeids if files.fullmatch(nodeid)] if separator else []
                )
                if below and not any(map(compiled.fullmatch, below)):
                    yield (
                        f"rule {rule.number} of pyproject.toml, tests={pattern!r}, matches none of"
                        f" the {len(below)} tests of {path}, and so does nothing: pytest"
                        " --collect-only -q lists their ids"
                    )

    def isolates(self, nodeid: str) -> bool | None:
        """Whether the nearest rule isolates a test; None without one."""
        return next((rule.isolates for rule, _ in self.of(nodeid)), None)


def _rule(number: int, written: Mapping[str, object], rootpath: Path) -> Rule:
    name = f"rule {number} of {rootpath / 'pyproject.toml'}"
    tests, isolates = written.get("tests"), written.get("isolate", True)
    patterns = [tests] if isinstance(tests, str) else tests
    if (
        not isinstance(patterns, list)
        or not patterns
        or not all(isinstance(each, str) and each for each in patterns)
    ):
        raise ValueError(
            f"{name}: tests={tests!r}: it must be a pattern or a list of patterns, such as"
            " 'tests/integration/**'"
        )
    if not isinstance(isolates, bool):
        raise ValueError(
            f"{name}: isolate={isolates!r}: it must be true, or false for tests that a wider rule"
            " or isolate_all isolates"
        )
    for pattern in patterns:
        if pattern.startswith("/"):
            raise ValueError(
                f"{name}: tests={pattern!r}: a pattern is relative to {rootpath}, as the ids of"
                " tests are"
            )
        if (place := _place(pattern)) and not os.path.exists(rootpath / place):
            raise ValueError(
                f"{name}: tests={pattern!r}: there is no {place} in {rootpath}, so it can match no"
                " test"
            )
    keywords = {key: value for key, value in written.items() if key not in {"tests", "isolate"}}
    return Rule(number, tuple((each, _compiled(each)) for each in patterns), isolates, keywords)


def _place(pattern: str) -> str:
    """Cut off the part of a pattern's path that has no wildcard."""
    parts: list[str] = []
    for part in pattern.partition("::")[0].split("/"):
        if WILD.search(part):
            break
        parts.append(part)
    return "/".join(parts)


def _compiled(pattern: str) -> re.Pattern[str]:
    """Against a whole node id: before ``::`` it is a path, as in a shell; behind it ``*`` is any
    text. All else is meant literally.
    """
    path, separator, name = pattern.partition("::")
    path = path.removeprefix("./").rstrip("/")
    below = (
        r"(?:/(?:(?!::).)*)?(?:::.*)?"
        if not separator
        else "::" + "".join(translated(name, _IN_NAME)) + r"(?:(?:::|\[).*)?"
    )
    return re.compile("".join(translated(path, _IN_PATH)) + below, re.DOTALL)
