"""Control groups: where each controller lives here, and the groups of one run.

On v1 every controller may have a hierarchy of its own, on v2 all share one, and hybrid machines have
both: so everything below goes controller by controller. One run makes one directory per hierarchy,
``pytest-isolate-PID-RANDOM``, and in it one group per sandbox. The directory is held by flock(2) for as long as the
run lives: whoever gets that lock knows that the owner is dead, whatever pid namespace it was in.

Imported by the builder: only cheap modules of the standard library here.
"""

from __future__ import annotations

import errno
import fcntl
import os

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._linux import signals

PREFIX = "pytest-isolate-"
LEAF = "pytest-isolate.leaf"
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct", "io", "blkio")  # the last two: one by its v2 and its v1 name
READ_ONLY = "mounted read-only"
_RETRIES = 50  # a process that forks while we move it out of an inner group is seen at the next pass


class Hierarchy:
    """Where one controller of this process is: cgroup version and this process's own directory."""

    def __init__(self, version: int, directory: str) -> None:
        self.version = version
        self.directory = directory

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hierarchy) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.version, self.directory))

    def __repr__(self) -> str:
        return f"Hierarchy(v{self.version}, {self.directory!r})"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def write(path: str, text: str) -> None:
    """One write(2), as every cgroup file wants. Raises ``StepFailedError``."""
    with Step(f"write {text!r} to", path):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def locate(proc_cgroup: str, mountinfo: str) -> dict[str, Hierarchy]:
    """Map each controller to its hierarchy, from ``/proc/self/cgroup`` and mountinfo (cgroups(7)).

    The unified hierarchy is entered as ``""``; its controllers are known by ``cgroup.controllers`` only.
    """
    mounted = _mounted(mountinfo)
    found = {}
    for line in proc_cgroup.split("\n"):
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        for name in names.split(",") if path else []:
            if name not in mounted:
                continue
            version, root, mountpoint = mounted[name]
            if ".." in [*root.split("/"), *path.split("/")]:  # outside of our control group namespace
                continue
            inside = os.path.relpath(path, root)
            if inside.split("/")[0] != "..":  # else mounted from a group that is not above us
                found[name] = Hierarchy(version, os.path.normpath(os.path.join(mountpoint, inside)))
    return found


def _mounted(mountinfo: str) -> dict[str, tuple[int, str, str]]:
    """Version, root and mount point by controller; the unified hierarchy is ``""``."""
    mounted: dict[str, tuple[int, str, str]] = {}
    for line in mountinfo.split("\n"):
        before, _, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(tail) < 3:
            continue
        if tail[0] == "cgroup2":
            mounted.setdefault("", (2, _unescaped(fields[3]), _unescaped(fields[4])))
        elif tail[0] == "cgroup":
            for option in tail[2].split(","):
                mounted.setdefault(option, (1, _unescaped(fields[3]), _unescaped(fields[4])))
    return mounted


def _unescaped(field: str) -> str:
    """Undo the escapes of mountinfo: space, tab, newline and backslash stand as three octal digits."""
    for character in " \t\n\\":
        field = field.replace(f"\\{ord(character):03o}", character)
    return field


def own_hierarchies() -> dict[str, Hierarchy]:
    """The hierarchies of this process, with v2 controllers named one by one."""
    found = locate(_read("/proc/self/cgroup"), _read("/proc/self/mountinfo"))
    unified = found.pop("", None)
    if unified is not None:
        if os.path.basename(unified.directory) == LEAF:  # we, or a run beside us, moved here
            unified = Hierarchy(2, os.path.dirname(unified.directory))
        controllers = os.path.join(unified.directory, "cgroup.controllers")
        for name in _read(controllers).split() if os.path.exists(controllers) else ():  # else hidden under another mount
            found.setdefault(name, unified)
    return {name: place for name, place in found.items() if name in CONTROLLERS}


def obstacle(place: Hierarchy) -> str | None:
    """Why this process cannot make groups there; None when it can."""
    needed = [place.directory, os.path.join(place.directory, "cgroup.procs")]
    if place.version == 2 and not _is_root(place.directory):
        needed.append(os.path.join(place.directory, "cgroup.subtree_control"))
    for path in needed:
        if not os.path.exists(path):
            return f"{path} is hidden under another mount"
        if not os.access(path, os.W_OK):
            read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            return f"{path} is {READ_ONLY if read_only else 'not writable for uid ' + str(os.geteuid())}"
    return None


