"""Directories that are kept between runs: built once, whole or not at all, and nobody else's."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_isolate._cli import main
from pytest_isolate._store.store import Store, content_key
from pytest_isolate._store.trust import StoreError

KEY = content_key("a")
OTHER = content_key("b")
MIB = 1 << 20


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "cache/layers"))


def fill(tree, text="whole", size=0):
    with open(os.path.join(tree, "file"), "w") as file:
        file.write(text)
    with open(os.path.join(tree, "large"), "wb") as file:
        file.write(b"x" * size)
    return {"name": text}


def never(tree):
    raise AssertionError(f"{tree} is built a second time")


def names(store):
    return sorted(os.listdir(store.directory))


def test_keys_tell_every_part_apart_from_its_neighbours():
    """Or another function with the same letters would get this one's directory."""
    assert (
        len({content_key(*each) for each in [("a", "b"), ("ab",), ("a", "b", ""), ("b", "a")]}) == 4
    )


def test_a_directory_is_built_once_and_found_by_its_key(store):
    """Its file, what was said of it, and not a trace of how it was made."""
    assert store.find(KEY) is None
    with_it = store.get(KEY, fill)
    assert Path(with_it.path, "file").read_text() == "whole"
    again = store.get(KEY, never)
    assert (again.path, again.about["name"], again.about["files"]) == (with_it.path, "whole", 2)
    assert names(store) == [KEY]
    assert os.stat(store.directory).st_mode & 0o777 == 0o700


def test_an_empty_one_is_left_without_a_trace(store):
    """And not while anything is kept in it."""
    held = store.get(KEY, fill)
    store.leave()
    assert names(store) == [KEY]
    held.close()
    store.remove(KEY)
    store.leave()
    assert not Path(store.directory).parent.exists()
    store.leave()


LEFT = """
import os, sys
from pytest_isolate._store.store import Store
store, left = Store(sys.argv[1]), []
def leave(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".lock") and not left:
        left.append(store.leave())
sys.addaudithook(leave)
print(store.get(sys.argv[2], lambda tree: {"name": "built"}).about["name"], len(left))
"""


