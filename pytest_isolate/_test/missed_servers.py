"""Servers of the machine that a failing test did not reach: who has the port or the socket that was
refused, and what to write.

By what the test's own Python tried, by its words, as those of C libraries and sub-processes come,
and by the kernel's count of connections that were refused in its network, which is there for
everybody, killed tests too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_isolate._forward.missed import Missed
from pytest_isolate._session.run import Run
from pytest_isolate._verdict.evidence import Evidence

_MOST_TEXT = 1 << 18  # characters that are searched, the last ones
_MOST = 3
_REFUSED = re.compile(
    r"refused|No such file or directory|could not connect|failed to connect", re.IGNORECASE
)
_PORT = re.compile(r"(?:\bport[ =:]+|[\w.\]]:|/dev/tcp/[\w.:]+/)(\d{2,5})\b", re.IGNORECASE)
_PATH = re.compile(r"(/[\w.+@/-]{2,106})")


def sentences(run: Run, evidence: Evidence, text: str) -> Iterator[str]:
    """One for each, in the order in which they are sure."""
    ports, paths = _named(text)
    if (frame := evidence.process.last("refused")) is not None:
        ports.insert(0, int(str(frame["port"])))
    if (frame := evidence.process.last("refused_path")) is not None:
        paths.insert(0, str(frame["path"]))
    if (
        evidence.process.timed_out
        and evidence.refused
        and (frame := evidence.process.last("tries")) is not None
    ):
        ports.insert(0, int(str(frame["port"])))
    if not (ports or paths):
        return
    missed = run.forwarding.missed()
    sure = [port for port in ports[:1] if evidence.refused]
    found = list(dict.fromkeys(_at_ports(missed, ports, sure)))
    yield from (found + list(dict.fromkeys(_at_paths(missed, paths))))[:_MOST]


def _named(text: str) -> tuple[list[int], list[str]]:
    lines = [line for line in text[-_MOST_TEXT:].splitlines() if _REFUSED.search(line)]
    ports = [int(port) for line in lines for port in _PORT.findall(line)]
    return list(dict.fromkeys(port for port in ports if port < 1 << 16)), list(
        dict.fromkeys(path for line in lines for path in _PATH.findall(line))
    )


def _at_ports(missed: Missed, ports: list[int], sure: list[int]) -> Iterator[str]:
    for port in ports:
        said = f"network: a connection to port {port} of localhost was refused"
        if (owner := missed.at_port(port)) is not None:
            yield (
                f"{said}: {owner} has it on the machine, and a sandbox has a localhost of its own;"
                f" forward=[{port}] reaches that server, net='host' shares the machine's network"
            )
        elif port in sure:
            yield (
                f"{said}: nobody listens there, neither in the sandbox, which has a localhost of"
                " its own, nor on the machine"
            )


def _at_paths(missed: Missed, paths: list[str]) -> Iterator[str]:
    for path in paths:
        if (owner := missed.at_path(path)) is not None:
            yield (
                f'network: at the socket {path} {owner} listens on the machine; forward=["{path}"]'
                " reaches that server"
            )
