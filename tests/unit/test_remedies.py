"""What a person is told to do about a step that failed."""

import errno

import pytest

from pytest_isolate import _remedies
from pytest_isolate._errors import StepFailedError, errno_in_words
from pytest_isolate._remedies import explain, remedy

NAMESPACES = f"{_remedies.USER_NAMESPACES}; {_remedies.CONTAINER}"


@pytest.mark.parametrize(
    ("step", "code", "expected"),
    [
        ("clone into", errno.EPERM, NAMESPACES),
        ("clone into", errno.ENOSPC, NAMESPACES),
        ("clone into", errno.EUSERS, NAMESPACES),
        ("write", errno.EPERM, NAMESPACES),
        ("mount tmpfs on", errno.EACCES, NAMESPACES),
        ("mount proc on", errno.EPERM, _remedies.MASKED_PROC),
        ("overlay", errno.EPERM, _remedies.OVERLAY),
        ("overlay", errno.EINVAL, _remedies.OVERLAY),
        ("overlay or read only", errno.EINVAL, _remedies.OVERLAY),
        ("read only", errno.ENOSYS, "Linux 5.12 is needed"),
    ],
)
def test_a_known_cause_has_its_own_remedy(step, code, expected):
    """Each cause that somebody met has the command that helps against it."""
    assert remedy(StepFailedError(step, "/proc/self/uid_map", code)) == expected


@pytest.mark.parametrize(
    ("step", "code"),
    [("clone into", errno.ENOMEM), ("mount tmpfs on", errno.ENOSPC), ("mount proc on", errno.EBUSY), ("overlay", errno.ENOSPC)],
)
def test_what_nobody_knows_is_not_made_up(step, code):
    """Without a known remedy the sentence is the failure alone."""
    error = StepFailedError(step, "/path", code)
    assert remedy(error) is None
    assert explain(error) == str(error)


def test_a_read_only_bind_that_the_kernel_cannot_make_names_the_version():
    """Plans make binds read-only within the step "bind": its ENOSYS is mount_setattr(2)'s, which came with Linux 5.12."""
    assert remedy(StepFailedError("bind", "/proc/root/sys", errno.ENOSYS)) == "Linux 5.12 is needed"


def test_a_refused_limit_is_not_explained_by_user_namespaces():
    """A control group's file that cannot be written has nothing to do with user namespaces."""
    error = StepFailedError("write '5' to", "/sys/fs/cgroup/pids/pytest-isolate-1-abcd/1/pids.max", errno.EACCES)
    assert _remedies.USER_NAMESPACES not in explain(error)


@pytest.mark.parametrize(
    ("step", "code", "expected"),
    [
        ("open", errno.EMFILE, "raise the limit of open files (ulimit -n 65536), or close what fixtures and tests leave open"),
        ("fork", errno.EAGAIN, "raise the limit of processes: ulimit -u, or pids.max of pytest's own control group"),
        (
            "make control group",
            errno.EAGAIN,
            "raise cgroup.max.descendants or cgroup.max.depth of a control group above it, or remove groups there",
        ),
        (
            "make control group",
            errno.ENOSPC,
            "see num_cgroups in /proc/cgroups; echo 3 | sudo tee /proc/sys/vm/drop_caches frees removed ones",
        ),
    ],
)
def test_a_shortage_names_its_limit(step, code, expected):
    """What this machine can do at other times is not explained by what it lacks."""
    assert explain(StepFailedError(step, "/path", code)).endswith(f"; remedy: {expected}")


def test_a_remedy_follows_the_failure():
    """One sentence: which step, on which path, the errno in words, and what helps."""
    said = explain(StepFailedError("mount proc on", "/proc/root/proc", errno.EPERM))
    assert said == f"mount proc on /proc/root/proc: not permitted [EPERM]; remedy: {_remedies.MASKED_PROC}"


@pytest.mark.parametrize(
    ("code", "step", "words"),
    [
        (errno.ENOSPC, "clone into", "limit exceeded (see /proc/sys/user/) [ENOSPC]"),
        (errno.ENOSPC, "mount tmpfs on", "limit exceeded (see /proc/sys/fs/mount-max) [ENOSPC]"),
        (errno.ENOSPC, "overlay or read only", "limit exceeded (see /proc/sys/fs/mount-max) [ENOSPC]"),
        (errno.ENOSPC, "make an output file in", "No space left on device [ENOSPC]"),
        (errno.ENOENT, "mount tmpfs on", "No such file or directory [ENOENT]"),
        (99999, "", "Unknown error 99999 [99999]"),
    ],
)
def test_an_errno_is_said_in_words_with_its_name(code, step, words):
    """Misleading texts are rewritten by the step that met them, the others are the C library's, unknown numbers stay readable."""
    assert errno_in_words(code, step) == words


def test_control_groups_that_are_used_up_are_no_full_disk():
    """mkdir(2) says ENOSPC, and a person would look at disks, or at mounts."""
    said = str(StepFailedError("make control group", "/sys/fs/cgroup/memory/x", errno.ENOSPC))
    assert "65,535 control groups" in said
    assert "mount" not in said
