"""What a test leaves for pytest to copy out: pytest, which may be root, writes nowhere else and
reads nothing else for it.
"""

from __future__ import annotations

import os
import subprocess

import pytest
from running import PYTEST

pytestmark = [pytest.mark.kernel, pytest.mark.hostile]


@pytest.mark.needs("root", "strict")
@pytest.mark.parametrize("fs", ["overlay", "readonly", "host"])
def test_a_link_in_the_place_of_a_directory_above_another_mount(pytester, tmp_path, fs):
    """Each mount has a layer of its own: what came out of the one above is not to be followed when
    the one below comes out.
    """
    victim = tmp_path / "victim"
    victim.mkdir()
    project = pytester.path
    (project / "sub/node_modules").mkdir(parents=True)
    private = {"overlay": "sub/node_modules", "readonly": "tmp/deep/er", "host": "tmp/deep/er"}[fs]
    (project / "tmp/deep/er").mkdir(parents=True)
    pytester.makepyfile(f"""
        import os
        from pytest_isolate import isolate
        @isolate(profile="strict", fs={fs!r})
        def test_it():
            place = {str(project / private)!r}
            with open(place + "/planted", "w") as file:
                file.write("x")
            above = os.path.dirname(place)
            try:
                os.rename(above, above + ".away")
                os.symlink({str(victim)!r}, above)
            finally:
                assert False
    """)
    command = [
        *PYTEST,
        "--isolate-keep=failed",
    ]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none sub/node_modules && exec "$@"',
         "sh", *command],
        cwd=project, stdout=subprocess.PIPE, text=True, check=False, timeout=120,
        env={**os.environ, "TMPDIR": str(project / "tmp/deep/er")},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1].strip("= ").startswith("1 failed"), done.stdout
    assert "what the test wrote is kept in" in done.stdout
    assert list(victim.iterdir()) == []


@pytest.mark.needs("root")
def test_a_file_that_only_root_may_read_is_not_kept_for_a_test_of_another_user(pytester):
    """A rename in a directory that everybody may write to brings the file into the test's layer,
    whole.
    """
    shared = pytester.path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for above in [pytester.path, *pytester.path.parents][:-1]:
        above.chmod(above.stat().st_mode | 0o011)
    (shared / "secret").write_text("very secret")
    (shared / "secret").chmod(0o600)
    pytester.makepyfile(f"""
        import os, pytest
        from pytest_isolate import isolate
        @isolate(user="nobody")
        def test_it(tmp_path):
            os.rename({str(shared / "secret")!r}, {str(shared / "mine")!r})
            with pytest.raises(PermissionError):
                open({str(shared / "mine")!r})
            with open({str(shared / "note")!r}, "w") as file:
                file.write("of the test")
            assert False
    """)
    result = pytester.runpytest_subprocess(
        "-p", "isolate", "-p", "no:cacheprovider", "--isolate-keep=failed", timeout=120
    )
    result.assert_outcomes(failed=1)
    kept = {
        path.name: path.read_text()
        for path in (pytester.path / "isolate-artifacts").rglob("*")
        if path.is_file()
    }
    assert kept["note"] == "of the test", result.stdout.str()
    assert "very secret" not in kept.values()


def test_a_sparse_file_in_the_cache_costs_neither_memory_nor_disk(pytester):
    """Of a test with little of both: pytest read the holes, and wrote them."""
    pytester.makeconftest("""
        import resource
        def pytest_unconfigure(): print("largest:", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    """)
    pytester.makepyfile("""
        import os
        def test_it(cache):
            directory = cache.mkdir("large")
            os.truncate(os.open(directory / "sparse", os.O_CREAT | os.O_WRONLY), 1 << 30)
    """)
    result = pytester.runpytest_subprocess(
        "-p", "isolate", "--isolate-all", "--isolate-disk=8M", timeout=120
    )
    result.assert_outcomes(passed=1)
    look = (pytester.path / ".pytest_cache/d/large/sparse").stat()
    assert look.st_size == 1 << 30
    assert look.st_blocks < 100
    assert int(result.stdout.str().rpartition("largest: ")[2].split()[0]) < 512
