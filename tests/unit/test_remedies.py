"""What a person is told to do about a step that failed."""

import errno

import pytest

from pytest_isolate._errors import StepFailedError, errno_in_words
from pytest_isolate._linux.cgroup.hierarchy import V1, V2
from pytest_isolate._linux.environment import SANDBOX, Environment
from pytest_isolate._linux.host import Host
from pytest_isolate._plan import remedies
from pytest_isolate._plan.remedies import explain, group_remedy, remedy

HERE = Environment(release=(6, 1))
USER = Environment(release=(6, 1), uid=1000)
GROUPS = frozenset({"v2"})
FILTERED = Environment(release=(6, 1), filtered=True)
NAMESPACES = f"{remedies.USER_NAMESPACES}; {remedies.CONTAINER}"


def of(step, code, where, path="/proc/self/uid_map"):
    return remedy(StepFailedError(step, path, code), where)


@pytest.mark.parametrize(
    ("step", "code", "where", "expected"),
    [
        ("clone into", errno.EPERM, USER, NAMESPACES),
        ("clone into", errno.ENOSPC, USER, remedies.LIMITS),
        (
            "clone into",
            errno.ENOSPC,
            Environment(sysctls=frozenset({"user.max_net_namespaces"})),
            "allow namespaces: sudo sysctl -w user.max_net_namespaces=15000",
        ),
        ("clone into", errno.EUSERS, HERE, remedies.LIMITS),
        ("write", errno.EPERM, USER, NAMESPACES),
        ("mount tmpfs on", errno.EACCES, USER, NAMESPACES),
        ("clone into", errno.EPERM, FILTERED, remedies.CONTAINER),
        ("pivot", errno.EPERM, FILTERED, remedies.CONTAINER),
        ("mount bind on", errno.EACCES, Environment(apparmor="docker-default"), remedies.CONTAINER),
        ("clone into", errno.EPERM, Environment(uid=1000, filtered=True), remedies.CONTAINER_USER),
        ("clone into", errno.EPERM, Environment(filtered=True, container=SANDBOX), remedies.STRICT),
        ("mount proc on", errno.EPERM, USER, remedies.MASKED_PROC),
        ("mount sysfs on", errno.EPERM, USER, remedies.MASKED_PROC),
        ("overlay", errno.EINVAL, HERE, remedies.OVERLAY),
        ("overlay", errno.ENODEV, HERE, remedies.OVERLAY_MODULE),
        ("overlay or read only", errno.EINVAL, HERE, remedies.OVERLAY),
        (
            "overlay",
            errno.EINVAL,
            Environment(release=(5, 10), uid=1000),
            "Linux 5.11 is needed, this is Linux 5.10",
        ),
        (
            "read only",
            errno.ENOSYS,
            Environment(release=(5, 10)),
            "Linux 5.12 is needed, this is Linux 5.10",
        ),
        (
            "read only",
            errno.ENOSYS,
            FILTERED,
            (
                f"Linux 6.1 has it and {remedies.HIDDEN}, or docker run --security-opt"
                " seccomp=unconfined"
            ),
        ),
        (
            "read only",
            errno.ENOSYS,
            Environment(release=(5, 10), filtered=True),
            "Linux 5.12 is needed, this is Linux 5.10",
        ),
        ("setns into", errno.ENOSYS, Environment(), "Linux 5.12 is needed"),
    ],
)
def test_a_known_cause_has_its_own_remedy(step, code, where, expected):
    """Each cause that somebody met has the command that helps against it, there."""
    assert of(step, code, where) == expected


def test_the_sysctl_that_is_set_is_the_one_to_change():
    """Where the reason can be read, no other is offered."""
    ubuntu = Environment(
        uid=1000, sysctls=frozenset({"kernel.apparmor_restrict_unprivileged_userns"})
    )
    debian = Environment(uid=1000, sysctls=frozenset({"kernel.unprivileged_userns_clone"}))
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in of("write", errno.EACCES, ubuntu)
    assert "kernel.unprivileged_userns_clone" not in of("write", errno.EACCES, ubuntu)
    assert of("clone into", errno.EPERM, debian).startswith(
        "allow user namespaces: sudo sysctl -w kernel.unprivileged_userns_clone=1, or"
    )


def test_podman_has_its_own_words():
    """Its options are Docker's, but for what unmasks /proc."""
    said = of("mount proc on", errno.EPERM, Environment(uid=7, container="Podman"))
    assert said.startswith(
        "in a container /proc or /sys is masked: podman run --security-opt unmask=ALL;"
    )
    assert of("pivot", errno.EPERM, Environment(filtered=True, container="Podman")).startswith(
        "podman run --cap-add SYS_ADMIN"
    )


@pytest.mark.parametrize("step", ["loopback", "setns into", "empty", "overlay", "mount tmpfs on"])
def test_a_root_without_capabilities_reads_which(step):
    """Being uid 0 is not having every capability."""
    where = Environment(capabilities=~(1 << 12 | 1 << 18))
    assert where.lacking == ("NET_ADMIN", "SYS_CHROOT")
    assert "docker run --cap-add NET_ADMIN --cap-add SYS_CHROOT" in of(
        step, errno.EPERM, where, path="lo"
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/proc/root", remedies.OVERLAY), ("/proc/root/tmp", remedies.OVERLAY_OF_TMP)],
)
def test_an_overlay_too_deep_is_told_apart_by_what_it_is_for(path, expected):
    """Without a private directory for temporary files nothing can run, whatever ``fs`` says."""
    assert of("overlay", errno.EINVAL, HERE, path=path) == expected


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("clone into", errno.ENOMEM), ("mount tmpfs on", errno.ENOSPC),
        ("mount proc on", errno.EBUSY), ("overlay", errno.ENOSPC),
        ("setns into", errno.EPERM), ("pivot", errno.EPERM),
    ],
)  # fmt: skip
def test_what_nobody_knows_is_not_made_up(step, code):
    """Without a known remedy the sentence is the failure alone."""
    error = StepFailedError(step, "/path", code)
    assert remedy(error, HERE) is None
    assert explain(error, HERE) == str(error)


