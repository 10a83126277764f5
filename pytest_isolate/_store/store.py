"""A store of read-only directories, kept between runs: each is built once, whoever asks.

Theory of operation. A store is a directory of this user's own, which nobody else may enter. What is
in a directory of it, its key says. In it are::

    KEY/                 one, whole: its time of modification is its last use, and who uses it
        tree/            holds it by a shared flock(2); what was built
        about.json       of what, when, how large
    .KEY.lock            held by the one who builds or removes it
    .KEY.RANDOM.part     being built, or removed

A part gets its name, or loses it, by one rename(2), so nobody ever finds a half. Locks end with
their process, by whatever death: a part whose key nobody has locked is what a killed run left. Who
next locks that key removes it, and so does every sweep.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_isolate._store.trees import measure, remove_tree
from pytest_isolate._store.trust import ELSEWHERE, StoreError, check

About = Mapping[str, Any]  # what JSON can say
_TREE, _ABOUT = "tree", "about.json"
_KEY = re.compile(r"[0-9a-f]{32,64}")
_LEFT = re.compile(r"\.([0-9a-f]{32,64})\.(?:lock|[0-9a-f]+\.part)")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def content_key(*parts: str | bytes) -> str:
    """Make a key of all that decides what is in a directory."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


def default_directory() -> str:
    """Give ``$XDG_CACHE_HOME/pytest-isolate/layers``, or the same below ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # the specification has relative ones ignored
        cache = os.path.expanduser("~/.cache")
    return os.path.join(cache, "pytest-isolate", "layers")


def memory_directory() -> str:
    """Give the directory of those that are kept in memory: they end with the machine."""
    return f"/dev/shm/pytest-isolate-{os.geteuid()}/layers"


@dataclass
class Held:
    """A directory of a store: nobody removes it while this process, or a fork, has it open."""

    key: str
    path: str  # the directory that was built
    about: About
    fd: int

    def close(self) -> None:
        """Let go of it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


@dataclass(frozen=True)
class Kept:
    """What a store has, for people."""

    key: str
    about: About
    used: float  # when it was last asked for, in seconds since 1970
    in_use: bool

    @property
    def bytes(self) -> int:
        """What it takes of the disk."""
        size = self.about.get("bytes")
        return size if isinstance(size, int) else 0


