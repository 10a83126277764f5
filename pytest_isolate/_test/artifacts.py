"""What outlives a sandbox: pytest's cache, Hypothesis's examples, JUnit's properties, a failing
test's ``tmp_path``.

Everything here was written by a test, so nothing is believed: files are copied by descriptor,
capped, never through a link (``_sandbox.salvage``), texts are checked to be texts.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_isolate._config.values import format_size, plain
from pytest_isolate._messages.mend import xml_text
from pytest_isolate._plan.planning import Plan
from pytest_isolate._pytest import directories, junit
from pytest_isolate._pytest.lasting import places
from pytest_isolate._sandbox.changes import Changes, copies_of, is_our_hosts, read
from pytest_isolate._sandbox.copies import LARGEST, MOST
from pytest_isolate._sandbox.merging import merge_out
from pytest_isolate._sandbox.salvage import copy_out
from pytest_isolate._sandbox.written import Written
from pytest_isolate._test.states import Finished, Refused, reader_of

_MOST_PROPERTIES = 10_000
_LONGEST_NAME = 150
_LONGEST_FILE_NAME = 255  # bytes, to Linux
_NOT_ALL = (
    " (not all of it: some is too large, not the test's to read, or below what is a link by now)"
)
_MOST_LEFT_OUT = 3  # that are named
# What says in JUnit's file which test it was, and pytest's own figure
_WHOSE = frozenset({"name", "classname", "file", "line", "time"})
_OWN_BASE = re.compile(r"pytest-\d+")


def bring_back(ended: Finished) -> Iterator[str]:
    """Put what a test wrote to the places that plain pytest would have written.

    Yields a sentence for what could not be.
    """
    sandbox, plan, item = ended.sandbox, ended.plan, ended.test.item
    frame = ended.first("junit") or {}
    properties, attributes = _pairs(frame.get("properties")), _pairs(frame.get("attributes"))
    if ended.spec.strict:
        own = [pair for pair in attributes if pair[0] not in _WHOSE]
        junit.say_again(item, [], own)
        if properties or len(own) < len(attributes):
            yield (
                f"isolate: {item.nodeid} of profile='strict' set a property of the whole suite, or"
                " which test it is, in JUnit's file; that is left out (record_property is for a"
                " test's own)"
            )
        return  # what a hostile test writes to the cache, later runs would read
    junit.say_again(item, properties, attributes)
    reader = reader_of(ended.test.run, ended.spec)
    for place in places(item.config):
        if any(each.startswith(f"{place}/") for each in plan.hidden):
            continue  # what is hidden looks removed
        try:
            relative = plan.written.find(sandbox.private, str(place))
            if relative is not None and (
                other := merge_out(sandbox.private, relative, place, reader)
            ):
                yield (
                    f"isolate: what the test wrote to {place} could not be brought back: only one"
                    f" of the two {other!r} is a directory"
                )
        except OSError as error:
            yield (
                f"isolate: what the test wrote to {place} could not be brought back:"
                f" {error.strerror} ({error.filename})"
            )


def _pairs(value: object) -> list[tuple[str, str]]:
    """Name and value pairs, as many as are believed."""
    pairs = value[:_MOST_PROPERTIES] if isinstance(value, list) else []
    return [(xml_text(name), text) for name, text in pairs]


def changes_of(ended: Finished | Refused) -> Changes:
    """Read what the test did to the file system; of tests that share a sandbox, what was not there
    before it.
    """
    if isinstance(ended, Refused):
        return Changes()
    if ended.changes is None:
        ended.changes = Changes()
        now, group = read(ended.sandbox.private, ended.plan.written), ended.group
        ended.changes, group.changes = now.since(group.changes), now
    return ended.changes


def keep_all(ended: Finished, *, failed: bool) -> str | None:
    """``--isolate-keep``: copy everything that the test wrote below ``--isolate-artifacts``.

    Returns a line that says where.
    """
    config, sandbox, plan = ended.test.item.config, ended.sandbox, ended.plan
    keep = config.getoption("isolate_keep")
    if not (keep == "all" or (keep == "failed" and failed)):
        return None
    if plan.is_bare:
        return (
            "nothing is kept: the test had no file system of its own, and what it wrote is where it"
            " wrote it"
        )
    folder, whole, reader = (
        config.rootpath / config.getoption("isolate_artifacts"),
        True,
        reader_of(ended.test.run, ended.spec),
    )
    target = folder / file_name(ended)
    try:
        target = free(folder, target.name)
        target.mkdir(parents=True)
        ours = _ours(plan, sandbox.private)
        for path, relative, known in plan.written.layers(sandbox.private):
            unwritten = (
                frozenset()
                if known is None
                else frozenset(known.unwritten(sandbox.private, relative))
            )
            budget = copy_out(
                sandbox.private,
                relative,
                target,
                path.lstrip("/"),
                among=True,
                without=unwritten | {os.path.relpath(each, path) for each in ours},
                reader=reader,
            )
            whole = whole and not (budget is not None and budget.spent)
        is_empty = _remove_empty(target, plan.written)
    except OSError as error:
        return f"what the test wrote could not be kept in {target}: {error.strerror}"
    if is_empty and whole:
        return "the test wrote no file: nothing is kept"
    return f"what the test wrote is kept in {target}" + ("" if whole else _NOT_ALL)


def _ours(plan: Plan, private: int) -> set[str]:
    """Give the files that were put there before the test began, and are as they were."""
    seeds = [seed.path for seed in plan.layers.seeds if seed.source]
    ours, hosts = set(copies_of(private, plan.written, seeds)), plan.written.hosts
    if hosts is not None and is_our_hosts(private, plan.written, hosts):
        ours.add(hosts.place)
    return ours


def _remove_empty(target: Path, written: Written) -> bool:
    """Remove directories that were there before the test began, and in which it wrote nothing.
    Whether nothing is left then.
    """
    for folder, below, _, fd in os.fwalk(target, topdown=False):
        inside = os.path.normpath(os.path.join("/", os.path.relpath(folder, target)))
        for name in below:
            path = os.path.join(inside, name)
            if path in written.made or written.root.kind(path) == "directory":
                with contextlib.suppress(OSError):  # something is in it, or it is a link
                    os.rmdir(name, dir_fd=fd)
    with contextlib.suppress(OSError):
        target.rmdir()
    return not target.exists()


def keep_capture(ended: Finished, *, failed: bool) -> str | None:
    """Copy what was captured of a failing test's network below ``--isolate-artifacts``.

    Returns a line that says where.
    """
    sandbox, plan, topology, config = (
        ended.sandbox,
        ended.plan,
        ended.spec.networking.topology,
        ended.test.item.config,
    )
    if not failed or topology is None or not topology.captures or plan.is_bare:
        return None
    from pytest_isolate._network import capture  # noqa: PLC0415 - for those who have one

    folder, reader = (
        config.rootpath / config.getoption("isolate_artifacts"),
        reader_of(ended.test.run, ended.spec),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = free(folder, f"{file_name(ended)}.capture")
        relative = plan.written.find(sandbox.private, capture.directory())
        budget = (
            None
            if relative is None
            else copy_out(sandbox.private, relative, folder, target.name, reader=reader)
        )
    except OSError as error:
        return f"the capture could not be kept in {folder}: {error.strerror}"
    if budget is None:
        return "the capture is not there: the test has removed it"
    return f"capture: {target / capture.FILE}" + (_NOT_ALL if budget.spent else "")


def file_name(ended: Finished) -> str:
    """Give a name for what is kept of a test."""
    return re.sub(r"[^\w.\[\]-]+", "_", ended.test.item.nodeid, flags=re.ASCII)[-_LONGEST_NAME:]


def free(folder: Path, name: str) -> Path:
    """Give a path that is not there yet."""
    target, number = folder / name, 0
    while os.path.lexists(target):
        number += 1
        target = folder / f"{name}.{number}"
    return target


def lost_files(ended: Finished) -> Iterator[str]:
    """Yield a sentence for everything open that this test had not as it should; each is said once a
    run.
    """
    run = ended.test.run
    if (entered := ended.first("entered")) is not None:
        lost: Any = entered.get("lost") or ()
        yield from run.inherited.troubles([(path, why) for path, why in lost])
    for path in ended.plan.nowhere:
        if path not in run.said_of_hidden:
            run.said_of_hidden.add(path)
            origin = ended.spec.origin("fs_hide")
            yield f"isolate: fs_hide={path!r} ({origin}): nothing is there to hide"
    if not run.said_of_copies and (left_out := ended.plan.written.left_out(ended.sandbox.private)):
        run.said_of_copies = True
        yield _left_out(left_out)


def _left_out(paths: list[str]) -> str:
    shown = ", ".join(
        path.encode("utf-8", "backslashreplace").decode() for path in paths[:_MOST_LEFT_OUT]
    )
    more = f" and {len(paths) - _MOST_LEFT_OUT} more" if len(paths) > _MOST_LEFT_OUT else ""
    return (
        f"isolate: no sandbox has {shown}{more}: this machine takes no overlay for /dev/shm, so it"
        " is copied for each test, and files "
        f'above {format_size(LARGEST)} (or {format_size(MOST)} in all) are not; bind=["/dev/shm"]'
        " shares the machine's"
    )


def lost_threads(ended: Finished) -> Iterator[str]:
    """Yield a sentence for each shared fixture of this test whose threads its copy does not have;
    each is said once a run.
    """
    spec, requested = ended.spec, ended.requested
    if spec.fixtures == "fresh":
        return
    threads = ended.test.run.fixture_threads
    for name in (
        threads.keys()
        & {*getattr(ended.test.item, "fixturenames", ()), *requested.set_up.asked} - requested.fresh
    ):
        started = threads.pop(name)
        alive = ", ".join(repr(thread.name) for thread in started.threads if thread.is_alive())
        # A server, and the test can reach it
        if alive and not (
            started.sockets and (not spec.networking.is_own or spec.reaches_fixtures)
        ):
            reached = ", or net='host' reaches it over the network" if started.sockets else ""
            yield (
                f"isolate: the {started.scope}-scoped fixture {name!r} started the thread {alive},"
                " which runs in pytest and not in a sandbox's copy of it:"
                f" fixtures=[{name!r}] starts it inside{reached}"
            )


def is_base(inside: Path, base: Path) -> bool:
    """Whether it is the base of all ``tmp_path``, or one that the test made by itself, as it asked
    for a ``tmp_path`` while it ran.
    """
    return inside == base or (
        inside.parent == base.parent and _OWN_BASE.fullmatch(inside.name) is not None
    )


def keep_tmp_path(ended: Finished) -> str | None:
    """Copy a failing test's ``tmp_path`` to where pytest would have left it.

    Returns a line that says where.
    """
    sandbox, plan, config = ended.sandbox, ended.plan, ended.test.item.config
    frame = ended.first("tmp_path")
    base = None if frame is None else directories.temporary_base(config)
    if frame is None or base is None or not directories.keeps_failed_temporary(config):
        return None
    inside = Path(str(frame["path"]))
    if (
        not is_base(inside.parent, base)
        or inside.name in {"", ".", ".."}
        or len(os.fsencode(inside.name)) > _LONGEST_FILE_NAME
    ):
        return None
    target, number, reader = base / inside.name, 0, reader_of(ended.test.run, ended.spec)
    try:
        while os.path.lexists(target):
            number += 1
            target = base / f"{inside.name.rstrip('0123456789')}{number}"
        relative = plan.written.find(sandbox.private, str(inside))
        budget = (
            None
            if relative is None
            else copy_out(sandbox.private, relative, base, target.name, reader=reader)
        )
    except OSError as error:
        return f"tmp_path could not be copied to {plain(str(target))}: {error.strerror}"
    return (
        None
        if budget is None
        else f"tmp_path is kept in {plain(str(target))}" + (_NOT_ALL if budget.spent else "")
    )
