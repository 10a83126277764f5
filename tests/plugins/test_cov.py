"""pytest-cov: the same lines, branches and contexts as in a plain run, file by file."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest
from running import WHOSE_FORK

SHOP = {
    "shop/__init__.py": "",
    "shop/price.py": (
        """
        import os, threading

        def price(count):
            if count < 0:
                raise ValueError(count)
            if count > 10:
                return count * 2
            for each in range(count):
                if each == 5:
                    break
            else:
                return 0
            return count * 3

        def shared(): return 1

        def in_thread(found):
            found.append(price(11))

        def never():
            if os.environ.get("NEVER"):
                return 1

        def only_in_teardown(flag):
            if flag:
                return 1
            return 2
        """
    ),
    "shop/untouched.py": (
        """
        def nobody(): pass
        """
    ),
    "shop/__main__.py": (
        """
        import sys
        from shop.child import main
        main(sys.argv[1:])
        """
    ),
    "shop/child.py": (
        """
        def main(args):
            if args:
                for each in args:
                    print(each)
            else:
                print("none")
        """
    ),
    "conftest.py": (
        """
        import pytest
        from shop import price

        @pytest.fixture(scope="session")
        def shared():
            yield price.shared()
            price.only_in_teardown(True)

        @pytest.fixture
        def own():
            yield 1
            price.only_in_teardown(False)
        """
    ),
    "test_shop.py": (
        """
        import threading
        import pytest
        from shop.price import price, in_thread

        def test_negative():
            with pytest.raises(ValueError):
                price(-1)
        def test_few(shared): assert price(3) == 0
        def test_many(own): assert price(11) == 22
        def test_fails(): assert price(7) == 0
        class TestClass:
            def test_thread(self):
                found = []
                thread = threading.Thread(target=in_thread, args=(found,))
                thread.start()
                thread.join()
                assert found == [22]
        """
    ),
    "test_pause.py": (
        """
        import pytest
        @pytest.mark.no_cover
        def test_not_measured(monkeypatch):
            from shop.price import never
            monkeypatch.setenv("NEVER", "1")
            assert never()
        """
    ),
    "test_child.py": (
        """
        import subprocess, sys, os
        def run(*args):
            done = subprocess.run([sys.executable, "-m", "shop", *args], capture_output=True, text=True, check=True)
            return done.stdout.split()
        def test_with(): assert run("a", "b") == ["a", "b"]
        def test_without(): assert run() == ["none"]
        def test_elsewhere(tmp_path, monkeypatch):
            monkeypatch.setenv("PYTHONPATH", os.getcwd())
            monkeypatch.chdir(tmp_path)
            assert run() == ["none"]
        """
    ),
}


def _minor_version():
    """Of coverage.py 7, which is there wherever pytest-cov is."""
    return int(importlib.metadata.version("coverage").split(".")[1])


#: Without a pause of the measurement, after which the sysmon core of coverage.py misses the rest of
#: running generators in a plain run.
UNPAUSED = {name: text for name, text in SHOP.items() if name != "test_pause.py"}
QUICK = {name: text for name, text in UNPAUSED.items() if name != "test_child.py"}


def measured(directory: Path) -> dict[tuple[str, str], list[object]]:
    """A run's whole data: by context and file."""
    from coverage import CoverageData

    data = CoverageData(basename=str(directory / ".coverage"))
    data.read()
    found: dict[tuple[str, str], list[object]] = {}
    for context in data.measured_contexts():
        data.set_query_context(context)
        for path in data.measured_files():
            seen = sorted(data.arcs(path) if data.has_arcs() else data.lines(path))
            if seen:
                found[context, os.path.relpath(path, directory)] = seen
    return found | {
        ("file", os.path.relpath(path, directory)): [] for path in data.measured_files()
    }


def percentage(output: str) -> str:
    return next(line for line in output.splitlines() if line.startswith("TOTAL")).split()[-1]


CORES = [pytest.param("ctrace", id="ctrace"), pytest.param("sysmon", id="sysmon")]


def config(*patches: str) -> dict[str, str]:
    return {
        ".coveragerc": (
            "[run]\n"
            + "".join(["patch =\n", *(f"    {each}\n" for each in patches)] if patches else [])
        )
    }


@pytest.fixture(params=CORES)
def core(request) -> dict[str, str]:
    if request.param == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring came with Python 3.12")
    return {"COVERAGE_CORE": request.param}


@pytest.mark.plugins(pytest_cov="pytest_cov")
@pytest.mark.parametrize(
    "args",
    [("--cov-branch",), (), ("--cov-branch", "--isolate-scope=module")],
    ids=["branch", "line", "one sandbox"],
)
def test_cov_measures_the_same(both, core, args):
    """Every line and branch, with threads, shared and own fixtures."""
    plain, isolated = both(QUICK, "--cov=shop", "--cov=.", *args, tests=5, env=core)
    assert measured(isolated.directory) == measured(plain.directory)
    assert percentage(isolated.output) == percentage(plain.output)
    assert ("file", "shop/untouched.py") in measured(isolated.directory)


