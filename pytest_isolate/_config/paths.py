"""Parsers of keyword values that are paths: ``bind``, ``fs_allow``, ``fs_hide``.

Each returns the value or raises ``ValueError`` with what is allowed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pytest_isolate._config.patterns import WILD

#: pytest's fixtures that ``fs_allow`` knows by name: the test's own directory, and what all such
#: directories are in.
OWN_TEMPORARY = frozenset({"tmp_path", "tmpdir"})
ALL_TEMPORARY = frozenset({"tmp_path_factory", "tmpdir_factory"})
_NOT_BOUND = ("/proc/", "/sys/")  # the sandbox's own
_BINDS = "it must be a list of paths, each 'PATH', 'PATH:ro', 'SRC:DST' or 'SRC:DST:ro'"
_ALLOWED = (
    "it must be a list of patterns of paths (relative to rootdir, absolute or below '~') such as "
    "'build/**', and names of pytest's fixtures: tmp_path, tmpdir, tmp_path_factory, tmpdir_factory"
)
_HIDDEN = (
    "it must be a list of paths (relative to rootdir, absolute or below '~'), such as '~/.ssh'"
)


_MODES = {"ro", "rw", "z", "cached", "delegated", "consistent"}  # Docker's, in any case


class Bind(NamedTuple):
    """A path of the machine that stays shared."""

    source: str  # of the machine, without symbolic links
    target: str  # in the sandbox, absolute
    read_only: bool = False

    def __str__(self) -> str:
        place = "" if self.target == self.source else f":{self.target}"
        return f"{self.source}{place}{':ro' if self.read_only else ''}"


def show(given: Sequence[Bind | str] | str) -> str:
    """Write what was given, for people: one as it is, several in brackets."""
    texts = [given] if isinstance(given, str) else [str(each) for each in given]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def nowhere(path: str) -> str:
    """Say of a path that nothing is there: what bars the way, or where it was looked for."""
    if (why := barrier(path)) is not None:
        return why
    begins = "" if os.path.isabs(path) else f", from {os.getcwd()}"
    return f"{path!r} does not{begins}"


def barrier(path: str) -> str | None:
    """Say who may not go to a path through which directory; None where it is only not there."""
    real = os.path.realpath(path)
    names = real.split("/")[1:-1]
    for end in range(len(names) + 1):
        way = "/" + "/".join(names[:end])
        if os.path.isdir(way) and not may(way, os.X_OK):
            return f"{path!r} cannot be reached: {refusal(way, 'x')}"
    return None


def may(path: str, how: int) -> bool:
    """Whether this process may read a path, or go through it."""
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def refusal(path: str, right: str) -> str:
    """Say of a path that exists which right to it is lacking, and what gives it."""
    look = os.lstat(path)
    who = os.geteuid()
    what = {"x": "enter", "r": "read"}.get(right, "enter and read")
    kind = "u" if look.st_uid == who else "g" if look.st_gid in _groups() else "o"
    return (
        f"uid {who} may not {what} {path} (mode {stat.S_IMODE(look.st_mode):04o}, of uid"
        f" {look.st_uid}): {'' if kind == 'u' else 'sudo '}chmod {kind}+{right} {path}"
    )


def _groups() -> set[int]:
    return {os.getegid(), *os.getgroups()}


def binds(value: object) -> tuple[Bind, ...]:
    """Read paths that exist, and where they are to be. What is relative begins where pytest was
    started.
    """
    return tuple(map(_bind, _texts(value, _BINDS)))


def _texts(value: object, allowed: str) -> Iterator[str]:
    """Give the paths of a list of them, or of one."""
    values = [value] if isinstance(value, str | os.PathLike) else value
    if not isinstance(values, Sequence) or isinstance(values, bytes):
        raise ValueError(allowed)
    for each in values:
        path = os.fspath(each) if isinstance(each, str | os.PathLike) else None
        if not isinstance(path, str):
            raise ValueError(f"{allowed}; {each!r} is none of them")
        yield path


def _bind(text: str) -> Bind:
    source, target, read_only = _parts(text)
    real = os.path.realpath(_at_home(source)) if "\0" not in source else ""
    if not real or not os.path.lexists(real):
        why = nowhere(_at_home(source)) if real else f"{source!r} does not"
        raise ValueError(f"it must be a list of paths that exist; {why}")
    if real == "/":
        raise ValueError("'/' cannot be bound: fs='host' shares the whole machine")
    if target is None:
        return Bind(real, real, read_only)
    place = os.path.abspath(_at_home(target))
    if "\0" in target or f"{place}/".startswith(_NOT_BOUND) or place == "/":
        raise ValueError(f"{target!r} is no place for it: /, /proc and /sys are the sandbox's own")
    return Bind(real, place, read_only)


def _parts(text: str) -> tuple[str, str | None, bool]:
    """Take one apart. A path that exists may have colons in its name, as long as it is alone."""
    path = text.removesuffix(":ro")
    source, colon, target = path.partition(":")
    is_path = not colon or ("\0" not in path and os.path.lexists(path))
    if is_path and colon and os.path.lexists(source):
        raise ValueError(
            f"{text!r} can be read in two ways, for {path!r} and {source!r} both exist"
        )
    if not is_path and (not source or not target or ":" in target):
        raise ValueError(
            f"{_BINDS}; {text!r} is none of them (a path with a colon in its name is bound to its"
            " own place only, and must exist)"
        )
    if not is_path and target.lower() in _MODES:
        raise ValueError(
            f"{text!r}: what is bound can be written to unless it ends in ':ro', and has no other"
            f" mode; a place beside pytest's is './{target}'"
        )
    return (path, None, path != text) if is_path else (source, target, path != text)


def written_sources(value: object) -> Iterator[str]:
    """Give the sources of checked binds, as they were written."""
    for text in _texts(value, _BINDS):
        yield _at_home(_parts(text)[0])


def first_link(value: object) -> tuple[str, str] | None:
    """Of checked binds as they were written, the first that leads through a symbolic link, and
    where it leads.
    """
    for source in () if value is None else written_sources(value):
        path = os.path.abspath(source)
        if (real := os.path.realpath(path)) != path:
            return path, real
    return None


def allowed(value: object) -> tuple[str, ...]:
    """Read what a test may change: patterns, and names of fixtures."""
    return tuple(dict.fromkeys(_pattern(text) for text in _texts(value, _ALLOWED)))


def _pattern(text: str) -> str:
    pattern = _checked(text, _ALLOWED)
    wild = WILD.search(pattern)
    if wild is not None and ".." in pattern[wild.start() :].split("/"):
        raise ValueError(
            f"{text!r} has '..' behind a wildcard, which is no directory in particular"
        )
    return pattern


def hidden(value: object) -> tuple[str, ...]:
    """Read what a test is not to see."""
    return tuple(dict.fromkeys(_hidden(text) for text in _texts(value, _HIDDEN)))


def _hidden(text: str) -> str:
    path = _checked(text, _HIDDEN)
    if WILD.search(path):
        raise ValueError(f"{_HIDDEN}, without wildcards; {text!r} has one")
    if os.path.normpath(path) == "/":
        raise ValueError("'/' cannot be hidden: the test itself is in there")
    return path


def _checked(text: str, what: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError(f"{what}; {text!r} is none of them")
    path = _at_home(text)
    if path.startswith("~"):
        raise ValueError(f"{text!r} names the home directory of a user whom this machine has not")
    return path.rstrip("/") or "/"


def _at_home(path: str) -> str:
    return os.path.expanduser(path)


def absolute(checked: Iterable[str], rootdir: str) -> tuple[str, ...]:
    """Give checked paths as absolute ones."""
    return tuple(os.path.normpath(os.path.join(rootdir, path)) for path in checked)


def starts(pattern: str, rootdir: str) -> Iterator[tuple[str, str]]:
    """Give the directory where a checked pattern begins and what is meant in there. A link on the
    way is followed, and one that is named itself is meant too.
    """
    names = pattern.split("/")
    end = next((at for at, name in enumerate(names) if WILD.search(name)), len(names))
    begins = "/".join(names[:end]) or ("/" if end else "")
    (place,) = absolute([begins], rootdir)
    parent, name = os.path.split(place)
    for each in dict.fromkeys(
        (os.path.join(os.path.realpath(parent), name), os.path.realpath(place))
    ):
        yield each, "/".join(names[end:])
