"""``fs_allow``: what a test may change, and what it changed besides.

What it may is what it names, and what others write where it runs: pytest, its cache and its
temporary directories, coverage.py, Hypothesis, plugins with reports, Python's byte code, and this
plugin.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from pytest_isolate._child.group import Group
from pytest_isolate._config.paths import ALL_TEMPORARY, OWN_TEMPORARY, starts
from pytest_isolate._config.patterns import Paths
from pytest_isolate._config.spec import Spec
from pytest_isolate._messages.coverage import Measuring
from pytest_isolate._pytest import directories
from pytest_isolate._pytest.lasting import places
from pytest_isolate._sandbox.changes import closely, read
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._test.artifacts import is_base
from pytest_isolate._verdict import file_changes
from pytest_isolate._verdict.file_changes import Changed

_CALLED = ("__pycache__",)


def in_child(config: pytest.Config, spec: Spec, measuring: Measuring | None) -> Paths | None:
    """In the child: of what no line is remembered. It has no ``tmp_path`` yet."""
    if spec.fs_allow is None:
        return None
    base = directories.known_temporary_base(config)
    bases = () if base is None else (str(base),)
    return Paths(_patterns(config, spec, bases, bases, measuring), called=_CALLED)


def changed(
    config: pytest.Config, spec: Spec, group: Group, result: ProcessResult
) -> Changed | None:
    """In pytest: read what was changed that it was not to change. None if it may change anything,
    or has not run.
    """
    if spec.fs_allow is None or result.first("entered") is None or result.first("need") is not None:
        return None
    for frame in result.frames:
        if frame["kind"] == "tmp_path":
            inside = Path(str(frame["path"]))
            base = directories.temporary_base(config)
            if base is not None and is_base(inside.parent, base):
                group.temporary.add(str(inside))
    base = directories.known_temporary_base(config)
    bases = {*map(os.path.dirname, group.temporary), *([] if base is None else [str(base)])}
    patterns = _patterns(config, spec, group.temporary, bases, group.measuring)
    allowed = Paths(patterns, _beside(group.temporary), _CALLED)
    found = read(group.sandbox.private, group.plan.written, closely(allowed))
    return file_changes.read(found, result.frames)


def _patterns(
    config: pytest.Config,
    spec: Spec,
    own: Collection[str],
    bases: Collection[str],
    measuring: Measuring | None,
) -> Iterator[tuple[str, str]]:
    """Give directories, and patterns of what is in them. ``own``: what ``tmp_path`` is; ``bases``:
    what ``tmp_path_factory`` makes directories in.
    """
    for text in spec.fs_allow or ():
        if text in OWN_TEMPORARY:
            yield from ((place, "") for place in own)
        elif text in ALL_TEMPORARY:
            yield from ((place, "") for place in bases)
        else:
            yield from starts(text, str(config.rootpath))
    for place in places(config):
        yield str(place.parent if place.parent.name == ".hypothesis" else place), ""
    if sys.pycache_prefix is not None:
        yield os.path.realpath(sys.pycache_prefix), ""
    if measuring is not None:
        folder, name = os.path.split(measuring.data_file)
        yield measuring.data_file, ""
        yield folder, f"{name}.*"
    # Of multiprocessing, which removes it when Python ends as a test's process does not
    yield os.path.realpath(tempfile.gettempdir()), "pymp-*"
    if (topology := spec.networking.topology) is not None and topology.captures:
        from pytest_isolate._network import capture  # noqa: PLC0415 - for those who have one

        yield capture.directory(), ""


def _beside(temporary: Collection[str]) -> Iterator[str]:
    """Give what pytest makes with a ``tmp_path``, whether or not the test may write in there."""
    for path in temporary:
        base, name = os.path.split(path)
        parent = os.path.dirname(base)
        yield from (path, base, f"{base}/.lock", parent, f"{parent}/pytest-current")
        while name[-1:].isdigit():  # pytest's number, behind a name that may end with digits too
            name = name[:-1]
            yield f"{base}/{name}current"
