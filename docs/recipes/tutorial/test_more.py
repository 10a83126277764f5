import threading

from pytest_isolate import isolate


@isolate(timeout="2s")
def test_waits_for_ever():
    print("waiting")
    threading.Event().wait()


@isolate
def test_leaves_a_result(tmp_path):
    (tmp_path / "result.txt").write_text("41")
    assert (tmp_path / "result.txt").read_text() == "42"
