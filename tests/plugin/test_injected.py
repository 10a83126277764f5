"""The kernel refuses one system call of the set-up, by strace's injection: one right verdict, and
the tests behind it run.
"""

from __future__ import annotations

import fnmatch
import json

import pytest
from running import HEARING, Started

pytestmark = pytest.mark.kernel

#: In the run's own conftest: strace is on one process, and all that it starts, for one step of the
#: first test and no longer.
INJECTING = (
    HEARING
    + """
import subprocess
from pytest_isolate._forking import openmp
from pytest_isolate._linux import huge_pages  # else the imports of these would be the first to open a file

WHERE, WHAT = os.environ["INJECT"].split(" ", 1)
UNTIL = {"look": ["order", "request"], "order": ["fork", "request"], "fork": ["over", "request"]}[WHERE]

def inject(pid):
    at(WHERE, lambda *told: None)
    command = ["strace", "-f", "-o", os.environ["INJECT_LOG"], *WHAT.split(), "-p", str(pid)]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert b"attached" in strace.stderr.readline()
    def end(*told):
        for step in UNTIL: at(step, lambda *told: None)
        strace.terminate()
        strace.communicate()
    for step in UNTIL: at(step, end)

at(WHERE, inject if WHERE == "order" else lambda *told: inject(os.getpid()))
"""
)
TESTS = """
import os
def test_hit():
    assert os.getpid() != 1 and os.uname().nodename == "isolate"
    open("written", "w").close()
def test_after(): assert os.uname().nodename == "isolate"
"""


#: Where, call, errno, which one (behind it perhaps a path) -> the error of the first test; None
#: where it passes all the same.
AS_ROOT = {
    "look openat EMFILE 1": (
        "read /proc/self/mountinfo and the control groups of this machine: too many open files*;"
        " remedy: raise*"
    ),
    "look vfork,clone,clone3,fork EAGAIN 1..2": (
        "start the builder process: *[[]EAGAIN]; remedy: raise the limit of processes*"
    ),
    "look pipe2 EMFILE 1": (
        "start the builder process: too many open files in one process [[]EMFILE]; remedy: raise*"
    ),
    "look socketpair EMFILE 1": (
        "open a channel to the builder process: too many open files in one process [[]EMFILE];"
        " remedy: raise*"
    ),
    "look flock ENOLCK 1": "*: lock /*: *[[]ENOLCK]*",
    "look flock EINTR 1": None,
    "look mkdir,mkdirat ENOSPC 1": (
        "*: make control group /*/pytest-isolate-*: *65,535*[[]ENOSPC]; remedy: see num_cgroups*"
    ),
    "order mkdir,mkdirat ENOSPC 1": (
        "*: make control group /*/pytest-isolate-*/1: *65,535*[[]ENOSPC]; remedy: see num_cgroups*"
    ),
    "order mkdir,mkdirat EAGAIN 1": (
        "make control group /*/pytest-isolate-*/1: *[[]EAGAIN]; remedy: raise"
        " cgroup.max.descendants *"
    ),
    "order clone ENOSPC 1": (
        "*: clone into new namespaces: limit exceeded *[[]ENOSPC]; remedy: allow *"
    ),
    "order clone EINTR 1": "clone into new namespaces: interrupted [[]EINTR]",
    "order openat EMFILE 1": "*: too many open files in one process [[]EMFILE]; remedy: raise*",
    "order openat EMFILE 1 /proc": (
        "open the private file system at /proc: too many open files in one process [[]EMFILE];"
        " remedy: raise*"
    ),
    "order sendmsg ENOMEM 1": "send the sandbox's descriptors to pytest: *[[]ENOMEM]",
    "order recvmsg EINTR 1": None,
    "order prctl EPERM 1": "*: prctl(PR_SET_PDEATHSIG) in PID 1: not permitted [[]EPERM]*",
    "order mount ENOSPC 1": "*: mount bind on /: limit exceeded *mount-max*[[]ENOSPC]*",
    "order mount EINTR 3": "overlay /proc/root: interrupted [[]EINTR]",
    "order mount_setattr ENOMEM 1": "*: *[[]ENOMEM]",
    "order pivot_root EPERM 1": "*: pivot /proc/root: not permitted [[]EPERM]*",
    "fork pipe2 EMFILE 3": (
        "open the pipes of the test's process: too many open files in one process [[]EMFILE];"
        " remedy: raise*"
    ),
    "fork setns EPERM 1": "setns into the sandbox's pid namespace: not permitted [[]EPERM]",
    "fork clone EAGAIN 1": "fork pytest: *[[]EAGAIN]; remedy: raise the limit of processes*",
    "fork setns ENOMEM 2": None,  # back into pytest's own: tried once more
    "fork setns ENOMEM 2..3": "setns back into pytest's own pid namespace: *[[]ENOMEM]",
    "fork pidfd_open EMFILE 1": (
        "pidfd_open of the test's process: too many open files in one process [[]EMFILE]; remedy:"
        " raise*"
    ),
    "fork fcntl ENOMEM 6": "map memory for what the test logs: Cannot allocate memory [[]ENOMEM]",
    # pytest's flags, which nobody changed, and a pipe that stays small
    "fork fcntl ENOMEM 9+": None,
    "fork setsid EPERM 1": (
        "the sandbox broke: setsid in the test's process: not permitted [[]EPERM]"
    ),
    "fork write ENOSPC 1": (
        "the sandbox broke: join the sandbox's control groups: No space left on device [[]ENOSPC]"
    ),
    "fork chdir ENOMEM 1": "the sandbox broke: chdir to *: *[[]ENOMEM]",
    "fork dup2,dup3 EMFILE 1": (
        "the sandbox broke: put the output files in place: too many open files*"
    ),
    "fork close_range ENOSYS 1": None,  # one by one, then
}
ROOTLESS = {
    "order clone EUSERS 1": (
        "*: clone into new namespaces: too many nested user namespaces [[]EUSERS]; remedy: allow **"
    ),
    "order mount EPERM 2": (
        "*: mount tmpfs on /proc: not permitted [[]EPERM]; remedy: allow user namespaces*"
    ),
    "fork clone EAGAIN 1": "fork pytest: *[[]EAGAIN]; remedy: raise the limit of processes*",
    "fork setns EPERM 1": (
        "the sandbox broke: join the sandbox's namespaces: not permitted [[]EPERM]"
    ),
}
#: One of each kind, for an ordinary user: in a user namespace, without groups, through the
#: go-between.
AS_USER = {
    **{
        case: AS_ROOT[case]
        for case in (
            "look openat EMFILE 1", "look vfork,clone,clone3,fork EAGAIN 1..2",
            "look pipe2 EMFILE 1", "look socketpair EMFILE 1",
            "order clone ENOSPC 1", "order clone EINTR 1", "order openat EMFILE 1 /proc",
            "order sendmsg ENOMEM 1", "order recvmsg EINTR 1",
            "order prctl EPERM 1", "order mount ENOSPC 1", "order pivot_root EPERM 1",
            "fork pipe2 EMFILE 3", "fork pidfd_open EMFILE 1",
            "fork chdir ENOMEM 1", "fork dup2,dup3 EMFILE 1", "fork close_range ENOSYS 1",
        )
    },
    **ROOTLESS,
    "order mkdir,mkdirat ENOSPC 1": "*[[]ENOSPC]*",
    # The go-between's
    "fork setsid EPERM 1": "the sandbox broke: join the sandbox's namespaces: not permitted [[]EPERM]",
    "fork write ENOSPC 1": "the sandbox broke: *: No space left on device [[]ENOSPC]",
}  # fmt: skip
WORLDS = {
    "": (AS_ROOT, ("root", "strace", "memory")),
    " rootless": (ROOTLESS, ("root", "strace", "memory")),
    " as a user": (AS_USER, ("user", "strace")),
}
CASES = [
    pytest.param(
        case, said, world == " rootless", marks=pytest.mark.needs(*needed), id=f"{case}{world}"
    )
    for world, (cases, needed) in WORLDS.items()
    for case, said in cases.items()
]


