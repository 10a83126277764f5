"""pytest-xdist: workers fork sandboxes, as a single pytest does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

FILES = {
    f"test_{name}.py": (
        """
        import os, warnings
        import pytest
        @pytest.fixture(scope="module")
        def shared(): return []
        @pytest.fixture(autouse=True)
        def place(record_property, worker_id): record_property("worker", worker_id)
        class TestOne:
            def test_a(self, shared): shared.append(1)
            def test_b(self, shared): assert len(shared) <= 1
        class TestTwo:
            def test_fails(self): print("said"); assert 0
            @pytest.mark.skip(reason="why")
            def test_skipped(self): pass
        @pytest.mark.xfail
        def test_expected(): assert 0
        def test_warns(): warnings.warn("told")
        """
    )
    for name in ("one", "two")
}
TESTS = 12


@pytest.mark.plugins(pytest_xdist="xdist")
@pytest.mark.parametrize(
    "args", [("-n2",), ("-n2", "--dist", "loadscope"), ("-n2", "--dist", "worksteal")], ids=" ".join
)
def test_workers_say_the_same(both, args):
    """`-n 2`, `--dist loadscope` and `worksteal`: outcomes, and warnings counted once."""
    plain, isolated = both(FILES, *args, tests=TESTS)
    assert isolated.count("UserWarning: told") == plain.count("UserWarning: told") > 0


@pytest.mark.plugins(pytest_xdist="xdist")
def test_loadscope_keeps_a_class_on_one_worker(both):
    """`--dist loadscope` with one sandbox for a class: its tests share state there."""
    files = {
        "test_scope.py": (
            """
            import os
            import pytest
            seen = {}
            @pytest.mark.parametrize("number", range(3))
            class TestOne:
                def test_it(self, number, worker_id): seen[number] = worker_id
            class TestTwo:
                def test_first(self): seen["first"] = 1
                def test_second(self): assert seen["first"] == 1
            """
        )
    }
    both(files, "-n2", "--dist", "loadscope", "--isolate-scope=class", tests=5)


def make_folders(tmp_path):
    for run in ("plain", "isolated"):
        for name in ("here", "there"):
            (tmp_path / run / name).mkdir(parents=True)


@pytest.mark.plugins(pytest_xdist="xdist")
def test_two_remote_workers_in_folders_of_their_own(both, tmp_path):
    """Two workers over `--tx popen//chdir=`, as remote ones are started, with `--rsyncdir`."""
    make_folders(tmp_path)
    args = [
        "--dist=load",
        "--rsyncdir=.",
        *(f"--tx=popen//chdir=ROOT/{name}//python={sys.executable}" for name in ("here", "there")),
    ]
    _, isolated = both(FILES, *args, tests=TESTS)
    assert (isolated.directory.parent / "here/project/test_one.py").exists()
    properties = (isolated.directory / "junit.xml").read_text()
    assert 'name="worker" value="gw0"' in properties
    assert 'name="worker" value="gw1"' in properties


@pytest.mark.plugins(pytest_xdist="xdist")
def test_a_worker_over_ssh(ssh, both, tmp_path):
    """Two workers over `--tx ssh=`, on this machine through a real sshd."""
    make_folders(tmp_path)
    args = [
        f"--tx=ssh={ssh}//chdir=ROOT/{name}//python={sys.executable}" for name in ("here", "there")
    ]
    both(FILES, "--dist=load", "--rsyncdir=.", *args, tests=TESTS)


@pytest.fixture
def ssh(tmp_path):
    """The arguments that reach an sshd of this test's own."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if sshd is None or (os.geteuid() == 0 and not os.path.isdir("/run/sshd")):
        reason = "no sshd can be started here: apt-get install openssh-server && mkdir -p /run/sshd"
        pytest.fail(reason) if os.environ.get("PYTEST_ISOLATE_MUST_WORK") else pytest.skip(reason)
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True
        )
    shutil.copy(keys / "user.pub", keys / "authorized")
    # inetd mode: the client starts the server as its own child, and there is no port that somebody
    # else could have
    options = {
        "HostKey": keys / "host", "AuthorizedKeysFile": keys / "authorized", "StrictModes": "no",
        "UsePAM": "no", "PidFile": "none",
        "SetEnv": "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1",
    }  # fmt: skip
    server = " ".join(
        [sshd, "-i", "-f", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())]
    )
    (keys / "config").write_text(
        f"Host isolated-worker\n  ProxyCommand {server}\n  IdentityFile {keys / 'user'}\n "
        f" StrictHostKeyChecking no\n  UserKnownHostsFile {keys / 'known'}\n  LogLevel ERROR\n"
    )
    return f"-F {keys / 'config'} isolated-worker"
