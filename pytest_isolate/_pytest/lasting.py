"""Where plain pytest writes for later runs, and so do isolated tests: its cache, Hypothesis's
examples, directories of reports.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_isolate._pytest import directories
from pytest_isolate._pytest.plugins import report_directories


def places(config: pytest.Config) -> Iterator[Path]:
    """Directories whose writes reach the machine, without symbolic links on the way."""
    for place in _places(config):
        yield Path(os.path.realpath(place))


def _places(config: pytest.Config) -> Iterator[Path]:
    if (cache := directories.cache_directory(config)) is not None:
        yield cache
    if (hypothesis := sys.modules.get("hypothesis")) is not None:
        settings = getattr(getattr(hypothesis, "settings", None), "default", None)
        known = config.stash.get(_EXAMPLES, None)
        if known is None or known[0] is not settings:  # a profile was loaded
            known = config.stash[_EXAMPLES] = (settings, _examples(settings))
        if known[1] is not None:
            yield known[1]
    yield from report_directories(config)


_EXAMPLES = pytest.StashKey[tuple[object, "Path | None"]]()


def _examples(settings: object) -> Path | None:
    """Where Hypothesis keeps examples.

    It finds that out when it is asked: it looks at directories, warns of them, and may raise.

    What it has to say about it, it says inside, to the test that uses it. Here it would end the
    whole run.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            path = getattr(getattr(settings, "database", None), "path", None)
        except Exception:  # noqa: BLE001 - HypothesisException, or whatever a database of somebody's own raises
            return None
    return path if isinstance(path, Path) else None
