"""The files in which a network namespace counts. Imported by the builder: cheap modules only."""

from __future__ import annotations

import os


def network_files(proc: str) -> list[str]:
    """The files of a network namespace that count what had no route, seen from a process in it; without IPv6 there is one."""
    return [path for path in (f"{proc}/net/snmp", f"{proc}/net/snmp6") if os.path.exists(path)]
