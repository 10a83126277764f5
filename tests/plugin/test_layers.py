"""Layers: built once, in a sandbox, kept between runs, and below every test that asks for them."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import rooting
from running import PYTEST, Started

from pytest_isolate._cli import main
from pytest_isolate._store.store import Store, memory_directory

pytestmark = [pytest.mark.kernel, pytest.mark.needs("overlay")]

#: What tests of a layer begin with: how often it is built is counted by lines of a shared file.
BASE = """
import os
from pathlib import Path
import pytest
from pytest_isolate import Layer, isolate

HERE = Path(__file__).parent

@Layer.build(bind=[HERE / "built"])
def data():
    with open(HERE / "built", "a") as built: built.write("x")
    (HERE / "data").mkdir()
    (HERE / "data/file").write_text("prepared")
    return HERE / "data"

def read(): return (HERE / "data/file").read_text()
def write(text): (HERE / "data/file").write_text(text)
"""


@pytest.fixture(autouse=True)
def _cache(pytester, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path / "cache"))
    (pytester.path / "built").write_text("")


def builds(pytester):
    return len((pytester.path / "built").read_text())


def test_each_test_begins_with_what_the_function_wrote(pytester, isolated):
    """Every test its own view: what one does no other sees, nor does the machine, nor the layer."""
    source = """
    @isolate(layers=[data])
    @pytest.mark.parametrize("number", range(8))
    def test_it(number):
        assert read() == "prepared" and data.value == str(HERE / "data")
        write("changed"); (HERE / f"data/{number}").touch()
        assert len(os.listdir(HERE / "data")) == 2
    @isolate
    def test_without(): assert not (HERE / "data").exists()
    """
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    for args in ([], ["--isolate-jobs=2"], ["--isolate-scope=module", "-k", "test_it[0"]):
        result = isolated(*args)
        result.assert_outcomes(passed=1 if "-k" in args else 9, deselected=8 if "-k" in args else 0)
    assert builds(pytester) == 1
    assert not (pytester.path / "data").exists()


def test_a_shared_fixture_that_gives_a_layer_adds_it_for_the_tests_that_use_it(pytester, isolated):
    """By its signature, by usefixtures, by another fixture, by asking while it runs."""
    source = """
    @pytest.fixture(scope="module")
    def layer(): return data
    @pytest.fixture(scope="session")
    def word(): return "of another fixture"
    @Layer.fixture
    def made(word):
        (HERE / "made").write_text(word)
        return [word]
    @pytest.fixture
    def through(layer): return read()

    @isolate
    def test_by_name(layer, made):
        assert read() == "prepared" and made.value == ["of another fixture"]
        assert (HERE / "made").read_text() == "of another fixture"
    @isolate
    @pytest.mark.usefixtures("made")
    def test_by_mark(): assert (HERE / "made").exists() and not (HERE / "data").exists()
    @isolate
    def test_by_another(through): assert through == "prepared"
    @isolate
    def test_without(): assert not (HERE / "made").exists() and not (HERE / "data").exists()
    @isolate
    def test_by_asking(request):
        assert request.getfixturevalue("made").value and (HERE / "made").exists()
    """
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    isolated().assert_outcomes(passed=5)
    assert builds(pytester) == 1


def everything():
    return [*Store().kept(), *Store(memory_directory()).kept()]


def test_layers_stand_on_layers(pytester, isolated, capsys):
    """In memory too, and on directories of the machine; the last one is seen first."""
    source = """
    @Layer.build(below=[HERE / "tree"], where="memory", key=str(HERE))
    def under():
        assert (HERE / "in/tree").read_text() == "tree"
        (HERE / "in/tree").unlink()
        (HERE / "in/both").write_text("under")
    @Layer.build(below=[under])
    def over():
        assert not (HERE / "in/tree").exists()
        (HERE / "in/both").write_text("over")
        (HERE / "in/deep/er").mkdir(parents=True)

    @isolate(layers=[over])
    def test_all():
        assert sorted(os.listdir(HERE / "in")) == ["both", "deep"]
        assert (HERE / "in/both").read_text() == "over"
    @isolate(layers=[HERE / "tree"])
    def test_directory(): assert os.listdir(HERE / "in") == ["tree"]
    """
    before = {each.key for each in everything()}
    inner = pytester.path / "tree" / str(pytester.path)[1:] / "in"
    inner.mkdir(parents=True)
    (inner / "tree").write_text("tree")
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    isolated().assert_outcomes(passed=2)
    assert Store().kept()[0].about["name"] == "over"
    main.main(["layers", "--remove", *({each.key for each in everything()} - before)])
    assert re.findall(r"removed  [0-9a-f]{12}  (\w+)", capsys.readouterr().out) == ["over", "under"]


def test_what_a_layer_is_made_from_is_its_key(pytester, isolated):
    """Source, also of what it calls, constants, arguments, key=: another one is built anew."""
    source = """
    SUFFIX = ""
    def ending(): return SUFFIX
    def made(word):
        with open(HERE / "built", "a") as built: built.write("x")
        (HERE / ("word" + ending())).write_text(word)
    @isolate(layers=[Layer.build(made, args=[ARGUMENT], key=KEY, bind=[HERE / "built"])])
    def test_it(): assert (HERE / ("word" + SUFFIX)).read_text() == ARGUMENT
    """
    source = BASE + source.replace("\n    ", "\n")
    counts = []
    for change in (
        {"ARGUMENT": "'a'", "KEY": "''"},
        {"ARGUMENT": "'a'", "KEY": "''", "(word)\n": "(word)  # and a comment\n"},
        {"ARGUMENT": "'b'", "KEY": "''"},
        {"ARGUMENT": "'a'", "KEY": "'1'"},
        {"ARGUMENT": "'a'", "KEY": "''", 'SUFFIX = ""': 'SUFFIX = "s"'},
        {"ARGUMENT": "'a'", "KEY": "''"},
    ):
        changed = source
        for old, new in change.items():
            changed = changed.replace(old, new)
        pytester.makepyfile(changed)
        isolated().assert_outcomes(passed=1)
        counts.append(builds(pytester))
    assert counts == [1, 2, 3, 4, 5, 5]


@pytest.mark.plugins(xdist="xdist")
def test_workers_and_runs_side_by_side_share_one_build(pytester, isolated):
    """Two workers and another run, all at once: the function runs one time."""
    source = """
    @isolate(layers=[data])
    @pytest.mark.parametrize("number", range(6))
    def test_it(number): assert read() == "prepared"
    """
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    command = [*PYTEST, "-q"]
    beside = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    isolated("-n2").assert_outcomes(passed=6)
    assert "6 passed" in beside.communicate(timeout=60)[0]
    assert builds(pytester) == 1


def test_every_other_keyword_goes_with_layers(pytester, isolated):
    """A read-only root, the strict profile, no network of its own, another user, limits."""
    source = """
    @isolate(layers=[data], fs="readonly")
    def test_readonly():
        assert read() == "prepared"
        with pytest.raises(OSError): Path("/file").touch()
    @isolate(layers=[data], net="host", disk="8M")
    def test_limits(): assert read() == "prepared"; write("changed")
    @isolate(layers=[data], user="root")
    def test_root(): assert read() == "prepared" and os.stat(HERE / "data").st_uid == 0
    """
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    isolated().assert_outcomes(passed=3)


@pytest.mark.needs("overlay", "strict")
def test_a_strict_test_has_its_layers(pytester, isolated):
    """They are read-only directories, as the machine's root is."""
    source = """
    @isolate(layers=[data], profile="strict")
    def test_it(): assert read() == "prepared"; write("changed")
    """
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    isolated().assert_outcomes(passed=1)


