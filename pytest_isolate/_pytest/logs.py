"""Pytest's plugin for logging, and the trace of ``--debug``: records, live logs, files."""

from __future__ import annotations

import io
import logging
from typing import Any, TextIO

import pytest
from _pytest.logging import caplog_records_key


def _live_logs(config: pytest.Config) -> Any:  # noqa: ANN401 - of a class that cannot be named
    return getattr(config.pluginmanager.getplugin("logging-plugin"), "log_cli_handler", None)


def has_shown_live_logs(config: pytest.Config) -> bool:
    """Whether this process has shown the heading of live logs for the phase that it is in."""
    return bool(getattr(_live_logs(config), "_section_name_shown", False))


def continue_live_logs(config: pytest.Config, phase: str) -> None:
    """Have live logs of a phase go on below the heading that another process has shown for its part
    of it.

    The handler forgets at the beginning of a phase that it has shown one.
    """
    handler = _live_logs(config)
    if not hasattr(handler, "_section_name_shown"):
        return
    begin_phase = handler.set_when

    def set_when(when: str | None) -> None:
        begin_phase(when)
        handler._section_name_shown = when == phase
        handler.set_when = begin_phase

    handler.set_when = set_when


def records_of(item: pytest.Item, phase: str) -> list[logging.LogRecord]:
    """Return what was logged in a phase, up to now: of a finished teardown its last part, of which
    pytest's plugin keeps the list alone.
    """
    handler: Any = getattr(
        item.config.pluginmanager.getplugin("logging-plugin"), "caplog_handler", None
    )
    known = item.stash.get(caplog_records_key, {})
    return list(known.get(phase, ()) if phase != "teardown" else getattr(handler, "records", ()))


def log_file_descriptors(config: pytest.Config) -> set[int]:
    """``--log-file``: the contract has log files go where plain pytest puts them, so its open file
    stays open.
    """
    plugin: Any = config.pluginmanager.getplugin("logging-plugin")
    stream = getattr(getattr(plugin, "log_file_handler", None), "stream", None)
    try:
        return {stream.fileno()} if stream is not None else set()
    except (OSError, ValueError, AttributeError):  # no real file behind it (os.devnull has one)
        return set()


def debug_trace(config: pytest.Config) -> list[TextIO]:
    """Return the file of ``pytest --debug``, which its hook keeps to itself: it stays open too, and
    has to be flushed before a fork.

    What is written of it in a child is what plain pytest writes there. pluggy has no public way to
    say where its trace goes.
    """
    file = getattr(getattr(config.trace.root, "_writer", None), "__self__", None)
    return [file] if isinstance(file, io.TextIOBase) and not file.closed else []  # type: ignore[list-item] # of open(), so text
