"""What a copy of a running Python does wrong, and what its child does about it at its beginning.
docs/forking.md has all that was tried.

Python's own handlers of forks put right most of it: the locks of ``threading``, ``logging``,
``concurrent.futures`` and of imports, and the seed of ``random``. What is here they leave. The
private names are those of Python 3.10 to 3.14; where one is missing, nothing is done
(tests/unit/test_forked.py).
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from pytest_isolate._errors import Step
from pytest_isolate._forking import own_processes

_TRACKERS = (
    "multiprocessing.resource_tracker",
    "joblib.externals.loky.backend.resource_tracker",
    "loky.backend.resource_tracker",
)
# Modules with an epoll(7) that outlives a test
_LOOPS = frozenset({"asyncio", "trio", "gevent", "tornado", "uvloop"})
_REGISTERED = re.compile(r"^tfd: +(\d+) events: +([0-9a-f]+)", re.MULTILINE)
# Modules, and a name of each that is empty while none of its pools has threads, or is always there
_POOLS = (
    ("concurrent.futures.thread", "_threads_queues"),
    ("concurrent.futures.process", "_threads_wakeups"),
    ("multiprocessing.pool", "Pool"),
)
_INIT = 1  # pid of the process in which a sandbox begins


Repairs = list[Callable[[], None]]


def repairs(processes: own_processes.Stats, *, threads: bool) -> Repairs:
    """In pytest, where looking is cheap: what its next child has to do.

    ``processes``: as of ``own_processes.stats``.
    """
    found: Repairs = []
    if threads:
        found.append(_free_modules)
        if any(getattr(sys.modules.get(module), name, None) for module, name in _POOLS):
            found.append(_refuse_work_for_nobody)
    if getattr(_forkserver(), "_forkserver_pid", None) is not None:
        found.append(_forget_forkserver)
    found += [
        partial(_forget_tracker, name)
        for name in _TRACKERS
        if getattr(_tracker(name), "_fd", None) is not None
    ]
    # Which gevent takes away: its own loop knows of forks
    if not _LOOPS.isdisjoint(sys.modules) and hasattr(select, "epoll"):
        with Step("look at", "/proc/self/fd"):
            found += [partial(_own_epoll, fd) for fd in _epolls()]
    if processes:
        found.append(partial(own_processes.adopt, processes))
    return found


def _epolls() -> Iterator[int]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing itself
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]":
                yield int(name)


def _own_epoll(fd: int) -> None:
    """Give copies of event loops a set of descriptors of their own: a loop that is closed in a test
    would never wake up again in pytest.
    """
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
            entries = _REGISTERED.findall(file.read())
    except FileNotFoundError:  # not kept for the child
        return
    with select.epoll() as epoll:
        for number, events in entries:
            # Closed, in the child or by its owner, who had a copy of it
            with contextlib.suppress(OSError):
                epoll.register(int(number), int(events, 16))
        os.dup2(epoll.fileno(), fd, inheritable=False)


class Parent:
    """A test's parent is pytest, outside, and the kernel's number for that is 0.

    An orphan's is the sandbox's first process: ours, too.

    Replaced in pytest, for whom it changes nothing, because a child would have to copy the page
    that it is on.
    """

    def __init__(self) -> None:
        self._getppid = os.getppid

    def answer(self) -> None:
        """Replace ``os.getppid``."""
        original = self._getppid

        def getppid() -> int:
            return original() or _INIT

        getppid.__doc__ = original.__doc__
        os.getppid = getppid

    def close(self) -> None:
        """Have it as it was."""
        os.getppid = self._getppid


def _forkserver() -> Any:  # noqa: ANN401 - of a module that may not be loaded
    return getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)


def _tracker(module: str) -> Any:  # noqa: ANN401 - of a module that may not be loaded
    return getattr(sys.modules.get(module), "_resource_tracker", None)


def _free_modules() -> None:
    """Import anew what a thread that is not here was importing: whoever imports it inside would
    wait for that thread, for ever.
    """
    bootstrap: Any = sys.modules.get("_frozen_importlib")
    locks = getattr(bootstrap, "_module_locks", {})
    own = threading.get_ident()
    for name, reference in list(locks.items()):
        if getattr(reference(), "owner", None) not in {None, own}:
            del locks[name]
            if getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False):
                del sys.modules[name]


def _forget_forkserver() -> None:
    """Forget the fork server: it is outside, as what it starts would be.

    One starts inside when it is needed.
    """
    server = _forkserver()
    _close(getattr(server, "_forkserver_alive_fd", None))
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None
    _unlock(server)


def _forget_tracker(module: str) -> None:
    """Forget the resource tracker: it is outside, and would unlink *there* what was registered
    inside. One starts inside when needed.
    """
    tracker = _tracker(module)
    _close(tracker._fd)
    tracker._fd = tracker._pid = None
    _unlock(tracker)
    # joblib's counts, and removes what nobody uses any more
    if module != _TRACKERS[0] or not hasattr(tracker, "_send"):
        return
    send, untold = tracker._send, set()

    def send_if_anybody_listens(command: str, name: str, kind: str) -> None:
        """Without one nothing is lost: names go with the sandbox.

        One that starts later has not heard of those before.
        """
        if command == "REGISTER" and tracker._fd is None:
            untold.add((name, kind))
        elif command == "UNREGISTER" and (tracker._fd is None or (name, kind) in untold):
            untold.discard((name, kind))
        else:
            send(command, name, kind)

    tracker._send = send_if_anybody_listens


def _unlock(owner: Any) -> None:  # noqa: ANN401 - of a module that may not be loaded
    """Make its lock anew, which a thread that is not here may have held."""
    if (unlock := getattr(getattr(owner, "_lock", None), "_at_fork_reinit", None)) is not None:
        unlock()


def _refuse_work_for_nobody() -> None:
    """Pools that were warmed in pytest have no threads here: what is given to them would be waited
    for, for ever.
    """
    module: Any = sys.modules.get("concurrent.futures.thread")
    if lost := set(getattr(module, "_threads_queues", ())):
        _check_before(
            module, "ThreadPoolExecutor", "submit", lambda pool: _lost_of_threads(pool, lost)
        )
    module = sys.modules.get("concurrent.futures.process")
    if gone := set(getattr(module, "_threads_wakeups", ())):
        _check_before(
            module,
            "ProcessPoolExecutor",
            "submit",
            lambda pool: {getattr(pool, "_executor_manager_thread", None)} & gone,
        )
    module = sys.modules.get("multiprocessing.pool")
    if module is not None:
        before = set(getattr(threading, "_dangling", ())) - {threading.current_thread()}
        _check_before(
            module,
            "Pool",
            "_check_running",
            lambda pool: {getattr(pool, "_task_handler", None)} & before,
        )


def _lost_of_threads(pool: Any, lost: set[threading.Thread]) -> set[threading.Thread]:  # noqa: ANN401 - of a class that may not be loaded
    """Those for whom work would be left: one that counts as idle, or all, with no more to come."""
    threads = lost & getattr(pool, "_threads", set())
    idle = getattr(getattr(pool, "_idle_semaphore", None), "_value", 0)
    return threads if idle or len(threads) == getattr(pool, "_max_workers", None) else set()


def _check_before(module: object, of: str, name: str, lost_of: Any) -> None:  # noqa: ANN401 - of a class that may not be loaded
    cls = getattr(module, of, None)
    method = getattr(cls, name, None)
    if method is None:
        return

    def checked(self: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the method has
        __tracebackhide__ = True
        if lost := lost_of(self):
            raise RuntimeError(_sentence(type(self).__name__, lost))
        return method(self, *args, **kwargs)

    checked.__name__, checked.__doc__ = name, method.__doc__
    setattr(cls, name, checked)


def _sentence(kind: str, threads: Iterable[threading.Thread]) -> str:
    names = ", ".join(
        repr(thread.name) for thread in sorted(threads, key=lambda thread: thread.name)
    )
    return (
        f"isolate: this {kind} was used in pytest before the test was forked, and its threads"
        f" ({names}) are not in the copy: no thread would do its work. Make it inside: in the test,"
        " in a function-scoped fixture, or in a shared one with fixtures='fresh'"
    )


def _close(fd: object) -> None:
    if isinstance(fd, int):
        with contextlib.suppress(OSError):  # it was closed on the way in, as by profile="strict"
            os.close(fd)