@pytest.mark.needs("overlay", "root")
def test_files_belong_to_who_wrote_them(pytester, isolated):
    """A function as another user makes that user's files, with their modes and times."""
    source = """
    @Layer.build(user="nobody")
    def theirs():
        os.makedirs("/tmp/theirs/closed"); Path("/tmp/theirs/file").write_text("x")
        os.chmod("/tmp/theirs/closed", 0o2700); os.utime("/tmp/theirs/file", (1, 1))
        os.setxattr("/tmp/theirs/file", "user.name", b"value"); os.mkfifo("/tmp/theirs/fifo")
        os.link("/tmp/theirs/file", "/tmp/theirs/same"); os.symlink("file", "/tmp/theirs/link")
    @isolate(layers=[theirs], user="nobody")
    def test_theirs():
        look = {name: os.lstat("/tmp/theirs/" + name) for name in os.listdir("/tmp/theirs")}
        assert {each.st_uid for each in look.values()} == {os.getuid()} != {0}
        assert oct(look["closed"].st_mode) == "0o42700" and look["file"].st_mtime == 1
        assert look["file"].st_ino == look["same"].st_ino and look["fifo"].st_mode & 0o10000
        assert os.getxattr("/tmp/theirs/link", "user.name") == b"value"
    @isolate(layers=[theirs])
    def test_as_root(): assert Path("/tmp/theirs/link").read_text() == "x"
    """
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    isolated().assert_outcomes(passed=2)


