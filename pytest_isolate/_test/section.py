"""The ``isolate`` section of a failing report: what was asked for, what was used, and what of it
may be why the test failed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._config.values import counted, format_duration, format_size
from pytest_isolate._forward.server import Used
from pytest_isolate._pytest.lasting import places
from pytest_isolate._report.json_report import Carried
from pytest_isolate._test import hints, missed_servers
from pytest_isolate._test.artifacts import changes_of
from pytest_isolate._test.states import Finished, Refused
from pytest_isolate._verdict import allocations, judging, network_attempts, rules
from pytest_isolate._verdict.judging import Verdict
from pytest_isolate._violations import ProcessesLeaked

_MOST_LINKS = 12  # ends that are shown
_UNSAID = {"env", "serial", "leaks", "on_missing"}  # secrets, and what the test is not run by
_MOST_PATHS = 5  # of each kind, shown to people


def section(
    ended: Finished, verdict: Verdict, report: pytest.TestReport, kept: Sequence[str]
) -> str:
    """Its lines, the last of them those that say what is ``kept`` of the test."""
    evidence = ended.evidence
    lines = [asked(ended), _anew(ended), _used(verdict)]
    if evidence.process.left_over and not any(
        isinstance(each, ProcessesLeaked) for each in verdict.violations
    ):
        lines.append(f"the test {rules.leak_sentence(ended.spec, evidence.process)}")
    if evidence.kill is not None:
        lines.append(rules.held(evidence.kill))
    elif evidence.process.largest is not None and any(
        "memory" in each.resource for each in verdict.violations
    ):
        command, held = evidence.process.largest
        lines.append(f"memory held when it was highest: {format_size(held)} by {command!r}")
    if evidence.counters.oom_kills and (frame := evidence.process.last("allocations")) is not None:
        lines.append(allocations.sentence(frame.get("lines")))
    lines.append(_printed(verdict, report))
    if (missing := judging.missing_threads(evidence)) is not None:
        lines.append(missing)
    text = "\n".join([*(text for _, text in report.sections), report.longreprtext])
    lines += [_left(ended, text), *_missed(ended, text), _links(ended), _changed(ended), *kept]
    return "\n".join(line for line in lines if line)


def _anew(ended: Finished) -> str:
    """Say that what earlier tests of the same class or module had left is gone."""
    scope, why = ended.spec.scope, ended.group.anew
    return f"sandbox: another than that of earlier tests of this {scope}: {why}" if why else ""


def _printed(verdict: Verdict, report: pytest.TestReport) -> str:
    """Say how much of a full disk is what pytest captured."""
    printed = sum(len(text) for name, text in report.sections if name.startswith("Captured std"))
    if not printed or not any(each.resource == "disk" for each in verdict.violations):
        return ""
    return f"disk: the test printed {format_size(printed)}, which pytest keeps there until its end"


def links_of(ended: Finished) -> tuple[Carried, ...]:
    """Tell what each end of a link of the test's network sent, by the word of the
    test's process.
    """
    topology, frame = ended.spec.networking.topology, ended.evidence.process.last("links")
    if frame is None or topology is None:
        return ()
    ends = {(one.node, other.node) for pair in topology.links for one, other in (pair, pair[::-1])}
    links: Any = frame["links"]
    return tuple(Carried(*each) for each in links if (each[0], each[1]) in ends)


def _links(ended: Finished) -> str:
    found = [each for each in links_of(ended) if each.packets or each.dropped]
    shown = [
        f"{each.sender} to {each.receiver} {counted(each.packets, 'packet')},"
        f" {format_size(each.bytes)}" + (f", {each.dropped} dropped" if each.dropped else "")
        for each in found[:_MOST_LINKS]
    ]
    more = f"; and {len(found) - _MOST_LINKS} more" if len(found) > _MOST_LINKS else ""
    return f"links: {'; '.join(shown)}{more}" if shown else ""


def _server(used: Used) -> str:
    """Which server a test used."""
    fixture = (
        f", started by the fixture {used.server.fixture!r}"
        if used.server.fixture is not None
        else ""
    )
    refused = f"; it refused: {os.strerror(used.refused)}" if used.refused else ""
    carried = f"{format_size(used.sent or 0)} to it, {format_size(used.received or 0)} back"
    return (
        f"{used.server.place} of {used.server.process}{fixture}:"
        f" {counted(used.connections or 0, 'connection')}, {carried}{refused}"
    )


def _left(ended: Finished, text: str) -> str:
    """Say what the test wanted of a network that it does not have."""
    spec, evidence, shown = ended.spec, ended.evidence, []
    if evidence.attempts and not spec.networking.denies:  # else it is the violation's sentence
        helps = "net='host' shares the machine's network"
        if spec.networking.allowed is not None:
            helps = f"net={spec.net!r} leads to nobody else"
        elif spec.networking.leads_out:
            helps = "net='internet' does not lead to this machine itself, which forward= does"
        shown.append(f"network: the test {network_attempts.sentence(evidence.attempts)}; {helps}")
    if spec.networking.is_own:
        shown += missed_servers.sentences(ended.test.run, evidence, text)
    shown += [
        f"server: {_server(each)}" for each in evidence.servers if each.connections or each.refused
    ]
    return "\n".join(shown)


def _missed(ended: Finished, text: str) -> Iterator[str]:
    """Yield what of the machine the test did not have, by its own words."""
    spec, plan, host = ended.spec, ended.plan, ended.test.run.machine.host
    if spec.fs != "host":
        yield from hints.devices(text)
    if not host.rootless and not spec.strict:
        yield from hints.of_the_machine(text)
    if host.rootless and spec.fs == "overlay":
        yield from hints.unnamed(text)
    if host.rootless and spec.user == "root":
        yield from hints.other_owners(text)
    if spec.networking.leads_out:
        yield from hints.no_way_out(text)
    if plan.writable is not None:
        yield from hints.refused(text, plan.writable)
    if plan.apart:
        yield from hints.too_large(
            text,
            plan.written.too_large(ended.sandbox.private),
            [mount.path for mount in host.mounts],
        )


def _changed(ended: Finished) -> str:
    """Say what the test did to the machine's files, outside of its ``tmp_path``."""
    changes, temporary = changes_of(ended), ended.first("tmp_path")
    base = "\0" if temporary is None else os.path.dirname(str(temporary["path"]))
    # Brought back, not discarded
    kept = tuple(f"{place}{os.sep}" for place in places(ended.test.item.config))
    if (topology := ended.spec.networking.topology) is not None and topology.captures:
        from pytest_isolate._network import capture  # noqa: PLC0415 - for those who have one

        kept += (capture.directory(),)  # ours
    shown = []
    for kind in ("created", "modified", "deleted"):
        paths = [
            path
            for path in getattr(changes, kind)
            if not path.startswith((base, *kept)) and not path.endswith("__pycache__")
        ]
        if paths:
            more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
            shown.append(f"{kind} {', '.join(map(repr, paths[:_MOST_PATHS]))}{more}")
    return "files (discarded): " + "; ".join(shown) if shown else ""


