"""What this Python has of the machine, and what of it another root is given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

import pytest_isolate
from pytest_isolate._linux import own_python
from pytest_isolate._linux.root import Root
from pytest_isolate._plan import elsewhere

LIBRARIES = own_python.libraries()
on_glibc = pytest.mark.skipif(LIBRARIES.libc != "libc.so.6", reason="for a Python with glibc")


def test_modules_come_from_directories_that_belong_to_no_root():
    """None that is in another one, and the package that is tested is in one of them."""
    found = own_python.directories()
    assert not own_python.SYSTEM & set(found)
    assert not any(each.startswith(f"{other}/") for each in found for other in found)
    for path in (os.path.realpath(os.__file__), os.path.realpath(pytest_isolate.__file__)):
        assert any(path.startswith(f"{each}/") for each in found)


def test_a_directory_that_is_asked_for_is_there_by_both_its_names(tmp_path):
    """By the link and by what it leads to; one that is not there is not."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = own_python.directories([str(tmp_path / "link"), str(tmp_path / "none"), "/usr"])
    assert {str(tmp_path / "link"), str(tmp_path / "real")} <= set(found)
    assert not {str(tmp_path / "none"), "/usr"} & set(found)


def test_the_program_is_where_the_links_lead():
    """As the kernel follows them."""
    program, links = own_python.programs()
    assert program == os.path.realpath(sys.executable)
    assert not links or links[0] == (sys.executable, os.readlink(sys.executable))


@on_glibc
def test_the_loader_is_the_one_that_the_program_names():
    """As ldd says; and each library is there by the names that loaders know."""
    said = subprocess.run(
        ["ldd", LIBRARIES.program], capture_output=True, text=True, check=True
    ).stdout
    assert LIBRARIES.loader in said
    names = {name for there in LIBRARIES.names.values() for name in there}
    needed = {line.split()[0]: line.split()[2] for line in said.splitlines() if "=> /" in line}
    own = own_python.directories()  # where the program looks for those that are in there
    assert {
        name
        for name, path in needed.items()
        if not any(os.path.realpath(path).startswith(f"{each}/") for each in own)
    } <= names
    assert os.path.basename(os.path.realpath(LIBRARIES.loader)) in names
    assert (2, 2, 5) <= LIBRARIES.glibc <= own_python.most_of_glibc(_libc())


def _libc() -> str:
    (place,) = [place for place, names in LIBRARIES.names.items() if "libc.so.6" in names]
    return f"{place}/libc.so.6"


@on_glibc
def test_an_empty_root_is_given_all_libraries_and_the_loader(tmp_path):
    """By links, at the paths where the program looks for them."""
    given = elsewhere.libraries(Root((str(tmp_path),)), LIBRARIES)
    links = dict(given.links)
    assert links[_libc()].startswith("/run/pytest-isolate/")
    assert LIBRARIES.loader in links
    assert os.path.dirname(_libc()) in dict(given.libraries)
    assert not given.said


@on_glibc
def test_a_root_with_this_glibc_is_given_what_it_lacks(tmp_path):
    """Nothing of what it has, whatever that is, and no C library beside its own."""
    place = tmp_path / os.path.dirname(_libc()).lstrip("/")
    loader = tmp_path / LIBRARIES.loader.lstrip("/")
    for path in (place, loader.parent):
        path.mkdir(parents=True, exist_ok=True)
    shutil.copy(_libc(), place)
    shutil.copy(LIBRARIES.loader, loader)
    others = [
        name for name in LIBRARIES.names[os.path.dirname(_libc())] if name.startswith("libz.")
    ]
    (place / others[0]).write_text("its own")
    given = elsewhere.libraries(Root((str(tmp_path),)), LIBRARIES)
    made = {os.path.basename(path) for path, _ in given.links}
    assert others[0] not in made
    assert "libc.so.6" not in made
    assert not given.said


@on_glibc
def test_a_library_that_is_too_young_for_the_roots_glibc_is_not_given(tmp_path):
    """It would be found, and refused."""
    place = tmp_path / os.path.dirname(_libc()).lstrip("/")
    loader = tmp_path / LIBRARIES.loader.lstrip("/")
    for path in (place, loader.parent):
        path.mkdir(parents=True, exist_ok=True)
    (place / "libc.so.6").write_bytes(b"GLIBC_2.2.5\0")
    shutil.copy(LIBRARIES.loader, loader)
    given = elsewhere.libraries(Root((str(tmp_path),)), LIBRARIES)
    assert all(own_python.most_of_glibc(_real(path)) <= (2, 2, 5) for path, _ in given.links)
    (said,) = given.said
    assert "has none above GLIBC_2.2.5" in said


def _real(path: str) -> str:
    return os.path.join(os.path.dirname(_libc()), os.path.basename(path))
