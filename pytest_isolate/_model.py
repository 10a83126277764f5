"""What travels between the modules: frozen, without behaviour beyond its own fields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Missing:
    """Something that was asked for and that this machine cannot give."""

    keyword: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Usage:
    """What a test's process tree used. ``None``: this machine cannot measure it."""

    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None
    pids_peak: int | None = None
    disk_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    cpu_user_seconds: float | None = None
    cpu_system_seconds: float | None = None