def test_who_builds_has_a_directory_also_when_somebody_leaves_it(store):
    """Between the look at it and the lock in it, where it is empty."""
    command = [sys.executable, "-c", LEFT, store.directory, KEY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "built 1\n", done.stderr


def test_what_fails_leaves_nothing(store):
    """The error passes through, and the next one builds it."""

    def fails(tree):
        fill(tree)
        raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"):
        store.get(KEY, fails)
    assert names(store) == []
    store.get(KEY, fill).close()


BUILDER = """
import os, sys
from pytest_isolate._store.store import Store
def build(tree):
    with open(os.path.join(tree, "half"), "w") as file:
        file.write("half")
    print("building", flush=True)
    sys.stdin.readline()
    return {"name": "of another process"}
held = Store(sys.argv[1]).get(sys.argv[2], build, waiting=lambda: print("waiting", flush=True))
print(held.about["name"], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def builder(store):
    """Another process that builds, and begins to when it says so."""
    started = []

    def start():
        command = [sys.executable, "-c", BUILDER, store.directory, KEY]
        started.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def says(process):
    assert select.select([process.stdout], [], [], 20)[0]
    return process.stdout.readline().strip()


def test_whoever_comes_meanwhile_waits_and_gets_the_same(builder, store):
    """Two runs, one build."""
    first = builder()
    assert says(first) == "building"
    assert store.find(KEY) is None
    second = builder()
    assert says(second) == "waiting"
    first.stdin.write("\n")
    first.stdin.flush()
    assert (says(first), says(second)) == ("of another process",) * 2
    assert len(store.kept()) == 1


def test_a_builder_that_is_killed_leaves_no_half_and_the_one_behind_it_builds(builder, store):
    """SIGKILL in the middle: its lock ends with it, and what it made goes."""
    first = builder()
    assert says(first) == "building"
    second = builder()
    assert says(second) == "waiting"
    first.send_signal(signal.SIGKILL)
    assert says(second) == "building"
    assert len([each for each in names(store) if each.endswith(".part")]) == 1
    second.stdin.write("\n")
    second.stdin.flush()
    assert says(second) == "of another process"
    assert names(store) == [KEY]


def test_a_sweep_removes_what_a_killed_builder_left(builder, store):
    """Also where nobody ever wants that key again."""
    killed = builder()
    assert says(killed) == "building"
    store.sweep(age=0, size=0)
    assert len(names(store)) == 2  # its lock and its part: it is at work
    killed.kill()
    killed.wait()
    store.sweep(age=1e9, size=1 << 40)
    assert names(store) == []


def test_the_longest_unused_go_but_never_one_in_use(store):
    """By size, and by age."""
    for number, key in enumerate((KEY, OTHER, content_key("c"))):
        store.get(key, lambda tree: fill(tree, size=MIB)).close()
        os.utime(f"{store.directory}/{key}", (number, number))
    with_it = store.find(KEY)
    os.utime(f"{store.directory}/{KEY}", (0, 0))  # the longest unused of all, and it is held
    assert [each.key for each in store.sweep(age=time.time() + 1, size=2 * MIB + MIB // 2)] == [
        OTHER
    ]
    assert [each.key for each in store.sweep(age=60, size=1 << 40)] == [content_key("c")]
    with_it.close()
    assert [each.key for each in store.sweep(age=60, size=1 << 40)] == [KEY]


def test_what_a_child_of_the_run_holds_is_not_removed(store):
    """A copy of the descriptor in another process counts: a sandbox may have it mounted."""
    with_it = store.get(KEY, fill)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[with_it.fd])
    with_it.close()
    assert not store.remove(KEY)
    child.communicate()
    assert store.remove(KEY)
    assert not store.remove(KEY)


def test_closed_directories_go_too(store):
    """A function may leave any mode."""

    def build(tree):
        os.makedirs(f"{tree}/closed/below")
        os.chmod(f"{tree}/closed", 0)
        return {}

    store.get(KEY, build).close()
    assert store.remove(KEY)
    assert names(store) == []


@pytest.mark.parametrize("about", [None, "", "[", "\0\0"])
def test_one_of_which_nothing_can_be_read_is_none(store, about):
    """As a machine that lost its power may leave it: listed, removed, and built anew."""
    for _ in range(2):
        store.get(KEY, fill).close()
        path = os.path.join(store.directory, KEY)
        os.unlink(os.path.join(path, "about.json"))
        if about is not None:
            Path(path, "about.json").write_text(about)
        assert store.find(KEY) is None
        assert [(each.key, each.about) for each in store.kept()] == [(KEY, {})]
    with_it = store.get(KEY, lambda tree: fill(tree, "new"))
    assert with_it.about["name"] == "new"
    with_it.close()
    Path(path, "about.json").write_text("")
    assert store.remove(KEY)
    assert names(store) == []


def test_a_directory_that_others_may_enter_is_refused(store):
    """Who put there what is in it, nobody knows."""
    os.makedirs(store.directory)
    os.chmod(store.directory, 0o775)
    with pytest.raises(StoreError, match=r"others may enter it \(mode 0775\).*XDG_CACHE_HOME"):
        store.get(KEY, fill)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("whose", ["itself", "above"])
def test_another_users_directory_is_refused(store, whose):
    """As root in a user's own cache: they could put in it whatever root's tests then run."""
    os.makedirs(store.directory, mode=0o700)
    path = store.directory if whose == "itself" else os.path.dirname(store.directory)
    os.chown(path, 1000, 1000)
    with pytest.raises(StoreError, match="belongs to uid 1000"):
        store.find(KEY)


def test_a_link_in_its_place_is_refused(store, tmp_path):
    """It may lead to another's."""
    os.makedirs(os.path.dirname(store.directory))
    os.symlink(tmp_path, store.directory)
    with pytest.raises(StoreError, match="it is no directory"):
        store.get(KEY, fill)


def test_a_place_where_none_can_be_says_so(tmp_path):
    """With what helps."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"Not a directory.*XDG_CACHE_HOME names another place"):
        Store(str(tmp_path / "file/layers")).get(KEY, fill)


def test_the_command_lists_and_removes(tmp_path, monkeypatch, capsys):
    """``pytest-isolate layers``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = Store()
    store.get(KEY, lambda tree: fill(tree, "one", MIB)).close()
    with_it = store.get(OTHER, lambda tree: fill(tree, "two"))
    assert main.main(["layers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path}/pytest-isolate/layers: 2 layers, 1")
    assert any(OTHER[:12] in line and "in use" in line and line.endswith("  two") for line in lines)
    assert main.main(["layers", "--remove-all"]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"removed  {KEY[:12]}  one\n"
    assert captured.err == f"in use   {OTHER[:12]}  two\n"
    assert main.main(["layers", "--remove", OTHER[:4]]) == 1
    with_it.close()
    assert main.main(["layers", "--remove", OTHER[:4]]) == 0
    assert main.main(["layers", "--remove", "0123"]) == 1
    assert capsys.readouterr().err.endswith("there is no layer '0123'\n")
    os.chmod(store.directory, 0o777)
    assert main.main(["layers"]) == 2
