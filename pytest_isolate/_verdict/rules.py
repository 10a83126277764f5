"""The rules: for each limit its evidence, its exception and its sentence, in one record.

Touches nothing.

A further violation is an exception in ``_violations``, a function that finds it, and a row in
``RULES``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_isolate import _violations
from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._config.values import format_duration, format_size, most_files, plain
from pytest_isolate._linux.kernel_log import Kill
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._verdict import network_attempts as attempts
from pytest_isolate._verdict.evidence import PHASES, Evidence
from pytest_isolate._violations import Violation

_MOST_TASKS = 10


@dataclass(frozen=True)
class Found:
    """That a limit was overstepped."""

    sentence: str  # behind what the limit is and where it was set
    phase: str
    used: float | None


@dataclass(frozen=True)
class Rule:
    """One way to overstep.

    - ``keyword``: whose value is the limit; without one there is no rule.
    - ``find``: look for the evidence. It gets the phase in which the test died, or None.
    - ``of``: what the number counts, in the sentence.
    - ``resource``: the violation's, where it is not the keyword.
    """

    keyword: str
    kind: type[Violation]
    find: Callable[[Spec, Evidence, str | None], Found | None]
    of: str = ""
    resource: str = ""

    def violation(self, spec: Spec, evidence: Evidence, dead_in: str | None) -> Violation | None:
        """Judge one test by it."""
        limit, keyword = getattr(spec, self.keyword), KEYWORDS[self.keyword]
        found = None if limit is None else self.find(spec, evidence, dead_in)
        if found is None:
            return None
        what = (
            f"{self.keyword}: limit {keyword.show(limit)}{self.of}"
            if keyword.is_limit
            else f"{self.resource}: {self.keyword}={_written(limit)!r}"
        )
        message = f"{what}, set {spec.origin(self.keyword)}; {found.sentence}"
        return self.kind(
            self.resource or self.keyword,
            message,
            found.phase,
            limit if keyword.is_limit else None,
            found.used,
        )


def _written(value: object) -> object:
    """Return it as users write it."""
    return list(value) if isinstance(value, tuple) else value


def _stacks(result: ProcessResult) -> str:
    return "; every thread's stack is below" if result.stacks else ""


def _killed_for_memory(_: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if not evidence.counters.oom_kills:
        return None
    used = max(0, (evidence.counters.memory_peak or 0) - evidence.base_memory)
    sentence = (
        f"used {format_size(used)} and wanted more: the kernel killed {_victim(evidence, dead_in)}"
    )
    return Found(sentence, evidence.phase_of("oom", dead_in), used)


def _seen_with_memory(_: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if (held_ := evidence.process.memory_exceeded) is None:
        return None
    phase = dead_in or PHASES[-1]
    return Found(
        "sampled, for no control group limits it here: the process tree held "
        f"{format_size(held_)} at one look and was killed in {phase}{_stacks(evidence.process)}",
        phase,
        held_,
    )


def _refused_processes(_: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if not evidence.counters.pids_denied:
        return None
    peak = (
        ""
        if evidence.counters.pids_peak is None
        else f"{evidence.counters.pids_peak} ran at once and "
    )
    sentence = (
        f"{peak}the kernel refused {evidence.counters.pids_denied} more to the process tree of the"
        " test"
    )
    return Found(sentence, evidence.phase_of("pids", dead_in), evidence.counters.pids_peak)


def _used_processor(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    spent = evidence.counters.cpu_seconds
    if spent is None or spec.cpu_time is None or spent <= spec.cpu_time:
        return None
    end = (
        f"it was killed in {dead_in}{_stacks(evidence.process)}"
        if evidence.process.cpu_exceeded
        else "it was over before that was seen"
    )
    return Found(
        f"the process tree used {format_duration(spent)} of processor time, {end}",
        dead_in or evidence.busiest(),
        spent,
    )


def _refused_disk(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if not (evidence.disk_full or evidence.saw("ENOSPC")):
        return None
    return Found(
        _disk(spec.disk or 0, evidence), evidence.phase_of("ENOSPC", dead_in), evidence.disk_used
    )


def _disk(limit: int, evidence: Evidence) -> str:
    written = evidence.disk_used or 0
    used, files = format_size(written), most_files(limit)
    if evidence.disk_full == "files":
        return (
            f"the {files} files and directories that it allows (one for each KiB and 1024) were"
            f" there when the test was over, with {used} in them, and the kernel refused one more"
            " to a process of it"
        )
    said = (
        f"{used} were written when the test was over and the kernel refused more to a process of it"
    )
    unclear = not evidence.disk_full and written <= limit // 2
    return (
        f"{said}: bytes, what it printed among them, or one of the {files} files and directories"
        " that it allows"
        if unclear
        else said
    )


def _left_network(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if not (spec.networking.denies and evidence.attempts):
        return None
    sentence = f"{attempts.sentence(evidence.attempts)}; the sandbox has loopback only"
    return Found(
        sentence,
        evidence.phase_of("network", dead_in),
        sum(attempt.count for attempt in evidence.attempts),
    )


def _changed_files(_: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if not evidence.changed:
        return None
    # Who did it may be nobody's to say: then the test, if it came so far
    reached = dead_in or ("call" if "call" in evidence.reported else PHASES[0])
    return Found(str(evidence.changed), evidence.changed.phase or reached, evidence.changed.count)


def _refused_files(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if not evidence.saw("EMFILE"):
        return None
    return Found(
        "the kernel refused one more to the test's process",
        evidence.phase_of("EMFILE", dead_in),
        spec.files,
    )


def _took_too_long(_: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    result = evidence.process
    if not result.timed_out:
        return None
    phase = dead_in or PHASES[-1]
    stacks = _stacks(result) or "; no stack could be had: the process blocks signals or was stopped"
    sentence = (
        f"the test was still in {phase} after {format_duration(result.wall_seconds)} and its"
        f" process tree was killed{stacks}"
    )
    return Found(sentence, phase, result.wall_seconds)


#: In the order in which they are told. What a process is killed for comes before what it was
#: refused; a crash stands where there is none.
RULES = (
    Rule("memory", _violations.MemoryExceeded, _killed_for_memory),
    Rule("memory", _violations.MemoryExceeded, _seen_with_memory),
    Rule("pids", _violations.PidsExceeded, _refused_processes, of=" processes and threads"),
    Rule("cpu_time", _violations.CpuTimeExceeded, _used_processor),
    Rule("disk", _violations.DiskExceeded, _refused_disk),
    Rule("net", _violations.NetworkDenied, _left_network, resource="network"),
    Rule("fs_allow", _violations.FilesystemDenied, _changed_files, resource="filesystem"),
    Rule("files", _violations.FilesExceeded, _refused_files, of=" open descriptors a process"),
    Rule("timeout", _violations.TimeoutExceeded, _took_too_long),
)


def _victim(evidence: Evidence, dead_in: str | None) -> str:
    """Whom the kernel killed for the memory limit: by its own log, or by who is dead."""
    itself = dead_in is not None and not evidence.process.killed_child
    if evidence.kill is None:
        return "the test's own process" if itself else "a process that the test had started"
    victim, tasks = evidence.kill.victim, evidence.kill.tasks
    who = (
        "the test's own process"
        if victim == evidence.process.pid
        else "a process that the test had started"
    )
    name = next(
        (
            f"{task.name} (pid {task.pid}, {format_size(task.resident)}), "
            for task in tasks
            if task.pid == victim
        ),
        "",
    )
    return f"{name}{who}"


def held(kill: Kill) -> str:
    """Who held memory when the limit was hit, the largest first."""
    shown = [
        f"{task.name} (pid {task.pid}) {format_size(task.resident)}"
        for task in kill.tasks[:_MOST_TASKS]
    ]
    more = f" and {len(kill.tasks) - _MOST_TASKS} more" if len(kill.tasks) > _MOST_TASKS else ""
    return f"memory held when the limit was hit: {', '.join(shown)}{more}"


def leak_sentence(spec: Spec, result: ProcessResult) -> str:
    """Who was left behind."""
    count = max(result.left_count, len(result.left_over))
    shown = "; ".join(f"{plain(command)} (pid {pid})" for pid, command in result.left_over[:5])
    more = f" and {count - 5} more" if count > 5 else ""
    noun = "process was" if count == 1 else "processes were"
    return (
        f"{count} {noun} left behind when the test was over and killed: {shown}{more}"
        f" (leaks={spec.leaks!r}, set {spec.origin('leaks')})"
    )