@pytest.mark.needs("overlay", "user_xattr")
def test_what_a_function_removes_is_not_there(pytester, isolated):
    """Files of the machine's, of those that are copied too, and whole directories."""
    for name in ("full/deep/file", "full/other", "gone", "kept"):
        (pytester.path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (pytester.path / "m" / name).write_text("machine's")
    source = """
    import shutil, tempfile
    @Layer.build
    def without():
        (HERE / "m/gone").unlink()
        shutil.rmtree(HERE / "m/full")
        (HERE / "m/full").mkdir()
        (HERE / "m/full/new").touch()
        os.rename(HERE / "m/kept", HERE / "m/renamed")
    @isolate(layers=[without])
    def test_it():
        assert sorted(os.listdir(HERE / "m")) == ["full", "renamed"]
        assert os.listdir(HERE / "m/full") == ["new"]
    """
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    isolated().assert_outcomes(passed=1)


@pytest.mark.needs("root")
def test_files_that_are_mounts_are_part_of_a_layer(pytester, isolated):
    """As /etc/resolv.conf and /etc/hostname are in every container: what is changed of them, and
    nothing of what is not.
    """
    for name in ("one", "two"):
        (pytester.path / name).write_text("machine's")
        (pytester.path / "m").mkdir(exist_ok=True)
        (pytester.path / "m" / name).touch()
    source = """
    @Layer.build
    def changed():
        (HERE / "m/one").write_text("layer's")
        (HERE / "m/new").touch()
    @Layer.build(below=[changed])
    def above():
        assert (HERE / "m/one").read_text() == "layer's"
    @isolate(layers=[above])
    def test_it():
        assert (HERE / "m/one").read_text() == "layer's"
        assert (HERE / "m/two").read_text() == "machine's"
    @isolate(layers=[above])
    def test_fresh():
        (HERE / "m/one").write_text("test's")
        (HERE / "m/two").write_text("test's")
    @isolate(layers=[above])
    def test_fresh_again(): test_it()
    """
    pytester.makepyfile(test_it=BASE + source.replace("\n    ", "\n"))
    mounts = "mount --bind one m/one && mount --bind two m/two"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *PYTEST],
        check=False, capture_output=True, text=True, cwd=pytester.path,
    )  # fmt: skip
    assert "3 passed" in done.stdout, done.stdout
    found = [
        path
        for folder in ("one", "two", "new")
        for path in (pytester.path / "cache").rglob(f"m/{folder}")
    ]
    assert sorted(path.name for path in found) == ["new", "one"]
    assert (pytester.path / "one").read_text() == "machine's"


BAD = {
    "raises": (
        "its function raised KeyError: 'no'",
        "print('said before'); raise KeyError('no')",
    ),
    "dies": ("its process died by SIGKILL*", "os.kill(os.getpid(), 9)"),
    "leaves": (
        "its function left processes behind (sleep 99), who write there still: end them",
        "import subprocess; subprocess.Popen(['sleep', '99'])",
    ),
    "yields": ("a layer's function returns when all is written; it cannot yield*", "yield"),
    "returns": (
        "its function returned {'a'}, which JSON cannot say (there is a set in it): return text",
        "return {'a'}",
    ),
    "long": ("its function returned 70002 bytes, as JSON has it; 65536 can", "return 'x' * 70_000"),
    "syntax": ("its function raised SyntaxError: invalid syntax", "eval('1 1')"),
    "digs": (
        "take a layer out of *File name too long",
        "os.chdir('/var/tmp'); [(os.mkdir('d'), os.chdir('d')) for _ in range(210)]",
    ),
    "skips": (
        "its function skipped (not here), which only a test or fixture can",
        "import pytest; pytest.skip('not here')",
    ),
    "slow": ("it took longer than timeout=100 ms", "import time; time.sleep(60)"),
}


