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

    sentence: str  # the test is its subject; what the limit is and where it was set comes behind it
    phase: str
    used: float | None


@dataclass(frozen=True)
class Rule:
    """One way to overstep.

    - ``keyword``: whose value is the limit; without one there is no rule.
    - ``find``: look for the evidence. It gets the phase in which the test died, or None.
    - ``resource``: the violation's, where it is not the keyword.
    """

    keyword: str
    kind: type[Violation]
    find: Callable[[Spec, Evidence, str | None], Found | None]
    resource: str = ""

    def violation(self, spec: Spec, evidence: Evidence, dead_in: str | None) -> Violation | None:
        """Judge one test by it."""
        limit, keyword = getattr(spec, self.keyword), KEYWORDS[self.keyword]
        found = None if limit is None else self.find(spec, evidence, dead_in)
        if found is None:
            return None
        value = keyword.show(limit) if keyword.is_limit else repr(_written(limit))
        return self.kind(
            self.resource or self.keyword,
            f"{found.sentence} {_set(spec, self.keyword, value)}",
            found.phase,
            limit if keyword.is_limit else None,
            found.used,
        )


def _written(value: object) -> object:
    """Return it as users write it."""
    return list(value) if isinstance(value, tuple) else value


def _set(spec: Spec, keyword: str, value: str) -> str:
    """Say, behind a sentence, what a keyword was and where it was set."""
    origin = spec.origins.get(keyword)
    return f"({keyword}={value}{f', set {origin}' if origin is not None else ', the default'})"


def _stacks(result: ProcessResult) -> str:
    return "; every thread's stack is below" if result.stacks else ""


def _killed_for_memory(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if not evidence.counters.oom_kills:
        return None
    used = max(0, (evidence.counters.memory_peak or 0) - evidence.base_memory)
    sentence = (
        f"used {_of(used, spec.memory)} and wanted more, so the kernel killed"
        f" {_victim(evidence, dead_in)}"
    )
    return Found(sentence, evidence.phase_of("oom", dead_in), used)


def _seen_with_memory(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if (held_ := evidence.process.memory_exceeded) is None:
        return None
    phase = dead_in or PHASES[-1]
    return Found(
        f"used {_of(held_, spec.memory)} at one look, for no control group limits it here, and was"
        f" killed in {phase}{_stacks(evidence.process)}",
        phase,
        held_,
    )


def _of(used: int, limit: int | None) -> str:
    return f"{format_size(used)} of {format_size(limit or 0)}"


def _refused_processes(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if not evidence.counters.pids_denied:
        return None
    limit, peak = spec.pids or 0, evidence.counters.pids_peak
    # Where groups above it have a limit too, it may have been that one
    ran = f" ({peak} ran at once)" if peak not in {None, limit} else ""
    allowed = "1 process or thread" if limit == 1 else f"{limit} processes and threads"
    sentence = (
        f"wanted {evidence.counters.pids_denied} more than {allowed}{ran}, which the kernel refused"
    )
    return Found(sentence, evidence.phase_of("pids", dead_in), peak)


def _used_processor(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    spent = evidence.counters.cpu_seconds
    if spent is None or spec.cpu_time is None or spent <= spec.cpu_time:
        return None
    end = (
        f" and was killed in {dead_in}{_stacks(evidence.process)}"
        if evidence.process.cpu_exceeded
        else ", and was over before that was seen"
    )
    return Found(
        f"used {format_duration(spent)} of {format_duration(spec.cpu_time)} of processor time{end}",
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
    written, files = evidence.disk_used or 0, most_files(limit)
    if evidence.disk_full == "files":
        return (
            f"made all {files} files and directories that it may (one for each KiB and 1024), with"
            f" {format_size(written)} in them, and wanted one more, which the kernel refused"
        )
    if not evidence.disk_full and written <= limit // 2:
        return (
            f"wanted more than {format_size(limit)}, which the kernel refused; at its end"
            f" {format_size(written)} were left: what it removed and what it printed counted too,"
            f" and it may make {files} files and directories"
        )
    return f"wrote {_of(written, limit)} and wanted more, which the kernel refused"


def _left_network(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    if not (spec.networking.denies and evidence.attempts):
        return None
    return Found(
        attempts.sentence(evidence.attempts),
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
        f"opened all {spec.files} files that a process may and wanted one more, which the kernel"
        " refused",
        evidence.phase_of("EMFILE", dead_in),
        spec.files,
    )


def _took_too_long(spec: Spec, evidence: Evidence, dead_in: str | None) -> Found | None:
    result = evidence.process
    if not result.timed_out:
        return None
    phase = dead_in or PHASES[-1]
    stacks = _stacks(result) or (
        "; there is no stack, because its process blocks signals or was stopped"
    )
    sentence = (
        f"took more than {format_duration(spec.timeout or 0)}: it was still in {phase} after"
        f" {format_duration(result.wall_seconds)} and was killed{stacks}"
    )
    return Found(sentence, phase, result.wall_seconds)


#: In the order in which they are told. What a process is killed for comes before what it was
#: refused; a crash stands where there is none.
RULES = (
    Rule("memory", _violations.MemoryExceeded, _killed_for_memory),
    Rule("memory", _violations.MemoryExceeded, _seen_with_memory),
    Rule("pids", _violations.PidsExceeded, _refused_processes),
    Rule("cpu_time", _violations.CpuTimeExceeded, _used_processor),
    Rule("disk", _violations.DiskExceeded, _refused_disk),
    Rule("net", _violations.NetworkDenied, _left_network, resource="network"),
    Rule("fs_allow", _violations.FilesystemDenied, _changed_files, resource="filesystem"),
    Rule("files", _violations.FilesExceeded, _refused_files),
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
    name = next((f"{task.name} (pid {task.pid}), " for task in tasks if task.pid == victim), "")
    return f"{name}{who}"


def held(kill: Kill) -> str:
    """Who held memory when the limit was hit, the largest first."""
    shown = [
        f"{task.name} (pid {task.pid}) {format_size(task.resident)}"
        for task in kill.tasks[:_MOST_TASKS]
    ]
    more = f" and {len(kill.tasks) - _MOST_TASKS} more" if len(kill.tasks) > _MOST_TASKS else ""
    return (
        f"processes when the limit was hit: {', '.join(shown)}{more} (a process's figure has the"
        " pages that it shares with pytest, the limit counts the test's own)"
    )


def leak_sentence(spec: Spec, result: ProcessResult) -> str:
    """Who was left behind."""
    count = max(result.left_count, len(result.left_over))
    shown = "; ".join(f"{plain(command)} (pid {pid})" for pid, command in result.left_over[:5])
    more = f" and {count - 5} more" if count > 5 else ""
    noun, were = ("process", "was") if count == 1 else ("processes", "were")
    return (
        f"left {count} {noun} behind, which {were} killed: {shown}{more}"
        f" {_set(spec, 'leaks', repr(spec.leaks))}"
    )
