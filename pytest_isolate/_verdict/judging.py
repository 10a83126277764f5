"""From what is known of a test that is over to a judgement, in sentences. Touches nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_isolate import _violations
from pytest_isolate._config.spec import Spec
from pytest_isolate._config.values import format_duration, format_size, most_files, plain
from pytest_isolate._errors import StepFailedError
from pytest_isolate._forward.server import Used
from pytest_isolate._linux.counters import Counters
from pytest_isolate._linux.environment import Environment
from pytest_isolate._linux.kernel_log import Kill
from pytest_isolate._model import Usage
from pytest_isolate._plan.remedies import explain
from pytest_isolate._sandbox.result import Exit
from pytest_isolate._sandbox.watch import ENTERING_LONGEST
from pytest_isolate._verdict import network_attempts as attempts
from pytest_isolate._verdict.network_attempts import Attempt
from pytest_isolate._violations import Violation

PHASES = ("setup", "call", "teardown")
_MOST_TASKS = 10


@dataclass
class Facts:
    """All that a verdict is made from."""

    exit: Exit
    counters: Counters
    disk_used: int | None  # None where it has no file system of its own
    disk_full: str  # of what nothing was left: "bytes", "files" or ""
    base_memory: int
    base_cpu: tuple[float, float] = (0.0, 0.0)  # seconds before the test's own code, in user mode and in the kernel
    disk_before: int | None = 0  # bytes that tests before it in the same sandbox had written
    unroutable: int | None = None  # what had no way out of the network; None on the host's
    attempts: tuple[Attempt, ...] = ()
    refused: int = 0  # connections within its own network, read where it failed
    servers: tuple[Used, ...] = ()  # of shared fixtures and others, that it could reach
    kill: Kill | None = None  # what the kernel wrote about an out-of-memory kill
    reported: tuple[str, ...] = ()  # phases whose reports arrived and could be read, of the last attempt if a plugin reran it
    again: bool = False  # whether that attempt was over and another one was to follow
    unsaid: str | None = None  # the phase that it was in when it last spoke, if what came before it was not reported
    builder: str | None = None  # how the builder died, and with it the sandbox
    threads: tuple[str, ...] = ()  # names of pytest's other threads at the fork
    here: Environment = field(default_factory=Environment)  # for what helps against a broken sandbox
    unreadable: str | None = None  # what the test's process wrote that no child of ours would have

    def memory(self) -> tuple[tuple[float, int], ...]:
        """Memory over time, without what the sandbox itself costs."""
        return tuple((seconds, max(0, used - self.base_memory)) for seconds, used in self.exit.memory)


@dataclass(frozen=True)
class Verdict:
    """``kind`` is the contract's: ok, violation, crash, timeout or sandbox_error."""

    kind: str
    violations: tuple[Violation, ...]
    usage: Usage
    broken: str | None = None  # why there was no sandbox
    dead_in: str | None = None  # the phase in which the test's process died


def judge(spec: Spec, facts: Facts) -> Verdict:
    """Judge one test. What broke the sandbox and what broke the test never meet here: a broken sandbox has no violations."""
    usage = _usage(facts)
    if (broken := _broken(facts)) is not None:
        return Verdict("sandbox_error", (), usage, broken=broken)
    dead_in = None if _is_whole(facts) else facts.unsaid or _phase_after(() if facts.again else facts.reported)
    violations = list(_limits(spec, facts, dead_in))
    kind = "violation" if violations else "ok"
    if facts.exit.timed_out:
        violations.append(_timeout(spec, facts, dead_in or PHASES[-1]))
        kind = "timeout"
    elif dead_in is not None and not violations:
        violations.append(_crash(facts, dead_in))
        kind = "crash"
    if facts.exit.left_over and spec.leaks == "error":
        violations.append(_leak(spec, facts))
        kind = "violation" if kind == "ok" else kind
    return Verdict(kind, tuple(violations), usage, dead_in=dead_in)


