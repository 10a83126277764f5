"""From a failed step, and where it failed, to what a person can do about it."""

from __future__ import annotations

import errno
import os
import shlex
import tempfile
from typing import TYPE_CHECKING

from pytest_isolate._errors import StepFailedError, without_help
from pytest_isolate._linux.cgroup.hierarchy import V2, Hierarchy
from pytest_isolate._linux.cgroup.locate import READ_ONLY
from pytest_isolate._linux.environment import SANDBOX, Environment

if TYPE_CHECKING:
    from pytest_isolate._linux.host import Host

_FORBIDDEN = {errno.EPERM, errno.EACCES}
_NO_LOWER_LAYER = {errno.EINVAL, errno.EOPNOTSUPP, errno.ESTALE, errno.EREMOTE}
_LIMITS = {errno.ENOSPC, errno.EUSERS}
_OPENED = "--security-opt seccomp=unconfined --security-opt apparmor=unconfined"
#: What root of a container needs, and what an ordinary user in one does.
CONTAINER = (
    f"in Docker: docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN {_OPENED}, or --privileged;"
    " Kubernetes: privileged: true"
)
CONTAINER_USER = (
    f"in Docker: docker run {_OPENED} --security-opt systempaths=unconfined; "
    "Kubernetes: seccompProfile: Unconfined, procMount: Unmasked, hostUsers: false"
)
_ROOT_GROUP = "/sys/fs/cgroup"
# The user's id, the shell that is to be in the groups, and below what they are to be
_SET_UP = (
    "run pytest as root, or give yourself {what} and start pytest from that shell: sudo sh -c"
    " '{script}' sh $(id -u) $$ {groups}"
)
_V1 = (
    'u=$1 p=$2; shift 2; for g; do mkdir -p "$g/tests" && chown -R "$u" "$g/tests" &&'
    ' echo "$p" > "$g/tests/cgroup.procs"; done'
)
_V2 = (
    'cd "$3" && for c in cpu memory pids io; do echo "+$c" > cgroup.subtree_control; done;'
    ' mkdir -p tests && cd tests && chown "$1" . cgroup.procs cgroup.subtree_control &&'
    ' echo "$2" > cgroup.procs'
)
_CONTAINER_GROUPS = "in Docker: docker run --cgroupns=private --privileged"
STRICT = (
    "profile='strict' forbids it to whatever its test starts: run this pytest outside, or in a test"
    " without that profile"
)
MASKED_PROC = (
    "in a container /proc or /sys is masked: docker run --security-opt systempaths=unconfined; "
    "Kubernetes: procMount: Unmasked, hostUsers: false"
)
HIDDEN = "a seccomp filter hides it: update the container's runtime and libseccomp"
NO_PROC = "sudo mount -t proc proc /proc: nothing here can be known without it"
LAYERS = (
    "overlays stack two deep, and where layers are kept or what they lie over is that deep already,"
    " or its file system supports none: keep layers on a volume or in memory (docker run --tmpfs"
    " /layers, XDG_CACHE_HOME=/layers), and start from a root that is one overlay deep at most"
)
#: Where the builder cannot be told of all that is copied beforehand.
MANY = (
    "a layer has too many names right in a directory that can have no overlay, for the layer lies"
    " below it too (as below / and the home) or mounts do: put them into a directory of their own"
    " in the layer, keep layers elsewhere (XDG_CACHE_HOME), or sudo sysctl -w"
    " net.core.wmem_max=1048576"
)
ROOT = (
    "overlays stack two deep, and where this root lies is that deep already, or its file system"
    " carries none: keep it, or for an image XDG_CACHE_HOME, on a volume or in memory (docker run"
    " --tmpfs /roots)"
)
OVERLAY = (
    "overlays stack two deep, and this root is that deep already, or its file system supports none:"
    " use fs='readonly'"
)
OVERLAY_OF_TMP = (
    "the directory for temporary files is always private, no overlay can be laid over this one"
    " (they stack two deep, and not on every file system), and there is too much in it to be copied"
    " (32 MiB, 8 of one file, 2000 names): empty it, or give it a tmpfs of its own (docker run"
    " --tmpfs /tmp; Kubernetes: an emptyDir)"
)
OVERLAY_MODULE = (
    "the kernel has no overlayfs, without which nothing but few temporary files is private: sudo"
    " modprobe overlay"
)
_APPARMOR = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
_DEBIAN = "sudo sysctl -w kernel.unprivileged_userns_clone=1"
USER_NAMESPACES = (
    f"allow user namespaces: {_APPARMOR} (Ubuntu 24.04), or {_DEBIAN} (older Debian), or run pytest"
    " as root"
)
LIMITS = (
    "allow more namespaces: raise the one of user.max_*_namespaces (sysctl --all) that is reached"
)
# Has the last of the system calls that every sandbox is built with, mount_setattr(2)
_NEEDED = (5, 12)
_ROOTLESS_OVERLAYS = (5, 11)


