"""A PostgreSQL with 200 MB of data, fresh for each test: on a ``Layer``, copied, by a template.

``python benchmarks/databases.py`` runs pytest anew for each way and round, one way after the other,
and prints a table in Markdown. As root the server is postgres's, else the caller's. What a test
does is the same every time: it waits for a server (with a template: for its database), adds a row
to one of eight tables, counts that table, and lets go of all. The first test of each run is left
out; what is prepared once, the layer too, is there before the first round.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from plugins.measure import STAMPS

HERE = Path(__file__).resolve().parent
WAYS = {
    "layer": "on a `Layer`, in a sandbox",
    "copy": "`cp -a` of the data directory, no sandbox",
    "template": "`CREATE DATABASE ... TEMPLATE`, one server, no sandbox",
    "file_copy": "the same with `STRATEGY file_copy`",
}
SOURCE = """
import contextlib, glob, os, shutil, subprocess, time
import pytest

WAY, TESTS, DATA = os.environ["WAY"], int(os.environ["TESTS"]), os.environ["DATA"]
OWNER = "postgres" if os.geteuid() == 0 else None
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
SETTINGS = {"fsync": "off", "listen_addresses": "", "unix_socket_directories": "/tmp",
            "port": "54399", "shared_buffers": "16MB", "max_wal_size": "64MB",
            "min_wal_size": "32MB"}

def run(program, *arguments, **more):
    command = [f"{BIN}/{program}", *arguments]
    if os.geteuid() == 0:
        command[:0] = ["runuser", "-u", "postgres", "--"]
    return subprocess.run(command, cwd="/tmp", text=True, stdout=subprocess.PIPE, **more).stdout

def sql(text, database="postgres", **more):
    arguments = ("-h", "/tmp", "-p", "54399", "-vON_ERROR_STOP=1", "-qAtX", "-c", text, database)
    return run("psql", *arguments, **({"check": True} | more)).strip()

@contextlib.contextmanager
def server(data, stop="immediate"):
    settings = " ".join(f"-c {name}='{value}'" for name, value in SETTINGS.items())
    run("pg_ctl", "start", "-W", "-s", "-D", data, "-o", settings, "-l", f"{data}/log", check=True)
    until = time.monotonic() + 60
    while sql("select 1", check=False, stderr=subprocess.DEVNULL) != "1":
        assert time.monotonic() < until, open(f"{data}/log").read()
        time.sleep(0.002)
    try:
        yield
    finally:
        run("pg_ctl", "stop", "-s", "-m", stop, "-D", data, check=True)

def load(database):
    run("initdb", "-N", "-A", "trust", "-D", DATA, check=True)
    with server(DATA, "fast"):
        if database != "postgres":
            sql(f"create database {database}")
        for table in range(8):
            sql(f"create table t{table} as select g as id, md5(g::text) as word "
                "from generate_series(1, 260000) g", database)
        sql("vacuum analyze", database)

def use(database):
    sql("insert into t3 values (0, 'mine')", database)
    assert sql("select count(*) from t3", database) == "260001"

number = pytest.mark.parametrize("number", range(TESTS))

if WAY == "layer":
    from pytest_isolate import Layer, isolate

    prepared = Layer.build(load, args=["postgres"], key=DATA, user=OWNER)

    @isolate(layers=[prepared], user=OWNER)
    @number
    def test_it(number):
        with server(DATA):
            use("postgres")

elif WAY == "copy":
    @number
    def test_it(number):
        subprocess.run(["cp", "-a", DATA, f"{DATA}-{number}"], check=True)
        try:
            with server(f"{DATA}-{number}"):
                use("postgres")
        finally:
            shutil.rmtree(f"{DATA}-{number}")

else:
    @pytest.fixture(scope="session", autouse=True)
    def running():
        with server(DATA):
            yield

    @number
    def test_it(number):
        more = " strategy file_copy" if WAY == "file_copy" else ""
        sql(f"create database test template loaded{more}")
        try:
            use("test")
        finally:
            sql("drop database test")
"""


def one(way: str, directory: Path, tests: int) -> list[float]:
    """Give the seconds of each test but the first, of one run of pytest."""
    data = directory / "data" / way
    if not data.exists() and way != "layer":
        database = "postgres" if way == "copy" else "loaded"
        prepare = f"import test_it; test_it.load({database!r})"
        subprocess.run(
            [sys.executable, "-c", prepare], check=True, cwd=directory,
            env=os.environ | {"WAY": way, "TESTS": "0", "DATA": str(data)},
        )  # fmt: skip
    stamps = directory / "stamps"
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "plugins.measure",
        *(("-p", "isolate") if way == "layer" else ("-p", "no:isolate")), "test_it.py",
    ]  # fmt: skip
    environment = {
        **os.environ, "WAY": way, "TESTS": str(tests + 1), "DATA": str(data),
        STAMPS: str(stamps), "PYTHONPATH": str(HERE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "XDG_CACHE_HOME": str(directory / "cache"),
    }  # fmt: skip
    ran = subprocess.run(
        command, cwd=directory, env=environment, check=False, capture_output=True, text=True
    )
    if ran.returncode:
        sys.exit(ran.stdout + ran.stderr)
    taken = json.loads(stamps.read_text())["stamps"]
    return [after - before for before, after in itertools.pairwise(taken[1:])]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tests", type=int, default=25, help="of one run of pytest")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="isolate-databases-"))
    try:
        directory.chmod(0o755)
        (directory / "test_it.py").write_text(SOURCE)
        (directory / "data").mkdir()
        if os.geteuid() == 0:
            shutil.chown(directory / "data", "postgres")
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        one("layer", directory, 1)
        for _ in range(options.rounds):
            for way in WAYS:
                times[way] += one(way, directory, options.tests)
        size = sum(
            each.stat().st_size for each in (directory / "data/copy").rglob("*") if each.is_file()
        )
    finally:
        shutil.rmtree(directory)
    if options.json is not None:
        options.json.write_text(json.dumps({"bytes": size, "seconds": times}))
    print(f"{len(times['layer'])} tests each, {size / 1e6:.0f} MB, times in milliseconds\n")
    print("| a fresh database | median | p95 | mean |\n| --- | ---: | ---: | ---: |")
    for way, found in times.items():
        p95 = statistics.quantiles(found, n=20)[-1] if len(found) > 1 else found[0]
        figures = (statistics.median(found), p95, statistics.fmean(found))
        print(f"| {WAYS[way]} | {' | '.join(f'{1000 * each:.0f}' for each in figures)} |")


if __name__ == "__main__":
    main()
