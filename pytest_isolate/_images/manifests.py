"""The documents of an image, as an OCI image layout or ``docker save`` has them. All is checked.

(OCI image specification: image-layout.md, image-index.md, manifest.md, config.md; for archives of
Docker its ``image/spec/v1.2.md``.) Everything may raise ``BrokenImageError`` and ``OSError``.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from dataclasses import dataclass
from typing import Any

from pytest_isolate._images.broken import BrokenImageError, printable
from pytest_isolate._images.sources import Source

_LARGEST_DOCUMENT = 4 << 20  # bytes, as registries have it
_LARGEST_VARIABLE = 1 << 17  # bytes, MAX_ARG_STRLEN
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_MOST_LAYERS = 500
_DEEPEST = 4  # indexes, one in the other
_REF = "org.opencontainers.image.ref.name"
#: The architectures of images, which are Go's, by the kernel's names.
_ARCHITECTURES = {
    "x86_64": "amd64", "i686": "386", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm",
    "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64", "loongarch64": "loong64",
}  # fmt: skip


@dataclass(frozen=True)
class Blob:
    """A layer: where it is, its digests, compressed (where anybody says) and not, and its size."""

    name: str
    digest: str | None
    size: int | None
    diff_id: str


@dataclass(frozen=True)
class Image:
    """What a tree is made of, and the variables that programs of it expect."""

    layers: tuple[Blob, ...]
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """The same for images of the same layers."""
        return hashlib.sha256("\n".join(each.diff_id for each in self.layers).encode()).hexdigest()


def of_layout(source: Source, tag: str) -> Image:
    """Read an OCI image layout; ``tag`` chooses one of its images, "" the only one."""
    if not source.has("index.json"):
        raise BrokenImageError("there is no index.json in it: it is no OCI image layout")
    index = _document(source, "index.json", None, None)
    manifests = [
        _descriptor(each, "index.json") for each in _list(index, "manifests", "index.json")
    ]
    if tag:
        chosen = [each for each in manifests if each.tag == tag]
        if not chosen:
            raise BrokenImageError(
                f"no image in it has the tag {printable(tag)}; {_tags(manifests)}"
            )
    else:
        chosen = manifests
    if len({each.digest for each in chosen if each.platform in {None, _here()}}) > 1:
        raise BrokenImageError(f"it has several images, write oci:DIR:TAG: {_tags(manifests)}")
    return _of_manifests(source, chosen, 0)


@dataclass(frozen=True)
class _Descriptor:
    digest: str
    size: int
    media_type: str
    tag: str | None
    platform: tuple[str, str] | None

    @property
    def blob(self) -> str:
        return "blobs/" + self.digest.replace(":", "/")


def _of_manifests(source: Source, manifests: list[_Descriptor], depth: int) -> Image:
    """Choose this machine's, through indexes in indexes."""
    if depth >= _DEEPEST:
        raise BrokenImageError(f"it has more than {_DEEPEST} indexes, one in the other")
    fitting = [each for each in manifests if each.platform == _here()] or [
        each for each in manifests if each.platform is None
    ]
    if not fitting:
        has = (
            ", ".join(
                sorted({"/".join(each.platform) for each in manifests if each.platform is not None})
            )
            or "none"
        )
        raise BrokenImageError(f"it has no image for {'/'.join(_here())}; it has: {has}")
    chosen = fitting[0]
    manifest = _document(source, chosen.blob, chosen.digest, chosen.size)
    where = f"the manifest {chosen.digest[:19]}"
    if "manifests" in manifest:
        return _of_manifests(
            source,
            [_descriptor(each, where) for each in _list(manifest, "manifests", where)],
            depth + 1,
        )
    described = _descriptor(manifest.get("config"), where)
    config = _document(source, described.blob, described.digest, described.size)
    layers = [_descriptor(each, where) for each in _list(manifest, "layers", where)]
    if any("encrypted" in each.media_type for each in layers):
        raise BrokenImageError(
            "its layers are encrypted: skopeo copy --decryption-key makes one that is not"
        )
    return _image(
        config,
        [(each.blob, each.digest, each.size) for each in layers],
        f"the configuration {described.digest[:19]}",
    )


def of_archive(source: Source) -> Image:
    """Read what ``docker save`` wrote, or an OCI image layout in an archive."""
    if not source.has("manifest.json"):
        if source.has("index.json"):
            return of_layout(source, "")
        raise BrokenImageError(
            "there is neither a manifest.json nor an index.json in it: `docker save` has not "
            "written it"
        )
    images = _json(source, "manifest.json", None, None)
    if (
        not isinstance(images, list)
        or not images
        or not all(isinstance(each, dict) for each in images)
    ):
        raise BrokenImageError("manifest.json is no list of images")
    if len(images) > 1:
        named = (each.get("RepoTags") for each in images)
        tags = [
            str(tag)
            for each in named
            for tag in (each if isinstance(each, list) and each else ["one without a name"])
        ]
        raise BrokenImageError(
            f"it has several images, save one: {', '.join(map(printable, tags[:10]))}"
        )
    name = images[0].get("Config")
    if not isinstance(name, str):
        raise BrokenImageError("manifest.json names no Config")
    # The older and the newer form, both named by what they hold
    found = re.search(r"(?:^|/)([0-9a-f]{64})(?:\.json)?$", name)
    config = _document(source, name, f"sha256:{found[1]}" if found else None, None)
    layers: list[tuple[str, str | None, int | None]] = []
    for each in _list(images[0], "Layers", "manifest.json"):
        if not isinstance(each, str):
            raise BrokenImageError("a layer in manifest.json has no name")
        blob = re.fullmatch(r"blobs/(sha256)/([0-9a-f]{64})", each)
        layers.append((each, f"{blob[1]}:{blob[2]}" if blob else None, None))
    return _image(config, layers, "its configuration")


