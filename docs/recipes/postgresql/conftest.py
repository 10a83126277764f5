import glob
import os
import shutil
import socket
import subprocess
import tempfile

import psycopg
import pytest

BIN = max(glob.glob("/usr/lib/postgresql/*/bin"))
#: PostgreSQL refuses to run as root.
AS = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def run(command, *arguments):
    subprocess.run(
        [f"{BIN}/{command}", *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL, **AS
    )


@pytest.fixture(scope="session")
def server():
    """A database with a million rows, started once for the run."""
    directory = tempfile.mkdtemp()
    if AS:
        shutil.chown(directory, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data, log = f"{directory}/data", f"{directory}/log"
    run("initdb", "-D", data, "-U", "test", "-A", "trust", "--no-sync")
    run("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-p {port} -k {directory} -F", "start")
    address = f"host=127.0.0.1 port={port} user=test dbname=postgres"
    with psycopg.connect(address) as connection:
        connection.execute("create table orders as select generate_series(1, 1000000) as id")
    yield address
    run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(directory)


@pytest.fixture
def database(server):
    with psycopg.connect(server) as connection:
        yield connection
        connection.rollback()
