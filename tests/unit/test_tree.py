"""Processes below another, and what they hold and use, by /proc alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pytest_isolate._linux import tree

#: Becomes what a warden is: the parent of whoever its child leaves behind. It says who is there and
#: does what it is told.
ROOT = """
import json, mmap, os, sys
from pytest_isolate._linux import privileges
privileges.adopt_orphans()
born_with = bytearray(b"x" * (40 << 20))  # what all of them have, and share
pipe = os.pipe()
children = []
def child(work):
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        kept = work()
        os.write(theirs, b"x")
        os.read(pipe[0], 1)  # until the end of this program
    assert os.read(ours, 1) == b"x"
    children.append(pid)
    return pid
def tell(**facts):
    print(json.dumps(facts), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def root():
    """Start such a program with more lines; gives its process and what it told."""
    started = []

    def start(lines: str) -> tuple[subprocess.Popen[str], dict[str, int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", ROOT + lines],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        for pid in (*tree.descendants(process.pid), process.pid):
            os.kill(pid, 9)
        process.communicate()


DEEP = """
def deep():
    grandchild = os.fork()
    if grandchild == 0:
        os.setsid()
        if os.fork() == 0:
            open("/proc/self/comm", "w").write("orphan")
            os.write(deep.said, b"x")
            os.read(pipe[0], 1)
        os._exit(0)
    os.waitpid(grandchild, 0)
ready, deep.said = os.pipe()
pid = child(deep)
os.read(ready, 1)
tell(child=pid)
"""


@pytest.mark.parametrize("find", [tree.descendants, tree._by_parents])
def test_whoever_is_below_is_found_also_who_lost_its_parent_and_left_its_session(root, find):
    """By children's lists, and where the kernel has none, by everybody's parent."""
    process, facts = root(DEEP)
    found = find(process.pid)
    assert len(found) == 2
    assert facts["child"] in found
    (orphan,) = {*found} - {facts["child"]}
    with open(f"/proc/{orphan}/comm") as file:
        assert file.read() == "orphan\n"


def test_nobody_is_below_one_that_has_ended():
    """Whatever became of it, no error comes of looking."""
    process = subprocess.Popen(["true"])
    process.wait()
    assert tree.descendants(process.pid) == tree._by_parents(process.pid) == []
    assert tree.processor(process.pid) == (0.0, 0.0)
    assert tree.memory(process.pid) == (0, None)


def test_memory_is_what_they_hold_and_not_what_they_were_born_with(root):
    """40 MiB that all share count for nobody; what one allocated counts once, also when its own
    children share it.
    """
    quiet, _ = root("child(lambda: None); child(lambda: None); tell()")
    held, largest = tree.memory(quiet.pid)
    assert 0 < held < 8 << 20
    assert largest is not None
    alone, _ = root("child(lambda: bytearray(b'y' * (30 << 20))); tell()")
    held, largest = tree.memory(alone.pid)
    assert 30 << 20 <= held < 40 << 20
    assert largest is not None
    assert 30 << 20 <= largest[1] <= held
    shared, _ = root("""
def work():
    kept = bytearray(b'y' * (30 << 20))
    child(lambda: None)
    child(lambda: None)
    return kept
child(work)
tell()
""")
    held, _ = tree.memory(shared.pid)
    assert 25 << 20 <= held < 40 << 20


def test_what_they_wrote_to_is_theirs(root):
    """A page that was copied for the writer is its own memory, as for a control group."""
    process, _ = root(
        "child(lambda: born_with.__setitem__(slice(0, 20 << 20), b'z' * (20 << 20))); tell()"
    )
    assert 20 << 20 <= tree.memory(process.pid)[0] < 30 << 20


def test_processor_time_is_that_of_the_living_and_of_the_reaped(root):
    """No tick is lost when somebody ends and is reaped."""
    process, facts = root("""
import resource, time
def burn():
    while time.process_time() < 0.2: pass
reaped = os.fork()
if reaped == 0:
    burn()
    os._exit(0)
os.waitpid(reaped, 0)
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
child(burn)
tell(reaped=used)
""")
    user, system = tree.processor(process.pid)
    assert user + system >= facts["reaped"] + 0.2 - 0.05