def leak_sentence(spec: Spec, exit_: Exit) -> str:
    """Who was left behind."""
    count = max(exit_.left_count, len(exit_.left_over))
    shown = "; ".join(f"{plain(command)} (pid {pid})" for pid, command in exit_.left_over[:5])
    more = f" and {count - 5} more" if count > 5 else ""
    noun = "process was" if count == 1 else "processes were"
    return f"{count} {noun} left behind when the test was over and killed: {shown}{more} (leaks={spec.leaks!r}, set {spec.origin('leaks')})"


def _broken(facts: Facts) -> str | None:
    if facts.builder is not None and not _is_whole(facts):  # whatever else fell over, fell over that
        when = "before the test's own code ran" if facts.exit.first("entered") is None else "while the test ran"
        return f"{facts.builder} {when}, and every sandbox with it"
    frame = facts.exit.first("broken")
    if frame is not None:
        code = frame.get("errno")
        error = StepFailedError(str(frame.get("step")), str(frame.get("path")), code if isinstance(code, int) else 0)
        return explain(error, facts.here)
    if facts.exit.first("entered") is None and facts.exit.timed_out:
        return f"the forked process did not get inside within {format_duration(ENTERING_LONGEST)} and was killed{_threads(facts)}"
    if facts.exit.first("entered") is None:
        return f"the forked process {_ending(facts.exit.status)} before the test's own code ran"
    return None


def _threads(facts: Facts) -> str:
    """What may have hung a fork: a lock that a thread held which the fork does not have is never released in it."""
    if not facts.threads:
        return ""
    return f"; a lock held by a thread of pytest at the fork hangs it for ever: alive were {_names(facts.threads)}"


def missing_threads(facts: Facts) -> str | None:
    """For whom a test may have waited until its time was over: a fork has one thread, the one that forks."""
    if not (facts.exit.timed_out and facts.threads):
        return None
    return (
        f"threads: pytest had {_names(facts.threads)} at the fork, which the test's copy of it lacks: what waits there for one of them, "
        "or for a lock that it held, waits for ever; fixtures='fresh' starts those of fixtures inside"
    )


def _names(threads: tuple[str, ...]) -> str:
    return ", ".join(map(repr, threads[:_MOST_THREADS])) + (f" and {len(threads) - _MOST_THREADS} more" * (len(threads) > _MOST_THREADS))


_MOST_THREADS = 10  # named in one sentence


def _is_whole(facts: Facts) -> bool:
    """Whether everything was said that a test says: an end with its teardown before it, or with what ended the whole run."""
    finished = PHASES[-1] in facts.reported or facts.exit.first("raised") is not None
    readable = facts.exit.garbled is None and facts.unreadable is None and not any(map(facts.exit.first, ("oversized", "lost")))
    return facts.exit.ended and finished and readable


def _phase_after(reported: tuple[str, ...]) -> str:
    """The phase after the last that was reported: where a test is that no longer speaks."""
    reached = max((PHASES.index(phase) for phase in reported if phase in PHASES), default=-1)
    return PHASES[min(reached + 1, len(PHASES) - 1)]


def _usage(facts: Facts) -> Usage:
    peak = facts.counters.memory_peak
    return Usage(
        wall_seconds=facts.exit.wall_seconds,
        cpu_seconds=_above(facts.counters.cpu_seconds, sum(facts.base_cpu)),
        memory_peak_bytes=None if peak is None else max(0, peak - facts.base_memory),
        pids_peak=facts.counters.pids_peak,
        disk_bytes=None if facts.disk_used is None else max(0, facts.disk_used - (facts.disk_before or 0)),
        io_read_bytes=facts.counters.io_read,
        io_write_bytes=facts.counters.io_write,
        cpu_user_seconds=_above(facts.counters.cpu_user_seconds, facts.base_cpu[0]),
        cpu_system_seconds=_above(facts.counters.cpu_system_seconds, facts.base_cpu[1]),
    )


def _above(seconds: float | None, base: float) -> float | None:
    """What is left above a base: of a kernel that tells user mode and kernel apart by its ticks one of the two may be less than that."""
    return None if seconds is None else max(0.0, seconds - base)