def _image(
    config: dict[str, Any], layers: list[tuple[str, str | None, int | None]], where: str
) -> Image:
    rootfs = config.get("rootfs")
    diff_ids = _list(rootfs if isinstance(rootfs, dict) else {}, "diff_ids", where)
    if len(diff_ids) != len(layers):
        raise BrokenImageError(
            f"{where} speaks of {len(diff_ids)} layers, the manifest of {len(layers)}"
        )
    if len(layers) > _MOST_LAYERS:
        raise BrokenImageError(f"it has {len(layers)} layers, where {_MOST_LAYERS} are the most")
    _check_platform(config)
    blobs = [
        Blob(name, digest, size, _digest(diff_id, where))
        for (name, digest, size), diff_id in zip(layers, diff_ids, strict=True)
    ]
    return Image(tuple(blobs), tuple(_variables(config)))


def _check_platform(config: dict[str, Any]) -> None:
    system, architecture = config.get("os", "linux"), config.get("architecture", _here()[1])
    if (system, architecture) != _here():
        raise BrokenImageError(
            f"it is for {system}/{architecture}, and this machine is {'/'.join(_here())}"
        )


def _variables(config: dict[str, Any]) -> list[tuple[str, str]]:
    inner = config.get("config")
    given = inner.get("Env") if isinstance(inner, dict) else None
    texts = given if isinstance(given, list) else []
    pairs = [each.partition("=") for each in texts if isinstance(each, str) and _is_variable(each)]
    return [(name, value) for name, separator, value in pairs if separator and name]


def _is_variable(text: str) -> bool:
    """Whether the kernel would give it to a program."""
    try:
        data = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return b"\0" not in data and len(data) < _LARGEST_VARIABLE


def _here() -> tuple[str, str]:
    machine = platform.machine()
    return "linux", _ARCHITECTURES.get(machine, machine)


def _tags(manifests: list[_Descriptor]) -> str:
    tags = [printable(each.tag) for each in manifests if each.tag is not None]
    return f"it has the tags {', '.join(tags[:20])}" if tags else "its images have no tags"


def _descriptor(value: object, where: str) -> _Descriptor:
    if not isinstance(value, dict):
        raise BrokenImageError(f"{where} has a descriptor that is no object")
    size, media_type, annotations = (
        value.get("size"),
        value.get("mediaType", ""),
        value.get("annotations"),
    )
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BrokenImageError(f"{where} has a descriptor without a size")
    tag = annotations.get(_REF) if isinstance(annotations, dict) else None
    platform_ = value.get("platform")
    found = (
        (str(platform_.get("os")), str(platform_.get("architecture")))
        if isinstance(platform_, dict)
        else None
    )
    return _Descriptor(
        _digest(value.get("digest"), where),
        size,
        str(media_type),
        tag if isinstance(tag, str) else None,
        found,
    )


def _digest(value: object, where: str) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise BrokenImageError(f"{where} has a digest that is not valid: {printable(str(value))}")
    return value


def _list(document: dict[str, Any], key: str, where: str) -> list[Any]:
    found = document.get(key)
    if not isinstance(found, list):
        raise BrokenImageError(f"{where} has no list {key!r}")
    return found


def _document(source: Source, name: str, digest: str | None, size: int | None) -> dict[str, Any]:
    found = _json(source, name, digest, size)
    if not isinstance(found, dict):
        raise BrokenImageError(f"{name} is no JSON object")
    return found


def _json(source: Source, name: str, digest: str | None, size: int | None) -> object:
    """Read a document whose digest and size somebody may have told."""
    file, there = source.open(name)
    if size is not None and there != size:
        raise BrokenImageError(f"{name} has {there} bytes, and not the {size} that are said of it")
    if there > _LARGEST_DOCUMENT:
        raise BrokenImageError(f"{name} has {there} bytes, where {_LARGEST_DOCUMENT} are the most")
    data = b""
    while len(data) < there and (more := file.read(there - len(data))):
        data += more
    if digest is not None:
        algorithm, _, _ = digest.partition(":")
        if (found := f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}") != digest:
            raise BrokenImageError(
                f"{name} has the digest {found}, and not the {digest} that is said of it"
            )
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenImageError(f"{name} is no JSON ({error})") from None
