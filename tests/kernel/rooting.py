"""Small roots of two distributions, put together from files of the machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

BUSYBOX = next(
    (Path(each) for each in ("/bin/busybox", "/usr/bin/busybox") if Path(each).exists()), None
)
MUSL = next(iter(sorted(Path("/lib").glob("ld-musl-*.so.1"))), None)
_PROGRAMS = ("sh", "cat", "id", "ls", "true")
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nthem:x:4711:4711:of this root:/:/bin/sh\n"


def obstacle() -> str | None:
    """Why there can be no root with musl here; None when there can."""
    return None if BUSYBOX and MUSL else "apt-get install busybox-static musl"


def debian(root: Path) -> Path:
    """A root with glibc: merged /usr, a shell and a few programs, nothing of Python."""
    for name in ("usr/bin", "usr/lib", "usr/lib64", "etc", "root", "var/lib"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in _PROGRAMS:
        _with_libraries(root, str(shutil.which(name)), f"usr/bin/{name}")
    return _distribution(root, "debian")


def _with_libraries(root: Path, program: str, name: str) -> None:
    shutil.copy(program, root / name)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(0x", listed):
        place = root / path.lstrip("/").removeprefix("usr/")  # through the links
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def alpine(root: Path) -> Path:
    """A root with musl: BusyBox, which needs no library, and musl's loader, a program by itself."""
    assert BUSYBOX is not None
    assert MUSL is not None
    for name in ("bin", "usr/bin", "lib", "etc", "root", "var/lib"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for name in _PROGRAMS:
        (root / "bin" / name).symlink_to("/bin/busybox")
    shutil.copy(MUSL, root / "lib" / MUSL.name)
    return _distribution(root, "alpine")


def _distribution(root: Path, name: str) -> Path:
    (root / "etc/os-release").write_text(f"ID={name}\n")
    (root / "etc/passwd").write_text(_PASSWD)
    (root / "var/lib/data").write_text("of the root")
    return root
