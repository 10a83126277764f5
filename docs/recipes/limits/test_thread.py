"""A test that waits for a thread that pytest has, and a copy of pytest has not."""

import queue
import threading

from pytest_isolate import isolate

questions: "queue.Queue[int]" = queue.Queue()
answers: "queue.Queue[int]" = queue.Queue()


def serve() -> None:
    while True:
        answers.put(questions.get() * 2)


threading.Thread(target=serve, name="warm-pool", daemon=True).start()


@isolate(timeout="1s")
def test_thread():
    questions.put(21)
    assert answers.get() == 42