def remedy_of_layers(error: StepFailedError, here: Environment) -> str:
    """Tell what helps where a test that stands on layers could not have its root."""
    return _remedy_of(LAYERS, error, here)


def _remedy_of(lower: str, error: StepFailedError, here: Environment) -> str:
    """Tell what helps; ``lower``: where the kernel takes no such lower directory."""
    if error.step.startswith("overlay") and error.errno in _NO_LOWER_LAYER:
        return _in_words_of(here, lower)
    if error.errno == errno.EMSGSIZE and lower is LAYERS:
        return MANY
    return remedy(error, here) or ""


def remedy(error: StepFailedError, here: Environment) -> str | None:
    """Tell what helps against this failure, where somebody knows."""
    known = _remedy(error, here) if here.has_proc else NO_PROC
    return None if known is None else _in_words_of(here, known)


def _in_words_of(here: Environment, text: str) -> str:
    if here.container != "Podman":
        return text
    text = text.replace("in Docker: docker run", "podman run").replace("docker run", "podman run")
    return text.replace("systempaths=unconfined", "unmask=ALL")


def _remedy(error: StepFailedError, here: Environment) -> str | None:
    step, code = error.step, error.errno
    if code == errno.ENOSYS:
        return _kernel(_NEEDED, here)
    of_namespace = step.startswith("clone") or (step == "write" and error.path.startswith("/proc/"))
    if of_namespace and code in _LIMITS:
        return _limits(here)
    if step.startswith("overlay"):
        return _overlay(error, here)
    if code not in _FORBIDDEN:
        return None
    if step in {"mount proc on", "mount sysfs on"} and here.rootless:
        return MASKED_PROC
    return _refused(here) or (
        _user_namespaces(here) if of_namespace or step.startswith("mount") else None
    )


def _limits(here: Environment) -> str:
    zero = sorted(name for name in here.sysctls if name.startswith("user.max_"))
    return (
        "allow namespaces: sudo sysctl -w " + " ".join(f"{name}=15000" for name in zero)
        if zero
        else LIMITS
    )


def _refused(here: Environment) -> str | None:
    """Something stands between this caller and the kernel."""
    if here.container == SANDBOX and here.filtered:
        return STRICT
    if here.filtered or here.apparmor:
        return CONTAINER if here.uid == 0 else CONTAINER_USER
    return _capabilities(here)


def _user_namespaces(here: Environment) -> str:
    """Say what helps where a namespace, or a mount in one, is not for this caller, and nothing says
    why.
    """
    if "kernel.apparmor_restrict_unprivileged_userns" in here.sysctls:
        return (
            f"allow user namespaces: {_APPARMOR} (and for good, in a file below /etc/sysctl.d), or"
            " run pytest as root"
        )
    if "kernel.unprivileged_userns_clone" in here.sysctls:
        return f"allow user namespaces: {_DEBIAN}, or run pytest as root"
    return f"{USER_NAMESPACES}; {CONTAINER}"


def _capabilities(here: Environment) -> str | None:
    if not here.lacking:
        return None
    names = [f"CAP_{name}" for name in here.lacking]
    added = " ".join(f"--cap-add {name}" for name in here.lacking)
    return f"this root lacks {', '.join(names)}; in Docker: docker run {added}, or --privileged"


def _overlay(error: StepFailedError, here: Environment) -> str | None:
    if error.errno == errno.ENODEV:
        return OVERLAY_MODULE
    if (
        here.rootless
        and (0, 0) < here.release < _ROOTLESS_OVERLAYS
        and error.errno in {errno.EINVAL, *_FORBIDDEN}
    ):
        return _kernel(_ROOTLESS_OVERLAYS, here)
    if error.errno in _NO_LOWER_LAYER:
        temporary = {
            f"/proc/root{path}" for path in ("/tmp", os.path.realpath(tempfile.gettempdir()))
        }
        return OVERLAY_OF_TMP if error.path in temporary else OVERLAY
    return _refused(here) or _user_namespaces(here) if error.errno in _FORBIDDEN else None


