"""What the parent knows of its open files and shared memory, for the child that opens them anew
(``_sandbox.inherited``).

docs/descriptors.md says what becomes of each kind.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from pytest_isolate._config.values import format_size
from pytest_isolate._errors import Step
from pytest_isolate._linux import mappings
from pytest_isolate._linux.descriptors import Look
from pytest_isolate._linux.mappings import Mapping
from pytest_isolate._sandbox.inherited import Inheritance, Lost
from pytest_isolate._sandbox.relay import is_null

#: An overlay copies a file up when it is opened for writing, 0.4 ms for each MiB: up to here it is
#: no more than some tests take.
MOST_COPIED = 64 << 20
_BEFORE = "opened before the first test"


class Inherited:
    """Of one run."""

    def __init__(self) -> None:
        self._look = Look()
        self._mappings: dict[tuple[int, str], Mapping] = {}
        self._of: dict[str, str] = {}  # whose mapping it is, by path
        # Files that were open when mappings were looked for
        self._writable: set[tuple[int, int]] | None = None
        self._sizes: dict[str, int] = {}
        self._said: set[str] = set()

    def look_for_mappings(self, whose: str) -> None:
        """Find shared memory, and note whose the new ones are.

        Half a millisecond: for once, and after shared fixtures.
        """
        # No descriptor is left: then nothing is said of them, or shown anew
        with contextlib.suppress(OSError):
            self._mappings = {(each.begin, each.path): each for each in mappings.shared()}
        for mapping in self._mappings.values():
            self._of.setdefault(mapping.path, whose)
        self._writable = self._writable or set()

    def before_fixture(self) -> None:
        """Note what is there before the first shared fixture, and so is none of its."""
        if self._writable is None:
            self.look_for_mappings(_BEFORE)

    def leave(
        self,
        ours: set[int],
        standing: set[int],
        nothing: set[int],
        *,
        strict: bool,
        disk: int | None,
        private: int,
    ) -> tuple[Inheritance, set[int]]:
        """Say what to do in a child with all that is open but ``ours``, and which of it fork gives
        by itself. Raises ``StepFailedError``.

        ``standing``: what pytest itself needs as it is, and with it every other descriptor of these
        files; of them ``nothing`` is there but /dev/null.
        """
        never = {(look.st_dev, look.st_ino) for look in map(_stat, standing) if look is not None}
        with Step("look at", "what pytest has open"):
            found = self._look.now(ours | standing, never)
        writable = {file.identity for file in found.files if file.writable}
        # A mapping needs a descriptor first, which mostly stays
        if self._writable is None or not writable <= self._writable:
            self.look_for_mappings(
                _BEFORE if self._writable is None else "opened between two tests"
            )
        self._writable = writable
        if self._shown(writable):  # which may be gone by now, and other memory in its place
            self.look_for_mappings("opened between two tests")
        shown = self._shown(writable)
        most = MOST_COPIED if disk is None else min(MOST_COPIED, disk // 2)
        if strict:
            closed = tuple(found.others.union(file.number for file in found.files))
            return (
                Inheritance([], closed, shown, most, private, _nulls(standing, nothing)),
                standing,
            )
        if private < 0:  # there is nothing private to open it on: it stays what fork makes of it
            kept = found.others.union(standing, (file.number for file in found.files))
            return Inheritance([], nulls=_nulls(kept, nothing)), kept
        # Goes with its descriptor
        memory = {each.path for each in self._mappings.values() if each.gone and each.writable}
        files = [file for file in found.files if not (file.gone and file.path in memory)]
        others = found.others.union(
            file.number for file in found.files if file.gone and file.path in memory
        )
        self._sizes = {file.path: file.size for file in files}
        return (
            Inheritance(files, (), shown, most, private, _nulls(others | standing, nothing)),
            others | standing,
        )

    def _shown(self, writable: set[tuple[int, int]]) -> tuple[Mapping, ...]:
        return tuple(
            each
            for each in self._mappings.values()
            if not each.gone and (each.writable or each.identity in writable)
        )

    def troubles(self, lost: list[Lost]) -> Iterator[str]:
        """Yield a sentence for all that tests have not as they should; each is said once a run."""
        for path, text in self._found(lost):
            if path not in self._said:
                self._said.add(path)
                yield f"isolate: {text}"

    def _found(self, lost: list[Lost]) -> Iterator[tuple[str, str]]:
        for mapping in self._mappings.values():
            if mapping.writable and mapping.gone:
                yield mapping.path, self._shared(mapping.path)
        for path, why in lost:
            if path in self._of:
                yield path, self._shared(path, why)
            elif path in self._sizes:
                yield path, self._for_reading(path, why)

    def _shared(self, path: str, why: int = 0) -> str:
        reason = f" ({_reason(why)})" if why else ""
        what = "shared memory" if not why else "a shared mapping of the file"
        return (
            f"{path} is {what}, {self._of.get(path, _BEFORE)}, which no sandbox has a copy"
            f" of{reason}: what a test writes there reaches pytest and every other test; if a"
            " fixture makes it, fixtures='fresh' has one made for each test"
        )

    def _for_reading(self, path: str, why: int) -> str:
        size = format_size(self._sizes[path])
        return (
            f"{path} ({size}), which pytest has open for writing, can in tests only be read, and a"
            f" write to it fails with EBADF: {_reason(why)}; bind=[{path!r}] has tests write to the"
            " file itself, fixtures='fresh' has what a fixture opens opened inside"
        )


def _reason(why: int) -> str:
    if why == errno.EFBIG:
        return (
            f"a copy for each test would be larger than {format_size(MOST_COPIED)}, or half of"
            " disk="
        )
    return os.strerror(why)


def _nulls(numbers: set[int], nothing: set[int]) -> tuple[int, ...]:
    return tuple(fd for fd in numbers if is_null(fd) or (fd in nothing and _stat(fd) is not None))


def _stat(number: int) -> os.stat_result | None:
    try:
        return os.fstat(number)
    except OSError:  # closed, as pytest <&- has it
        return None
