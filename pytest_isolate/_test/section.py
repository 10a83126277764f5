"""The ``isolate`` section of a failing report: what was asked for, what was used, and what of it may be why the test failed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.values import counted, format_duration, format_size
from pytest_isolate._forward.server import Used
from pytest_isolate._pytest.lasting import places
from pytest_isolate._report.json_report import Carried
from pytest_isolate._test import hints, missed_servers
from pytest_isolate._test.flights import Flight
from pytest_isolate._test.kept import changes_of, keep_tmp_path
from pytest_isolate._verdict import allocations, judging, network_attempts, rules
from pytest_isolate._verdict.judging import Verdict

_MOST_LINKS = 12  # ends that are shown
_MOST_PATHS = 5  # of each kind, shown to people


def section(flight: Flight, verdict: Verdict, report: pytest.TestReport) -> str:
    """Its lines. Copies the ``tmp_path`` out of the sandbox, once, to say where it is."""
    lines = [asked(flight), _used(verdict)]
    if flight.facts is not None and flight.facts.exit.left_over and flight.spec is not None:
        lines.append(rules.leak_sentence(flight.spec, flight.facts.exit))
    if flight.facts is not None and flight.facts.kill is not None:
        lines.append(rules.held(flight.facts.kill))
    elif (
        flight.facts is not None and flight.facts.exit.largest is not None and any("memory" in each.resource for each in verdict.violations)
    ):
        command, held = flight.facts.exit.largest
        lines.append(f"memory held when it was highest: {format_size(held)} by {command!r}")
    if flight.facts is not None and flight.facts.counters.oom_kills and (frame := flight.facts.exit.last("allocations")) is not None:
        lines.append(allocations.sentence(frame.get("lines")))
    if flight.facts is not None and (missing := judging.missing_threads(flight.facts)) is not None:
        lines.append(missing)
    text = "\n".join([*(text for _, text in report.sections), report.longreprtext])
    lines += [_left(flight, text), *_missed(flight, report), _links(flight), _changed(flight)]
    if (report.when != "teardown" or flight.salvaged is None) and (kept := keep_tmp_path(flight)) is not None:
        lines.append(kept)
    return "\n".join(line for line in lines if line)


def links_of(flight: Flight) -> tuple[Carried, ...]:
    """What each end of a link of the test's network sent, by the word of the test's process."""
    topology = None if flight.spec is None else flight.spec.networking.topology
    frame = None if flight.facts is None or topology is None else flight.facts.exit.last("links")
    if frame is None or topology is None:
        return ()
    ends = {(one.node, other.node) for pair in topology.links for one, other in (pair, pair[::-1])}
    links: Any = frame["links"]
    return tuple(Carried(*each) for each in links if (each[0], each[1]) in ends)


def _links(flight: Flight) -> str:
    found = [each for each in links_of(flight) if each.packets or each.dropped]
    shown = [
        f"{each.sender} to {each.receiver} {counted(each.packets, 'packet')}, {format_size(each.bytes)}"
        + (f", {each.dropped} dropped" if each.dropped else "")
        for each in found[:_MOST_LINKS]
    ]
    more = f"; and {len(found) - _MOST_LINKS} more" if len(found) > _MOST_LINKS else ""
    return f"links: {'; '.join(shown)}{more}" if shown else ""


def _server(used: Used) -> str:
    """Which server a test used."""
    fixture = f", started by the fixture {used.server.fixture!r}" if used.server.fixture is not None else ""
    refused = f"; it refused: {os.strerror(used.refused)}" if used.refused else ""
    carried = f"{format_size(used.sent or 0)} to it, {format_size(used.received or 0)} back"
    return f"{used.server.place} of {used.server.process}{fixture}: {counted(used.connections or 0, 'connection')}, {carried}{refused}"


def _left(flight: Flight, text: str) -> str:
    """What the test wanted of a network that it does not have."""
    if flight.facts is None:
        return ""
    shown = []
    networking = None if flight.spec is None else flight.spec.networking
    if flight.facts.attempts and networking is not None and not networking.denies:  # else it is the violation's sentence
        shown.append(f"network: {network_attempts.sentence(flight.facts.attempts)}; net='host' shares the machine's network")
    if networking is not None and networking.is_own:
        shown += missed_servers.sentences(flight, flight.facts, text)
    shown += [f"server: {_server(each)}" for each in flight.facts.servers if each.connections or each.refused]
    return "\n".join(shown)


def _missed(flight: Flight, report: pytest.TestReport) -> Iterator[str]:
    """What of the machine the test did not have, by its own words."""
    spec, plan, sandbox = flight.spec, flight.plan, flight.sandbox
    if spec is None or plan is None or sandbox is None:
        return
    text = "\n".join([*(text for _, text in report.sections), report.longreprtext])
    if spec.fs != "host":
        yield from hints.devices(text)
    if flight.run.machine.host.rootless and spec.fs == "overlay":
        yield from hints.unnamed(text)
    if plan.writable is not None:
        yield from hints.refused(text, plan.writable)
    if plan.apart:
        mounts = [mount.path for mount in flight.run.machine.host.mounts]
        yield from hints.too_large(text, plan.written.too_large(sandbox.private), mounts)


def _changed(flight: Flight) -> str:
    """What the test did to the machine's files, outside of its ``tmp_path``."""
    changes = changes_of(flight)
    temporary = None if flight.facts is None else flight.facts.exit.first("tmp_path")
    base = "\0" if temporary is None else os.path.dirname(str(temporary["path"]))
    kept = tuple(f"{place}{os.sep}" for place in places(flight.item.config))  # brought back, not discarded
    if flight.spec is not None and (topology := flight.spec.networking.topology) is not None and topology.captures:
        from pytest_isolate._network import capture  # noqa: PLC0415 - for those who have one

        kept += (capture.directory(),)  # ours
    shown = []
    for kind in ("created", "modified", "deleted"):
        paths = [path for path in getattr(changes, kind) if not path.startswith((base, *kept)) and not path.endswith("__pycache__")]
        if paths:
            more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
            shown.append(f"{kind} {', '.join(map(repr, paths[:_MOST_PATHS]))}{more}")
    return "files (discarded): " + "; ".join(shown) if shown else ""


def asked(flight: Flight) -> str:
    assert flight.spec is not None
    limits = ", ".join(f"{name} {KEYWORDS[name].show(value)}" for name, value in flight.spec.limits().items()) or "none"
    without = ""
    if flight.plan is not None and flight.plan.is_bare:
        without = f"; no namespaces, which this machine does not give: {', '.join(flight.plan.walls)} only"
    return f"limits: {limits}; net={KEYWORDS['net'].show(flight.spec.net)}, fs={flight.spec.fs}{without}"


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