@dataclass
class Store:
    """One directory of them. Everything here raises ``StoreError``."""

    directory: str = field(default_factory=default_directory)

    def find(self, key: str) -> Held | None:
        """Give what is kept under a key; None where nothing is, or it goes."""
        with self._said():
            try:
                check(self.directory)
            except FileNotFoundError:
                return None
            return self._held(key)

    def get(
        self, key: str, build: Callable[[str], About], *, waiting: Callable[[], None] = lambda: None
    ) -> Held:
        """Give what is kept under a key.

        Where nothing is, ``build`` fills an empty directory, and says what that is.

        Whoever asks for it meanwhile, in another process or run, waits for it (``waiting`` is
        called before that). What ``build`` raises passes through, and nothing is left of what it
        made.
        """
        if (found := self.find(key)) is not None:
            return found
        with self._said():
            self._make()
        with self._locked(key, waiting) as locked:
            assert locked
            with self._said():
                if (found := self._held(key, waits=True)) is not None:
                    return found
                self._remove(key)  # what nothing can be read of: the machine lost its power
                part = self._part(key)
                os.mkdir(part, 0o700)
            try:
                return self._built(key, part, build)
            except BaseException:
                remove_tree(part)
                raise

    def _built(self, key: str, part: str, build: Callable[[str], About]) -> Held:
        with self._said():
            os.mkdir(tree := os.path.join(part, _TREE), 0o755)
            os.chmod(tree, 0o755)  # noqa: S103 - nobody else comes here: its store is closed
        said = build(tree)
        with self._said():
            files, size = measure(tree)
            about = {**said, "built": time.time(), "files": files, "bytes": size}
            with open(os.path.join(part, _ABOUT), "x", encoding="utf-8") as file:
                json.dump(about, file)
            fd = os.open(part, _DIRECTORY)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH)
                os.rename(part, os.path.join(self.directory, key))
            except BaseException:
                os.close(fd)
                raise
        return Held(key, os.path.join(self.directory, key, _TREE), about, fd)

    def kept(self) -> list[Kept]:
        """List all, the last used first."""
        if not os.path.lexists(self.directory):
            return []
        with self._said():
            check(self.directory)
            found = [
                self._look(name) for name in os.listdir(self.directory) if _KEY.fullmatch(name)
            ]
        return sorted((each for each in found if each is not None), key=lambda each: -each.used)

    def remove(self, key: str) -> bool:
        """Remove one. Whether it was there, and nobody used it."""
        with self._locked(key, None) as locked:
            return locked and self._remove(key)

    def sweep(self, *, age: float, size: int) -> list[Kept]:
        """Remove what nobody has used for ``age`` seconds, and what killed runs left.

        Above ``size`` bytes in all the longest unused go too.
        """
        kept, now, removed = self.kept(), time.time(), []
        total = sum(each.bytes for each in kept)
        for each in reversed(kept):
            old = now - each.used > age or total > size
            if old and not each.in_use and self.remove(each.key):
                total -= each.bytes
                removed.append(each)
        with self._said():
            left = {found[1] for name in self._names() if (found := _LEFT.fullmatch(name))}
        for key in left:
            with self._locked(key, None):  # which removes them
                pass
        return removed

    def _make(self) -> None:
        while True:
            with contextlib.suppress(FileNotFoundError):  # somebody leaves it just now
                os.makedirs(self.directory, mode=0o700, exist_ok=True)
                check(self.directory)
                return

    def leave(self) -> None:
        """Remove the directory, and that above it, if nothing is in them."""
        for directory in (self.directory, os.path.dirname(self.directory)):
            with contextlib.suppress(OSError):  # it is in use, or was never made
                os.rmdir(directory)

    def _names(self) -> list[str]:
        return os.listdir(self.directory) if os.path.lexists(self.directory) else []

    def _held(self, key: str, *, waits: bool = False) -> Held | None:
        """Hold one. ``waits``: nobody removes it, for its lock is ours; a look at it is brief."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key: 32 to 64 hexadecimal digits are")
        path = os.path.join(self.directory, key)
        if (fd := _opened(path)) is None:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | (0 if waits else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False)):
                about = _about(path)
                os.utime(fd)
                return Held(key, os.path.join(path, _TREE), about, fd)
        except (
            BlockingIOError,
            FileNotFoundError,
            ValueError,
        ):  # somebody removes it, or it is none
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def _look(self, key: str) -> Kept | None:
        path = os.path.join(self.directory, key)
        if (fd := _opened(path)) is None:
            return None
        about: About = {}  # of what nothing can be read of, it is removed when it is asked for
        try:
            with contextlib.suppress(FileNotFoundError, ValueError):
                about = _about(path)
            look = os.fstat(fd)
            is_there = os.path.isdir(path)  # or it went meanwhile
            return Kept(key, about, look.st_mtime, not _takes(fd)) if is_there else None
        finally:
            os.close(fd)

    def _remove(self, key: str) -> bool:
        with self._said():
            if (fd := _opened(os.path.join(self.directory, key))) is None:
                return False
            try:
                if not _takes(fd):
                    return False
                os.rename(os.path.join(self.directory, key), part := self._part(key))
            finally:
                os.close(fd)
            remove_tree(part)
        return True

    def _part(self, key: str) -> str:
        return os.path.join(self.directory, f".{key}.{secrets.token_hex(8)}.part")

    @contextlib.contextmanager
    def _locked(self, key: str, waiting: Callable[[], None] | None) -> Iterator[bool]:
        """Hold the lock of a key, behind whoever has it; ``waiting`` None: or not at all.

        Nothing half made of it is there then.
        """
        path = os.path.join(self.directory, f".{key}.lock")
        with self._said():
            fd = self._lock(path, waiting)
        if fd is None:
            yield False
            return
        try:
            with self._said():
                for name in self._names():
                    if name.startswith(f".{key}.") and name.endswith(".part"):
                        remove_tree(os.path.join(self.directory, name))
            yield True
        finally:
            # While it is held: who waits for it looks whether it is there still
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)

    def _lock(self, path: str, waiting: Callable[[], None] | None) -> int | None:
        while True:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # somebody has just left it, empty
                if waiting is None:
                    return None
                self._make()
                continue
            try:
                if not _takes(fd):
                    if waiting is None:
                        os.close(fd)
                        return None
                    waiting()
                    fcntl.flock(fd, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False)):
                        return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"{error.strerror} ({error.filename or self.directory})"
            raise StoreError(
                f"layers cannot be kept in {self.directory}: {what}; {ELSEWHERE}"
            ) from error


def _opened(path: str) -> int | None:
    try:
        return os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return None


def _takes(fd: int) -> bool:
    """Whether a lock could be had that nobody else has then."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _about(path: str) -> About:
    with open(os.path.join(path, _ABOUT), encoding="utf-8") as file:
        about = json.load(file)
    return about if isinstance(about, dict) else {}