def test_a_failing_function_is_an_error(pytester, outcomes):
    """Of every test that uses it, and nothing half made stays."""
    source = "".join(
        f"@Layer.build(timeout={'0.1' if name == 'slow' else 'None'}, bind=[HERE / 'built'])\n"
        f"def {name}():\n    with open(HERE / 'built', 'a') as built: built.write('x')\n    {body}\n"
        f"@isolate(layers=[{name}])\n@pytest.mark.parametrize('n', [0, 1])\n"
        f"def test_{name}(n): raise AssertionError('it ran')\n"
        for name, (_, body) in BAD.items()
    )
    pytester.makepyfile(BASE + source)
    found = outcomes()
    assert len(found) == 2 * len(BAD)
    for name, *said in found:
        why = BAD[name.removeprefix("test_").partition("[")[0]][0]
        (sentence,) = [each for each in said if each.startswith("error")]
        pytest.fail(sentence) if not re.search(
            re.escape(why).replace(r"\*", ".*"), sentence, re.DOTALL
        ) else None
        assert len(re.findall(r"KeyError:|SyntaxError:", sentence)) <= 1  # once, and then where
    assert builds(pytester) == len(BAD) - 1  # all but the one that is not called
    assert os.listdir(pytester.path / "cache/pytest-isolate/layers") == []


def test_bad_values_are_sentences(pytester, outcomes):
    """Where it was written, what it is, and what is allowed."""
    source = """
    import threading
    lock = threading.Lock()
    def takes(value): pass
    def around():
        inner = lock
        def function(): return inner
        return Layer.build(function)
    @pytest.fixture
    def narrow(): return data
    @Layer.fixture
    def made(): pass

    @isolate(layers=[HERE / "missing"])
    def test_missing(): pass
    @isolate(layers=[__file__])
    def test_file(): pass
    @isolate(layers=["/"])
    def test_root(): pass
    @isolate(layers=[HERE, HERE / "in"])
    def test_nested(): pass
    @isolate(layers=3)
    def test_number(): pass
    @isolate(layers=[data], fs="host")
    def test_host(): pass
    @isolate(layers=[Layer.build(takes, args=[lock])])
    def test_argument(): pass
    @isolate(layers=[around()])
    def test_around(): pass
    @isolate(layers=[Layer.build(takes, memory="64M")])
    def test_keyword(): pass
    @isolate(layers=[Layer.build(takes, below=[HERE / "missing"])])
    def test_below(): pass
    @isolate(layers=[Layer.build(takes, where="tape")])
    def test_where(): pass
    @isolate(layers=[Layer.build(takes, key=5)])
    def test_key(): pass
    @isolate(layers=[HERE / "many" / str(number) for number in range(401)])
    def test_many(): pass
    @isolate
    def test_narrow(narrow): pass
    @isolate(fixtures=["made"])
    def test_fresh(made): pass
    """
    (pytester.path / "in").mkdir()
    for number in range(401):
        (pytester.path / "many" / str(number)).mkdir(parents=True)
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    found = {name: " ".join(said) for name, *said in outcomes()}
    expected = {
        "missing": "list of directories that exist.*missing' does not",
        "file": r"\.py' is no directory",
        "root": "'/' is below every layer already",
        "nested": "in' lies in .*: the kernel takes no layer",
        "number": "it must be a list of directories that exist and pytest_isolate.Layers",
        "host": "fs='host' .*: the test has layers \\(data, .*fs='overlay' or 'readonly'",
        "argument": "<Layer takes>: its function is called with .*lock.*no key can be made; key=",
        "around": "its function takes from around it inner=.*lock",
        "keyword": "memory='64M': a layer is not built with that; there are user, net, bind",
        "below": "<Layer takes>: below=.*missing' does not",
        "key": "<Layer takes>: key=5: it must be text",
        "many": "these are 401 layers, and a test can have 400",
        "where": "where='tape': it must be 'disk' or 'memory'",
        "narrow": "the function-scoped fixture 'narrow' gives <Layer data> inside the test's sandbox",
        "fresh": "the session-scoped fixture 'made' gives <Layer made> inside",
    }
    wrong = {
        name: found[f"test_{name}"]
        for name, why in expected.items()
        if not re.search(why, found[f"test_{name}"])
    }
    assert wrong == {}


