"""The JSON report: the contract's schema, and one file that is never half there."""

import json
import os
import stat

import pytest

from pytest_isolate._forward.place import Place
from pytest_isolate._forward.server import Server, Used
from pytest_isolate._model import Usage
from pytest_isolate._report import json_report
from pytest_isolate._report.files import write_whole
from pytest_isolate._report.json_report import Carried, Entry, Phase
from pytest_isolate._violations import PidsExceeded

HOST = {"memory": {"available": False, "reason": "no control groups"}}


def write(path, host, entries):
    write_whole(path, json_report.text(host, entries))


def test_an_entry_has_the_contracts_form():
    """Every key of the schema, with limits and use in bytes, seconds and counts."""
    usage = Usage(1.5, 0.5, 1 << 20, 3, 4096, None, None)
    violation = PidsExceeded("pids", "pids: too many", "call", 5, 5)
    entry = Entry(
        "t.py::test_it", "failed", "violation", {"pids": 5, "timeout": 2.5}, usage, (violation,),
        ((7, "sleep 99"),),
        largest=("sleep", 4096), started=12.5, worker="gw1", line=3, walls=("process",),
        sampled=("memory",),
        servers=(Used(Server(Place("tcp", "::1", 80), "process 1 (x)", "db"), 1, 2, 3),),
        links=(Carried("a", "lan", 1, 60, 0),),
        job=2, origins={"pids": "by a rule"}, failure="E  pids", phases=(Phase("call", 12.5, 0.5),),
        retries=("E  first",),
        building=((12.25, 0.125),),
    )  # fmt: skip
    assert json.loads(json.dumps(entry.as_json())) == {
        "nodeid": "t.py::test_it",
        "outcome": "failed",
        "verdict": "violation",
        "limits": {"pids": 5, "timeout": 2.5},
        "usage": {
            "wall_seconds": 1.5, "cpu_seconds": 0.5, "memory_peak_bytes": 1 << 20, "pids_peak": 3,
            "disk_bytes": 4096,
            "io_read_bytes": None, "io_write_bytes": None,
            "cpu_user_seconds": None,
            "cpu_system_seconds": None,
        },
        "violations": [{"resource": "pids", "limit": 5, "used": 5, "phase": "call",
                        "message": "pids: too many"}],
        "leaked_processes": [{"pid": 7, "command": "sleep 99"}],
        "files": {"created": [], "modified": [], "deleted": []},
        "network": {
            "attempts": [],
            "servers": [
                {"kind": "tcp", "address": "[::1]:80", "process": "process 1 (x)", "fixture": "db",
                 "connections": 1,
                 "sent_bytes": 2, "received_bytes": 3},
            ],
            "links": [{"sender": "a", "receiver": "lan", "packets": 1, "bytes": 60, "dropped": 0}],
        },
        "memory_samples": [],
        "memory_peak_process": {"command": "sleep", "bytes": 4096},
        "started": 12.5,
        "worker": "gw1",
        "line": 3,
        "output": None,
        "reason": None,
        "walls": ["process"],
        "sampled": ["memory"],
        "job": 2,
        "origins": {"pids": "by a rule"},
        "failure": "E  pids",
        "phases": [{"when": "call", "start": 12.5, "seconds": 0.5}],
        "retries": ["E  first"],
        "building": [{"start": 12.25, "seconds": 0.125}],
    }  # fmt: skip


@pytest.mark.parametrize("usage", [None, Usage()])
def test_what_was_not_measured_is_null(usage):
    """A test that never ran, and a machine that measures nothing, have null for every figure, never
    0.
    """
    found = Entry("t.py::test_it", "skipped", "ok", {}, usage).as_json()["usage"]
    assert found == dict.fromkeys(
        [
            "wall_seconds",
            "cpu_seconds",
            "memory_peak_bytes",
            "pids_peak",
            "disk_bytes",
            "io_read_bytes",
            "io_write_bytes",
            "cpu_user_seconds",
            "cpu_system_seconds",
        ]
    )


def test_the_report_is_schema_1_with_host_and_tests(tmp_path):
    """The whole file, read back."""
    entries = [
        Entry(f"t.py::test_{number}", "passed", "ok", {}, None).as_json() for number in range(2)
    ]
    write(tmp_path / "report.json", HOST, entries)
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == {
        "schema": 1,
        "host": HOST,
        "tests": entries,
    }


def test_a_command_of_any_bytes_can_be_reported(tmp_path):
    """A process may call itself anything, also what is not text in any encoding."""
    command = os.fsdecode(b"\xff\x00\xe4\n")
    write(
        tmp_path / "report.json",
        HOST,
        [Entry("t", "passed", "ok", {}, None, leaked=((7, command),)).as_json()],
    )
    (entry,) = json.loads((tmp_path / "report.json").read_text("utf-8"))["tests"]
    assert entry["leaked_processes"] == [{"pid": 7, "command": command}]


def test_a_reader_sees_the_old_report_or_the_new_one(tmp_path):
    """Who has the old file open reads it to its end: the new one is put in its place, whole, and
    nothing lies beside it.
    """
    path = tmp_path / "report.json"
    path.write_text("old")
    with path.open() as reader:
        write(path, HOST, [])
        assert reader.read() == "old"
    assert json.loads(path.read_text())["tests"] == []
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path):
    """Half a report is worse than none."""
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write(path, HOST, [{"nodeid": object()}])
    assert path.read_text() == "old"


def test_a_report_below_a_file_raises(tmp_path):
    """A missing folder is made; where none can be, the caller hears of it."""
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        write(tmp_path / "file/report.json", HOST, [])


def test_what_is_no_ordinary_file_is_not_replaced_by_one(tmp_path):
    """``--isolate-report=/dev/null`` as root must leave the machine its /dev/null (here: a pipe
    with a name).
    """
    path = tmp_path / "pipe"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        write(path, HOST, [])
    except OSError:
        pass  # to refuse is right too
    finally:
        os.close(fd)
    assert stat.S_ISFIFO(path.lstat().st_mode)
