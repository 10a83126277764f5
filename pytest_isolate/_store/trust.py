"""Whether a directory of what is kept is this user's alone: who could put others there could run
what they like in this user's tests.
"""

from __future__ import annotations

import errno
import os
import stat

#: What helps.
ELSEWHERE = "XDG_CACHE_HOME names another place"


_FULL = {errno.ENOSPC, errno.EDQUOT}


def room(directory: str, code: int | None) -> str:
    """Say what helps where something could not be put into a directory of what is kept."""
    if code not in _FULL:
        return ""
    return f"; {directory} is full: pytest-isolate layers --remove-all makes room, {ELSEWHERE}"


class StoreError(Exception):
    """A store that cannot be used: one sentence with its path, what is wrong, and what helps."""


def check(directory: str) -> None:
    """Refuse a directory in which somebody else may have a hand, or in what leads to it.

    Raises ``StoreError``, and ``OSError`` for one that is not there.
    """
    look, own = os.lstat(directory), os.geteuid()
    if not stat.S_ISDIR(look.st_mode) or look.st_uid != own:
        theirs = f"it belongs to uid {look.st_uid}, not to {own}"
        what = theirs if stat.S_ISDIR(look.st_mode) else "it is no directory"
        raise StoreError(f"layers cannot be kept in {directory}: {what}; {ELSEWHERE}")
    if look.st_mode & 0o077:
        raise StoreError(
            f"layers cannot be kept in {directory}: others may enter it (mode "
            f"{stat.S_IMODE(look.st_mode):04o}), so nobody knows whose is what is in it: "
            f"remove it; {ELSEWHERE}"
        )
    path = os.path.realpath(directory)
    while (path := os.path.dirname(path)) != "/":
        look = os.lstat(path)
        is_others = look.st_uid not in {*_roots(), own}
        if is_others or (look.st_mode & stat.S_IWOTH and not look.st_mode & stat.S_ISVTX):
            why = f"belongs to uid {look.st_uid}" if is_others else "can be written by everybody"
            raise StoreError(
                f"layers cannot be kept in {directory}: {path} {why}, who could put "
                f"others there; {ELSEWHERE}"
            )


def _roots() -> tuple[int, ...]:
    """Give who may do anything anyway, by number: in a user namespace root has that of nobody."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        is_first = file.read().split() == ["0", "0", str(2**32 - 1)]
    with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
        return (0,) if is_first else (0, int(file.read()))
