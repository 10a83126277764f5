"""The roots of a run's tests: images unpacked once, and what of the machine's is shown on each."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_isolate._config.roots import RootFs, show
from pytest_isolate._config.spec import Spec
from pytest_isolate._config.values import format_size
from pytest_isolate._errors import BadValueError
from pytest_isolate._linux import own_python
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.root import Root
from pytest_isolate._plan import elsewhere
from pytest_isolate._plan.elsewhere import Given, UnfitRootError
from pytest_isolate._plan.layout import REBUILT, is_in

if TYPE_CHECKING:
    from pytest_isolate._images.images import OpenImage
    from pytest_isolate._store.store import About, Held

_LARGE = 32 << 20  # bytes of an image whose unpacking takes long enough to be shown
_FORM = "root 1"  # of what is made of an image: a change of it is another key


@dataclass(frozen=True)
class Chosen:
    """A root, and what of the machine's is shown on it."""

    root: Root = field(default_factory=Root)
    given: Given = field(default_factory=Given)


class Roots:
    """Those that tests of this run have asked for."""

    def __init__(self) -> None:
        self._held: dict[RootFs, Held] = {}
        self._trees: dict[RootFs, tuple[str, tuple[tuple[str, str], ...]] | str] = {}
        self._unsaid: list[str] = []
        self._said: set[str] = set()

    @property
    def descriptors(self) -> list[int]:
        """Those by which trees are held, which no test may inherit."""
        return [held.fd for held in self._held.values()]

    def is_ready(self, wanted: RootFs | None) -> bool:
        """Whether its tree is there, and pytest has loaded what its forks need there."""
        return wanted is None or wanted in self._trees

    def to_say(self) -> list[str]:
        """Give sentences, each once in a run, on what of a root is not as it was."""
        said, self._unsaid = self._unsaid, []
        return said

    def key(self, wanted: RootFs | None) -> str:
        """Give the key of an image that is unpacked; nothing for what is none."""
        return self._held[wanted].key if wanted in self._held else ""

    def variables(self, wanted: RootFs | None) -> dict[str, str]:
        """Give those that programs of a root expect; its PATH stands behind pytest's."""
        tree = None if wanted is None else self._trees.get(wanted)
        if tree is None or isinstance(tree, str):
            return {}
        found = dict(tree[1])
        if "PATH" in found:
            places = f"{os.environ.get('PATH', os.defpath)}:{found['PATH']}".split(":")
            found["PATH"] = ":".join(dict.fromkeys(places))
        return found

    def close(self) -> None:
        """Let go of the trees."""
        for held in self._held.values():
            held.close()
        self._held.clear()

    def choose(
        self,
        spec: Spec,
        host: Host,
        places: Sequence[str],
        tell: Callable[[str], None] = lambda _: None,
    ) -> Chosen:
        """Give what a test stands on; ``places`` are to be there as on the machine. ``tell`` shows
        what takes its time.

        Raises ``BadValueError``.
        """
        assert spec.rootfs is not None
        tree = self._tree(spec.rootfs, tell)
        if isinstance(tree, str):
            raise refusal(spec, tree)
        path, _ = tree
        own = Root((path,))
        program, links = own_python.programs()
        pythons = own_python.directories()
        outside = [link for link in links if not is_in(link[0], pythons)]
        if program and not is_in(program, pythons):
            pythons.append(program)
        places = own_python.directories([*pythons, *places])
        places += [each for each in own_python.data() if own.kind(each) == "none"]
        places = [each for each in places if not is_in(each, REBUILT)]
        root = Root((path,), (*REBUILT, *places))
        try:
            elsewhere.check(root, host)
            given = elsewhere.libraries(root, own_python.libraries())
        except UnfitRootError as error:
            raise refusal(spec, str(error)) from None
        said = list(given.said)
        hidden = [
            each for each in (*pythons, *(at for at, _ in outside)) if own.kind(each) != "none"
        ]
        if hidden:
            said.append(
                f"pytest's Python lies where the root has its own, and hides {', '.join(hidden)}: "
                "programs of the root see pytest's there"
            )
        self._say(spec.rootfs, said)
        return Chosen(root, replace(given, links=(*outside, *given.links)))

    def _say(self, wanted: RootFs, sentences: list[str]) -> None:
        for each in sentences:
            if (said := f"rootfs={show(wanted)!r}: {each}") not in self._said:
                self._said.add(said)
                self._unsaid.append(said)

    def _tree(
        self, wanted: RootFs, tell: Callable[[str], None]
    ) -> tuple[str, tuple[tuple[str, str], ...]] | str:
        """Give the directory of a root, unpacked if need be, or what is wrong with it."""
        if wanted.kind == "directory":
            return self._trees.setdefault(wanted, (wanted.path, ()))
        if wanted not in self._trees:
            from pytest_isolate._images.broken import BrokenImageError  # noqa: PLC0415
            from pytest_isolate._store.store import default_directory  # noqa: PLC0415
            from pytest_isolate._store.trust import StoreError, room  # noqa: PLC0415 - for images

            try:
                self._trees[wanted] = self._unpacked(wanted, tell)
            except (BrokenImageError, StoreError) as error:
                self._trees[wanted] = str(error)
            except OSError as error:
                which = f" ({error.filename})" if isinstance(error.filename, str) else ""
                helps = room(default_directory(), error.errno)
                self._trees[wanted] = f"it cannot be unpacked: {error.strerror}{which}{helps}"
        return self._trees[wanted]

    def _unpacked(
        self, wanted: RootFs, tell: Callable[[str], None]
    ) -> tuple[str, tuple[tuple[str, str], ...]]:
        from pytest_isolate._images import images  # noqa: PLC0415
        from pytest_isolate._store.store import Store, content_key  # noqa: PLC0415

        scratch = "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()
        if wanted.kind == "archive" and (size := os.path.getsize(wanted.path)) >= _LARGE:
            tell(f"Reading {show(wanted)} ({format_size(size)})...")  # it may be compressed
        with images.opened(wanted.kind, wanted.path, wanted.tag, scratch) as image:
            key = content_key(_FORM, image.key, str(os.geteuid()))
            build = functools.partial(self._build, image, wanted, tell)
            waiting = f"Waiting for another run, which unpacks {show(wanted)}..."
            held = self._held[wanted] = Store().get(key, build, waiting=lambda: tell(waiting))
            return held.path, image.environment

    def _build(
        self, image: OpenImage, wanted: RootFs, tell: Callable[[str], None], directory: str
    ) -> About:
        if image.size >= _LARGE:
            tell(f"Unpacking {show(wanted)} ({format_size(image.size)})...")
        said = image.unpack(directory)
        self._say(wanted, said)
        return {"name": f"rootfs {show(wanted)}"}


def refusal(spec: Spec, why: str) -> BadValueError:
    """Say it of the root that a test asked for."""
    assert spec.rootfs is not None
    return BadValueError(f"isolate: rootfs={show(spec.rootfs)!r} ({spec.origin('rootfs')}): {why}")
