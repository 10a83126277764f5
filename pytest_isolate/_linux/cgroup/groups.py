"""The groups of one run.

A run makes one directory per hierarchy, ``pytest-isolate-PID-RANDOM``, and in it one group per
sandbox. The directory is held by flock(2) for as long as the run lives: whoever gets that lock
knows that the owner is dead, whatever pid namespace it was in.

Imported by the builder: only cheap modules of the standard library here.
"""

from __future__ import annotations

import errno
import fcntl
import os

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import signals
from pytest_isolate._linux.cgroup.files import read, write
from pytest_isolate._linux.cgroup.hierarchy import LEAF, Hierarchy

PREFIX = "pytest-isolate-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_EMPTY = (errno.EBUSY, errno.ENOTEMPTY)


def kill_all(directory: str) -> None:
    """SIGKILL every process of a group and wait for none: the kernel empties it on its own time."""
    try:
        write(os.path.join(directory, "cgroup.kill"), "1")
    except StepFailedError:  # v1, or a kernel before 5.14
        for pid in read(os.path.join(directory, "cgroup.procs")).split():
            try:
                os.kill(int(pid), signals.SIGKILL)
            except ProcessLookupError:
                continue  # it ended by itself


def remove(directory: str) -> bool:
    """Remove a group and those below it. False while a process in there is not quite dead yet.

    By descriptors, one at a time: who may make groups in there can make paths that are longer than
    any that the kernel takes, and more levels than there are descriptors.
    """
    try:
        try:
            os.rmdir(directory)  # in most there is nothing
        except OSError as error:
            if error.errno not in _NOT_EMPTY:
                raise
            if not _empty(directory):
                return False
            os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise StepFailedError("rmdir", directory, error.errno or 0) from error
    return True


def _empty(directory: str) -> bool:
    """Remove the groups below one. False where a process is in one of them."""
    here, way = os.open(directory, _DIRECTORY), list[str]()  # the names of where we are, below it
    left = ""  # the group from which we came up, in which there is no other any more
    try:
        while True:
            with os.scandir(here) as entries:
                names = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
            full = [name for name in names if not _is_removed(name, here)]
            if left in full:
                return False
            if not full and not way:
                return True
            there = os.open(full[0] if full else "..", _DIRECTORY, dir_fd=here)
            if full:
                way.append(full[0])
            left = "" if full else way.pop()
            os.close(here)
            here = there
    finally:
        os.close(here)


def _is_removed(name: str, directory: int) -> bool:
    try:
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise
        return False
    return True


def _lock(directory: str) -> int | None:
    """Take the owner's lock of a run's directory; None when somebody alive holds it."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def sweep(base: str) -> list[str]:
    """Remove what dead runs left below ``base``, and only that. Returns the directories removed."""
    removed = []
    for name in sorted(os.listdir(base)):
        directory = os.path.join(base, name)
        if not name.startswith(PREFIX) or (lock := _lock(directory)) is None:
            continue
        try:
            for group in [
                entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)
            ]:
                kill_all(group)
            kill_all(directory)
            if remove(directory):
                removed.append(directory)
        finally:
            os.close(lock)
    return removed


class RunGroups:
    """The directories of one run, one per hierarchy, made in the builder and removed by it."""

    def __init__(self, places: dict[str, Hierarchy]) -> None:
        self._places = places
        self._locks: list[int] = []
        self.directories: dict[Hierarchy, str] = {}
        name = f"{PREFIX}{os.getppid()}-{os.urandom(4).hex()}"
        for place in dict.fromkeys(places.values()):
            controllers = [each for each, where in places.items() if where == place]
            with Step("open", place.directory):
                base = os.open(place.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with Step("lock", place.directory):
                    # No other run sweeps between our mkdir and our lock
                    fcntl.flock(base, fcntl.LOCK_EX)
                self._make_directory(place, os.path.join(place.directory, name), controllers)
            finally:
                os.close(base)

    def _make_directory(self, place: Hierarchy, directory: str, controllers: list[str]) -> None:
        with Step("sweep", place.directory):
            sweep(place.directory)
        place.enable(place.directory, controllers)
        with Step("make control group", directory):
            os.mkdir(directory)
        with Step("lock", directory):
            lock = _lock(directory)
        assert lock is not None, "a run directory that nobody else can know is locked"
        self._locks.append(lock)
        self.directories[place] = directory
        place.enable(directory, controllers)

    def make(self, name: str, limits: dict[str, dict[str, str]]) -> dict[str, str]:
        """Make one sandbox's groups and write their limits. Returns directories by controller.

        ``limits`` is {controller: {file name: text}}, ready for the version of each controller,
        every line of the text to be written by itself; a name with a question mark behind it is a
        file that not every kernel has.
        """
        made = {}
        for place, directory in self.directories.items():
            controllers = [
                each for each, where in self._places.items() if where == place and each in limits
            ]
            if not controllers:
                continue
            group = os.path.join(directory, name)
            with Step("make control group", group):
                os.mkdir(group)
            for controller in controllers:
                made[controller] = group
                for file, text in limits[controller].items():
                    path = os.path.join(group, file.removesuffix("?"))
                    if path.endswith(file) or os.path.exists(path):
                        for line in text.split("\n"):
                            write(path, line)
        return made

    def close(self) -> None:
        """Remove what is left of the run, and the leaf when no other run stands on it."""
        for place, directory in self.directories.items():
            kill_all(directory)
            remove(directory)
            self._sweep_again(place.directory)
            if not _other_runs(place.directory):
                place.leave()
                remove(os.path.join(place.directory, LEAF))
        for lock in self._locks:
            os.close(lock)

    def _sweep_again(self, directory: str) -> None:
        """Sweep a dead run's groups whose processes were still dying when we swept: those of this
        run's builder before us, say.
        """
        base = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(base, fcntl.LOCK_EX)
            sweep(directory)
        finally:
            os.close(base)


def _other_runs(base: str) -> bool:
    return any(name.startswith(PREFIX) for name in os.listdir(base))
