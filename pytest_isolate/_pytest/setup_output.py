"""What is captured and logged of a set-up of which two processes each do a part."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import sys
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from _pytest.logging import caplog_records_key

from pytest_isolate._pytest.capture import captures, global_capture, quietly
from pytest_isolate._pytest.fixtures import asked_fixture
from pytest_isolate._pytest.setup_state import set_up_shared


@dataclass(frozen=True)
class Said:
    """What was captured and logged of a part of a phase."""

    streams: tuple[tuple[str, str], ...]  # by name
    records: tuple[logging.LogRecord, ...]


def say_at_setup(item: pytest.Item) -> None:
    """In the child: say what was captured of what pytest has set up, where its runner would set it
    up among everybody's hooks.
    """
    sections, state = item._report_sections, item.session._setupstate
    records = item.stash.get(caplog_records_key, {}).get("setup") or ()
    said = Said(
        tuple((kind, text) for _, kind, text in sections if kind in {"stdout", "stderr"}),
        tuple(records),
    )
    sections.clear()

    def setup(each: pytest.Item) -> None:
        __tracebackhide__ = True
        del state.setup
        _say(item.config, said)
        state.setup(each)

    if said.streams or said.records:
        state.setup = setup  # type: ignore[method-assign, assignment]


def say_when_asked(item: pytest.Item, asked: Mapping[str, Said]) -> None:
    """In the child: the first time that the test asks for a fixture that is there by now, say what
    it said. No hook is called then.
    """
    for name, said in asked.items():
        if (fixturedef := asked_fixture(item, name)) is not None:
            fixturedef.execute = functools.partial(
                _say_and_execute, fixturedef, fixturedef.execute, item.config, said
            )


def _say_and_execute(
    fixturedef: Any,  # noqa: ANN401
    execute: Callable[..., object],
    config: pytest.Config,
    said: Said,
    *args: Any,  # noqa: ANN401
    **more: Any,  # noqa: ANN401
) -> object:
    __tracebackhide__ = True
    fixturedef.execute = execute
    _say(config, said)
    return execute(*args, **more)


@contextlib.contextmanager
def apart(item: pytest.Item, into: Callable[[Said], object]) -> Iterator[None]:
    """While a part of a set-up runs that another process has to tell of: keep what is captured and
    logged apart from what was before.
    """
    sections, kept = item._report_sections, item.stash.get(caplog_records_key, {})
    before, records = len(sections), kept.get("setup")
    try:
        yield
    finally:
        said = tuple(
            (kind, text) for _, kind, text in sections[before:] if kind in {"stdout", "stderr"}
        )
        del sections[before:]
        kept = item.stash.get(caplog_records_key, {})
        into(Said(said, tuple(kept.get("setup") or ())))
        if records is None:
            kept.pop("setup", None)
        else:
            kept["setup"] = records


def _say(config: pytest.Config, said: Said) -> None:
    """Say it again, to whatever captures and logs now."""
    for name, text in said.streams:
        stream = getattr(sys, name)
        if hasattr(stream, "_other"):  # --capture=tee-sys, which has let it be heard
            super(type(stream), stream).write(text)
        else:
            stream.write(text)
    plugin: Any = config.pluginmanager.getplugin("logging-plugin")
    for record in said.records:
        for handler in (plugin.caplog_handler, plugin.report_handler):
            if record.levelno >= handler.level:
                handler.handle(record)


@contextlib.contextmanager
def only_shared(
    item: pytest.Item, fresh: Container[str], asked: str | None = None
) -> Iterator[None]:
    """While the hook of a set-up is called: have pytest's runner set up what is shared, in its
    place among everybody's hooks.

    Of all that is captured and logged meanwhile, only what that does stays.
    """
    state, sections = item.session._setupstate, item._report_sections
    before, heard = len(sections), _Heard(item.config)

    def setup(_: pytest.Item) -> None:
        with heard.listening():
            set_up_shared(item, fresh, asked)

    state.setup = setup  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del state.setup
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        sections[before:] = [("setup", kind, text) for kind, text in heard.said.items() if text]
        heard.close()


class _Silence:
    """Without what Python prints while pytest's capture is suspended, as it is around its own hook
    of a phase, to streams that it keeps.
    """

    def __init__(self, config: pytest.Config) -> None:
        capturing = global_capture(config)
        found = [getattr(capturing, name, None) for name in ("out", "err")]
        streams: list[Any] = [getattr(stream, "syscapture", stream) for stream in found]
        self._kept = [(stream, stream._old) for stream in streams if hasattr(stream, "_old")]
        self._nowhere = io.StringIO()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        for stream, old in self._kept:
            self._turn(stream, old, self._nowhere)
        try:
            yield
        finally:
            for stream, old in self._kept:
                self._turn(stream, self._nowhere, old)

    @staticmethod
    def _turn(stream: Any, before: object, behind: object) -> None:  # noqa: ANN401 - of a class that cannot be named
        stream._old = behind
        if getattr(sys, stream.name) is before:
            setattr(sys, stream.name, behind)


class _Heard:
    """What was said while somebody listened, and nothing of what was said besides.

    Private are the streams of pytest's logging.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.said: dict[str, str] = {}
        self._capture: Any = (
            config.pluginmanager.getplugin("capturemanager") if captures(config) else None
        )
        self._logging: Any = config.pluginmanager.getplugin("logging-plugin")
        self._silence = _Silence(config)
        self._quiet = contextlib.ExitStack()
        self._be_quiet()

    def _be_quiet(self) -> None:
        self._quiet.enter_context(quietly() if self._capture is None else self._silence.held())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        self._quiet.close()
        if self._capture is not None:
            self._capture.read_global_capture()
        if self._logging is not None:
            self._logging.caplog_handler.records.clear()
            self._logging.caplog_handler.stream.truncate(0)
            self._logging.report_handler.reset()
        try:
            yield
        finally:
            if self._capture is not None:
                self.said["stdout"], self.said["stderr"] = self._capture.read_global_capture()
            if self._logging is not None:
                self.said["log"] = self._logging.report_handler.stream.getvalue().strip()
            self._be_quiet()

    def close(self) -> None:
        self._quiet.close()
