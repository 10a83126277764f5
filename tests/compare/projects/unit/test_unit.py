import os
import pathlib
import sys
import unittest

PARENT = os.getpid()
EVENTS = pathlib.Path(__file__).with_name("events.log")


def say(text):
    if os.getpid() == PARENT or os.getpid() < 10:
        print(text)
def wide(text):
    with EVENTS.open("a") as file:
        print(text, file=file)
def setUpModule(): wide("setUpModule")
def tearDownModule(): wide("tearDownModule")
class TestFirst(unittest.TestCase):
    @classmethod
    def setUpClass(cls): wide("setUpClass"); cls.shared = [1]; cls.addClassCleanup(wide, "class cleanup")
    @classmethod
    def tearDownClass(cls): wide(f"tearDownClass {cls.shared}")
    def setUp(self): say("setUp"); self.addCleanup(say, "cleanup"); self.own = len(self.shared)
    def tearDown(self): say("tearDown")
    def test_one(self): self.assertEqual(self.own, 1); self.assertEqual(self.shared, [1])
    def test_two(self): self.shared[0] = self.shared[0]; self.assertEqual(self.own, 2, "message")
    def test_cleanup_fails(self): self.addCleanup(lambda: 1 / 0)
    def test_skip(self): self.skipTest("skipped")
    @unittest.skipIf(sys.platform == "linux", "linux")
    def test_skip_if(self): pass
    @unittest.expectedFailure
    def test_expected(self): self.fail()
    @unittest.expectedFailure
    def test_unexpected(self): pass
    def test_raises(self):
        with self.assertRaises(KeyError):
            {}[1]
    def test_logs(self):
        import logging
        with self.assertLogs("x", "INFO") as seen:
            logging.getLogger("x").info("y")
        self.assertEqual(seen.output, ["INFO:x:y"])
    def test_long(self): self.assertEqual({"a": 1, "b": [1, 2]}, {"a": 1, "b": [2]})
class TestSetUpFails(unittest.TestCase):
    def setUp(self): raise RuntimeError("set-up")
    def test_never(self): pass
class TestTearDownFails(unittest.TestCase):
    def tearDown(self): raise RuntimeError("teardown")
    def test_passes(self): pass
    def test_fails(self): self.fail("itself")
class TestClassFails(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise RuntimeError("class")
    def test_a(self): pass
    def test_b(self): pass
class TestClassSkips(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise unittest.SkipTest("class skipped")
    def test_a(self): pass
class TestClassLate(unittest.TestCase):
    @classmethod
    def tearDownClass(cls): raise RuntimeError("class late")
    def test_a(self): pass
    def test_b(self): pass
@unittest.skip("whole class")
class TestSkipped(unittest.TestCase):
    def test_a(self): pass
class TestAsync(unittest.IsolatedAsyncioTestCase):
    def setUp(self): self.steps = ["setUp"]
    async def asyncSetUp(self): self.steps.append("asyncSetUp"); self.addAsyncCleanup(self.clean)
    async def clean(self): say(f"async cleanup {self.steps}")
    async def asyncTearDown(self): self.steps.append("asyncTearDown")
    async def test_async(self):
        import asyncio
        await asyncio.sleep(0)
        self.assertEqual(self.steps, ["setUp", "asyncSetUp"])
    async def test_async_fails(self): self.assertEqual(self.steps, [])
    async def test_async_thread(self):
        import asyncio
        asyncio.get_running_loop().slow_callback_duration = 60  # a machine with much to do is not what is compared
        self.assertEqual(await asyncio.to_thread(lambda: 3), 3)
class TestBase(unittest.TestCase):
    def runTest(self): self.assertTrue(True)
