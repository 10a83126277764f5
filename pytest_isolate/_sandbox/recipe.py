"""What the builder needs to know of a sandbox, and where in its private file system directories
are. Cheap modules only.
"""

from __future__ import annotations

from pytest_isolate._sandbox.records import Record
from pytest_isolate._sandbox.step import Step

INDEX = 0x5EED0001  # in requests: where the index of an interface comes that is not there yet


class Uplink(Record):
    """A way out: a program that stands outside and has an interface in the sandbox's network."""

    command: tuple[str, ...]  # with words in braces, see ``leading_out``
    interface: str
    requests: tuple[bytes, ...]  # of rtnetlink, in there


class Recipe(Record):
    """One kind of sandbox. Those of one recipe are interchangeable."""

    namespaces: int
    user_map: tuple[int, int, int, int] | None  # uid and gid inside, uid and gid outside
    private: str  # where the private file system is mounted until the pivot
    steps: tuple[Step, ...]
    limits: dict[str, dict[str, str]]  # by controller: files and what is written to them
    # Whether PID 1 looks once more at the machine's directories when a test takes the sandbox
    waits: bool = False
    uplink: Uplink | None = None


class Apart(Record):
    """A directory that no overlay fits on, for there are mounts below it: a private one, with an
    overlay on each directory in it.
    """

    path: str
    place: str  # of it, in the private file system
    # Of what is in it, ``NAME/.upper`` in there; and beside it ``.known``, what it had when the
    # test began
    layers: str