def _is_root(directory: str) -> bool:
    return not os.path.exists(os.path.join(directory, "cgroup.type"))  # every group but the root has this file


def kill_all(directory: str) -> None:
    """SIGKILL every process of a group and wait for none: the kernel empties it on its own time."""
    try:
        write(os.path.join(directory, "cgroup.kill"), "1")
    except StepFailedError:  # v1, or a kernel before 5.14
        for pid in _read(os.path.join(directory, "cgroup.procs")).split():
            try:
                os.kill(int(pid), signals.SIGKILL)
            except ProcessLookupError:
                continue  # it ended by itself


def remove(directory: str) -> bool:
    """Remove a group and those below it. False while a process in there is not quite dead yet."""
    try:
        os.rmdir(directory)  # in most there is nothing
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.ENOTEMPTY}:
            raise StepFailedError("rmdir", directory, error.errno or 0) from error
    else:
        return True
    try:
        for child in [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]:
            remove(child)
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise StepFailedError("rmdir", directory, error.errno or 0) from error
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
            for group in [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]:
                kill_all(group)
            kill_all(directory)
            if remove(directory):
                removed.append(directory)
        finally:
            os.close(lock)
    return removed


def _enable(directory: str, controllers: list[str]) -> None:
    """Hand v2 controllers down to the groups below ``directory``, moving processes to a leaf where that is in the way."""
    control = os.path.join(directory, "cgroup.subtree_control")
    for name in controllers:
        for _ in range(_RETRIES):
            if name in _read(control).split():
                break
            try:
                write(control, f"+{name}")
            except StepFailedError as error:
                if error.errno != errno.EBUSY:  # EBUSY: the group still has processes of its own
                    raise
                _move_processes(directory, os.path.join(directory, LEAF))
        else:
            raise StepFailedError(f"write '+{name}' to", control, errno.EBUSY)


def _move_processes(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    for pid in _read(os.path.join(source, "cgroup.procs")).split():
        try:
            write(os.path.join(target, "cgroup.procs"), pid)
        except StepFailedError as error:
            if error.errno != errno.ESRCH:
                raise


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
                    fcntl.flock(base, fcntl.LOCK_EX)  # no other run sweeps between our mkdir and our lock
                self._make_directory(place, os.path.join(place.directory, name), controllers)
            finally:
                os.close(base)

    def _make_directory(self, place: Hierarchy, directory: str, controllers: list[str]) -> None:
        with Step("sweep", place.directory):
            sweep(place.directory)
        if place.version == 2:
            _enable(place.directory, controllers)
        with Step("make control group", directory):
            os.mkdir(directory)
        with Step("lock", directory):
            lock = _lock(directory)
        assert lock is not None, "a run directory that nobody else can know is locked"
        self._locks.append(lock)
        self.directories[place] = directory
        if place.version == 2:
            _enable(directory, controllers)

    def make(self, name: str, limits: dict[str, dict[str, str]]) -> dict[str, str]:
        """Make one sandbox's groups and write their limits. Returns directories by controller.

        ``limits`` is {controller: {file name: text}}, ready for the version of each controller, every line of the text to be
        written by itself; a name with a question mark behind it is a file that not every kernel has.
        """
        made = {}
        for place, directory in self.directories.items():
            controllers = [each for each, where in self._places.items() if where == place and each in limits]
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
            leaf = os.path.join(place.directory, LEAF)
            if place.version == 2 and os.path.isdir(leaf) and not _other_runs(place.directory):
                enabled = _read(os.path.join(place.directory, "cgroup.subtree_control")).split()
                write(os.path.join(place.directory, "cgroup.subtree_control"), " ".join(f"-{name}" for name in enabled))
                _move_processes(leaf, place.directory)
                remove(leaf)
        for lock in self._locks:
            os.close(lock)

    def _sweep_again(self, directory: str) -> None:
        """A dead run's groups whose processes were still dying when we swept: those of this run's builder before us, say."""
        base = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(base, fcntl.LOCK_EX)
            sweep(directory)
        finally:
            os.close(base)


def _other_runs(base: str) -> bool:
    return any(name.startswith(PREFIX) for name in os.listdir(base))
