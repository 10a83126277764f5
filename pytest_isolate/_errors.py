"""What users see when something goes wrong, as far as it needs no pytest: these modules run in the
builder too.
"""

from __future__ import annotations

import errno as _errno
import os

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from types import TracebackType

#: What the kernel says of a machine that is short of something just now, or was disturbed; nothing
#: that it cannot do at all.
PASSING = frozenset(
    {_errno.EMFILE, _errno.ENFILE, _errno.ENOMEM, _errno.ENOBUFS, _errno.EAGAIN, _errno.EINTR}
)
_WORDS = {
    _errno.EPERM: "not permitted",
    _errno.EACCES: "permission denied",
    _errno.EINVAL: "refused by the kernel as invalid",
    _errno.ELOOP: (
        "it leads through a symbolic link, which something made since this run looked: an earlier"
        " test may have"
    ),
    _errno.ENOSYS: "this kernel has no such system call",
    _errno.EUSERS: "too many nested user namespaces",
    _errno.EMFILE: "too many open files in one process",
    _errno.EINTR: "interrupted",
}
#: ENOSPC by how a step begins: that of a mount, a namespace and a control group has nothing to do
#: with space.
_LIMITS = {
    "clone": "limit exceeded (see /proc/sys/user/)",
    "make control group": (
        "limit exceeded (a kernel has 65,535 control groups for memory, removed ones that are still"
        " in use included)"
    ),
    **dict.fromkeys(
        ("mount", "overlay", "bind", "read only", "protect", "mask"),
        "limit exceeded (see /proc/sys/fs/mount-max)",
    ),
}


class StepFailedError(Exception):
    """One step of building a sandbox failed: which, on which path, and the kernel's errno."""

    def __init__(self, step: str, path: str, errno: int) -> None:
        super().__init__(step, path, errno)
        self.step = step
        self.path = path
        self.errno = errno

    def __str__(self) -> str:
        return f"{self.step} {self.path}: {errno_in_words(self.errno, self.step)}"


class Step:
    """``with Step("open", path):`` makes of an ``OSError`` a ``StepFailedError`` that says so."""

    def __init__(self, name: str, path: str) -> None:
        self._name, self._path = name, path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise StepFailedError(self._name, self._path, error.errno or 0) from error


def errno_in_words(code: int, step: str = "") -> str:
    """Say an errno as a person would; misleading ones are rewritten, some of them by the step that
    met it.
    """
    name = _errno.errorcode.get(code, str(code))
    limit = (
        next((words for begin, words in _LIMITS.items() if step.startswith(begin)), None)
        if code == _errno.ENOSPC
        else None
    )
    said = limit or _WORDS.get(code) or os.strerror(code)
    if code == _errno.EINVAL and step.startswith(("overlay", "mount", "layer")):
        said += " (an overlay: stacked too deep, or locked mounts below)"
    return f"{said} [{name}]"


# Behind a sentence of which the rest may be the same for all tests of a run
_HELP_BEGINS = ("; remedy: ", "; see also ")


def without_help(message: str) -> tuple[str, str]:
    """Split what happened from what helps, which may be empty."""
    at = min(
        (at for each in _HELP_BEGINS if (at := message.find(each)) >= 0), default=message.find("\n")
    )
    return (message, "") if at < 0 else (message[:at], message[at:])


class BadValueError(Exception):
    """A keyword that cannot be obeyed: one sentence with keyword, value, origin and what is
    allowed.
    """
