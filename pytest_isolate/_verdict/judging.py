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
from pytest_isolate._sandbox.supervisor import ENTERING_LONGEST
from pytest_isolate._verdict.evidence import PHASES, Evidence
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


def judge(spec: Spec, evidence: Evidence) -> Verdict:
    """Judge one test.

    What broke the sandbox and what broke the test never meet here: a broken sandbox has no
    violations.
    """
    usage = _usage(evidence)
    if (broken := _broken(evidence)) is not None:
        return Verdict("sandbox_error", (), usage, broken=broken)
    dead_in = (
        None
        if _is_whole(evidence)
        else evidence.unsaid or _phase_after(() if evidence.again else evidence.reported)
    )
    violations = [
        found for rule in RULES if (found := rule.violation(spec, evidence, dead_in)) is not None
    ]
    kind = "timeout" if evidence.process.timed_out else "violation" if violations else "ok"
    if dead_in is not None and not violations:
        violations.append(_crash(evidence, dead_in))
        kind = "crash"
    if evidence.process.left_over and spec.leaks == "error":
        violations.append(_leak(spec, evidence))
        kind = "violation" if kind == "ok" else kind
    return Verdict(kind, tuple(violations), usage, dead_in=dead_in)


def _broken(evidence: Evidence) -> str | None:
    # Whatever else was seen to fail may have failed for that
    if evidence.builder is not None and not _is_whole(evidence):
        when = (
            "before the test's own code ran"
            if evidence.process.first("entered") is None
            else "while the test ran"
        )
        return f"{evidence.builder} {when}, and every sandbox with it"
    frame = evidence.process.first("broken")
    if frame is not None:
        code = frame.get("errno")
        error = StepFailedError(
            str(frame.get("step")), str(frame.get("path")), code if isinstance(code, int) else 0
        )
        return explain(error, evidence.here)
    if evidence.process.first("entered") is None and evidence.process.timed_out:
        return (
            "the test's process did not enter its sandbox within"
            f" {format_duration(ENTERING_LONGEST)} and was killed{_threads(evidence)}"
        )
    if evidence.process.first("entered") is None:
        return (
            f"the test's process {_ending(evidence.process.status)} before the test's own code ran"
        )
    return None


def _threads(evidence: Evidence) -> str:
    """Name what may have hung a fork: a lock that a thread held which the fork does not have is
    never released in it.
    """
    if not evidence.threads:
        return ""
    return (
        "; a lock held by a thread of pytest at the fork hangs it for ever: alive were"
        f" {_names(evidence.threads)}"
    )


def missing_threads(evidence: Evidence) -> str | None:
    """For whom a test may have waited until its time was over: a fork has one thread, the one that
    forks.
    """
    if not (evidence.process.timed_out and evidence.threads):
        return None
    return (
        f"threads: pytest had {_names(evidence.threads)} at the fork, which the test's copy of it"
        " lacks: what waits there for one of them, or for a lock that it held, waits for ever;"
        " fixtures='fresh' starts those of fixtures inside"
    )


def _names(threads: tuple[str, ...]) -> str:
    return ", ".join(map(repr, threads[:_MOST_THREADS])) + (
        f" and {len(threads) - _MOST_THREADS} more" * (len(threads) > _MOST_THREADS)
    )


_MOST_THREADS = 10  # named in one sentence


def _is_whole(evidence: Evidence) -> bool:
    """Whether everything was said that a test says: an end with its teardown before it, or with
    what ended the whole run.
    """
    finished = PHASES[-1] in evidence.reported or evidence.process.first("raised") is not None
    readable = (
        evidence.process.garbled is None
        and evidence.unreadable is None
        and not any(map(evidence.process.first, ("oversized", "lost")))
    )
    return evidence.process.ended and finished and readable


def _phase_after(reported: tuple[str, ...]) -> str:
    """Give the phase after the last that was reported: where a test is that no longer speaks."""
    reached = max((PHASES.index(phase) for phase in reported if phase in PHASES), default=-1)
    return PHASES[min(reached + 1, len(PHASES) - 1)]


def _usage(evidence: Evidence) -> Usage:
    peak = evidence.counters.memory_peak
    return Usage(
        wall_seconds=evidence.process.wall_seconds,
        cpu_seconds=_above(evidence.counters.cpu_seconds, sum(evidence.base_cpu)),
        memory_peak_bytes=None if peak is None else max(0, peak - evidence.base_memory),
        pids_peak=evidence.counters.pids_peak,
        disk_bytes=(
            None
            if evidence.disk_used is None
            else max(0, evidence.disk_used - (evidence.disk_before or 0))
        ),
        io_read_bytes=evidence.counters.io_read,
        io_write_bytes=evidence.counters.io_write,
        cpu_user_seconds=_above(evidence.counters.cpu_user_seconds, evidence.base_cpu[0]),
        cpu_system_seconds=_above(evidence.counters.cpu_system_seconds, evidence.base_cpu[1]),
    )


def _above(seconds: float | None, base: float) -> float | None:
    """Subtract a base: of a kernel that tells user mode and kernel apart by its ticks one of the
    two may be less than that.
    """
    return None if seconds is None else max(0.0, seconds - base)


def _leak(spec: Spec, evidence: Evidence) -> Violation:
    phase = evidence.reported[-1] if evidence.reported else PHASES[-1]
    return _violations.ProcessesLeaked(
        "processes",
        leak_sentence(spec, evidence.process),
        phase,
        0,
        max(evidence.process.left_count, len(evidence.process.left_over)),
    )


def _crash(evidence: Evidence, phase: str) -> Violation:
    if (oversized := evidence.process.first("oversized")) is not None:
        why = (
            "its process lost a report, which was too large to come over:"
            f" {plain(str(oversized.get('message')))}"
        )
    elif (lost := evidence.process.first("lost")) is not None:
        why = (
            "its process lost a report, for the test replaced or closed what it speaks by:"
            f" {plain(str(lost.get('message')))}"
        )
    elif evidence.unreadable is not None:
        why = f"its process {evidence.unreadable}"
    elif evidence.process.garbled is not None:
        why = f"its process wrote what cannot be read: {evidence.process.garbled}"
    else:
        why = (
            f"its process {_ending(evidence.process.status)} in {phase}, before pytest had finished"
            " with it"
        )
        if evidence.process.stacks:
            why += "; its Python stack is below"
    return _violations.Crashed("crash", why, phase)


def _ending(status: int | None) -> str:
    if status is None:
        return (
            "ended (how is not known: something else in this pytest took its exit status, or a"
            " process of pytest-isolate that would know was killed)"
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
        f"exited with status {code} (by os._exit, by running another program in its place, or"
        " because its descriptors were closed)"
    )
