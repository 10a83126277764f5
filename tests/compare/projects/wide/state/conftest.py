"""What shared fixtures did to the process is there for the tests behind them, and undone when plain undoes it."""

import logging
import os
import random
import signal
import sys

import pytest


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WIDE", "1")
        patch.setattr("os.getlogin", lambda: "somebody")
        patch.syspath_prepend(str(tmp_path_factory.mktemp("modules")))
        (tmp_path_factory.getbasetemp() / "modules0" / "made_module.py").write_text("value = 7\n")
        yield
@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    old = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(old)
@pytest.fixture(scope="module")
def seeded(): random.seed(7)
@pytest.fixture(scope="class")
def handled():
    heard = []
    old = signal.signal(signal.SIGUSR1, lambda *_: heard.append("signal"))
    handler = logging.StreamHandler(sys.stdout)
    logging.getLogger("handled").addHandler(handler)
    yield heard
    logging.getLogger("handled").removeHandler(handler)
    signal.signal(signal.SIGUSR1, old)
@pytest.fixture(scope="module")
def told(pytestconfig):
    """Past the capture, to the terminal."""
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\ntold to the terminal")
    yield
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\ntold again")
@pytest.fixture(scope="session")
def stored(pytestconfig): pytestconfig.stored = {"cache": pytestconfig.cache.get("wide/number", 0)}; return pytestconfig.stored
@pytest.fixture(scope="session")
def counts(record_testsuite_property): record_testsuite_property("wide", 3)
