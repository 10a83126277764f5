"""One image: opened, known by what it holds, and unpacked to a tree."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pytest_isolate._images import manifests
from pytest_isolate._images.broken import BrokenImageError
from pytest_isolate._images.manifests import Blob, Image
from pytest_isolate._images.sources import Archive, Directory, Source
from pytest_isolate._images.streams import Bounds, Content, Hashed
from pytest_isolate._images.tree import Tree
from pytest_isolate._images.unpack import Unpacking

_SHOWN = 19  # characters of a digest that tell it from others


class OpenImage:
    """An image whose documents have been read and checked."""

    def __init__(self, source: Source, image: Image) -> None:
        self._source = source
        self.key = image.key
        self.environment = image.environment
        self._layers = image.layers

    @property
    def size(self) -> int:
        """How many bytes its layers have, packed as they are: as far as this can be told before
        they are read.
        """
        total = 0
        for layer in self._layers:
            with contextlib.suppress(BrokenImageError):  # which is said when it is unpacked
                total += self._source.open(layer.name)[1] if layer.size is None else layer.size
        return total

    def unpack(self, directory: str, bounds: Bounds = Bounds()) -> list[str]:  # noqa: B008 - it never changes
        """Make its tree in an empty directory. Gives sentences on what is left out.

        Raises ``BrokenImageError`` and ``OSError``, with a part of it in there: whoever made the
        directory removes it.
        """
        tree = Tree(directory)
        try:
            os.fchmod(tree.fd, 0o755)
            unpacking = Unpacking(tree, bounds)
            for number, layer in enumerate(self._layers, 1):
                try:
                    self._add(unpacking, layer, bounds)
                except BrokenImageError as error:
                    digest = (layer.digest or layer.diff_id)[:_SHOWN]
                    said = f"layer {number} of {len(self._layers)} ({digest})"
                    raise BrokenImageError(f"{said}: {error}") from None
        finally:
            tree.close()
        return unpacking.left.sentences()

    def _add(self, unpacking: Unpacking, layer: Blob, bounds: Bounds) -> None:
        file, size = self._source.open(layer.name)
        if layer.size is not None and size != layer.size:
            raise BrokenImageError(
                f"it has {size} bytes, and not the {layer.size} that the manifest says"
            )
        packed = Hashed(file, (layer.digest or "sha256:").partition(":")[0])
        content = Content(packed, layer.diff_id.partition(":")[0], bounds)
        unpacking.add(content)
        if layer.digest is not None and packed.digest != layer.digest:
            raise BrokenImageError(
                f"it has the digest {packed.digest}, and not the {layer.digest} that the manifest "
                "says"
            )
        if content.digest != layer.diff_id:
            raise BrokenImageError(
                f"it holds what has the digest {content.digest}, and not the {layer.diff_id} of "
                "its configuration"
            )


@contextlib.contextmanager
def opened(kind: str, path: str, tag: str, scratch: str) -> Iterator[OpenImage]:
    """Open an image: ``kind`` is ``"oci"`` for a layout in a directory, ``"archive"`` for a file.

    ``scratch``: a directory for nameless files. Raises ``BrokenImageError`` and ``OSError``.
    """
    source: Source = Directory(path) if kind == "oci" else Archive(path, scratch)
    try:
        yield OpenImage(
            source,
            manifests.of_layout(source, tag) if kind == "oci" else manifests.of_archive(source),
        )
    finally:
        source.close()