def _phase_of(facts: Facts, kind: str, dead_in: str | None) -> str:
    """The first phase at whose end the child saw this denial. What a child says decides where, never whether."""
    for frame in facts.exit.frames:
        seen = frame.get("seen")
        if frame["kind"] == "report" and isinstance(seen, list) and kind in seen and frame.get("when") in PHASES:
            return str(frame["when"])
    return dead_in or (facts.reported[-1] if facts.reported else PHASES[0])


def _busiest(facts: Facts) -> str:
    """The phase that took the longest, by the child's word: where a test that ended by itself used most of its processor time."""
    longest, found = -1.0, PHASES[-1]
    for frame in facts.exit.frames:
        report = frame.get("report")
        duration = report.get("duration") if isinstance(report, dict) else None
        if isinstance(duration, int | float) and duration > longest and frame.get("when") in PHASES:
            longest, found = duration, str(frame["when"])
    return found


def _victim(facts: Facts, dead_in: str | None) -> str:
    """Whom the kernel killed for the memory limit: by its own log, or by who is dead."""
    itself = dead_in is not None and not facts.exit.killed_child
    if facts.kill is None:
        return "the test's own process" if itself else "a process that the test had started"
    victim, tasks = facts.kill.victim, facts.kill.tasks
    who = "the test's own process" if victim == facts.exit.pid else "a process that the test had started"
    name = next((f"{task.name} (pid {task.pid}, {format_size(task.resident)}), " for task in tasks if task.pid == victim), "")
    return f"{name}{who}"


def held(kill: Kill) -> str:
    """Who held memory when the limit was hit, the largest first."""
    shown = [f"{task.name} (pid {task.pid}) {format_size(task.resident)}" for task in kill.tasks[:_MOST_TASKS]]
    more = f" and {len(kill.tasks) - _MOST_TASKS} more" if len(kill.tasks) > _MOST_TASKS else ""
    return f"memory held when the limit was hit: {', '.join(shown)}{more}"


def _saw(facts: Facts, kind: str) -> bool:
    return any(isinstance(frame.get("seen"), list) and kind in frame["seen"] for frame in facts.exit.frames)  # type: ignore[operator]


def _limits(spec: Spec, facts: Facts, dead_in: str | None) -> Iterator[Violation]:
    counters, exit_ = facts.counters, facts.exit
    if spec.memory is not None and counters.oom_kills:
        used = max(0, (counters.memory_peak or 0) - facts.base_memory)
        who = _victim(facts, dead_in)
        yield _violations.MemoryExceeded(
            "memory",
            f"memory: limit {format_size(spec.memory)}, set {spec.origin('memory')}; used {format_size(used)} and wanted more: "
            f"the kernel killed {who}",
            _phase_of(facts, "oom", dead_in), spec.memory, used,
        )  # fmt: skip
    if spec.memory is not None and (found := exit_.memory_exceeded) is not None:
        phase, stacks = dead_in or PHASES[-1], "; every thread's stack is below" if exit_.stacks else ""
        yield _violations.MemoryExceeded(
            "memory",
            f"memory: limit {format_size(spec.memory)}, set {spec.origin('memory')}; sampled, for no control group limits it here: "
            f"the process tree held {format_size(found)} at one look and was killed in {phase}{stacks}",
            phase, spec.memory, found,
        )  # fmt: skip
    if spec.pids is not None and counters.pids_denied:
        peak = "" if counters.pids_peak is None else f"; {counters.pids_peak} ran at once and"
        yield _violations.PidsExceeded(
            "pids",
            f"pids: limit {spec.pids} processes and threads, set {spec.origin('pids')}{peak or ';'} the kernel refused "
            f"{counters.pids_denied} more to the process tree of the test",
            _phase_of(facts, "pids", dead_in), spec.pids, counters.pids_peak,
        )  # fmt: skip
    if spec.cpu_time is not None and (spent := counters.cpu_seconds) is not None and spent > spec.cpu_time:
        stacks = "; every thread's stack is below" if exit_.stacks else ""
        end = f"it was killed in {dead_in}{stacks}" if exit_.cpu_exceeded else "it was over before that was seen"
        yield _violations.CpuTimeExceeded(
            "cpu_time",
            f"cpu_time: limit {format_duration(spec.cpu_time)}, set {spec.origin('cpu_time')}; the process tree used "
            f"{format_duration(spent)} of processor time, {end}",
            dead_in or _busiest(facts), spec.cpu_time, spent,
        )  # fmt: skip
    if spec.disk is not None and (facts.disk_full or _saw(facts, "ENOSPC")):
        yield _violations.DiskExceeded(
            "disk",
            f"disk: limit {format_size(spec.disk)}, set {spec.origin('disk')}; {_disk(spec.disk, facts)}",
            _phase_of(facts, "ENOSPC", dead_in), spec.disk, facts.disk_used,
        )  # fmt: skip
    if spec.networking.denies and facts.attempts:
        yield _violations.NetworkDenied(
            "network",
            f"network: net='deny', set {spec.origin('net')}; {attempts.sentence(facts.attempts)}; the sandbox has loopback only",
            _phase_of(facts, "network", dead_in), None, sum(attempt.count for attempt in facts.attempts),
        )  # fmt: skip
    if spec.files is not None and _saw(facts, "EMFILE"):
        yield _violations.FilesExceeded(
            "files",
            f"files: limit {spec.files} open descriptors a process, set {spec.origin('files')}; "
            "the kernel refused one more to the test's process",
            _phase_of(facts, "EMFILE", dead_in), spec.files, spec.files,
        )  # fmt: skip


