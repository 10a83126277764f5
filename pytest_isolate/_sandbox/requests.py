"""What pytest and its helper processes say to each other about sandboxes: a record for each
message, read and written here only.

pytest asks the builder by one channel; what is said of one sandbox comes on a channel of its own. A
warden has a channel for its one test. A message is text (``wire``), so that nothing but its fields
can come of it. Imported by the builder: cheap modules only.
"""

from __future__ import annotations

from pytest_isolate._errors import StepFailedError
from pytest_isolate._linux.cgroup import hierarchy
from pytest_isolate._sandbox import wire
from pytest_isolate._sandbox.records import Record

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_isolate._linux.cgroup.hierarchy import Hierarchy


class Message(Record):
    """Base of all.

    Its fields are text and numbers; the last one may be a tuple of text, for as many as there are.
    """

    def send(self, channel: wire.Channel, descriptors: tuple[int, ...] = ()) -> None:
        """Say it. Raises ``OSError`` when the other end is gone."""
        words: list[str] = []
        for value in self.values():
            words += (
                value
                if isinstance(value, tuple)
                else [str(int(value) if isinstance(value, int) else value)]
            )
        wire.send(channel, type(self).__name__, *words, descriptors=descriptors)


def receive(channel: wire.Channel) -> tuple[Message, list[int]] | None:
    """Wait for one message; None when the other end is gone."""
    received = wire.receive(channel)
    if received is None:
        return None
    (kind, *words), descriptors = received
    found = Record.kind(kind)
    if not issubclass(found, Message):
        raise TypeError(f"{kind} is no message")
    return found(*_read(found, words)), descriptors


def _read(kind: type[Message], words: list[str]) -> Iterator[object]:
    for at, what in enumerate(kind.field_types):
        yield (
            int(words[at])
            if what == "int"
            else (
                bool(int(words[at]))
                if what == "bool"
                else words[at]
                if what == "str"
                else tuple(words[at:])
            )
        )


class Failed(Message):
    """A step that failed: what was asked for is not there."""

    step: str
    path: str
    errno: int

    @classmethod
    def of(cls, error: StepFailedError) -> Failed:
        """Make it of the exception."""
        return cls(error.step, error.path, error.errno)

    def error(self) -> StepFailedError:
        """Make the exception of it."""
        return StepFailedError(self.step, self.path, self.errno)


# From pytest to the builder.


class MakeGroups(Message):
    """Make this run's directories of control groups. The answer is ``GroupsMade`` or ``Failed``."""

    fields: tuple[str, ...]  # of each controller: its name, version and directory

    @classmethod
    def of(cls, places: dict[str, Hierarchy]) -> MakeGroups:
        """Make it of hierarchies by controller."""
        return cls(
            tuple(
                field
                for name, each in places.items()
                for field in (name, str(each.version), each.directory)
            )
        )

    def places(self) -> dict[str, Hierarchy]:
        """Give the hierarchies by controller."""
        fields = self.fields
        return {
            fields[at]: hierarchy.of(int(fields[at + 1]), fields[at + 2])
            for at in range(0, len(fields), 3)
        }


class Learn(Message):
    """Keep a recipe, which is long, by a number."""

    recipe: int
    packed: str


class Build(Message):
    """Build a sandbox; a descriptor beside it is its channel, on which ``Ready`` or ``Failed``
    comes.
    """

    sandbox: int
    recipe: int


class OfSandbox(Message):
    """Base of what is asked of one sandbox."""

    sandbox: int


class Finish(OfSandbox):
    """Finish one whose recipe waits, for a test takes it now."""


class SendSignal(OfSandbox):
    """Send a signal to a process in there, by its number in there."""

    pid: int
    number: int


class ListProcesses(OfSandbox):
    """Say who is alive in there, besides PID 1. The answer is ``Processes``."""


class Release(OfSandbox):
    """Unmake a sandbox."""


# From the builder.


class GroupsMade(Message):
    """The directories of control groups of this run are there."""


class Handles(Record):
    """What pytest holds of a sandbox, open."""

    pidfd: int  # of PID 1
    private: int  # the private file system
    stdout: int
    stderr: int
    joins: tuple[int, ...]  # files by which a process joins its control groups
    network: tuple[int, ...]  # counters of its network namespaces


class Ready(Message):
    """A sandbox is there; what pytest needs of it comes beside the message."""

    joins: int  # how many
    span_words: str  # when it was built: begin and end, in monotonic seconds
    group_fields: tuple[str, ...]  # of each controller: its name and the group's directory

    @classmethod
    def of(
        cls, groups: dict[str, str], handles: Handles, spans: tuple[float, ...]
    ) -> tuple[Ready, tuple[int, ...]]:
        """Make it of groups by controller, and the descriptors that go beside it."""
        fields = tuple(field for group in groups.items() for field in group)
        said = cls(len(handles.joins), " ".join(map(str, spans)), fields)
        return said, (
            handles.pidfd,
            handles.private,
            handles.stdout,
            handles.stderr,
            *handles.joins,
            *handles.network,
        )

    def spans(self) -> tuple[float, ...]:
        """Give when it was built: begin and end, in monotonic seconds."""
        return tuple(map(float, self.span_words.split()))

    def groups(self) -> dict[str, str]:
        """Give the groups by controller."""
        return dict(zip(self.group_fields[::2], self.group_fields[1::2]))  # noqa: B905 - the builder's word

    def handles(self, descriptors: list[int]) -> Handles:
        """Name the descriptors that came beside it."""
        pidfd, private, stdout, stderr, *more = descriptors
        return Handles(
            pidfd, private, stdout, stderr, tuple(more[: self.joins]), tuple(more[self.joins :])
        )


class Processes(Message):
    """Who is alive. Helpers that end with their interpreter are not counted, but they are alive."""

    count: int
    nobody: bool  # whether nobody at all is
    fields: tuple[str, ...] = ()  # of the first of them: number and command

    def listed(self) -> list[tuple[int, str]]:
        """Give number and command of each that is named."""
        return [(int(self.fields[at]), self.fields[at + 1]) for at in range(0, len(self.fields), 2)]


# Between pytest and a warden.


class Forked(Message):
    """The test is there; a pidfd of it is beside the message."""

    pid: int


class Ended(Message):
    """It was reaped."""

    status: int  # as of wait(2)


class ListLeft(Message):
    """Say who is left below the warden. The answer is ``Processes``."""


class KillAll(Message):
    """Kill everybody below, and leave."""
