"""The descriptors that a child is given, in whatever process forks it, and the form in which they
are passed to the nursery.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_isolate._child.denials import Events
from pytest_isolate._sandbox import relay
from pytest_isolate._sandbox.entry import MemoryLimit, MemoryLooked
from pytest_isolate._sandbox.sandbox import Sandbox


@dataclass
class Given:
    """Descriptors that a child needs, in whatever process forks it."""

    namespaces: int
    pidfd: int  # of the sandbox's PID 1
    private: int
    joins: tuple[int, ...]
    stdout: int = -1
    stderr: int = -1
    frames: int = -1
    stacks: int = -1
    commands: int = -1
    ended: int = -1
    # By which the child says that it is inside; closed before the test's own code, which could take
    # that back
    door: int = -1
    events: Events = field(default_factory=dict)
    memory: MemoryLimit | MemoryLooked | None = None
    mirrors: dict[str, int] = field(default_factory=dict)
    # What stands in the place of an output of pytest's
    relays: dict[relay.Identity, int] = field(default_factory=dict)

    @classmethod
    def of(cls, sandbox: Sandbox) -> Given:
        """With those of a sandbox, which stay its own."""
        return cls(sandbox.recipe.namespaces, sandbox.pidfd, sandbox.private, sandbox.joins)

    @property
    def own(self) -> tuple[int, ...]:
        """Those that whoever forks has no use for afterwards."""
        memory = () if self.memory is None else self.memory.descriptors
        pipes = (
            self.frames,
            self.stacks,
            self.commands,
            self.ended,
            self.door,
            *self.relays.values(),
        )
        found = (*pipes, self.stdout, self.stderr, *(fd for fd, _ in self.events.values()), *memory)
        return tuple(fd for fd in found if fd >= 0)

    @property
    def all(self) -> tuple[int, ...]:
        """Every one of them."""
        return (*self.own, *self.mirrors.values(), self.pidfd, self.private, *self.joins)

    def kept(self, *, goes_on: bool) -> tuple[int, ...]:
        """Those that the child has open in its test; ``goes_on``: it waits for commands."""
        events = tuple(fd for fd, _ in self.events.values())
        commands = (self.commands,) if goes_on else ()
        return (
            self.frames,
            self.stacks,
            self.ended,
            self.door,
            self.stdout,
            *commands,
            *events,
            *self.mirrors.values(),
        )

    def packed(self) -> tuple[list[str | int], tuple[int, ...]]:
        """Fields and descriptors of a message."""
        assert not isinstance(self.memory, MemoryLooked)  # a nursery is for tests in namespaces
        memory = [
            "" if self.memory is None else self.memory.above,
            0 if self.memory is None else len(self.memory.limits),
        ]
        names = [
            *(f"{kind}={word}" for kind, (_, word) in self.events.items()),
            "",
            *self.mirrors,
            "",
            *self.relays,
        ]
        pipes = (self.frames, self.stacks, self.commands, self.ended, self.door)
        descriptors = (*pipes, self.pidfd, self.private, self.stdout, self.stderr)
        events = tuple(fd for fd, _ in self.events.values())
        limits = () if self.memory is None else self.memory.descriptors
        named = (*events, *self.mirrors.values(), *self.relays.values())
        return [self.namespaces, len(self.joins), *memory, *names], (
            *descriptors,
            *self.joins,
            *named,
            *limits,
        )

    @classmethod
    def unpacked(cls, fields: list[str], descriptors: list[int]) -> Given:
        """Return what ``packed`` packed, with the numbers that they have here."""
        namespaces, joins, above, limits, *names = fields
        at = names.index("")
        behind = names.index("", at + 1)
        frames, stacks, commands, ended, door, pidfd, private, stdout, stderr, *rest = descriptors
        given = cls(
            int(namespaces),
            pidfd,
            private,
            tuple(rest[: int(joins)]),
            stdout,
            stderr,
            frames,
            stacks,
            commands,
            ended,
            door,
        )
        rest = rest[int(joins) :]
        given.events = {
            kind: (rest.pop(0), word)
            for kind, _, word in (name.partition("=") for name in names[:at])
        }
        given.mirrors = {name: rest.pop(0) for name in names[at + 1 : behind]}
        given.relays = {name: rest.pop(0) for name in names[behind + 1 :]}
        if above:
            given.memory = MemoryLimit(rest[0], tuple(rest[1 : 1 + int(limits)]), int(above))
        return given
