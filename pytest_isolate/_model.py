"""What travels between the modules: frozen, without behaviour beyond its own fields."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recipe:
    """What the builder needs to know of one sandbox. Two equal recipes make interchangeable sandboxes."""

    namespaces: int
    user_map: tuple[int, int, int, int] | None  # uid and gid inside, uid and gid outside
    private: str  # where the private file system is mounted until the pivot
    steps: tuple[tuple[object, ...], ...]
    limits: dict[str, dict[str, str]] = field(hash=False)
    waits: bool = False  # whether PID 1 looks once more at the machine's directories when a test takes the sandbox


@dataclass(frozen=True)
class Apart:
    """A directory that no overlay fits on, for there are mounts below it: a private one, with an overlay on each directory in it."""

    path: str
    place: str  # of it, in the private file system
    layers: str  # of what is in it, ``NAME/.upper`` in there; and beside it ``.known``, what it had when the test began


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