def test_the_report_has_what_a_test_did_to_its_layers(pytester, isolated):
    """And nothing that the layer itself changed."""
    source = """
    @isolate(layers=[data])
    def test_it():
        write("changed"); (HERE / "data/new").touch(); (HERE / "beside").touch()
    @isolate(layers=[data])
    def test_removes(): (HERE / "data/file").unlink()
    """
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    isolated("--isolate-report=report.json").assert_outcomes(passed=2)
    import json

    files = [each["files"] for each in json.loads(Path("report.json").read_text())["tests"]]
    here = str(pytester.path)
    assert files == [
        {
            "created": [f"{here}/beside", f"{here}/data/new"],
            "modified": [f"{here}/data/file"],
            "deleted": [],
        },
        {"created": [], "modified": [], "deleted": [f"{here}/data/file"]},
    ]


KILLED = """
import os, time
from pathlib import Path
from pytest_isolate import Layer, isolate
HERE = Path(__file__).parent

@Layer.build(bind=[HERE], key=str(HERE))
def data():
    Path("/var/tmp/of-the-layer").write_text("half")
    if not (HERE / "go").exists():
        (HERE / "started").write_text("x")
        time.sleep(60)
    Path("/var/tmp/of-the-layer").write_text("whole")
@isolate(layers=[data])
def test_it(): assert Path("/var/tmp/of-the-layer").read_text() == "whole"
"""


def test_a_run_that_is_killed_while_it_builds_leaves_nothing_half_made(pytester, host):
    """SIGKILL: its sandbox ends with it, its half is never mounted, and the next run removes it."""
    killed = Started(pytester.path / "run", KILLED)
    killed.wait_for_test()
    store = pytester.path / "cache/pytest-isolate/layers"
    assert [each.suffix for each in store.iterdir() if each.is_dir()] == [".part"]
    killed.process.kill()
    killed.process.wait()
    assert killed.gone_within(10)
    (pytester.path / "run/go").touch()
    (pytester.path / "run/started").unlink()
    result = pytester.runpytest_subprocess("-p", "isolate", "-p", "no:cacheprovider", "run")
    result.assert_outcomes(passed=1)
    (kept,) = store.iterdir()
    assert re.fullmatch("[0-9a-f]{32}", kept.name)
    assert not os.path.exists("/var/tmp/of-the-layer")


def test_directories_are_layers_of_all_tests_from_the_command_line(pytester, isolated):
    """And of the ini file, where a marker does not say otherwise."""
    (pytester.path / "one/of-one").mkdir(parents=True)
    pytester.makepyfile("""
        import os
        from pytest_isolate import isolate
        @isolate
        def test_all(): assert os.path.isdir("/of-one")
        @isolate(layers=None)
        def test_none(): assert not os.path.exists("/of-one")
    """)
    isolated("--isolate-layers=one").assert_outcomes(passed=2)
    isolated("-o", "isolate_layers=one").assert_outcomes(passed=2)


DEEP = """
set -e
mount -t tmpfs none deep; cd deep
cp -a ../a . ; mkdir one two u1 w1 u2 w2
mount -t overlay none one -o lowerdir=a,upperdir=u1,workdir=w1
mount -t overlay none two -o lowerdir=one,upperdir=u2,workdir=w2
export XDG_CACHE_HOME=$PWD/two
cd ..
exec "$@"
"""


