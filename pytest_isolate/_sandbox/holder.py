"""PID 1 of one sandbox and how it is made: in the builder's memory, by processes that end when they
have done their part.

Theory of operation. Three children that share the builder's memory (``_linux/kin.py``) run one
inside the other. The first is in the new namespaces. The second has nothing open and leaves a
process behind that stays: PID 1, which does nothing at all, ignores SIGCHLD, by which the kernel
reaps for it whoever is left to it, and is the builder's child. The third is a process of the new
pid namespace, whose /proc only such a one can mount: it performs the steps of the recipe and shares
the builder's descriptors, so that what it opened is there when it has ended. A recipe that waits is
finished by a fourth, when pytest takes the sandbox.
"""

from __future__ import annotations

import os

from pytest_isolate._errors import Step
from pytest_isolate._linux import privileges, signals, syscalls
from pytest_isolate._linux.kin import FILES, PARENT, Kin
from pytest_isolate._linux.proc_net import NetworkCounters
from pytest_isolate._linux.syscalls import Clone
from pytest_isolate._sandbox import apart, copies
from pytest_isolate._sandbox.leading_out import WayOut
from pytest_isolate._sandbox.overlays import TakeApart
from pytest_isolate._sandbox.recipe import Recipe
from pytest_isolate._sandbox.requests import Handles
from pytest_isolate._sandbox.step import perform
from pytest_isolate._sandbox.steps import Write


class Holder:
    """A PID 1 in a sandbox, which is built or half built.

    Everything here may raise ``StepFailedError``; ``kill`` it then.
    """

    def __init__(self, kin: Kin, recipe: Recipe) -> None:
        self.pid = 0
        self.pidfd = -1
        self.proc = -1  # its /proc, the true one, whatever a test that is root mounts there
        # What pytest gets: the private file system, two files for output, counters
        self.kept: list[int] = []
        self._kin = kin
        self._recipe = recipe
        self._rest = list(recipe.steps)
        self._directories: list[apart.Directory] = []
        self._stack: object = None
        self._way_out: WayOut | None = None

    def build(self) -> None:
        """Make it, and all of the sandbox that can be made ahead."""
        with Step("clone into", "new namespaces"):
            self._kin.run(self._in_namespaces, FILES | self._recipe.namespaces & ~Clone.NEWPID)
        if self._recipe.uplink is not None:
            self._way_out = WayOut()
            self._way_out.open(self._kin, self.pidfd, self._recipe)

    def finish(self) -> None:
        """Do what waited until a test takes the sandbox: look at what may have changed since."""
        with Step("clone", "a process for the sandbox"):
            self._kin.run(self._again, FILES)

    def _in_namespaces(self) -> None:
        _die_with_builder()
        user = self._recipe.user_map
        if user is not None:  # rootless: nobody but ourselves has a name in here
            inside_uid, inside_gid, uid, gid = user
            perform(Write("/proc/self/setgroups", "deny"))
            perform(Write("/proc/self/uid_map", f"{inside_uid} {uid} 1\n"))
            perform(Write("/proc/self/gid_map", f"{inside_gid} {gid} 1\n"))
        with Step("chdir to", "/"):  # PID 1 stays where this process is, and pivots with it
            os.chdir("/")
        with Step("clone", "a process for the sandbox"):
            self._kin.run(self._leave_first, PARENT)
        with Step("open a pidfd of", "PID 1"):
            self.pidfd = os.pidfd_open(self.pid)
        with Step("clone", "a process for the sandbox"):
            syscalls.setns(self.pidfd, Clone.NEWPID)
            self._kin.run(self._inside, FILES | PARENT)

    def _leave_first(self) -> None:
        """Close everything, for a test that is root reaches whatever its PID 1 has open, through
        /proc/1/fd.
        """
        # With all capabilities of a user namespace it can read and change PID 1's memory too, which
        # then is a copy of the builder's: that acts outside, as the user. Root of the machine has
        # other ways out.
        user = self._recipe.user_map
        may_trace = user is not None and user[0] == 0
        self._kin.close_all_but_waiting()
        signals.signal(signals.SIGCHLD, signals.SIG_IGN)
        with Step("clone into", "new namespaces"):
            syscalls.unshare(Clone.NEWPID)
            self.pid, self._stack = self._kin.stay(PARENT, shares_memory=not may_trace)

    def _inside(self) -> None:
        with Step("build", "the sandbox"):  # what has no other name
            self._build()

    def _build(self) -> None:
        _die_with_builder()
        os.umask(0)
        private = self._recipe.private
        budget = copies.Budget()
        while self._rest and not self._rest[0].is_last:
            step = self._rest.pop(0)
            if isinstance(step, TakeApart):
                self._directories.append(apart.Directory(step, budget))
            else:
                perform(step)
        with Step("open", f"the private file system at {private}"):
            self.kept.append(os.open(private, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for _ in range(2):
            with Step("make an output file in", private):
                self.kept.append(os.open(private, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
        # What the namespace counts can be read from these after its end too
        if self._recipe.namespaces & Clone.NEWNET:
            with Step("open", f"the network's counters in {private}/root/proc"):
                self.kept += NetworkCounters.open(f"{private}/root/proc").descriptors
        for directory in self._directories:
            directory.write_down()
        if not self._recipe.waits:
            self._finish()

    def _again(self) -> None:
        _die_with_builder()
        os.umask(0)
        with Step("setns into", "the sandbox's namespaces"):
            syscalls.setns(self.pidfd, self._recipe.namespaces & ~Clone.NEWPID)
        with Step("build", "the sandbox"):
            for directory in self._directories:
                if directory.look_again():
                    directory.write_down()
        self._finish()

    def _finish(self) -> None:
        for step in self._rest:
            perform(step)
        with Step("open", "/proc"):
            self.proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def handles(self, joins: list[int]) -> Handles:
        """Name what pytest gets, with the files by which to join its control groups."""
        private, stdout, stderr, *network = self.kept
        return Handles(self.pidfd, private, stdout, stderr, tuple(joins), tuple(network))

    def let_go(self) -> None:
        """Close what pytest has got."""
        while self.kept:
            os.close(self.kept.pop())

    def kill(self) -> None:
        """End PID 1, and with it every process in there.

        It is not waited for: a test in there is another's child.
        """
        self.let_go()
        if self.proc >= 0:
            os.close(self.proc)
            self.proc = -1
        if self._way_out is not None:
            self._way_out.close()
        if self.pid:
            os.kill(self.pid, signals.SIGKILL)

    def reap(self) -> None:
        """Behind its end."""
        os.waitpid(self.pid, 0)
        if self.pidfd >= 0:
            os.close(self.pidfd)


class Nobody(Holder):
    """Where there are no namespaces there is no PID 1: only two files for output, which have a name
    nowhere.
    """

    def build(self) -> None:
        """Open them.

        What a sandbox has besides, a pidfd of PID 1 and its file system, the root stands for.
        """
        with Step("open", "/"):
            self.pidfd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.kept.append(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for name in ("stdout", "stderr"):
            with Step("make a file in memory for", name):
                self.kept.append(os.memfd_create(name, os.MFD_CLOEXEC))

    def kill(self) -> None:
        """There is nobody."""
        self.let_go()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def _die_with_builder() -> None:
    with Step("prctl(PR_SET_PDEATHSIG) in", "PID 1"):
        privileges.die_with_parent_thread(signals.SIGKILL)
