"""Pytest's capture of the standard streams: its files, and what is captured while a test runs
elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what Python prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def global_capture(config: pytest.Config) -> Any:  # noqa: ANN401 - of a class that cannot be named
    """Return the capture of the standard streams, which there is no public way to look at; None
    without one.
    """
    return getattr(config.pluginmanager.getplugin("capturemanager"), "_global_capturing", None)


def files(config: pytest.Config) -> list[tuple[int, int]]:
    """Return the files behind pytest's global fd capture, as (captured descriptor, its file's
    descriptor). Between tests they are empty.

    A child must not share their offset with the parent, and the output of a killed child can be
    read only from a file that the parent holds too; there is no public way to say which file to
    capture to.
    """
    capturing = global_capture(config)
    found = []
    for stream in (getattr(capturing, "out", None), getattr(capturing, "err", None)):
        target = getattr(stream, "targetfd", None)
        if stream is not None and target is not None:
            found.append((target, stream.tmpfile.fileno()))
    return found


@contextlib.contextmanager
def overhearing(config: pytest.Config) -> Iterator[dict[str, str]]:
    """Capture what threads of this process say while a test runs elsewhere, as they would have been
    during the test.

    Between two tests, where pytest stands then, it captures nothing, and there is no public way to
    have it.
    """
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    said: dict[str, str] = {}
    if not captures(config):
        yield said
        return
    try:
        manager.resume_global_capture()
    except OSError:  # then it comes out uncaptured, which is no reason to lose a test
        manager.suspend_global_capture(in_=False)
        yield said
        return
    try:
        yield said
    finally:
        manager.suspend_global_capture(in_=False)
        said["stdout"], said["stderr"] = manager.read_global_capture()


def captures(config: pytest.Config) -> bool:
    """Whether the standard streams are captured during a phase."""
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    return manager is not None and manager.is_globally_capturing()


def kept_descriptors(config: pytest.Config) -> set[int]:
    """Descriptors without which the capture of a child fails: where it restores the standard
    streams from.
    """
    capturing = global_capture(config)
    streams = [getattr(capturing, name, None) for name in ("out", "err")]
    saved = {
        stream.targetfd_save
        for stream in streams
        if stream is not None and hasattr(stream, "targetfd_save")
    }
    return saved | input_descriptors(config)


def input_descriptors(config: pytest.Config) -> set[int]:
    """Those of them that are pytest's standard input, and what stands in its place."""
    stdin = getattr(global_capture(config), "in_", None)
    return (
        {stdin.targetfd_save, stdin.tmpfile.fileno()}
        if stdin is not None and hasattr(stdin, "targetfd")
        else set()
    )


def terminal(config: pytest.Config) -> int:
    """Return the descriptor of a run's standard input, which capture has put aside."""
    stdin = getattr(global_capture(config), "in_", None)
    return int(getattr(stdin, "targetfd_save", 0))


def standard_output(config: pytest.Config) -> int:
    """Return the descriptor of a run's standard output, which capture may have put aside."""
    stdout = getattr(global_capture(config), "out", None)
    return int(getattr(stdout, "targetfd_save", 1))


def has_terminal(config: pytest.Config) -> bool:
    """Whether a person can type to this run: its standard input, which capture has put aside, is a
    terminal.
    """
    return os.isatty(terminal(config))


def report_sections(item: pytest.Item) -> list[tuple[str, str, str]]:
    """Return what was captured so far, as (phase, kind, text): ``Item.add_report_section`` is
    public, reading back is not.
    """
    return item._report_sections


@contextlib.contextmanager
def printed_later() -> Iterator[None]:
    """Keep what Python prints to the streams that there are now, and print it at the end."""
    kept = [(name, getattr(sys, name), io.StringIO()) for name in ("stdout", "stderr")]
    for name, _, buffer in kept:
        setattr(sys, name, buffer)
    yield
    for name, stream, buffer in kept:
        if getattr(sys, name) is buffer:
            setattr(sys, name, stream)
        stream.write(buffer.getvalue())
        stream.flush()