def _disk(limit: int, facts: Facts) -> str:
    written = facts.disk_used or 0
    used, files = format_size(written), most_files(limit)
    if facts.disk_full == "files":
        return (
            f"the {files} files and directories that it allows (one for each KiB and 1024) were there when the test was over, with {used} "
            "in them, and the kernel refused one more to a process of it"
        )
    said = f"{used} were written when the test was over and the kernel refused more to a process of it"
    unclear = not facts.disk_full and written <= limit // 2
    return f"{said}: bytes, what it printed among them, or one of the {files} files and directories that it allows" if unclear else said


def _timeout(spec: Spec, facts: Facts, phase: str) -> Violation:
    assert spec.timeout is not None
    stacks = (
        "; every thread's stack is below" if facts.exit.stacks else "; no stack could be had: the process blocks signals or was stopped"
    )
    return _violations.TimeoutExceeded(
        "timeout",
        f"timeout: limit {format_duration(spec.timeout)}, set {spec.origin('timeout')}; the test was still in {phase} after "
        f"{format_duration(facts.exit.wall_seconds)} and its process tree was killed{stacks}",
        phase, spec.timeout, facts.exit.wall_seconds,
    )  # fmt: skip


def _leak(spec: Spec, facts: Facts) -> Violation:
    phase = facts.reported[-1] if facts.reported else PHASES[-1]
    return _violations.ProcessesLeaked(
        "processes", leak_sentence(spec, facts.exit), phase, 0, max(facts.exit.left_count, len(facts.exit.left_over))
    )


def _crash(facts: Facts, phase: str) -> Violation:
    if (oversized := facts.exit.first("oversized")) is not None:
        why = f"a report of it was lost because it was too large to come over: {plain(str(oversized.get('message')))}"
    elif (lost := facts.exit.first("lost")) is not None:
        why = f"a report of it was lost, because the test replaced or closed what the child speaks by: {plain(str(lost.get('message')))}"
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
        return "ended (how is not known: its status was reaped by another part of this pytest, or by a helper of ours that was killed)"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"was ended by signal {number} ({signal.Signals(number).name}, {signal.strsignal(number)})"
        except ValueError:
            return f"was ended by signal {number}"
    code = os.waitstatus_to_exitcode(status)
    return f"left by itself with exit status {code} (os._exit, another program run in its place, or its descriptors closed)"
