import logging
import os
import random
import signal


def test_before(): assert "WIDE" not in os.environ
def test_environment(environment):
    import made_module
    print(os.environ["WIDE"], os.getlogin(), made_module.value)
def test_still(): assert os.environ["WIDE"] == "1" and os.getlogin() == "somebody"
def test_elsewhere(elsewhere): print(os.path.basename(os.getcwd()))
def test_still_elsewhere(): print(os.path.basename(os.getcwd()))
def test_seeded(seeded): print(random.random())
class TestHandled:
    def test_handled(self, handled):
        os.kill(os.getpid(), signal.SIGUSR1)
        logging.getLogger("handled").warning("handled")
        assert handled == ["signal"]
    def test_no_more(self): logging.getLogger("handled").warning("still handled")
def test_handled_no_more(): assert logging.getLogger("handled").handlers == []; assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
def test_stored(stored, request): assert request.config.stored is stored; request.config.cache.set("wide/number", 5); assert 0
def test_counts(counts): pass
