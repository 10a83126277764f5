import logging
import os
import pathlib
import sys
import warnings

import pytest

LOG = logging.getLogger("built")


def test_tmp_path(tmp_path):
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    print(tmp_path.name, oct(tmp_path.stat().st_mode), tmp_path.stat().st_uid == os.getuid())
    assert (tmp_path / "file").read_text() == "y"
@pytest.mark.parametrize("name", ["a b", "c/d", "x" * 200])
def test_tmp_path_names(tmp_path, name): print(tmp_path.name); assert tmp_path.is_dir()
def test_tmp_path_factory(tmp_path_factory):
    one, two = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("made")
    assert one != two
    print(one.name, two.name, tmp_path_factory.mktemp("plain", numbered=False).name, tmp_path_factory.getbasetemp().name)
@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("shared")
    (path / "file").write_text("from the fixture")
    return path
@pytest.mark.parametrize("number", [1, 2])
def test_shared_directory(shared_directory, number):
    assert (shared_directory / "file").read_text() == "from the fixture"
    print(shared_directory.name)
def test_tmpdir(tmpdir): assert tmpdir.check(dir=True); print(tmpdir.basename)
def test_monkeypatch(monkeypatch, tmp_path):
    monkeypatch.setenv("OURS", "1")
    monkeypatch.setattr(os, "getlogin", lambda: "patched")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(os.environ, "HOME")
    assert os.getlogin() == "patched"
    print(os.path.basename(os.path.realpath(".")))
def test_monkeypatch_undone(): assert os.getlogin.__module__ == "posix" and "OURS" not in os.environ and "HOME" in os.environ
def test_capsys(capsys):
    print("seen"); print("err", file=sys.stderr)
    assert capsys.readouterr() == ("seen\n", "err\n")
    print("left over")
    with capsys.disabled():
        pass
    assert 0
def test_capsysbinary(capsysbinary):
    sys.stdout.buffer.write(b"\xff\x00")
    assert capsysbinary.readouterr().out == b"\xff\x00"
def test_capfd(capfd):
    os.system("echo by a shell; echo err >&2")
    assert capfd.readouterr() == ("by a shell\n", "err\n")
    os.write(1, b"left over\n")
    assert 0
def test_capfdbinary(capfdbinary):
    os.write(1, b"\xfe")
    assert capfdbinary.readouterr().out == b"\xfe"
@pytest.mark.skipif(not hasattr(pytest, "CaptureFixture"), reason="old")
def test_capteesys(request):
    capteesys = request.getfixturevalue("capteesys")
    print("teed")
    assert capteesys.readouterr().out == "teed\n"
def test_caplog(caplog):
    caplog.set_level(logging.INFO)
    LOG.info("seen %d", 1)
    assert caplog.messages == ["seen 1"] and caplog.record_tuples == [("built", logging.INFO, "seen 1")]
    with caplog.at_level(logging.CRITICAL):
        LOG.error("hidden")
    caplog.clear()
    LOG.warning("kept")
    assert caplog.text == ""
@pytest.fixture
def logs_in_setup(): LOG.warning("in set-up")
def test_caplog_phases(logs_in_setup, caplog):
    assert [each.getMessage() for each in caplog.get_records("setup")] == ["in set-up"]
def test_recwarn(recwarn):
    warnings.warn("one"); warnings.warn("two", DeprecationWarning)
    assert [str(each.message) for each in recwarn] == ["one", "two"]
    assert recwarn.pop(DeprecationWarning).filename == __file__
def test_warns():
    with pytest.warns(UserWarning, match="on"):
        warnings.warn("one")
@pytest.fixture
def looks(request):
    yield
    print("set-up", request.node.rep_setup.outcome, "call", request.node.rep_call.outcome)
    if request.node.rep_call.failed:
        print("failed with", request.node.rep_call.longrepr.reprcrash.message)
@pytest.mark.parametrize("outcome", [True, False])
def test_rep_call(looks, outcome): assert outcome
def test_record_property(record_property):
    record_property("key", "value")
    record_property("number", 3)
    record_property("key", "again")
    record_property("many", [1, ["a", None]])
@pytest.fixture
def records(record_property):
    record_property("set-up", 1)
    yield
    record_property("teardown", 1)
def test_record_phases(records, record_property): record_property("call", 1); assert 0
def test_user_properties(request): request.node.user_properties.append(("direct", 1.5))
def test_pytestconfig(pytestconfig, request):
    assert pytestconfig is request.config
    print(pytestconfig.rootpath.name, pytestconfig.inipath.name, pytestconfig.invocation_params.dir.name)
def test_cache_read(cache): assert cache.get("ours/none", "default") == "default"
def test_cache_in_one_test(cache): cache.set("ours/x", [1]); assert cache.get("ours/x", None) == [1]
def test_cache_mkdir(cache): assert cache.mkdir("ours").is_dir()
@pytest.mark.own(3)
def test_request(request):
    print(request.node.nodeid, request.node.name, request.node.get_closest_marker("own").args, request.scope, request.fixturenames)
    print(request.module.__name__, request.function.__name__, request.cls, request.path.name, request.keywords["own"])
def test_dynamic_mark(request): request.applymarker(pytest.mark.xfail(reason="at run time")); assert 0
def test_add_marker(request): request.node.add_marker(pytest.mark.xfail(strict=True)); assert 1
def test_section(request): request.node.add_report_section("call", "own", "of our own"); assert 0
@pytest.fixture(scope="session")
def wide(): return ["wide"]
@pytest.fixture(scope="module")
def middle(wide): return [*wide, "middle"]
@pytest.mark.parametrize("number", [1, 2])
def test_dynamic(request, number):
    assert request.getfixturevalue("middle") == ["wide", "middle"]
    assert request.getfixturevalue("wide") is request.getfixturevalue("wide")
@pytest.fixture
def narrow_dynamic(request): return request.getfixturevalue("middle")
def test_dynamic_in_fixture(narrow_dynamic): assert narrow_dynamic == ["wide", "middle"]
def test_dynamic_missing(request): request.getfixturevalue("no_such")
def test_dynamic_in_teardown(request): request.addfinalizer(lambda: print("finalizer ran")); assert 0
def test_environment(): print(sorted(name for name in os.environ if name.startswith("PYTEST_CURRENT"))); print(os.environ["PYTEST_CURRENT_TEST"])
def test_doctest_namespace(doctest_namespace): assert doctest_namespace == {}
def test_stdin():
    with pytest.raises(OSError, match="reading from stdin"):
        input()
