"""What pytest captures into its own memory, written a second time to where it outlives
the process.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_isolate._pytest.capture import global_capture
from pytest_isolate._sandbox.mirror import Mirror


class _Recorded(io.StringIO):
    """What pytest's handler of log records writes a phase's records to, with a second place for
    them.
    """

    def __init__(self, mirror: Mirror, text: str = "") -> None:
        super().__init__()
        self._mirror = mirror
        mirror.clear()
        if text:
            self.write(text)

    def write(self, text: str) -> int:
        self._mirror.write(text)
        return super().write(text)


def kept_in_memory(config: pytest.Config) -> dict[str, Any]:
    """Return what pytest captures into its own memory, by the name in a report's section ("log"),
    and the object that holds it.

    It is lost with the process, and there is no public way to have it kept elsewhere.
    """
    found = {}
    if (
        handler := getattr(config.pluginmanager.getplugin("logging-plugin"), "report_handler", None)
    ) is not None:
        found["log"] = handler
    capturing = global_capture(config)
    for name, stream in (
        ("stdout", getattr(capturing, "out", None)),
        ("stderr", getattr(capturing, "err", None)),
    ):
        if stream is not None and not hasattr(stream, "targetfd"):  # --capture=sys
            found[name] = stream.tmpfile
    return found


def mirror(config: pytest.Config, mirrors: Mapping[str, Mirror]) -> None:
    """In the child: have it written to these too, from what is there already on."""
    for name, holder in kept_in_memory(config).items():
        if name == "log":
            _mirror_records(holder, mirrors[name])
        else:
            _mirror_stream(holder, mirrors[name])


def _mirror_records(handler: Any, mirror: Mirror) -> None:  # noqa: ANN401 - of a class that cannot be named
    """``LogCaptureHandler.reset`` begins a phase, with a new stream."""
    reset = handler.reset

    def reset_both() -> None:
        reset()
        handler.stream = _Recorded(mirror)

    handler.stream = _Recorded(mirror, handler.stream.getvalue())
    handler.reset = reset_both


def _mirror_stream(stream: Any, mirror: Mirror) -> None:  # noqa: ANN401 - of a class that cannot be named
    """``SysCapture.snap`` ends a phase, and truncates its stream."""
    write, truncate = stream.write, stream.truncate

    def write_both(text: str) -> int:
        mirror.write(text)
        written: int = write(text)
        return written

    def truncate_both(*size: int) -> int:
        mirror.clear()
        left: int = truncate(*size)
        return left

    mirror.write(stream.getvalue())
    stream.write, stream.truncate = write_both, truncate_both