@pytest.mark.plugins(pytest_cov="pytest_cov")
@pytest.mark.parametrize(
    "patches", [("subprocess",), ("fork", "_exit", "subprocess")], ids=" ".join
)
def test_cov_measures_sub_processes(both, core, patches):
    """What sub-processes ran (`[run] patch = subprocess`), also together with `patch = fork,
    _exit`.
    """
    if _minor_version() < 10:
        pytest.skip("[run] patch came with coverage.py 7.10")
    plain, isolated = both(
        UNPAUSED | config(*patches), "--cov=shop", "--cov-branch", tests=8, env=core
    )
    assert measured(isolated.directory) == measured(plain.directory)
    assert ("", "shop/child.py") in measured(isolated.directory)
    assert not [each for each in os.listdir(isolated.directory) if each.startswith(".coverage.")]


@pytest.mark.plugins(pytest_cov="pytest_cov")
@pytest.mark.parametrize("patches", [(), ("fork",)], ids=["plain", "fork"])
def test_cov_keeps_contexts(both, patches):
    """`--cov-context=test`: every context with the same lines and branches."""
    if patches and _minor_version() < 10:
        pytest.skip("[run] patch came with coverage.py 7.10")
    plain, isolated = both(
        QUICK | config(*patches), "--cov=shop", "--cov-branch", "--cov-context=test", tests=5
    )
    assert measured(isolated.directory) == measured(plain.directory)
    assert ("test_shop.py::test_many|teardown", "shop/price.py") in measured(isolated.directory)


#: So many tests that the last of them are forked from the nursery.
STRETCH = {
    "shop/__init__.py": "",
    "shop/price.py": (
        "def price(count):\n"
        + "".join(f"    if count == {n}:\n        return {n} * 2\n" for n in range(12))
    ),
    "shop/__main__.py": (
        "import sys\nfrom shop.price import price\nprint(price(int(sys.argv[1])))\n"
    ),
    "whose_fork.py": WHOSE_FORK,
    "test_shop.py": (
        """
        import os, subprocess, sys, pytest
        from shop.price import price
        from whose_fork import is_nurserys
        @pytest.mark.parametrize("count", range(11))
        def test_price(count):
            assert price(count) == count * 2
            assert count < 8 or os.uname().nodename != "isolate" or is_nurserys()
        def test_elsewhere(): assert subprocess.check_output([sys.executable, "-m", "shop", "11"]) == b"22\\n"
        """
    ),
}


@pytest.mark.plugins(pytest_cov="pytest_cov")
@pytest.mark.parametrize(
    "args", [(), ("--cov-context=test",), ("--isolate-fs=host",)], ids=["line", "contexts", "host"]
)
def test_cov_measures_what_the_nursery_forks(both, core, args):
    """The same for many tests in a row, which are forked ahead of their turn."""
    patched = config("subprocess") if _minor_version() >= 10 else {}
    plain, isolated = both(
        STRETCH | patched, "--cov=shop", "--cov-branch", *args, tests=12, env=core
    )
    assert measured(isolated.directory) == measured(plain.directory)


@pytest.mark.plugins(pytest_cov="pytest_cov", pytest_xdist="xdist")
def test_cov_measures_in_workers(both, core):
    """With `-n 2`: lines and branches of all workers, and their sub-processes."""
    patched = config("subprocess") if _minor_version() >= 10 else {}
    plain, isolated = both(
        UNPAUSED | patched, "--cov=shop", "--cov-branch", "-n2", tests=8, env=core
    )
    assert measured(isolated.directory) == measured(plain.directory)
    assert percentage(isolated.output) == percentage(plain.output)


@pytest.mark.plugins(pytest_cov="pytest_cov")
def test_cov_measures_on_the_machines_own_file_system(both):
    """With `fs="host"` sub-processes leave their data on the machine, where pytest-cov finds it."""
    patched = config("subprocess") if _minor_version() >= 10 else {}
    plain, isolated = both(
        UNPAUSED | patched, "--cov=shop", "--cov-branch", "--isolate-fs=host", tests=8
    )
    assert measured(isolated.directory) == measured(plain.directory)


@pytest.mark.plugins(pytest_cov="pytest_cov")
def test_cov_pauses(both):
    """`no_cover` leaves the same lines out."""
    plain, isolated = both(
        SHOP, "--cov=shop", "--cov-branch", "test_shop.py", "test_pause.py", tests=6
    )
    assert measured(isolated.directory) == measured(plain.directory)


@pytest.mark.plugins(pytest_cov="pytest_cov")
def test_cov_does_not_count_a_killed_test(run):
    """A test that is killed loses its coverage, as a killed process does; the others
    keep theirs.
    """
    files = {
        "shop.py": "def a(): return 1\ndef b(): return 2\n",
        "test_shop.py": (
            "import os, shop\ndef test_a(): assert shop.a()\ndef test_b():\n    shop.b()\n   "
            " os.kill(os.getpid(), 9)\n"
        ),
    }
    isolated = run("isolated", files, "--isolate-all", "--cov=shop")
    assert isolated.status == 1
    assert measured(isolated.directory)["", "shop.py"] == [1, 2]
