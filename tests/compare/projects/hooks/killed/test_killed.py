import os
import signal

import pytest


class TestCall:
    def test_dies(self): os.kill(os.getpid(), signal.SIGKILL)
    def test_next(self): pass
class TestSetup:
    @pytest.fixture
    def dies(self): os.abort()
    def test_dies_in_setup(self, dies): pass
    def test_next(self): pass
class TestTeardown:
    @pytest.fixture
    def dies(self):
        yield
        os._exit(0)
    def test_dies_in_teardown(self, dies): pass
    def test_next(self): pass
class TestOther:
    def test_other(self): pass
