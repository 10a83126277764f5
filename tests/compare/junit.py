"""What a JUnit file says of a run's tests, and in which tests two runs differ: of this project's own
small projects, of those with other plugins, and of whole suites (tools/downstream.py).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

#: Class, name, and what it came to: nothing for a test that passed.
Case = tuple[str, ...]
FAILED = frozenset({"failure", "error", "skipped"})


def cases(
    junit: Path, said: Callable[[str], str] | None = None, states: frozenset[str] = FAILED
) -> list[Case]:
    """Every test, in the order of the file; several of one name are subtests, or attempts.

    Each state is with its message where ``said`` is given, which makes equal what differs from one
    run to the next. Without a file, as of a run that died, there is none.
    """
    if not junit.exists():
        return []
    found = []
    for case in ET.parse(junit).getroot().iter("testcase"):
        came_to = (child for child in case if child.tag in states)
        words = (
            sorted({child.tag for child in came_to})
            if said is None
            else [f"{child.tag}: {said(str(child.get('message')))}" for child in came_to]
        )
        found.append((case.get("classname") or "", case.get("name") or "", *words))
    return found


def differing(plain: Iterable[Case], isolated: Iterable[Case]) -> list[tuple[str, str]]:
    """Class and name of each test that is not in both runs, as often and with the same end."""
    one, other = Counter(plain), Counter(isolated)
    return sorted({(case[0], case[1]) for case in (one - other) + (other - one)})
