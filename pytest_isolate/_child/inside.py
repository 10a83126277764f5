"""pytest's side of the forked child: what a copy of a running pytest must stop doing, and how it
reports.

Nothing here decides anything. The child runs pytest's own code from the point of the fork on and
forwards what the hooks say; the parent judges.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_isolate._child import last_words
from pytest_isolate._child.debugger import refuse_without_person
from pytest_isolate._child.denials import Denials, Events
from pytest_isolate._child.group import Command, next_command
from pytest_isolate._child.reporting import Line, Reporting, meter_of_links
from pytest_isolate._child.wider import Wider
from pytest_isolate._child.words import MOST_LOST
from pytest_isolate._config.networking import Networking
from pytest_isolate._config.patterns import Paths
from pytest_isolate._forking.dump_later import dump_later
from pytest_isolate._forking.timers import Stopped
from pytest_isolate._messages import allure, carried
from pytest_isolate._messages.coverage import Measuring
from pytest_isolate._messages.played import Played
from pytest_isolate._messages.reruns import count_attempts
from pytest_isolate._pytest import (
    capture,
    fixtures,
    hook_calls,
    junit,
    logs,
    mirroring,
    setup_state,
)
from pytest_isolate._sandbox.entry import Before, processor_time
from pytest_isolate._sandbox.frames import Frame, Writer
from pytest_isolate._sandbox.mirror import Mirror
from pytest_isolate._sandbox.supervisor import STACK_SIGNAL
from pytest_isolate._verdict.allocations import answer_alarm

if TYPE_CHECKING:
    from pytest_isolate._network.statistics import Meter

# Bound before a test can replace them.
_exit, _getpid, _close = os._exit, os.getpid, os.close
_write, _monotonic, _processor_time = os.write, time.monotonic, processor_time


class Inside:
    """The child, from its fork to its end."""

    def __init__(
        self, item: pytest.Item, writer: Writer, private: int, events: Events, commands: int
    ) -> None:
        self._item = item
        self._line = Line(writer)
        self._denials = Denials(private, events, writer.fd)
        self._reporting = Reporting(self._line, self._denials)
        self._commands = commands  # where pytest says which test is next; -1 when there is none
        self._pid = _getpid()
        self._base_memory = 0
        self._before: Before | None = None  # what the sandbox cost, for the first test in it
        self._traces = False  # whether tracemalloc knows which lines allocated
        self._properties = 0  # of the whole suite, in JUnit's file, before this test
        self.door: Writer | None = None  # by which it says once that it is inside
        self.ended = -1  # a pipe that wakes pytest, which does not look at each frame as it comes
        self.measuring: Measuring | None = None
        self.mirrors: dict[str, Mirror] = {}  # of what this process keeps in its memory
        self.lost: list[tuple[str, int]] = []  # what was open and could not be opened anew, and why
        self.debuggable = True  # else no word of the test stops its clock
        self._meter: Meter | None = None  # of its links, where it has hosts of its own
        # Says that a shell is wanted, and comes back when it has been left; None where none is
        self.waits_for_shell: Callable[[Callable[[Frame], None], str], None] | None = None
        self.wider = Wider()
        self._phase: str | None = "setup"  # of the test; None once an attempt of it is over
        # Goes on with the numbers that shared fixtures drew, where hooks seed them
        self.random: Callable[[], None] | None = None
        self.attempts = 0  # of this test, before this process
        self.unsaid = contextlib.ExitStack()  # what a rehearsal prints uncaptured
        self._stops_early = False  # the session was to end before the test's teardown began
        self.played: Played | None = None  # whose hooks in pytest want to know what was raised
        self._allure: allure.Telling | None = None
        self.allowed: Paths | None = None  # all that it may change

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
        self.wider.forget(self._item, all_fresh=fresh)
        hook_calls.give_back_protocol(self._item.config)
        hook_calls.redirect_hooks(self._item.config, hooks, hook_calls.FORWARDED)
        if self.attempts:
            count_attempts(self._item, self.attempts)
        if self.wider.rehearses:
            self.unsaid.enter_context(capture.printed_later())
            setup_state.before_setup_of_collectors(self._item, self.need)
        self.wider.say(self._item)
        if logs.has_shown_live_logs(self._item.config):
            logs.continue_live_logs(self._item.config, "setup")
        mirroring.mirror(self._item.config, self.mirrors)
        if self.measuring is not None:
            self.measuring.begin()
        self._listen(networking, watches_denials=watches_denials)
        self._before, self._base_memory = before, before.memory
        self._traces = answer_alarm(self._line.send)
        self._allure = allure.telling(self._item.config, self._line.writer.send)
        self._reporting.mirrors = self.mirrors
        self._reporting.tells_unsaid = self.played is not None
        self._reporting.tells_raised = self.played is not None or self._allure is not None
        self._meter = None if networking.topology is None else meter_of_links()
        self._enter()

    def _listen(self, networking: Networking, *, watches_denials: bool) -> None:
        """Hear of what is denied, and of who did what only the kernel tells otherwise."""
        if watches_denials:
            self._denials.watch()
        if networking.denies:
            self._denials.count_attempts()
        root = str(self._item.config.rootpath)
        self._reporting.listen(root, self.allowed, has_network=networking.is_own)

    def _enter(self) -> None:
        self._properties = junit.count_properties(self._item.config)
        frame: Frame = {"kind": "entered", "pid": _getpid(), "traces": self._traces}
        frame["base"] = self._base_memory
        if self.lost:
            frame["lost"], self.lost = self.lost[:MOST_LOST], []
        # The last words of our own code: what follows is the test's, which could say anything
        if self._before is not None:
            frame |= {"at": _monotonic(), "processor": self._before.processor()}
            self._before = None
        if self.door is None:  # a further test of this process
            self._line.writer.send(frame)
            return
        self.door.send(frame)
        _close(self.door.fd)
        self.door = None

    def forward_report(self, report: pytest.TestReport) -> None:
        """Forward a report with what was denied up to here.

        What fails in here is ours, and no internal error of pytest's.
        """
        self._reporting.forward(self._item, report)

    def forward_warning(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: object
    ) -> None:
        """Forward a warning."""
        self._line.send_warning(warning_message, when, nodeid, location)

    def begin_report(self, call: pytest.CallInfo[None]) -> None:
        """Before a report is made."""
        self._reporting.is_kept_back = True
        self.unsaid.close()
        if call.when == "setup":
            carried.complete_setup(self._item)

    def unheard(self) -> contextlib.AbstractContextManager[object]:
        """While hooks run that pytest calls again (``_messages.played``): what they print, they
        print there.
        """
        return contextlib.nullcontext() if self.played is None else capture.quietly()

    def tell_projects(self, name: str, **arguments: object) -> None:
        """Call a hook of those who are told of this test in pytest as well."""
        if self.played is not None:
            with self.unheard():
                self.played.caller(self._item, name)(**arguments)

    def finish_attempt(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell those who hear of it here alone that a test, or an attempt of it, is over."""
        if self._allure is not None:
            self._allure.finish(nodeid, location)

    def see_call(self, call: pytest.CallInfo[None]) -> None:
        """Look for a denial in what a phase raised, and tell of a ``tmp_path`` that was there
        before the fork.
        """
        self._reporting.see_call(call)
        if (path := (fixtures.function_arguments(self._item) or {}).get("tmp_path")) is not None:
            self.tell_tmp_path(path)

    def begin_phase(self, when: str) -> None:
        """Tell where the test is and what it has said so far, where no report of the phase before
        has done that.
        """
        self._phase = None if when == "teardown" or self._phase is None else when
        if when == "teardown":
            self._stops_early = self._wants_end()
        self._reporting.tell_phase(self._item, when)

    def tell_tmp_path(self, path: object) -> None:
        """Tell where the test's ``tmp_path`` is, as soon as it is: a test that is killed tells
        nothing any more.
        """
        self._reporting.tell_tmp_path(path)

    def enter_debugger(self) -> None:
        """Have the clock stopped for a person; without one a debugger would only read the end of
        its input.
        """
        refuse_without_person(self._item.config, debuggable=self.debuggable)
        self._line.send({"kind": "debugger"})

    def offer_shell(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        """Have a person look at what is there, where that was asked for; this process waits."""
        if self.waits_for_shell is not None and _getpid() == self._pid:
            with self._denials.not_counting():
                self.waits_for_shell(self._line.send, getattr(report, "when", None) or "call")

    def tear_down(self) -> None:
        """Finalize what this child set up by itself on wider scopes, when no further test of it may
        use that.
        """
        if self._commands < 0:
            setup_state.tear_down_rest(self._item.session)

    def begin_fixture(self, fixturedef: pytest.FixtureDef[object]) -> None:
        """Wider ones are pytest's to set up: those of the test's closure, and where it can begin
        anew those that it asks for.
        """
        running = self._phase is not None and _getpid() == self._pid
        waits, rehearsed = self.wider.has_to_wait(self._item, fixturedef, running=running)
        if waits:
            self.need(fixturedef.argname, None if rehearsed else self._phase)
        self.unsaid.close()
        if self.random is not None:
            self.random()
            self.random = None

    def need(self, what: str, when: str | None = None) -> NoReturn:
        """Have pytest set up wider fixtures, or the one that the test asked for ``when`` it ran,
        for a child that begins anew.
        """
        self._end_copy()
        self._line.send({"kind": "need", "fixture": what, "when": when})
        self._line.send({"kind": "end"})
        with contextlib.suppress(OSError):  # a hook closed or filled it: then pytest sees by and by
            _write(self.ended, b"\0")
        _exit(0)

    def run(self, nextitem: pytest.Item | None) -> NoReturn:
        """Run the test's protocol, with everybody's hooks, and end."""
        raised: BaseException | None = None
        config = self._item.config
        has_timer = (
            config.pluginmanager.hasplugin("faulthandler")
            and float(config.getini("faulthandler_timeout") or 0) > 0
        )
        if has_timer:  # set with the protocol
            dump_later.gone_by = self.wider.seconds
        try:
            self._item.config.hook.pytest_runtest_protocol(item=self._item, nextitem=nextitem)
        except BaseException as error:  # noqa: BLE001 - said to pytest, which raises it
            raised = error
        self.finish(raised)

    def finish(self, raised: BaseException | None) -> NoReturn:
        """Say the end and leave, without the parent's exit handlers; before that, run the other
        tests of the group. Never returns.
        """
        try:
            self._say_end(raised)
            # one that wanted to end the run is the last of its group, and pytest waits for it to
            # leave
            while (
                raised is None
                and self._commands >= 0
                and (command := next_command(self._commands)) is not None
            ):
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
        self.wider.go_on()
        self._stops_early = False
        self._reporting.begin_anew()
        if self._meter is not None:
            self._meter.begin()
        if not command.goes_on:
            if self.waits_for_shell is None:
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
        """End a fork that the test made and did not end: it has nothing to say, and the further
        tests are not its own.
        """
        if _getpid() != self._pid:
            _exit(0)

    def _say_end(self, raised: BaseException | None) -> None:
        self._end_copy()
        last_words.say_what_was_raised(self._line, raised)
        last_words.say_stop(
            self._line, self._item.session, self._reporting, early=self._stops_early
        )
        last_words.flush(self._item.config)
        properties, attributes = junit.said(self._item, self._properties)
        if properties or attributes:
            self._line.send({"kind": "junit", "properties": properties, "attributes": attributes})
        last_words.tell_coverage(self._line, self._item, self.measuring)
        if self._meter is not None:
            # A test closed what was open for it: then nobody knows
            with contextlib.suppress(OSError):
                self._line.send({"kind": "links", "links": self._meter.as_json()})
        self._line.send({"kind": "end", "live": logs.has_shown_live_logs(self._item.config)})
        _processor_time()  # so that what it used is accounted for before pytest looks
        with contextlib.suppress(OSError):  # a test closed or filled it: then pytest sees by and by
            _write(self.ended, b"\0")

    def _wants_end(self) -> bool:
        return last_words.wants_end(self._item.session, self._reporting)
