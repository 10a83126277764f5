"""From what is known of a test that is over to a judgement, in sentences. Touches nothing."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from pytest_isolate import _violations
from pytest_isolate._config.spec import Spec
from pytest_isolate._config.values import format_duration, plain
from pytest_isolate._errors import StepFailedError
from pytest_isolate._model import Usage
from pytest_isolate._plan.remedies import explain
from pytest_isolate._sandbox.watch import ENTERING_LONGEST
from pytest_isolate._verdict.facts import PHASES, Facts
from pytest_isolate._verdict.rules import RULES, leak_sentence
from pytest_isolate._violations import Violation


@dataclass(frozen=True)
class Verdict:
    """``kind`` is the contract's: ok, violation, crash, timeout or sandbox_error."""

    kind: str
    violations: tuple[Violation, ...]
    usage: Usage
    broken: str | None = None  # why there was no sandbox
    dead_in: str | None = None  # the phase in which the test's process died


def judge(spec: Spec, facts: Facts) -> Verdict:
    """Judge one test.

    What broke the sandbox and what broke the test never meet here: a broken sandbox has no
    violations.
    """
    usage = _usage(facts)
    if (broken := _broken(facts)) is not None:
        return Verdict("sandbox_error", (), usage, broken=broken)
    dead_in = (
        None
        if _is_whole(facts)
        else facts.unsaid or _phase_after(() if facts.again else facts.reported)
    )
    violations = [
        found for rule in RULES if (found := rule.violation(spec, facts, dead_in)) is not None
    ]
    kind = "timeout" if facts.exit.timed_out else "violation" if violations else "ok"
    if dead_in is not None and not violations:
        violations.append(_crash(facts, dead_in))
        kind = "crash"
    if facts.exit.left_over and spec.leaks == "error":
        violations.append(_leak(spec, facts))
        kind = "violation" if kind == "ok" else kind
    return Verdict(kind, tuple(violations), usage, dead_in=dead_in)


def _broken(facts: Facts) -> str | None:
    # Whatever else was seen to fail may have failed for that
    if facts.builder is not None and not _is_whole(facts):
        when = (
            "before the test's own code ran"
            if facts.exit.first("entered") is None
            else "while the test ran"
        )
        return f"{facts.builder} {when}, and every sandbox with it"
    frame = facts.exit.first("broken")
    if frame is not None:
        code = frame.get("errno")
        error = StepFailedError(
            str(frame.get("step")), str(frame.get("path")), code if isinstance(code, int) else 0
        )
        return explain(error, facts.here)
    if facts.exit.first("entered") is None and facts.exit.timed_out:
        return (
            f"the forked process did not get inside within {format_duration(ENTERING_LONGEST)} and"
            f" was killed{_threads(facts)}"
        )
    if facts.exit.first("entered") is None:
        return f"the forked process {_ending(facts.exit.status)} before the test's own code ran"
    return None


def _threads(facts: Facts) -> str:
    """Name what may have hung a fork: a lock that a thread held which the fork does not have is
    never released in it.
    """
    if not facts.threads:
        return ""
    return (
        "; a lock held by a thread of pytest at the fork hangs it for ever: alive were"
        f" {_names(facts.threads)}"
    )


def missing_threads(facts: Facts) -> str | None:
    """For whom a test may have waited until its time was over: a fork has one thread, the one that
    forks.
    """
    if not (facts.exit.timed_out and facts.threads):
        return None
    return (
        f"threads: pytest had {_names(facts.threads)} at the fork, which the test's copy of it"
        " lacks: what waits there for one of them, or for a lock that it held, waits for ever;"
        " fixtures='fresh' starts those of fixtures inside"
    )


def _names(threads: tuple[str, ...]) -> str:
    return ", ".join(map(repr, threads[:_MOST_THREADS])) + (
        f" and {len(threads) - _MOST_THREADS} more" * (len(threads) > _MOST_THREADS)
    )


_MOST_THREADS = 10  # named in one sentence


def _is_whole(facts: Facts) -> bool:
    """Whether everything was said that a test says: an end with its teardown before it, or with
    what ended the whole run.
    """
    finished = PHASES[-1] in facts.reported or facts.exit.first("raised") is not None
    readable = (
        facts.exit.garbled is None
        and facts.unreadable is None
        and not any(map(facts.exit.first, ("oversized", "lost")))
    )
    return facts.exit.ended and finished and readable


def _phase_after(reported: tuple[str, ...]) -> str:
    """Give the phase after the last that was reported: where a test is that no longer speaks."""
    reached = max((PHASES.index(phase) for phase in reported if phase in PHASES), default=-1)
    return PHASES[min(reached + 1, len(PHASES) - 1)]


def _usage(facts: Facts) -> Usage:
    peak = facts.counters.memory_peak
    return Usage(
        wall_seconds=facts.exit.wall_seconds,
        cpu_seconds=_above(facts.counters.cpu_seconds, sum(facts.base_cpu)),
        memory_peak_bytes=None if peak is None else max(0, peak - facts.base_memory),
        pids_peak=facts.counters.pids_peak,
        disk_bytes=(
            None if facts.disk_used is None else max(0, facts.disk_used - (facts.disk_before or 0))
        ),
        io_read_bytes=facts.counters.io_read,
        io_write_bytes=facts.counters.io_write,
        cpu_user_seconds=_above(facts.counters.cpu_user_seconds, facts.base_cpu[0]),
        cpu_system_seconds=_above(facts.counters.cpu_system_seconds, facts.base_cpu[1]),
    )


def _above(seconds: float | None, base: float) -> float | None:
    """Subtract a base: of a kernel that tells user mode and kernel apart by its ticks one of the
    two may be less than that.
    """
    return None if seconds is None else max(0.0, seconds - base)


def _leak(spec: Spec, facts: Facts) -> Violation:
    phase = facts.reported[-1] if facts.reported else PHASES[-1]
    return _violations.ProcessesLeaked(
        "processes",
        leak_sentence(spec, facts.exit),
        phase,
        0,
        max(facts.exit.left_count, len(facts.exit.left_over)),
    )


def _crash(facts: Facts, phase: str) -> Violation:
    if (oversized := facts.exit.first("oversized")) is not None:
        why = (
            "a report of it was lost because it was too large to come over:"
            f" {plain(str(oversized.get('message')))}"
        )
    elif (lost := facts.exit.first("lost")) is not None:
        why = (
            "a report of it was lost, because the test replaced or closed what the child speaks"
            f" by: {plain(str(lost.get('message')))}"
        )
    elif facts.unreadable is not None:
        return _violations.Crashed("crash", f"crash: the test's process {facts.unreadable}", phase)
    elif facts.exit.garbled is not None:
        why = f"what came over its result pipe cannot be read: {facts.exit.garbled}"
    else:
        why = f"it {_ending(facts.exit.status)} in {phase}, before pytest had finished with it"
        if facts.exit.stacks:
            why += "; its Python stack is below"
    return _violations.Crashed("crash", f"crash: the test's process is gone: {why}", phase)


def _ending(status: int | None) -> str:
    if status is None:
        return (
            "ended (how is not known: its status was reaped by another part of this pytest, or by a"
            " helper of ours that was killed)"
        )
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return (
                f"was ended by signal {number} ({signal.Signals(number).name},"
                f" {signal.strsignal(number)})"
            )
        except ValueError:
            return f"was ended by signal {number}"
    code = os.waitstatus_to_exitcode(status)
    return (
        f"left by itself with exit status {code} (os._exit, another program run in its place, or"
        " its descriptors closed)"
    )