def asked(ended: Finished | Refused) -> str:
    """Say what a test had, or would have had, in a line."""
    spec, plan = ended.spec, ended.plan
    assert spec is not None
    limits = (
        ", ".join(f"{name} {KEYWORDS[name].show(value)}" for name, value in spec.limits().items())
        or "none"
    )
    chosen = ", ".join(_chosen(spec))
    without = ""
    if plan is not None and plan.is_bare:
        without = f"; no namespaces, which this machine does not give: {', '.join(plan.walls)} only"
    return f"limits: {limits}; {chosen}{without}"


def _chosen(spec: Spec) -> Iterator[str]:
    """Give what is no limit: the network and the file system, and whatever else was asked for."""
    for name, keyword in KEYWORDS.items():
        if keyword.is_limit or name in _UNSAID:
            continue
        value = getattr(spec, name)
        if name in {"net", "fs"} or value != keyword.default:
            yield f"{name}={keyword.show(value)}"


def _used(verdict: Verdict) -> str:
    usage, shown = verdict.usage, []
    if usage.wall_seconds is not None:
        shown.append(f"wall {format_duration(usage.wall_seconds)}")
    if usage.cpu_seconds is not None:
        shown.append(f"cpu {format_duration(usage.cpu_seconds)}")
    if usage.memory_peak_bytes is not None:
        shown.append(f"memory {format_size(usage.memory_peak_bytes)} at most")
    if usage.pids_peak is not None:
        shown.append(f"pids {usage.pids_peak} at most")
    if usage.disk_bytes is not None:
        shown.append(f"disk {format_size(usage.disk_bytes)}")
    return "used: " + ", ".join(shown)
