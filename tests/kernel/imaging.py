"""Images of containers, put together by hand: layers of any entries, as layouts and archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
MEDIA = "application/vnd.oci.image"


def entry(name: str, data: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One of a layer: a file with ``data``, else a directory, or what ``type`` says."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
    info.mode = 0o755 if data is None else 0o644
    info.size = len(data or b"")
    info.mtime = 1_000_000_000
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data or b""


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


def layer(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def layer_of(directory: Path) -> bytes:
    """All that is in a directory, owned by root."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(directory, ".", filter=_by_root)
    return file.getvalue()


def _by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    return info


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def configuration(layers: Iterable[bytes], **more: Any) -> dict[str, Any]:
    diff_ids = [digest(each) for each in layers]
    return {
        "os": "linux",
        "architecture": MACHINE,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        **more,
    }


class Layout:
    """An OCI image layout in a directory, to which images are added."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "blobs" / "sha256").mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.manifests: list[dict[str, Any]] = []

    def put(self, data: bytes | dict[str, Any], **more: Any) -> dict[str, Any]:
        """Put a blob there. Gives its descriptor."""
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        (self.directory / "blobs" / digest(data).replace(":", "/")).write_bytes(data)
        return {"digest": digest(data), "size": len(data), **more}

    def manifest(
        self, layers: Iterable[bytes], pack: Callable[[bytes], bytes] = gzip.compress, **config: Any
    ) -> dict[str, Any]:
        """Put an image there. Gives its manifest's descriptor."""
        layers = list(layers)
        described = self.put(configuration(layers, **config), mediaType=f"{MEDIA}.config.v1+json")
        packed = [self.put(pack(each), mediaType=f"{MEDIA}.layer.v1.tar+gzip") for each in layers]
        document = {"schemaVersion": 2, "config": described, "layers": packed}
        return self.put(document, mediaType=f"{MEDIA}.manifest.v1+json")

    def add(self, manifest: dict[str, Any], tag: str | None = None) -> Layout:
        """Name one in the index."""
        notes = {"org.opencontainers.image.ref.name": tag} if tag else {}
        self.manifests.append({**manifest, "annotations": notes})
        index = {"schemaVersion": 2, "manifests": self.manifests}
        (self.directory / "index.json").write_text(json.dumps(index))
        return self

    def blobs(self) -> list[Path]:
        return list((self.directory / "blobs" / "sha256").iterdir())


def docker_archive(path: Path, layers: Iterable[bytes], **config: Any) -> Path:
    """Write what ``docker save`` wrote before Docker 25."""
    layers = list(layers)
    described = json.dumps(configuration(layers, **config)).encode()
    name = digest(described).partition(":")[2] + ".json"
    directories = [digest(each).partition(":")[2] for each in layers]
    names = [f"{each}/layer.tar" for each in directories]
    manifest = [{"Config": name, "RepoTags": ["it:latest"], "Layers": names}]
    with tarfile.open(path, "w") as archive:
        for each, data in zip(names, layers, strict=True):
            archive.addfile(*_member(each, data))
        archive.addfile(*_member(name, described))
        archive.addfile(*_member("manifest.json", json.dumps(manifest).encode()))
    return path


def _member(name: str, data: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return entry(name, data)[0], io.BytesIO(data)