@pytest.mark.needs("overlay", "root")
def test_overlays_that_are_too_deep_for_one_more_are_named_with_what_helps(pytester):
    """By the doctor, before any test; and by a test, which is not a failed test."""
    (pytester.path / "deep").mkdir()
    source = """
    @isolate(layers=[data])
    def test_it(): raise AssertionError("it ran")
    """
    pytester.makepyfile(BASE + source.replace("\n    ", "\n"))
    python = [*PYTEST]
    rooting.debian(pytester.path / "root")
    (pytester.path / "a").mkdir()
    os.rename(pytester.path / "root", pytester.path / "a/root")
    place = pytester.path / "deep"
    (pytester.path / "test_root.py").write_text(
        f"from pytest_isolate import isolate\n@isolate(rootfs='{place}/two/root')\n"
        "def test_it(): pass\n"
    )
    for more, expected in (
        (["test_root.py"], r"overlay /proc/root.*\[EINVAL\]; remedy: .* where this root lies is"),
        (["--isolate-doctor"], r"NOTE  layers: overlay .*\[EINVAL\]\n *fix: overlays stack two"),
        ([str(pytester.path)], r"overlay /proc/root.*\[EINVAL\]; remedy: overlays stack two deep"),
    ):
        command = ["unshare", "-m", "sh", "-c", DEEP, "-", *python, *more]
        out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        assert re.search(expected, out), out


@pytest.mark.needs("root")
def test_what_a_layer_has_below_a_mount_is_seen_there_too(pytester):
    """Beside what it has outside of that: of a directory of both the mount is the upper one."""
    place = pytester.path / "place"
    for directory in (place / "mount", pytester.path / f"tree{place}/mount/deep"):
        directory.mkdir(parents=True)
    for name in ("beside", "mount/of_layer", "mount/deep/too"):
        (pytester.path / f"tree{place}" / name).write_text("of the layer")
    pytester.makepyfile(
        test_it=f"""
        import os
        from pathlib import Path
        from pytest_isolate import isolate
        @isolate(layers=[{str(pytester.path / "tree")!r}])
        def test_it():
            place = Path({str(place)!r})
            assert os.path.ismount(place / "mount")
            assert sorted(os.listdir(place / "mount")) == ["deep", "machines", "of_layer"]
            assert (place / "mount/deep/too").read_text() == "of the layer"
            assert (place / "beside").read_text() == "of the layer"
        """
    )
    script = f'mount -t tmpfs it {place}/mount && touch {place}/mount/machines && exec "$@"'
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *PYTEST, "test_it.py"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 passed" in ran.stdout, ran.stdout


def test_what_a_layer_has_is_not_kept_as_the_tests(pytester, isolated):
    """Though it is copied beforehand where the store lies below the same directory."""
    source = """
    @Layer.build(key=str(HERE))
    def data():
        (HERE / "seed").write_text("of the layer"); (HERE / "other").write_text("of the layer")
        os.symlink("seed", HERE / "link")
    @isolate(layers=[data])
    def test_nothing(): assert (HERE / "link").read_text() == "of the layer"
    @isolate(layers=[data])
    def test_writes(): (HERE / "seed").write_text("changed")
    """
    pytester.makepyfile(test_it=BASE + source.replace("\n    ", "\n"))
    isolated("--isolate-keep=all", "--isolate-artifacts=out").assert_outcomes(passed=2)
    out = pytester.path / "out"
    kept = [each for each in out.rglob("*") if not each.is_dir()]
    assert kept == [out / f"test_it.py_test_writes{pytester.path}/seed"]
    assert os.listdir(out) == ["test_it.py_test_writes"]


def test_a_layer_that_has_too_much_to_be_copied_for_each_test_is_a_sentence(pytester, isolated):
    """Right in a directory that can have no overlay, as that in which the layer itself lies."""
    inner = pytester.path / f"many{pytester.path}"
    inner.mkdir(parents=True)
    for number in range(3000):
        (inner / f"a-name-{'that-is-not-short-' * 10}-{number}").touch()
    pytester.makepyfile(
        test_it="""
        from pathlib import Path
        from pytest_isolate import isolate
        @isolate
        def test_before(): pass
        @isolate(layers=[Path(__file__).parent / "many"])
        def test_many(): pass
        """
    )
    result = isolated()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        "isolate: the sandbox could not be built: ask the builder process for a sandbox: Message too"
        " long [[]EMSGSIZE]; remedy: a layer has too many names right in a directory that can *"
    )
