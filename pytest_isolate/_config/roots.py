"""What ``rootfs=`` names: a directory, or an image that is unpacked to one.

Loaded in every run of pytest: nothing dear is imported here.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pytest_isolate._config.paths import barrier, may, refusal

_LAYOUT = "oci:"
_ALLOWED = "it must be a directory, 'oci:DIR[:TAG]' or an archive of `docker save`"


class RootFs(NamedTuple):
    """A root to stand on: ``kind`` is ``"directory"``, ``"oci"`` or ``"archive"``."""

    kind: str
    path: str  # absolute, without symbolic links
    tag: str = ""


def parse(value: object) -> RootFs | None:
    """Read what was typed; ``"/"`` is the machine's own, as without. Raises ``ValueError``."""
    if not isinstance(value, str | os.PathLike) or not (text := os.fspath(value)):
        raise ValueError(_ALLOWED)
    if not isinstance(text, str) or "\0" in text:
        raise ValueError(_ALLOWED)
    if text.startswith(_LAYOUT):
        return _layout(text.removeprefix(_LAYOUT))
    path = os.path.realpath(text)
    if path == "/":
        return None
    if os.path.isdir(path):
        return _directory(path)
    if os.path.isfile(path):
        if not may(path, os.R_OK):
            raise ValueError(f"it is not for this user: {refusal(path, 'r')}")
        return RootFs("archive", path)
    there = "no file" if os.path.lexists(path) else "not there"
    raise ValueError(f"{_ALLOWED}; {barrier(path) or f'{path} is {there}'}")


def _layout(text: str) -> RootFs:
    directory, _, tag = text.rpartition(":")
    for path, name in ((text, ""), (directory, tag)):
        if path and os.path.isdir(path):
            if not may(path, os.X_OK):
                raise ValueError(f"it is not for this user: {refusal(path, 'rx')}")
            return RootFs("oci", os.path.realpath(path), name)
    raise ValueError(f"{_ALLOWED}; {barrier(text) or f'there is no directory {text}'}")


def _directory(path: str) -> RootFs:
    """Refuse what cannot be meant."""
    if not may(path, os.X_OK):
        raise ValueError(f"no test can stand on it: {refusal(path, 'rx')}")
    if all(os.path.lexists(f"{path}/{name}") for name in ("oci-layout", "index.json")):
        raise ValueError(f"it is an OCI image layout, no root: write 'oci:{path}'")
    if not any(os.path.lexists(f"{path}/{name}") for name in ("usr", "bin")):
        raise ValueError(f"a root has a directory usr or bin, and there is neither in {path}")
    return RootFs("directory", path)


def show(value: RootFs) -> str:
    """Write a value as users do."""
    layout = f"{_LAYOUT}{value.path}" if value.kind == "oci" else value.path
    return f"{layout}:{value.tag}" if value.tag else layout