def test_a_read_only_bind_that_the_kernel_cannot_make_names_the_version():
    """Plans make binds read-only within the step "bind": its ENOSYS is mount_setattr(2)'s, which
    came with Linux 5.12.
    """
    assert of("bind", errno.ENOSYS, Environment(), path="/proc/root/sys") == "Linux 5.12 is needed"


@pytest.mark.parametrize(
    ("where", "refused", "reason", "expected"),
    [
        (
            Environment(cgroups=GROUPS),
            V2("/g"),
            "/g is mounted read-only",
            "docker run --cgroupns=private --privileged",
        ),
        (
            Environment(capabilities=~2, cgroups=GROUPS),
            V1("/g"),
            "/g is not writable for uid 0",
            "--cap-add DAC_OVERRIDE",
        ),
        (
            Environment(uid=7, cgroups=GROUPS),
            V1("/g"),
            "/g is not writable for uid 7",
            "; done' sh $(id -u) $$ /g",
        ),
        (
            Environment(uid=7, cgroups=GROUPS),
            V2("/g"),
            "/g is not writable for uid 7",
            "systemd-run --user --scope -p Delegate=yes",
        ),
        (
            Environment(uid=7, cgroups=GROUPS),
            V2("/sys/fs/cgroup"),
            "/sys/fs/cgroup is not writable for uid 7",
            "> cgroup.procs' sh $(id -u) $$ /sys/fs/cgroup",
        ),
        (
            Environment(uid=7),
            None,
            "no control group hierarchy has the controller cpu",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
        (
            Environment(uid=7, cgroups=GROUPS),
            None,
            "no control group hierarchy has the controller cpu",
            "Delegate=cpu memory pids",
        ),
        (
            Environment(container=SANDBOX),
            V1("/g"),
            "/g is mounted read-only",
            "give the limit to the test that starts this pytest",
        ),
    ],
)
def test_a_controller_has_the_command_of_its_version_and_caller(where, refused, reason, expected):
    """Groups are delegated by systemd on cgroup v2 only; on v1 each hierarchy wants its own."""
    host = Host(7, {}, {"cpu": reason}, (), where, {} if refused is None else {"cpu": refused})
    assert expected in group_remedy(host, "cpu")


def test_a_refused_limit_is_not_explained_by_user_namespaces():
    """A control group's file that cannot be written has nothing to do with user namespaces."""
    error = StepFailedError(
        "write '5' to", "/sys/fs/cgroup/pids/pytest-isolate-1-abcd/1/pids.max", errno.EACCES
    )
    assert remedies.USER_NAMESPACES not in explain(error, USER)


@pytest.mark.parametrize(
    ("step", "code", "expected"),
    [
        (
            "open",
            errno.EMFILE,
            (
                "raise the limit of open files (ulimit -n 65536), or close what fixtures and tests"
                " leave open"
            ),
        ),
        ("map", errno.EFBIG, "raise the limit on the size of files: ulimit -f unlimited"),
        (
            "fork",
            errno.EAGAIN,
            "raise the limit of processes: ulimit -u, or pids.max of pytest's own control group",
        ),
        (
            "make control group",
            errno.EAGAIN,
            (
                "raise cgroup.max.descendants or cgroup.max.depth of a control group above it, or"
                " remove groups there"
            ),
        ),
        (
            "make control group",
            errno.ENOSPC,
            (
                "see num_cgroups in /proc/cgroups; echo 3 | sudo tee /proc/sys/vm/drop_caches frees"
                " removed ones"
            ),
        ),
    ],
)
def test_a_shortage_names_its_limit(step, code, expected):
    """What this machine can do at other times is not explained by what it lacks."""
    assert explain(StepFailedError(step, "/path", code), HERE).endswith(f"; remedy: {expected}")


def test_a_remedy_follows_the_failure():
    """One sentence: which step, on which path, the errno in words, and what helps."""
    said = explain(StepFailedError("mount proc on", "/proc/root/proc", errno.EPERM), USER)
    assert (
        said
        == f"mount proc on /proc/root/proc: not permitted [EPERM]; remedy: {remedies.MASKED_PROC}"
    )


@pytest.mark.parametrize(
    ("code", "step", "words"),
    [
        (errno.ENOSPC, "clone into", "limit exceeded (see /proc/sys/user/) [ENOSPC]"),
        (errno.ENOSPC, "mount tmpfs on", "limit exceeded (see /proc/sys/fs/mount-max) [ENOSPC]"),
        (
            errno.ENOSPC,
            "overlay or read only",
            "limit exceeded (see /proc/sys/fs/mount-max) [ENOSPC]",
        ),
        (errno.ENOSPC, "make an output file in", "No space left on device [ENOSPC]"),
        (errno.ENOENT, "mount tmpfs on", "No such file or directory [ENOENT]"),
        (99999, "", "Unknown error 99999 [99999]"),
    ],
)
def test_an_errno_is_said_in_words_with_its_name(code, step, words):
    """Misleading texts are rewritten by the step that met them, the others are the C library's,
    unknown numbers stay readable.
    """
    assert errno_in_words(code, step) == words


def test_control_groups_that_are_used_up_are_no_full_disk():
    """mkdir(2) says ENOSPC, and a person would look at disks, or at mounts."""
    said = str(StepFailedError("make control group", "/sys/fs/cgroup/memory/x", errno.ENOSPC))
    assert "65,535 control groups" in said
    assert "mount" not in said
