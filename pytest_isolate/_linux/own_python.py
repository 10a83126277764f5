"""What this Python has of the machine, and goes on needing where another root is below it.

A fork has all that is mapped. It still opens modules by their paths, and the libraries of extension
modules that nobody has imported yet: those of the standard library are loaded beforehand, not run,
so that another root's of the same name are not taken for them.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pytest_isolate._linux._libc import ffi

#: Directories that belong to a root and not to what is installed in them.
SYSTEM = frozenset(
    {
        "/", "/usr", "/usr/local", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin",
        "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/usr/share", "/bin",
        "/sbin", "/lib", "/lib64", "/etc", "/var", "/var/lib", "/run", "/dev", "/proc", "/sys",
        "/home", "/opt", "/mnt", "/media", "/srv", "/boot",
    }
)  # fmt: skip
_DATA = ("/usr/share/zoneinfo", "/usr/lib/locale")  # that time zones and locales are read from
_ALSO = ("libgcc_s.so.1", "libstdc++.so.6", "libz.so.1")  # which wheels expect on every machine
_MAPPED = re.compile(r"^[0-9a-f]+-[0-9a-f]+ r-xp [0-9a-f]+ \S+ [1-9]\d* +(/.*)$", re.MULTILINE)
_LARGEST = 256 << 20  # bytes of a library that is read
_GLIBC = re.compile(rb"GLIBC_(2(?:\.\d{1,3}){1,2})\0")
_PT_INTERP = 3
_MODULES = ("stdlib", "platstdlib", "purelib", "platlib")  # of sysconfig's paths


@dataclass(frozen=True)
class Libraries:
    """What the program needs that this process runs, by the paths of the machine."""

    program: str
    loader: str = ""  # "" for one that is linked statically
    libc: str = ""  # its name
    glibc: tuple[int, ...] = ()  # the newest version that the program asks for
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of libraries, by directory


def directories(more: Iterable[str] = ()) -> list[str]:
    """List the directories, and archives, that modules are imported from, and data that go with it.

    ``more`` are others that are to be there. None that lies in another one, and no root's own.
    """
    found = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
    found += [os.path.dirname(os.__file__), sysconfig.get_config_var("DESTSHARED") or ""]
    found += [sysconfig.get_path(name) or "" for name in _MODULES]
    found += [*sys.path, *_modules(), *more]
    places = {os.path.abspath(each) for each in found if each}
    places |= {os.path.realpath(each) for each in places}
    places = {each for each in places if each not in SYSTEM and os.path.exists(each)}
    return sorted(each for each in places if not any(_is_below(each, other) for other in places))


def data() -> list[str]:
    """List directories of data that Python or the C library reads, where another root has none."""
    return [each for each in _DATA if os.path.isdir(each)]


def _is_below(path: str, other: str) -> bool:
    return path.startswith(f"{other}/")


def _modules() -> Iterator[str]:
    """Give where packages have come from that no entry of ``sys.path`` has: editable installs."""
    for name, module in list(sys.modules.items()):
        if "." in name:
            continue
        try:
            paths = list(getattr(module, "__path__", None) or ())
        except Exception:  # noqa: BLE001, S112 - anybody's object
            continue
        yield from (each for each in paths if isinstance(each, str) and os.path.isdir(each))


def programs() -> tuple[str, list[tuple[str, str]]]:
    """Give this Python's program, and the links by which ``sys.executable`` leads to it."""
    path = sys.executable
    links: list[tuple[str, str]] = []
    while path and os.path.islink(path) and len(links) < 40:
        links.append((path, os.readlink(path)))
        path = os.path.normpath(os.path.join(os.path.dirname(path), links[-1][1]))
    return os.path.realpath(sys.executable) if sys.executable else "", links


@functools.cache
def libraries() -> Libraries:
    """Load what extension modules of the standard library need, and tell what the program needs."""
    _load()
    program, _ = programs()
    if not program or not (loader := _interpreter(program)):
        return Libraries(program)
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        mapped = set(_MAPPED.findall(file.read()))
    own = directories()
    found = {each for each in mapped if not any(_is_below(each, other) for other in own)}
    found = {each for each in found if each != program and os.path.isfile(each)}
    found.add(os.path.realpath(loader))
    names: dict[str, list[str]] = {}
    for path in sorted(found):
        names.setdefault(os.path.dirname(path), []).append(os.path.basename(path))
    every = {place: (*there, *_links_to(place, set(there))) for place, there in names.items()}
    libc = next((name for there in every.values() for name in there if name == "libc.so.6"), "")
    parts = [program, *(each for each in mapped if os.path.basename(each).startswith("libpython"))]
    asked = max(map(most_of_glibc, parts))
    return Libraries(program, loader, libc or os.path.basename(loader), asked, every)


_loaded: list[object] = []


def _load() -> None:
    places = {sysconfig.get_config_var("DESTSHARED"), f"{os.path.dirname(os.__file__)}/lib-dynload"}
    found = list(_ALSO)
    for place in places:
        if place and os.path.isdir(place):
            found += [f"{place}/{name}" for name in os.listdir(place) if name.endswith(".so")]
    for path in found:
        try:
            _loaded.append(ffi.dlopen(path, ffi.RTLD_LAZY))
        except OSError:  # what it needs is not on the machine either
            continue


def _links_to(directory: str, names: set[str]) -> list[str]:
    """Give the links in a directory that lead to some names in it, but those that linkers use."""
    links = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_symlink() and not entry.name.endswith(".so"):
                links[entry.name] = os.readlink(entry.path)
    found = []
    for link in links:
        at, steps = link, 0
        while at in links and steps < 10:
            at, steps = links[at], steps + 1
        if at in names:
            found.append(link)
    return sorted(found)


def _interpreter(program: str) -> str:
    """Read the loader's path from a program: PT_INTERP of elf(5)."""
    with open(program, "rb") as file:
        head = file.read(64)
        if head[:4] != b"\x7fELF":
            return ""
        order, wide = "<" if head[5] == 1 else ">", head[4] == 2
        offset = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", head, 32 if wide else 28)[0]
        size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
        for number in range(count):
            file.seek(offset + number * size)
            each = file.read(size)
            if struct.unpack_from(f"{order}I", each)[0] != _PT_INTERP:
                continue
            at, length = (
                (
                    *struct.unpack_from(f"{order}Q", each, 8),
                    *struct.unpack_from(f"{order}Q", each, 32),
                )
                if wide
                else (
                    *struct.unpack_from(f"{order}I", each, 4),
                    *struct.unpack_from(f"{order}I", each, 16),
                )
            )
            file.seek(at)
            return os.fsdecode(file.read(length).rstrip(b"\0"))
    return ""


@functools.lru_cache(maxsize=1000)
def most_of_glibc(path: str) -> tuple[int, ...]:
    """Give the newest of glibc's versions that a file names: it asks for them, or it has them.
    What is no library, by what it is or by its size, has none.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            look = os.fstat(fd)
            if not stat.S_ISREG(look.st_mode) or look.st_size > _LARGEST:
                return ()
            found = _GLIBC.findall(file.read())
    except OSError:
        return ()
    return max((tuple(map(int, each.split(b"."))) for each in found), default=())
