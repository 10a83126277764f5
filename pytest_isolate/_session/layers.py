"""The layers that tests of a run stand on: which directories they are, held as long as the run."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pytest_isolate._config.layers import Layer, LayerError, stack
from pytest_isolate._errors import errno_in_words
from pytest_isolate._store.store import Held, Store, content_key, memory_directory
from pytest_isolate._store.trust import StoreError

_LONGEST_UNUSED = 30 * 86400.0  # seconds
_MOST = 20 << 30  # bytes of all
_MOST_LAYERS = 400  # an overlay has 500 lower directories at most, some of which are the root's


class NotBuiltError(Exception):
    """A layer is not there yet."""


class Layers:
    """Those of one run."""

    def __init__(self, *, rootless: bool) -> None:
        self._rootless = rootless
        self._held: dict[Layer, Held] = {}
        self._failed: dict[Layer, LayerError] = {}
        self._keys: dict[Layer, str] = {}
        self._stores = {"disk": Store(), "memory": Store(memory_directory())}
        self._grown: set[str] = set()

    def descriptors(self) -> tuple[int, ...]:
        """Everything of ours that no test may inherit."""
        return tuple(held.fd for held in self._held.values())

    def directories(self, layers: Sequence[str | Layer]) -> tuple[str, ...]:
        """Give the directories of layers and of what is below them, the uppermost first.

        Raises ``LayerError`` for one that failed, ``NotBuiltError``.
        """
        found = []
        for each in stack(layers):
            if isinstance(each, str):
                found.append(each)
                continue
            if each in self._failed:
                raise self._failed[each]
            if each not in self._held:
                raise NotBuiltError(f"{each!r} is not built")
            found.append(self._held[each].path)
        if len(found) > _MOST_LAYERS:
            raise LayerError(f"these are {len(found)} layers, and a test can have {_MOST_LAYERS}")
        return tuple(dict.fromkeys(reversed(found)))

    def missing(self, layers: Sequence[str | Layer]) -> list[Layer]:
        """List what is neither held nor has failed, the lowest first. Raises ``LayerError``."""
        known = self._held.keys() | self._failed.keys()
        return [each for each in stack(layers) if isinstance(each, Layer) and each not in known]

    def key(self, layer: Layer, *root: str) -> str:
        """Make the key of a layer, which is built on another ``root``, if that is told, than the
        machine's. Raises ``LayerError``.
        """
        if layer not in self._keys:
            below = [
                self.key(each) if isinstance(each, Layer) else look_of(each)
                for each in stack([layer])[:-1]
            ]
            whose = f"{'user' if self._rootless else 'root'} {os.geteuid()}"
            self._keys[layer] = content_key(whose, *root, *below, "", *layer.parts())
        return self._keys[layer]

    def store(self, layer: Layer) -> Store:
        """Where it is kept."""
        return self._stores[layer.where]

    def hold(self, layer: Layer, held: Held, *, built: bool) -> None:
        """Have it for the rest of the run."""
        self._held[layer] = held
        layer.keep(held.about.get("value"))
        if built:
            self._grown.add(layer.where)

    def fail(self, layer: Layer, error: LayerError) -> None:
        """Remember that it cannot be built: no test of this run tries again."""
        self._failed[layer] = error

    def close(self) -> list[str]:
        """Let go of all, and sweep what has grown. Gives sentences on what could not be swept."""
        while self._held:
            self._held.popitem()[1].close()
        said = []
        while self._grown:
            try:
                self._stores[self._grown.pop()].sweep(age=_LONGEST_UNUSED, size=_MOST)
            except StoreError as error:
                said.append(f"isolate: {error}")
        self._stores["memory"].leave()
        return said


def look_of(directory: str) -> str:
    """Tell what is another when a directory of the user's is, or has other names in it.

    Raises ``LayerError``.
    """
    try:
        look = os.stat(directory)
    except OSError as error:
        why = errno_in_words(error.errno or 0)
        raise LayerError(f"{directory} cannot be read: {why}") from None
    return f"{directory} {look.st_dev} {look.st_ino} {look.st_mtime_ns}"
