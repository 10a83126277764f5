"""In a test's process: what it says of its own end."""

from __future__ import annotations

import contextlib
import sys
import traceback
from functools import partial

import pytest

from pytest_isolate._child.reporting import Line, Reporting
from pytest_isolate._child.words import LARGEST_TEXT, shortened, stack_of, text_of
from pytest_isolate._messages.coverage import Measuring
from pytest_isolate._pytest import logs


def say_what_was_raised(line: Line, raised: BaseException | None) -> None:
    """Tell what came out of the test's protocol, which pytest raises for it."""
    if isinstance(raised, pytest.exit.Exception):
        message = shortened(text_of(raised.msg), LARGEST_TEXT >> 4)
        line.send(
            {
                "kind": "raised",
                "what": "exit",
                "message": message,
                "returncode": raised.returncode,
            }
        )
    elif isinstance(raised, KeyboardInterrupt):
        message = shortened(text_of(raised), LARGEST_TEXT >> 4)
        line.send(
            {
                "kind": "raised",
                "what": "interrupt",
                "message": message,
                "stack": stack_of(raised),
            }
        )
    elif raised is not None:
        text = "".join(traceback.format_exception(raised))
        line.send({"kind": "raised", "what": "internal", "message": shortened(text)})


def wants_end(session: pytest.Session, reporting: Reporting) -> bool:
    """Whether the test itself has said that the session is to end; what comes of ``--maxfail``
    pytest finds by itself.
    """
    return bool(
        session.shouldstop or (session.shouldfail and session.shouldfail is not reporting.own_stop)
    )


def say_stop(line: Line, session: pytest.Session, reporting: Reporting, *, early: bool) -> None:
    """Tell what the test made of the session; ``early``: before its teardown began."""
    if not wants_end(session, reporting):
        return
    shouldfail = None if session.shouldfail is reporting.own_stop else session.shouldfail
    line.send(
        {
            "kind": "stop",
            "shouldstop": str(session.shouldstop or ""),
            "shouldfail": str(shouldfail or ""),
            "early": early,
        }
    )


def flush(config: pytest.Config) -> None:
    """Have what was written reach its files."""
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        # Whatever a test put there, a closed file or a number: it holds nothing of ours
        with contextlib.suppress(Exception):
            getattr(sys, name).flush()
    for stream in logs.debug_trace(config):
        with contextlib.suppress(OSError, ValueError):  # a test closed it
            stream.flush()


def tell_coverage(line: Line, item: pytest.Item, measuring: Measuring | None) -> None:
    """Tell what was measured, or that it is lost."""
    if measuring is None:
        return
    try:
        measuring.tell(line.send, partial(line.warn, item))
    except Exception as error:  # noqa: BLE001 - a lost measurement is not the test's failure, but it is said
        line.warn(
            item,
            f"the coverage of {item.nodeid} is lost: {type(error).__name__}: {error}",
            pytest.PytestWarning,
        )