@pytest.fixture
def outcome(tmp_path, monkeypatch, host):
    """Run with one injection and some arguments.

    Gives outcome and verdict of each test, and what pytest wrote; nothing has stayed.
    """

    def run(case: str, *args: str, rootless: bool = False) -> tuple[list[str], str]:
        where, calls, error, which, *paths = case.split()
        # Not every architecture has each of them
        names = ",".join(f"?{name}" for name in calls.split(","))
        options = [
            f"--trace={names}",
            f"--inject={names}:error={error}:when={which}",
            *(f"--trace-path={path}" for path in paths),
        ]
        monkeypatch.setenv("INJECT", " ".join([where, *options]))
        monkeypatch.setenv("INJECT_LOG", str(tmp_path / "strace"))
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they open and fork too
        within = ["unshare", "--user", "--map-root-user"] if rootless else []
        started = Started(
            tmp_path / "run", TESTS, INJECTING, "--isolate-report=report.json", *args, within=within
        )
        output = started.end()
        assert "(INJECTED)" in (tmp_path / "strace").read_text(), "it was never called"
        tests = json.loads((tmp_path / "run/report.json").read_text())["tests"]
        assert started.gone_within(2), started.alive()
        assert started.groups(host) == []
        assert "INTERNALERROR" not in output
        assert "itself failed" not in output
        verdicts = [f"{each['outcome']} {each['verdict']}" for each in tests]
        assert (tmp_path / "run/written").exists() == (verdicts[0] == "passed ok"), (
            "it ran, or did not, whatever was said"
        )
        return verdicts, output

    return run


@pytest.mark.parametrize(("case", "said", "rootless"), CASES)
def test_a_refused_call_is_one_error_in_words(outcome, case, said, rootless):
    """Whatever step of the set-up the kernel refuses: an error of the sandbox with its step and
    what helps, or it is done another way.
    """
    verdicts, output = outcome(case, rootless=rootless)
    assert verdicts == ["passed ok" if said is None else "error sandbox_error", "passed ok"], output
    if said is not None:
        is_whole = said.startswith(("the sandbox broke", "*"))
        pattern = f"isolate: {'' if is_whole else 'the sandbox could not be built: '}{said}"
        assert fnmatch.filter(output.splitlines(), pattern), output


@pytest.mark.needs("strace")
@pytest.mark.parametrize("on_missing", ["skip", "warn"])
@pytest.mark.parametrize("case", ["look pipe2 EMFILE 1", "order clone ENOMEM 1"])
def test_a_passing_shortage_is_not_a_missing_capability(outcome, case, on_missing):
    """The machine can isolate; that it could not just now neither skips a test nor lets it run in
    the open.
    """
    verdicts, output = outcome(case, f"--isolate-on-missing={on_missing}")
    assert verdicts == ["error sandbox_error", "passed ok"], output
