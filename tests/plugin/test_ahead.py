"""What is made ready for the next test while one runs: what is wrong with it is the next one's."""

import os
import re

import pytest

pytestmark = pytest.mark.kernel

BAD = """
from pathlib import Path
from pytest_isolate import isolate
HERE = Path(__file__).parent

class Refuses:
    def __fspath__(self): raise RuntimeError("no path")
    def __repr__(self): raise RuntimeError("no words")

@isolate
def test_before(): pass
{tests}
@isolate
def test_behind(): pass
"""


def test_a_value_that_cannot_be_read_is_an_error_of_its_own_test(pytester, isolated):
    """Whatever its own methods raise."""
    tests = """
@isolate(bind=[Refuses()])
def test_bind(): pass
@isolate
def test_between(): pass
@isolate(layers=[Refuses()])
def test_layers(): pass
@isolate(unknown=Refuses())
def test_unknown(): pass
@isolate(Refuses())
def test_positional(): pass
@isolate(env={"NAME": Refuses()}, user=Refuses(), memory=Refuses(), net=Refuses())
def test_all(): pass
@isolate
def test_between_too(): pass
"""
    pytester.makepyfile(BAD.format(tests=tests))
    result = isolated()
    result.assert_outcomes(passed=4, errors=5)
    assert "INTERNALERROR" not in result.stdout.str()
    for name in ("bind", "layers"):
        result.stdout.fnmatch_lines(
            f"isolate: {name}=<list, of which RuntimeError is raised> (by @isolate on function*"
            "): to read it raised RuntimeError: no path"
        )


@pytest.mark.needs("overlay", "user")
def test_what_its_user_may_not_look_at_is_said_at_its_own_test(pytester, isolated):
    """A layer, or a directory of it, a root, and what lies below a directory that is closed."""
    here = pytester.path
    (here / "shut/in").mkdir(parents=True)
    (here / "layer/tmp/file").mkdir(parents=True)
    tests = """
@isolate(layers=[HERE / "shut"])
def test_layer(): pass
@isolate
def test_between(): pass
@isolate(layers=[HERE / "layer"])
def test_in_layer(): pass
@isolate(layers=[HERE / "shut/in"])
def test_layer_below(): pass
@isolate(rootfs=HERE / "shut")
def test_root(): pass
@isolate(rootfs=f"oci:{HERE}/shut/in")
def test_image_below(): pass
@isolate(bind=[HERE / "shut/in"])
def test_bind_below(): pass
@isolate(rootfs=f"oci:{HERE}/shut")
def test_image(): pass
@isolate(rootfs=HERE / "image.tar")
def test_archive(): pass
"""
    module = pytester.makepyfile(BAD.format(tests=tests))
    (here / "shut").chmod(0)
    (here / "layer/tmp").chmod(0o300)
    (here / "image.tar").touch(0)
    try:
        result = isolated(str(module))
    finally:
        (here / "shut").chmod(0o700)
        (here / "layer/tmp").chmod(0o700)
    result.assert_outcomes(passed=3, errors=8)
    said = result.stdout.str()
    assert "itself failed" not in said
    assert f"rootfs={f'oci:{here}/shut'!r} (by" in said
    assert f"may not read {here}/image.tar (mode 0000, of uid" in said
    whose = f"of uid {os.geteuid()}): chmod u"
    for name, closed in (("layers", "shut"), ("layers", "layer/tmp"), ("rootfs", "shut")):
        where = f"{here}/{closed}"
        assert f"may not enter and read {where} (mode" in said, said
        assert f"{whose}+rx {where}" in said
        assert f"isolate: {name}=" in said
    for below in ("layers=", "bind=", "rootfs="):
        assert re.search(
            rf"isolate: {below}.*{here}/shut/in' cannot be reached: uid \d+ may not enter {here}"
            rf"/shut \(mode 0000, {re.escape(whose)}\+x {here}/shut",
            said,
        ), said
