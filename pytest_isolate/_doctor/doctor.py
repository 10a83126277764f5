"""``--isolate-doctor``: say where this is, try everything a sandbox is made of in a throwaway one,
and say what is missing and what helps.

That unshare(2) works proves nothing (Ubuntu 24.04 grants the namespace and then takes its rights),
and that a sandbox was built does not prove that a test gets into it, so each capability is the
whole sequence, for real: built, entered, and looked at from inside.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._errors import Step, StepFailedError

if TYPE_CHECKING:
    from pytest_isolate._linux.cgroup.hierarchy import Hierarchy
    from pytest_isolate._linux.environment import Environment
    from pytest_isolate._linux.host import Host
    from pytest_isolate._plan.planning import Plan
    from pytest_isolate._sandbox.entry import Entry
    from pytest_isolate._sandbox.pipes import Ends
    from pytest_isolate._sandbox.result import ProcessResult
    from pytest_isolate._sandbox.sandbox import Sandbox
    from pytest_isolate._session.run import Run


@dataclass(frozen=True)
class Finding:
    """One capability."""

    name: str
    available: bool
    reason: str = ""
    remedy: str = ""
    # An extra wall: nothing fails for the want of it unless a test asks for it
    optional: bool = False


_LEAST: dict[str, object] = {"net": False, "fs": "host"}
_TRIED: tuple[tuple[str, dict[str, object]], ...] = (
    ("namespaces", _LEAST),
    ("net", {"fs": "host"}),
    ("readonly", {"net": False, "fs": "readonly"}),
    ("overlay", {"net": False}),
    ("disk", _LEAST | {"disk": 1 << 20}),
    ("memory", _LEAST | {"memory": 1 << 28}),
    ("pids", _LEAST | {"pids": 100}),
    ("cpu", _LEAST | {"cpu": 1.0}),
    ("cpu_time", _LEAST | {"cpu_time": 60.0}),
    ("io", _LEAST | {"io_read": 1 << 30}),
    ("strict", _LEAST | {"profile": "strict"}),
    ("process", {}),
)
_WITHOUT = "process"  # what there is without namespaces
# Limits that few tests have, and that few machines give to an ordinary user without being asked
_EXTRA = {"cpu_time", "io", "strict", _WITHOUT}
_MARKS: dict[str, dict[str, bool]] = {
    "PASS": {"green": True},
    "NOTE": {"yellow": True},
    "FAIL": {"red": True, "bold": True},
}
_ENTERING_DIED = 32  # EPIPE


def examine(config: pytest.Config, *, enters: bool) -> list[Finding]:
    """Try every capability.

    Entering takes a fork of this process, for which a run with threads of its tests is no place.
    """
    if sys.platform != "linux":
        return [
            Finding(
                name,
                available=False,
                reason="namespaces are Linux's",
                remedy="run the tests on Linux",
            )
            for name, _ in _TRIED
        ]
    # Like all that is Linux's, not for other systems
    from pytest_isolate._plan.remedies import remedy  # noqa: PLC0415
    from pytest_isolate._session.run import Run  # noqa: PLC0415

    run = Run(config)
    try:
        findings = [_try(run, name, changes, enters=enters) for name, changes in _TRIED]
    except StepFailedError as error:
        fix = remedy(error, run.here) or ""
        findings = [
            Finding(name, available=False, reason=str(error), remedy=fix, optional=name in _EXTRA)
            for name, _ in _TRIED
        ]
    finally:
        run.close()
    return [*findings, _landlock(run.here)]


def _landlock(here: Environment) -> Finding:
    """Give the second wall that ``profile="strict"`` has where the kernel has it."""
    from pytest_isolate._plan import strictness  # noqa: PLC0415
    from pytest_isolate._plan.remedies import HIDDEN  # noqa: PLC0415

    reason = strictness.landlock_obstacle()
    fix = "boot with lsm=landlock,... (Linux 5.19 or later)"
    if here.filtered:
        fix += f"; or {HIDDEN}"
    return Finding("landlock", reason is None, reason or "", fix, optional=True)


def _try(run: Run, name: str, changes: dict[str, object], *, enters: bool) -> Finding:
    from pytest_isolate._linux.root import Root  # noqa: PLC0415
    from pytest_isolate._plan import bare, planning, strictness  # noqa: PLC0415
    from pytest_isolate._plan.remedies import remedy  # noqa: PLC0415
    from pytest_isolate._session.plans import bare_plan_for, likely_places  # noqa: PLC0415

    optional = name in _EXTRA
    keywords: dict[str, Any] = {key: keyword.default for key, keyword in KEYWORDS.items()}
    spec = Spec(**keywords | changes, origins={})
    machine = run.machine
    if name == _WITHOUT:
        plan, spec = bare_plan_for(run, spec), bare.given(spec, machine.host)
    else:
        plan = planning.plan(spec, machine.host, Root(), likely_places(run))
    for missing in (*plan.missing, strictness.missing(spec)):
        if missing is not None:
            return Finding(
                name,
                available=False,
                reason=missing.reason,
                remedy=missing.remedy,
                optional=optional,
            )
    sandbox = machine.builder.order(plan.recipe)
    try:
        sandbox.wait_ready()
        if enters:
            _enter(run, spec, plan, sandbox)
    except StepFailedError as error:
        return Finding(
            name,
            available=False,
            reason=str(error),
            remedy=remedy(error, machine.host.here) or "",
            optional=optional,
        )
    else:
        copied = [path for path, name in plan.uppers if _is_copied(sandbox, name)]
    finally:
        sandbox.close()
    place = _place(machine.host, name)
    reason = (
        f"cgroup v{place.version}, {place.directory}"
        if place
        else f"{', '.join(copied)}: a private copy, for no overlay can be had"
        if copied
        else bare.summary(plan)
        if plan.is_bare
        else ""
    )
    return Finding(name, available=True, reason=reason, optional=optional)


def _is_copied(sandbox: Sandbox, upper: str) -> bool:
    """Whether a directory is a copy, by what its overlay would have had."""
    from pytest_isolate._sandbox.overlays import COPIED  # noqa: PLC0415 - as above

    try:
        os.stat(upper.removesuffix(".upper") + COPIED, dir_fd=sandbox.private)
    except FileNotFoundError:
        return False
    return True


def _place(host: Host, name: str) -> Hierarchy | None:
    """Return the hierarchy that gives a capability, if one does."""
    if name == "cpu_time":
        return next((each for key, each in host.places.items() if each.counts_time == key), None)
    if name == "io":
        return host.places.get("io", host.places.get("blkio"))
    return host.places.get(name)


def _enter(run: Run, spec: Spec, plan: Plan, sandbox: Sandbox) -> None:
    """Fork into a sandbox as for a test. Raises ``StepFailedError``."""
    from pytest_isolate._plan import strictness  # noqa: PLC0415 - as above
    from pytest_isolate._sandbox import launch  # noqa: PLC0415
    from pytest_isolate._sandbox.confine import Wall  # noqa: PLC0415
    from pytest_isolate._sandbox.entry import Entry, Identity, MemoryLimit  # noqa: PLC0415

    host, cwd = run.machine.host, os.getcwd()
    written = [os.path.realpath(tempfile.gettempdir())]
    if spec.fs == "overlay" and os.access(cwd, os.W_OK):
        written.append(cwd)

    def entry_with(ends: Ends) -> Entry:
        memory = (
            None
            if spec.memory is None
            else MemoryLimit.open(sandbox.groups["memory"], host.places["memory"], spec.memory)
        )
        return Entry(
            frames=ends.frames,
            pidfd=sandbox.pidfd,
            namespaces=plan.recipe.namespaces,
            joins=sandbox.joins,
            cwd=cwd,
            replace={},
            keep=frozenset({ends.frames}),
            identity=Identity(drop_capabilities=host.rootless and host.uid != 0),
            memory=memory,
            wall=None if plan.writable is None else Wall(plan.writable),
            confinement=strictness.confinement(spec),
        )

    _judge(launch.run(sandbox, entry_with, lambda entry: _look_around(entry, written)))


def _look_around(entry: Entry, written: list[str]) -> None:
    """In the child: write files where a test could write them outside.

    Raises ``StepFailedError``.
    """
    from pytest_isolate._sandbox.frames import Writer  # noqa: PLC0415

    for directory in written:
        with Step("write a file in", directory):
            tempfile.TemporaryFile(dir=directory).close()
    Writer(entry.frames).send({"kind": "end"})


def _judge(result: ProcessResult) -> None:
    from pytest_isolate._messages import reading  # noqa: PLC0415

    frames, _ = reading.checked(result.frames, strict=False)
    for frame in frames:
        if frame["kind"] == "broken":
            raise StepFailedError(str(frame["step"]), str(frame["path"]), int(str(frame["errno"])))
    if not result.ended:
        raise StepFailedError("enter", "the sandbox: the forked process died", _ENTERING_DIED)


def capabilities(config: pytest.Config) -> dict[str, dict[str, object]]:
    """Give the findings in the JSON report's form, at the end of a run whose tests have entered
    what they asked for.
    """
    return {
        each.name: {"available": each.available, "reason": each.reason}
        for each in examine(config, enters=False)
    }


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def main(config: pytest.Config) -> int:
    """Print the findings. Returns 0 when everything is there."""
    from pytest_isolate._pytest import terminal  # noqa: PLC0415

    findings, writer = examine(config, enters=True), terminal.writer(config)
    if sys.platform == "linux":
        from pytest_isolate._doctor import layers, networks  # noqa: PLC0415
        from pytest_isolate._linux import environment  # noqa: PLC0415

        here = environment.look()
        writer.line(f"environment: {here}")
        available = {each.name for each in findings if each.available}
        rows = networks.rows(here, has_network="net" in available)
        rows.append(layers.row(config, has_overlay="overlay" in available))
        findings += [Finding(*row, optional=True) for row in rows]
    helps: dict[str, str] = {}  # what helps -> the first that it helps
    for each in findings:
        word = "PASS" if each.available else "NOTE" if each.optional else "FAIL"
        writer.write(word, **_MARKS[word])
        writer.line(f"  {each.name}{': ' if each.reason else ''}{each.reason}")
        if each.remedy and not each.available:
            first = helps.setdefault(each.remedy, each.name)
            writer.write("      fix: ", bold=True)
            writer.line(each.remedy if first == each.name else f"the same as of {first}")
    needed = [each for each in findings if not each.optional]
    missing = sum(not each.available for each in needed)
    there = sum(each.available for each in findings)
    if missing:
        rest = f"; {missing} of the {len(needed)} that most tests need {_are(missing)} not"
    else:
        rest = "" if there == len(findings) else ", with all that most tests need"
    writer.line(
        f"{there} of {len(findings)} capabilities are available here{rest}",
        **_MARKS["FAIL" if missing else "PASS"],
    )
    return 1 if missing else 0
