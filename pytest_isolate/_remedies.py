"""One function that turns a failed step into what a person can do about it."""

from __future__ import annotations

import errno

from pytest_isolate._errors import StepFailedError

_FORBIDDEN = {errno.EPERM, errno.EACCES, errno.ENOSYS}
USER_NAMESPACES = (
    "allow user namespaces: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu 24.04), or "
    "sudo sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1 (older Debian), "
    "or run pytest as root"
)
CONTAINER = (
    "in Docker: docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or --privileged"
)
MASKED_PROC = (
    "in a container /proc is masked: docker run --security-opt systempaths=unconfined; Kubernetes: procMount: Unmasked, hostUsers: false"
)
OVERLAY = (
    "rootless overlays need Linux 5.11; overlays stack two deep, so a container inside a container inside a container "
    "is too much: use fs='readonly'"
)


def remedy(error: StepFailedError) -> str | None:
    """What helps against this failure, where somebody knows."""
    of_namespace = error.step.startswith("clone") or (error.step == "write" and error.path.startswith("/proc/"))
    if of_namespace and (error.errno in _FORBIDDEN or error.errno in {errno.ENOSPC, errno.EUSERS}):
        return f"{USER_NAMESPACES}; {CONTAINER}"
    if error.step == "mount proc on" and error.errno in _FORBIDDEN:
        return MASKED_PROC
    if error.step.startswith("overlay") and error.errno in {errno.EINVAL, *_FORBIDDEN}:
        return OVERLAY
    if error.step.startswith("mount") and error.errno in _FORBIDDEN:
        return f"{USER_NAMESPACES}; {CONTAINER}"
    if error.step in {"read only", "bind", "protect"} and error.errno == errno.ENOSYS:
        return "Linux 5.12 is needed"
    return None


def _shortage(error: StepFailedError) -> str | None:
    if error.errno == errno.EMFILE:
        return "raise the limit of open files (ulimit -n 65536), or close what fixtures and tests leave open"
    if error.errno == errno.EAGAIN and error.step in {"start", "fork", "clone into"}:
        return "raise the limit of processes: ulimit -u, or pids.max of pytest's own control group"
    if error.errno == errno.EAGAIN and error.step == "make control group":
        return "raise cgroup.max.descendants or cgroup.max.depth of a control group above it, or remove groups there"
    if error.errno == errno.ENOSPC and error.step == "make control group":
        return "see num_cgroups in /proc/cgroups; echo 3 | sudo tee /proc/sys/vm/drop_caches frees removed ones"
    return None


def explain(error: StepFailedError) -> str:
    """A failed step in words, with its remedy."""
    known = remedy(error) or _shortage(error)
    return f"{error}; remedy: {known}" if known else str(error)
