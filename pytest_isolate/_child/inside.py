"""pytest's side of the forked child: what a copy of a running pytest must stop doing, and how it reports.

Nothing here decides anything. The child runs pytest's own code from the point of the fork on and forwards what the
hooks say; the parent judges.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import io
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_isolate._child.group import Command, next_command
from pytest_isolate._config.networking import Networking
from pytest_isolate._forking.dump_later import dump_later
from pytest_isolate._forking.timers import Stopped
from pytest_isolate._linux.proc_net import NetworkCounters
from pytest_isolate._messages import allure, carried
from pytest_isolate._messages.coverage import Measuring
from pytest_isolate._messages.mend import without_ours
from pytest_isolate._messages.played import Played
from pytest_isolate._messages.reruns import count_attempts
from pytest_isolate._pytest import capture, fixtures, hook_calls, junit, logs, mirroring, serialization, setup_output, setup_state
from pytest_isolate._sandbox.entry import Before, processor_time
from pytest_isolate._sandbox.frames import LARGEST_FRAME, Frame, Writer
from pytest_isolate._sandbox.mirror import Mirror
from pytest_isolate._sandbox.watch import STACK_SIGNAL
from pytest_isolate._verdict.allocations import answer_alarm
from pytest_isolate._verdict.network_attempts import Recorder
from pytest_isolate._verdict.thread_stacks import MOST_FRAMES, is_pytests_own

if TYPE_CHECKING:
    from pytest_isolate._network.statistics import Meter

# Bound before a test can replace them.
_exit, _getpid, _close, _dup, _pread, _fstatvfs = os._exit, os.getpid, os.close, os.dup, os.pread, os.fstatvfs
_write, _monotonic, _processor_time = os.write, time.monotonic, processor_time
FORWARDED = ("pytest_runtest_logstart", "pytest_runtest_logreport", "pytest_runtest_logfinish", "pytest_warning_recorded")
_DENIED = {errno.ENOSPC: "ENOSPC", errno.EDQUOT: "ENOSPC", errno.EMFILE: "EMFILE"}
_LARGEST_TEXT = 4 << 20  # characters of one report's section; what is more is left out in the middle
_SMALLEST_TEXT = 1 << 10
_MOST_LOST = 20
_MOST_CLASSES, _DEEPEST = 20, 3  # of an exception's bases that are told, and of groups in groups
_MOST_SECTIONS = 9  # of one attempt: three of each phase
_SCALARS = (bool, int, float, str)
_MOST_BITS = 2048  # of a number: a Python may be told to write and read no more than 640 decimal digits, by default 4300
_MONITORING_TOOL = 4  # sys.monitoring's numbers 0 to 2 and 5 have names, 4 is free

#: What the control groups count as denied: a kind of violation -> an open file of the group and the word before its count.
#: Opened before the groups went out of sight. Only used to say in which phase it was.
Events = dict[str, tuple[int, str]]


class Inside:
    """The child, from its fork to its end."""

    def __init__(self, item: pytest.Item, writer: Writer, private: int, events: Events, commands: int) -> None:
        self._item = item
        self._writer = writer
        self._private = private  # any descriptor on the private file system
        self._events = events
        self._commands = commands  # where pytest says which test is next; -1 when there is none
        self._pid = _getpid()
        self._base_memory = 0
        self._before: Before | None = None  # what the sandbox cost; None from the second test in it on
        self._traces = False  # whether tracemalloc knows which lines allocated
        self._properties = 0  # of the whole suite, in JUnit's file, before this test
        self._seen: set[str] = set()
        self.door: Writer | None = None  # by which it says once that it is inside
        self.ended = -1  # a pipe that wakes pytest, which does not look at each frame as it comes
        self.measuring: Measuring | None = None
        self.mirrors: dict[str, Mirror] = {}  # of what this process keeps in its memory
        self.lost: list[tuple[str, int]] = []  # what was open and could not be opened anew, and why
        self.debuggable = True  # else no word of the test stops its clock
        self._meter: Meter | None = None  # of its links, where it has hosts of its own
        self._attempts: Recorder | None = None  # on a network of its own
        self._network_before = 0
        self._network = NetworkCounters()  # of it, where an attempt is a violation
        self._told_tmp_path = False
        self._unsaid = False  # whether a plugin keeps reports of this attempt until it is over
        self.rehearses = False  # whether pytest sets up the wider fixtures of this test when it comes to the first
        self.asks = False  # whether pytest sets up a wider fixture that the test asks for while it runs
        self.requested: dict[str, setup_output.Said] = {}  # those that it has, and what they said
        self._phase: str | None = "setup"  # of the test; None once an attempt of it is over
        self.shared_seconds = 0.0  # of the test's set-up, in pytest
        self.shared_error: BaseException | None = None  # that pytest had in it
        self.random: Callable[[], None] | None = None  # goes on with the numbers that shared fixtures drew, where hooks seed them
        self.wider: Collection[pytest.FixtureDef[object]] = ()  # fixtures that pytest has set up
        self.fresh: frozenset[str] = frozenset()  # names of wider fixtures that are set up in here
        self.attempts = 0  # of this test, before this process
        self.unsaid = contextlib.ExitStack()  # what is printed uncaptured as long as this may be a rehearsal
        self._stops_early = False  # the session was to end before the test's teardown began
        self.played: Played | None = None  # whose hooks in pytest want to know what was raised
        self._raised_in: tuple[str, Frame] | None = None  # a phase, and what it raised
        self._allure: allure.Telling | None = None
        self._own_stop: object = False  # the session's ``shouldfail`` as --maxfail made it in here

    def begin(
        self,
        hooks: object,
        stacks: int,
        before: Before,
        timers: Stopped,
        *,
        fresh: bool,
        watches_denials: bool,
        networking: Networking,
    ) -> None:
        """Turn this copy of the parent into a child that reports to it."""
        faulthandler.enable(file=stacks, all_threads=True)
        faulthandler.register(STACK_SIGNAL, file=stacks, all_threads=True)
        signal.set_wakeup_fd(-1)
        timers.start_inside()
        if fresh:
            setup_state.forget_shared_fixtures(self._item, self.wider)
        else:
            setup_state.forget_parents_finalizers(self._item)
            setup_state.forget_fixtures(each for each in self.wider if each.argname in self.fresh)
        hook_calls.give_back_protocol(self._item.config)
        hook_calls.redirect_hooks(self._item.config, hooks, FORWARDED)
        if self.attempts:
            count_attempts(self._item, self.attempts)
        if self.rehearses:
            self.unsaid.enter_context(_printed_later())
            setup_state.before_setup_of_collectors(self._item, self.need)
        setup_output.say_when_asked(self._item, self.requested)
        if self.shared_error is not None:
            setup_state.raise_whole(self.shared_error, without_ours)
        setup_output.say_at_setup(self._item)
        if logs.has_shown_live_logs(self._item.config):
            logs.continue_live_logs(self._item.config, "setup")
        mirroring.mirror(self._item.config, self.mirrors)
        if self.measuring is not None:
            self.measuring.begin()
        if watches_denials:
            self._watch_denials()
        if networking.is_own:
            self._attempts = Recorder(str(self._item.config.rootpath))
            self._attempts.tell_tries = lambda port: self._send({"kind": "tries", "port": port})
        if networking.denies:
            self._network = NetworkCounters.open("/proc")
        self._before, self._base_memory = before, before.memory
        self._traces = answer_alarm(self._send)
        self._allure = allure.telling(self._item.config, self._writer.send)
        self._meter = None if networking.topology is None else _meter()
        self._enter()

    def _enter(self) -> None:
        self._properties = junit.count_properties(self._item.config)
        frame: Frame = {"kind": "entered", "pid": _getpid(), "base": self._base_memory, "traces": self._traces}
        if self.lost:
            frame["lost"], self.lost = self.lost[:_MOST_LOST], []
        if self._before is not None:  # the last words of our own code: what follows is the test's, which could say anything
            frame |= {"at": _monotonic(), "processor": self._before.processor()}
            self._before = None
        if self.door is None:  # a further test of this process
            self._writer.send(frame)
            return
        self.door.send(frame)
        _close(self.door.fd)
        self.door = None

    def forward_report(self, report: pytest.TestReport) -> None:
        """Forward a report with what was denied up to here. What fails in here is ours, and no internal error of pytest's."""
        try:
            self._forward(report)
        except Exception as error:  # noqa: BLE001 - whatever a test replaced or closed that is needed here
            try:
                self._writer.send({"kind": "lost", "message": f"{type(error).__name__}: {error}"})
            finally:
                _exit(1)

    def _forward(self, report: pytest.TestReport) -> None:
        longest = _LARGEST_TEXT
        sections = list(report.sections) if isinstance(report, pytest.TestReport) else []
        self._look()
        if self._attempts is not None and (attempts := self._attempts.as_json()):
            self._send({"kind": "network", "attempts": attempts})
        while True:
            report.sections = [(name, _shortened(text, longest)) for name, text in sections]
            try:
                self._writer.send(self._report_frame(report))
                break
            except ValueError as error:  # too large: text that JSON escapes is up to twelve times as long
                longest //= 2
                if longest < _SMALLEST_TEXT:
                    self._writer.send({"kind": "oversized", "message": str(error)})
                    break
                if isinstance(report, pytest.TestReport) and report.failed:  # a comparison of megabytes is in it
                    report.longrepr = _shortened(report.longreprtext, longest)
        session = self._item.session
        if type(report) is pytest.TestReport:
            self._unsaid = False
        if (log := self.mirrors.get("log")) is not None and type(report) is pytest.TestReport:
            log.clear()  # it is in the report
        if not session.shouldfail:
            session.pytest_runtest_logreport(report)  # counts failures for --maxfail, which ends a test between two subtests
            self._own_stop = session.shouldfail

    def _report_frame(self, report: pytest.TestReport) -> Frame:
        data = self._item.config.hook.pytest_report_to_serializable(config=self._item.config, report=report)
        when = getattr(report, "when", None)
        frame: Frame = {"kind": "report", "when": when, "report": _plain(data), "seen": sorted(self._seen), **carried.beside(report)}
        if self.played is not None:
            frame["unsaid"] = sorted(str(name) for name, value in data.items() if not _is_plain(value))[:_MOST_LOST]
        if hasattr(report.longrepr, "toterminal") and isinstance(data.get("longrepr"), str):
            frame["drawn"] = True  # an item's own way to show a failure, which serializes as its text
        if self._raised_in is not None and self._raised_in[0] == when:
            frame["raised"] = self._raised_in[1]
        if type(report) is not pytest.TestReport:
            frame["failed_subtests"] = serialization.count_failed_subtests(self._item)
        return frame

    def forward_warning(self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: object) -> None:
        """Forward a warning as text and names; the parent never makes an object of a class that it does not know."""
        category = warning_message.category
        self._send({
            "kind": "warning", "message": _shortened(_text(warning_message.message), _LARGEST_TEXT >> 4), "module": category.__module__,
            "category": category.__qualname__, "filename": warning_message.filename, "lineno": warning_message.lineno,
            "when": when, "nodeid": nodeid, "location": _plain(location),
        })  # fmt: skip

    def begin_report(self, call: pytest.CallInfo[None]) -> None:
        """Before a report is made."""
        self._unsaid = True
        self.unsaid.close()
        if call.when == "setup":
            carried.complete_setup(self._item)

    def unheard(self) -> contextlib.AbstractContextManager[object]:
        """While hooks run that pytest calls again (``_messages.played``): what they print, they print there."""
        if self.played is None:
            return contextlib.nullcontext()
        nowhere = contextlib.ExitStack()
        nowhere.enter_context(contextlib.redirect_stdout(io.StringIO()))
        nowhere.enter_context(contextlib.redirect_stderr(io.StringIO()))
        return nowhere

    def tell_projects(self, name: str, **arguments: object) -> None:
        """Call a hook of those who are told of this test in pytest as well."""
        if self.played is not None:
            with self.unheard():
                self.played.caller(self._item, name)(**arguments)

    def finish_attempt(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """A test, or an attempt of it, is over for those who hear of it here alone."""
        if self._allure is not None:
            self._allure.finish(nodeid, location)

    def see_call(self, call: pytest.CallInfo[None]) -> None:
        """Look for a denial in what a phase raised, as the hooks left it, and tell of a ``tmp_path`` that was there before the fork."""
        self._raised_in = None
        if call.excinfo is not None:
            if self.played is not None or self._allure is not None:
                self._raised_in = call.when, _told(call.excinfo.value)
            if self._attempts is not None and _refused(call.excinfo.value):
                if self._attempts.refused_port is not None:
                    self._send({"kind": "refused", "port": self._attempts.refused_port})
                elif self._attempts.refused_path is not None:
                    self._send({"kind": "refused_path", "path": self._attempts.refused_path})
            self._see(call.excinfo.value, set())
        if (path := (fixtures.function_arguments(self._item) or {}).get("tmp_path")) is not None:
            self.tell_tmp_path(path)

    def begin_phase(self, when: str) -> None:
        """Tell where the test is and what it has said so far, where no report of the phase before has done that."""
        self._phase = None if when == "teardown" or self._phase is None else when
        if when == "teardown":
            self._stops_early = self._wants_end()
        if self._unsaid:
            said = capture.report_sections(self._item)
            sections = [(f"Captured {kind} {phase}", _shortened(text, _LARGEST_TEXT >> 4)) for phase, kind, text in said[-_MOST_SECTIONS:]]
            self._send({"kind": "phase", "when": when, "sections": sections})

    def tell_tmp_path(self, path: object) -> None:
        """Tell where the test's ``tmp_path`` is, as soon as it is: a test that is killed tells nothing any more."""
        if not self._told_tmp_path:
            self._told_tmp_path = True
            self._send({"kind": "tmp_path", "path": str(path)})

    def enter_debugger(self) -> None:
        """Have the clock stopped for a person; without one a debugger would only read the end of its input."""
        if not self.debuggable:
            pytest.fail("isolate: a test of profile='strict' has no debugger, for it would stop the clock of its timeout", pytrace=False)
        if not capture.has_terminal(self._item.config):
            pytest.fail(
                "isolate: breakpoint() in an isolated test needs a terminal, and the standard input of this pytest is none: "
                "run it in a terminal, or plain with --isolate-off",
                pytrace=False,
            )
        self._send({"kind": "debugger"})

    def tear_down(self) -> None:
        """Finalize what this child set up by itself on wider scopes, when no further test of it may use that."""
        if self._commands < 0:
            setup_state.tear_down_rest(self._item.session)

    def begin_fixture(self, fixturedef: pytest.FixtureDef[object]) -> None:
        """Wider ones are pytest's to set up: those of the test's closure, and where it can begin anew those that it asks for."""
        name = fixturedef.argname
        if name not in self.fresh and fixtures.is_shared(self._item, fixturedef):
            is_foreseen = fixtures.is_in_closure(self._item, name)
            if self.rehearses and is_foreseen:
                self.need(name)
            if self.asks and not is_foreseen and name not in self.requested and self._phase is not None and _getpid() == self._pid:
                self.need(name, self._phase)
        self.unsaid.close()
        if self.random is not None:
            self.random()
            self.random = None

    def need(self, what: str, when: str | None = None) -> NoReturn:
        """Have pytest set up wider fixtures, or the one that the test asked for ``when`` it ran, for a child that begins anew."""
        self._end_copy()
        self._send({"kind": "need", "fixture": what, "when": when})
        self._send({"kind": "end"})
        with contextlib.suppress(OSError):  # a hook closed or filled it: then pytest sees by and by
            _write(self.ended, b"\0")
        _exit(0)

    def run(self, nextitem: pytest.Item | None) -> NoReturn:
        """Run the test's protocol, with everybody's hooks, and end."""
        raised: BaseException | None = None
        config = self._item.config
        if (
            config.pluginmanager.hasplugin("faulthandler") and float(config.getini("faulthandler_timeout") or 0) > 0
        ):  # set with the protocol
            dump_later.gone_by = self.shared_seconds
        try:
            self._item.config.hook.pytest_runtest_protocol(item=self._item, nextitem=nextitem)
        except BaseException as error:  # noqa: BLE001 - said to pytest, which raises it
            raised = error
        self.finish(raised)

    def finish(self, raised: BaseException | None) -> NoReturn:
        """Say the end and leave, without the parent's exit handlers; before that, run the other tests of the group. Never returns."""
        try:
            self._say_end(raised)
            # one that wanted to end the run is the last of its group, and pytest waits for it to leave
            while raised is None and self._commands >= 0 and (command := next_command(self._commands)) is not None:
                raised = self._run_next(command)
                self._say_end(raised)
            if self._commands >= 0:  # pytest stops in the middle of the group
                setup_state.tear_down_rest(self._item.session)
        finally:
            _exit(0)

    def _run_next(self, command: Command) -> BaseException | None:
        items = self._item.session.items
        self._item = items[command.test]
        self._item.session.testsfailed = command.failed
        self.rehearses = self.asks = False
        self._seen.clear()
        self._told_tmp_path = self._stops_early = False
        if self._attempts is not None:
            self._attempts.clear()
        if self._meter is not None:
            self._meter.begin()
        self._network_before = self._network.unroutable() or 0
        if not command.goes_on:
            _close(self._commands)
            self._commands = -1
        self._enter()
        try:
            nextitem = items[command.following] if command.following >= 0 else None
            self._item.config.hook.pytest_runtest_protocol(item=self._item, nextitem=nextitem)
        except BaseException as error:  # noqa: BLE001 - said to pytest, which raises it
            return error
        return None

    def _end_copy(self) -> None:
        """A fork that the test made and did not end comes here too: it has nothing to say, and the further tests are not its own."""
        if _getpid() != self._pid:
            _exit(0)

    def _say_end(self, raised: BaseException | None) -> None:
        self._end_copy()
        if isinstance(raised, pytest.exit.Exception):
            self._send(
                {
                    "kind": "raised",
                    "what": "exit",
                    "message": _shortened(_text(raised.msg), _LARGEST_TEXT >> 4),
                    "returncode": raised.returncode,
                }
            )
        elif isinstance(raised, KeyboardInterrupt):
            self._send(
                {
                    "kind": "raised",
                    "what": "interrupt",
                    "message": _shortened(_text(raised), _LARGEST_TEXT >> 4),
                    "stack": _stack_of(raised),
                }
            )
        elif raised is not None:
            text = "".join(traceback.format_exception(raised))
            self._send({"kind": "raised", "what": "internal", "message": _shortened(text)})
        self._send_stop()
        for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
            with contextlib.suppress(Exception):  # whatever a test put there, a closed file or a number: it holds nothing of ours
                getattr(sys, name).flush()
        for stream in logs.debug_trace(self._item.config):
            with contextlib.suppress(OSError, ValueError):  # a test closed it
                stream.flush()
        properties, attributes = junit.said(self._item, self._properties)
        if properties or attributes:
            self._send({"kind": "junit", "properties": properties, "attributes": attributes})
        self._tell_coverage()
        if self._meter is not None:
            with contextlib.suppress(OSError):  # a test closed what was open for it: then nobody knows
                self._send({"kind": "links", "links": self._meter.as_json()})
        self._send({"kind": "end", "live": logs.has_shown_live_logs(self._item.config)})
        _processor_time()  # so that what it used is accounted for before pytest looks
        with contextlib.suppress(OSError):  # a test closed or filled it: then pytest sees by and by
            _write(self.ended, b"\0")

    def _send_stop(self) -> None:
        """Tell what the test itself made of the session; what came of ``--maxfail`` the parent finds by itself."""
        session = self._item.session
        shouldfail = None if session.shouldfail is self._own_stop else session.shouldfail
        if self._wants_end():
            frame: Frame = {"kind": "stop", "shouldstop": str(session.shouldstop or ""), "shouldfail": str(shouldfail or "")}
            self._send(frame | {"early": self._stops_early})

    def _wants_end(self) -> bool:
        session = self._item.session
        return bool(session.shouldstop or (session.shouldfail and session.shouldfail is not self._own_stop))

    def _tell_coverage(self) -> None:
        if self.measuring is None:
            return
        try:
            self.measuring.tell(self._send, self._warn)
        except Exception as error:  # noqa: BLE001 - a lost measurement is not the test's failure, but it is said
            self._warn(f"the coverage of {self._item.nodeid} is lost: {type(error).__name__}: {error}", pytest.PytestWarning)

    def _warn(self, text: str, category: type[Warning]) -> None:
        line = (self._item.location[1] or 0) + 1
        message = warnings.WarningMessage(text, category, str(self._item.path), line)
        self.forward_warning(message, "runtest", self._item.nodeid, None)

    def _send(self, frame: Frame) -> None:
        try:
            self._writer.send(frame)
        except ValueError as error:  # too large: say so rather than lose the test
            self._writer.send({"kind": "oversized", "message": str(error)})

    def _look(self) -> None:
        look = _fstatvfs(self._private)
        if look.f_bfree == 0 or look.f_ffree == 0:
            self._seen.add("ENOSPC")
        if (self._network.unroutable() or 0) > self._network_before:
            self._seen.add("network")
        for kind, (fd, key) in self._events.items():
            words = _pread(fd, 256, 0).decode("ascii").split()
            if int(words[words.index(key) + 1]):
                self._seen.add(kind)

    def _see(self, error: BaseException | None, visited: set[int]) -> None:
        while error is not None and id(error) not in visited:
            visited.add(id(error))
            if isinstance(error, OSError) and error.errno in _DENIED:
                self._seen.add(_DENIED[error.errno])
            for each in getattr(error, "exceptions", ()):
                self._see(each, visited)
            self._see(error.__context__, visited)
            error = error.__cause__

    def _watch_denials(self) -> None:
        """A denial that the test catches is a violation too. The kernel has no counter for these two: watch what is raised."""
        sys.addaudithook(self._before_open)
        if sys.version_info >= (3, 12):
            monitoring = sys.monitoring
            if monitoring.get_tool(_MONITORING_TOOL) is None:
                monitoring.use_tool_id(_MONITORING_TOOL, "pytest-isolate")
                monitoring.register_callback(_MONITORING_TOOL, monitoring.events.RAISE, self._raised)
                monitoring.set_events(_MONITORING_TOOL, monitoring.events.RAISE)

    def _raised(self, code: object, offset: int, error: BaseException) -> None:
        del code, offset
        if isinstance(error, OSError) and error.errno in _DENIED:
            self._seen.add(_DENIED[error.errno])

    def _before_open(self, event: str, arguments: tuple[object, ...]) -> None:
        del arguments
        if event in {"open", "socket.__new__"}:
            try:
                _close(_dup(self._writer.fd))
            except OSError as error:
                if error.errno == errno.EMFILE:
                    self._seen.add("EMFILE")


@contextlib.contextmanager
def _printed_later() -> Iterator[None]:
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


def _meter() -> Meter:
    from pytest_isolate._network import building, statistics  # noqa: PLC0415 - for those who have one

    built = building.built()
    assert built is not None
    return statistics.Meter(built)


def _refused(error: BaseException | None) -> bool:
    """Whether a refused connection is behind an exception, through whatever libraries."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ConnectionRefusedError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _told(error: BaseException, depth: int = 0) -> Frame:
    """An exception in words, with what it is made of where JSON can say that."""
    kind = type(error)
    arguments = list(error.args)
    if isinstance(error, OSError) and len(arguments) == 2 and error.filename is not None:
        arguments.append(error.filename)
    told: Frame = {
        "classes": [[str(each.__module__), str(each.__qualname__)] for each in kind.__mro__[:_MOST_CLASSES]],
        "message": _shortened(_text(error), _LARGEST_TEXT >> 4),
        "arguments": None,
        "stack": [list(place) for place in _stack_of(error)],
        "exceptions": [],
    }
    if all(map(_is_scalar, arguments)) and len(repr(arguments)) < _LARGEST_TEXT >> 4:
        told["arguments"] = arguments
    if depth < _DEEPEST:
        told["exceptions"] = [
            _told(each, depth + 1) for each in getattr(error, "exceptions", ())[:_MOST_LOST] if isinstance(each, Exception)
        ]
    return told


def _stack_of(error: BaseException) -> list[tuple[str, int, str]]:
    """File, line and function of each of its traceback's frames, the innermost last, without pytest's own if there are others."""
    found = [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in traceback.walk_tb(error.__traceback__)]
    return ([place for place in found if not is_pytests_own(place[0])] or found)[-MOST_FRAMES:]


def _shortened(text: str, longest: int = _LARGEST_TEXT) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n... {len(text) - longest} characters left out by pytest-isolate ...\n{text[-half:]}"


def _is_plain(value: object) -> bool:
    """Whether JSON can say it."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return _is_scalar(value)


def _is_scalar(value: object) -> bool:
    """Whether it is one value that Python writes as JSON, and reads again in pytest."""
    return value is None or (isinstance(value, _SCALARS) and not (isinstance(value, int) and int.bit_length(value) > _MOST_BITS))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as unsaid:  # noqa: BLE001 - a class of somebody's
        return hex(value) if isinstance(value, int) else f"<{type(unsaid).__name__} in its __str__>"


def _plain(value: object) -> object:
    """The same as JSON can say it; what it cannot say becomes its text rather than cost the report."""
    if _is_scalar(value):
        return value
    if isinstance(value, dict):
        return {_text(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return _text(value)


assert _LARGEST_TEXT * 3 < LARGEST_FRAME
