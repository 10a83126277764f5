"""``pytest-isolate layers``: list the layers that are kept between runs, and remove them.

Exit status: 0, 1 where something that was to be removed is not there or in use, 2 where a directory
of layers cannot be used.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_isolate._config.values import counted, format_size, plain

if TYPE_CHECKING:
    from pytest_isolate._store.store import Kept, Store

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_TITLES = ("key", "size", "files", "last used", "layer")
_RIGHT = 3  # columns that end at the right
_SHOWN = 12  # digits of a key


def add_command(commands: Commands) -> None:
    """Add ``layers`` to the console script."""
    command = commands.add_parser("layers", help="list or remove the layers kept between runs")
    command.add_argument(
        "--remove", metavar="KEY", nargs="+", default=[],
        help="remove these, by the first digits of their keys, unless a run uses them",
    )  # fmt: skip
    command.add_argument("--remove-all", action="store_true", help="remove all that no run uses")
    command.add_argument(
        "--unused-for",
        metavar="DAYS",
        type=float,
        help="remove those that no run has used for so many days",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Remove what is to go, or list what is there. Returns the exit status."""
    # Linux's, as layers are; to compare reports takes neither
    from pytest_isolate._store.store import Store, memory_directory  # noqa: PLC0415
    from pytest_isolate._store.trust import StoreError  # noqa: PLC0415

    try:
        in_memory = Store(memory_directory())
        stores = [(store, store.kept()) for store in (Store(), in_memory)]
        if options.remove or options.remove_all or options.unused_for is not None:
            status = _remove(stores, options)
            in_memory.leave()
            return status
        for store, kept in stores:
            sys.stdout.writelines(f"{line}\n" for line in _listed(store, kept))
    except StoreError as error:
        sys.stderr.write(f"pytest-isolate layers: {error}\n")
        return 2
    return 0


def _remove(stores: list[tuple[Store, list[Kept]]], options: argparse.Namespace) -> int:
    status = 0
    for begin in options.remove:
        if not any(each.key.startswith(begin) for _, kept in stores for each in kept):
            sys.stderr.write(f"pytest-isolate layers: there is no layer {begin!r}\n")
            status = 1
    for store, kept in stores:
        for each in kept:
            is_named = each.key.startswith(tuple(options.remove))
            days = (time.time() - each.used) / 86400
            is_old = options.unused_for is not None and days > options.unused_for
            if not (is_named or is_old or options.remove_all):
                continue
            if store.remove(each.key):
                sys.stdout.write(f"removed  {each.key[:_SHOWN]}  {_what(each)}\n")
            else:
                sys.stderr.write(f"in use   {each.key[:_SHOWN]}  {_what(each)}\n")
                status = 1
        store.sweep(age=float("inf"), size=sys.maxsize)  # what killed runs left
    return status


def _listed(store: Store, kept: list[Kept]) -> Iterator[str]:
    yield f"{store.directory}: {counted(len(kept), 'layer')}, " + format_size(
        sum(each.bytes for each in kept)
    )
    rows = [_TITLES, *map(_row, kept)] if kept else []
    widths = (
        [max(len(row[column]) for row in rows) for column in range(len(_TITLES))] if rows else []
    )
    for row in rows:
        cells = zip(row[:-1], widths, strict=False)
        yield (
            "  ".join(
                text.rjust(width) if 0 < n < _RIGHT else text.ljust(width)
                for n, (text, width) in enumerate(cells)
            )
            + f"  {row[-1]}"
        )


def _row(kept: Kept) -> tuple[str, ...]:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.used))
    return (
        kept.key[:_SHOWN],
        format_size(kept.bytes),
        str(kept.about.get("files", "?")),
        f"{used}{', in use' if kept.in_use else ''}",
        _what(kept),
    )


def _what(kept: Kept) -> str:
    return plain(str(kept.about.get("name", "?")))