def _kernel(needed: tuple[int, int], here: Environment) -> str:
    """Something that the kernel does not know; or so says a filter that is older than
    the kernel.
    """
    if here.release >= needed and here.filtered:
        return f"{here.kernel} has it and {HIDDEN}, or docker run --security-opt seccomp=unconfined"
    if here.release >= needed:
        return (
            f"{here.kernel} has it, but not here: processors that are known are in"
            " docs/limitations.md"
        )
    return f"Linux {needed[0]}.{needed[1]} is needed" + (
        "" if here.release == (0, 0) else f", this is {here.kernel}"
    )


def group_remedy(host: Host, controller: str) -> str:
    """Give the command that gives this caller a controller of control groups."""
    return (
        _in_words_of(host.here, _group_remedy(host, controller)) if host.here.has_proc else NO_PROC
    )


def _group_remedy(host: Host, controller: str) -> str:
    here, place = host.here, host.refused.get(controller)
    if here.container == SANDBOX:
        return (
            "sandboxes show control groups read-only: give the limit to the test that starts this"
            " pytest"
        )
    if place is None:
        return _absent(controller, here)
    if host.obstacles[controller].endswith(READ_ONLY):
        return f"{_CONTAINER_GROUPS}; elsewhere: mount control groups writable"
    if not here.rootless:
        return (
            _capabilities(here)
            or f"{_CONTAINER_GROUPS}; elsewhere: give root a group that it may write to"
        )
    return _own_groups(host, place)


def _own_groups(host: Host, place: Hierarchy) -> str:
    """Say how an ordinary user comes by groups that may be written to."""
    if isinstance(place, V2):
        if not host.here.systemd and place.directory == _ROOT_GROUP:
            return _SET_UP.format(what="a group", script=_V2, groups=_ROOT_GROUP)
        made = "systemd-run --user --scope -p Delegate=yes python -m pytest ..."
        return (
            f"{made}{'' if host.here.systemd else ' (with systemd; without: docs/host.md)'}, or run"
            " pytest as root"
        )
    # All at once, whichever was asked for: nobody wants to come back for the next
    groups = dict.fromkeys(
        each.directory
        for name, each in host.refused.items()
        if not isinstance(each, V2) and not host.obstacles.get(name, "").endswith(READ_ONLY)
    )
    return _SET_UP.format(what="groups", script=_V1, groups=" ".join(map(shlex.quote, groups)))


def _absent(controller: str, here: Environment) -> str:
    if not here.cgroups:
        return (
            "no control groups are mounted: sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup;"
            f" {_CONTAINER_GROUPS}"
        )
    return (
        f"no group above this one hands {controller} down: for users of systemd Delegate=cpu memory"
        " pids (docs/host.md), in Docker --cgroupns=private --privileged, on a machine without it"
        f" boot without cgroup_disable={controller}"
    )


def _shortage(error: StepFailedError) -> str | None:
    if error.errno == errno.EMFILE:
        return (
            "raise the limit of open files (ulimit -n 65536), or close what fixtures and tests"
            " leave open"
        )
    if error.errno == errno.EFBIG:
        return "raise the limit on the size of files: ulimit -f unlimited"
    if error.errno == errno.EAGAIN and error.step in {"start", "fork", "clone into"}:
        return "raise the limit of processes: ulimit -u, or pids.max of pytest's own control group"
    if error.errno == errno.EAGAIN and error.step == "make control group":
        return (
            "raise cgroup.max.descendants or cgroup.max.depth of a control group above it, or"
            " remove groups there"
        )
    if error.errno == errno.ENOSPC and error.step == "make control group":
        return (
            "see num_cgroups in /proc/cgroups; echo 3 | sudo tee /proc/sys/vm/drop_caches frees"
            " removed ones"
        )
    return None


def explain(
    error: StepFailedError, here: Environment, *, layers: bool = False, rootfs: bool = False
) -> str:
    """Say a failed step in words, with its remedy; ``layers``: of a test that stands on some;
    ``rootfs``: on another root than the machine's.
    """
    lower = LAYERS if layers else ROOT if rootfs else None
    known = remedy(error, here) if lower is None else _remedy_of(lower, error, here)
    known = known or _shortage(error)
    return f"{error}; remedy: {known}" if known else str(error)


#: How a sentence begins on what a machine lacks.
CANNOT = "this machine cannot give "


def said_once(said: dict[str, str], message: str, nodeid: str) -> str:
    """Say a sentence about a test without a sandbox: the first time as it is, later without what
    helps, which the first test's error has.

    ``said`` is the run's: from what was said to the first test.
    """
    happened, helps = without_help(message)
    if not helps:
        return message
    first = said.setdefault(helps, nodeid)
    return message if first == nodeid else f"{happened} (what helps: see {first})"
