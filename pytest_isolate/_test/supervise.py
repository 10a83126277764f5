"""A test runs in its process: have it watched, wait for it, and read what is known of it when it is
over.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from pytest_isolate._child import preparation
from pytest_isolate._config.spec import Spec
from pytest_isolate._linux.counters import Counters
from pytest_isolate._linux.kernel_log import Kill
from pytest_isolate._messages import reading
from pytest_isolate._plan.planning import Plan
from pytest_isolate._pytest import capture
from pytest_isolate._sandbox import ending, mirror
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._sandbox.sandbox import Sandbox
from pytest_isolate._sandbox.supervisor import Supervisor
from pytest_isolate._sandbox.waiting import wait_for_one
from pytest_isolate._session.run import Run
from pytest_isolate._test import allowing
from pytest_isolate._test.shells import Doorkeeper
from pytest_isolate._test.states import Finished, IsolatedTest, Running
from pytest_isolate._verdict import allocations, network_attempts
from pytest_isolate._verdict.evidence import Evidence

_MOST_OUTPUT = 1 << 20  # bytes of a dead test's output that are shown, the last ones


def supervise(running: Running, *, further: bool) -> None:
    """Have the next test of a process watched."""
    spec, group = running.spec, running.group
    cpu_time = (
        None if spec.cpu_time is None else spec.cpu_time + (group.counters.cpu_seconds or 0.0)
    )
    memory = spec.memory if "memory" in group.plan.looked else None
    alarm = (
        None if spec.memory is None else (int(spec.memory * allocations.SHARE), allocations.ALARM)
    )
    group.supervisor.start(
        spec.timeout, cpu_time, alarm=alarm, goes_on=further, memory=memory,
        doorkeeper=Doorkeeper(running),
    )  # fmt: skip


def wait(running: Running) -> Running | Finished:
    """Wait until the test is over, unless it may run beside others."""
    test, supervisor = running.test, running.group.supervisor
    sys.audit("pytest_isolate.wait", test.name)
    if test.concurrent:
        return running
    try:
        with capture.overhearing(test.item.config) as running.overheard:
            wait_for_one([supervisor])
    except KeyboardInterrupt:  # the test is asked first where it stands
        raise
    except BaseException:  # nobody will report it
        supervisor.finish()
        raise
    return finish(running)


def finish(running: Running) -> Finished:
    """End the process of a test that is over, and read what the kernel counted.

    Raises ``StepFailedError``.
    """
    test, spec, group = running.test, running.spec, running.group
    sys.audit("pytest_isolate.over", test.name)
    run = test.run
    result, sandbox = group.supervisor.finish(), group.sandbox
    if result.began is not None:
        test.entered = time.time() - (time.monotonic() - result.began)
    _tell_of_output(test, group.supervisor)
    test.troubles += ending.told()
    preparation.restore_flags(run.stream_flags)
    if hasattr(test.item.config, "workerinput"):
        result.frames = reading.sendable(result.frames)
    result.frames, unreadable = reading.checked(
        result.frames, strict=spec.strict, may_need=running.may_need()
    )
    entered = result.first("entered") or {}
    base = entered.get("base")
    counters, disk_used, unroutable = (
        sandbox.counters(result.processor),
        sandbox.disk_used(),
        sandbox.network.unroutable(),
    )
    left = None if unroutable is None else unroutable - group.unroutable
    evidence = Evidence(
        result,
        counters.since(group.counters),
        disk_used,
        sandbox.disk_full(),
        base if isinstance(base, int) else 0,
        base_cpu=(
            _base_cpu(entered.get("processor"), counters)
            if group.counters.cpu_seconds is None
            else (0.0, 0.0)
        ),
        disk_before=group.disk_used,
        unroutable=left,
        kill=_kill(run, sandbox, counters.oom_kills),
        attempts=_attempts(spec, group.plan, result, left),
        refused=sandbox.network.refused() if _has_failed(result) else 0,
        servers=tuple(
            run.forwarding.used(sandbox, group.plan.servers, group.plan.sockets, group.reached)
        ),
        changed=allowing.changed(test.item.config, spec, group, result),
        unreadable=unreadable,
        threads=group.threads,
        here=run.here,
        builder=run.builders_death(
            died=result.first("broken") is not None
            or (result.status == signal.SIGKILL and not result.ended)
        ),
    )
    group.counters, group.disk_used, group.unroutable = counters, disk_used, unroutable or 0
    streams = (("stdout", _tail(sandbox.stdout)), ("stderr", _tail(sandbox.stderr)))
    mirrored = tuple((name, mirror.read(fd)) for name, fd in group.mirrors.items())
    return Finished(
        running.requested, spec, group, evidence, (*streams, *mirrored), running.overheard
    )


def _attempts(
    spec: Spec, plan: Plan, result: ProcessResult, left: int | None
) -> tuple[network_attempts.Attempt, ...]:
    """Read those to leave; to a host of its own is none, nor to whom there is a way."""
    if not spec.networking.is_own:
        return ()
    topology, way_out = spec.networking.topology, plan.way_out
    own = set() if topology is None else {each for line in topology.names for each in line}

    def counts(attempt: network_attempts.Attempt) -> bool:
        if way_out is None:
            return True
        return way_out.has_denied(attempt.address, attempt.port, is_name=attempt.is_name)

    found = network_attempts.read((result.last("network") or {}).get("attempts"), left, counts)
    return tuple(each for each in found if each.address not in own)


def _has_failed(result: ProcessResult) -> bool:
    """Whether somebody may want to know why."""
    return not result.ended or any(
        frame["kind"] in {"refused", "refused_path", "tries"} for frame in result.frames
    )


def _tell_of_output(test: IsolatedTest, supervisor: Supervisor) -> None:
    """Say, once a run, why what tests wrote to pytest's own output is not there."""
    failed = next((relay.failed for relay in supervisor.relays if relay.failed is not None), None)
    if failed is not None and not test.run.said_of_output:
        test.run.said_of_output = True
        test.troubles.append(
            "what tests write to pytest's own output or log cannot be written there:"
            f" {failed.strerror}"
        )


def _base_cpu(said: object, counters: Counters) -> tuple[float, float]:
    """Seconds of processor time, in user mode and in the kernel, that went by before the test's own
    code; no more than the kernel counted.

    Only of the first test in a sandbox: what its process says before it runs any of the test's code
    is our own word.
    """
    if not isinstance(said, list) or counters.cpu_seconds is None:
        return 0.0, 0.0
    user, system = (max(0.0, float(each)) for each in said)
    return (user, system) if user + system <= counters.cpu_seconds else (0.0, 0.0)


def _kill(run: Run, sandbox: Sandbox, kills: int | None) -> Kill | None:
    """Return what the kernel wrote about the first process that it killed for the limit."""
    log = run.machine.kernel_log
    return log.first_kill(sandbox.groups["memory"]) if kills and log is not None else None


def _tail(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, _MOST_OUTPUT, max(0, size - _MOST_OUTPUT))
