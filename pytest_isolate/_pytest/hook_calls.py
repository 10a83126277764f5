"""Who is called by a hook: callers that leave plugins out, and those that stand in the place of
pytest's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pluggy
import pytest
from _pytest.logging import caplog_records_key
from _pytest.skipping import evaluate_xfail_marks, xfailed_key

from pytest_isolate._pytest.capture import quietly

_OF_PHASES = frozenset(
    {
        "capturemanager",
        "logging-plugin",
        "unraisableexception",
        "threadexception",
        "isolate-run",
        "runner",
    }
)

#: Hooks of pytest's by which a test's process tells of itself, and nobody else hears there.
FORWARDED = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
)


@contextlib.contextmanager
def around_protocol(
    item: pytest.Item, projects: Callable[[object], bool] = lambda _: False
) -> Iterator[None]:
    """Enter what pytest's own plugins put around a test's protocol, for the parts of it that are
    pytest's: wider fixtures.

    Without it their warnings are lost, their assertions are not explained, and one that hangs shows
    no stack after ``faulthandler_timeout``. All do it in a wrapper of ``pytest_runtest_protocol``,
    which there is no public way to enter alone.
    """
    wrappers = []
    for name in ("warnings", "assertion", "faulthandler", "timeout"):
        plugin = item.config.pluginmanager.getplugin(name)
        if plugin is not None and hasattr(plugin, "pytest_runtest_protocol"):
            wrappers.append(plugin.pytest_runtest_protocol(item=item))
            next(wrappers[-1])
    impls = [
        impl
        for impl in item.ihook.pytest_runtest_protocol.get_hookimpls()
        if (impl.wrapper or impl.hookwrapper) and projects(impl.plugin)
    ]
    theirs: list[tuple[Any, Any]] = []
    given = {"item": item, "nextitem": None}
    with quietly():
        for impl in reversed(impls):
            theirs.append((impl, impl.function(*(given[name] for name in impl.argnames))))
            next(theirs[-1][1])
    try:
        yield
    finally:
        for impl, wrapper in reversed(theirs):
            with quietly(), contextlib.suppress(StopIteration):
                wrapper.send(pluggy.Result(True, None) if impl.hookwrapper else True)
        for wrapper in reversed(wrappers):
            with contextlib.suppress(StopIteration):
                wrapper.send(None)


def phase_of(
    item: pytest.Item, when: str, projects: Callable[[object], bool] = lambda _: False
) -> Callable[..., Any]:
    """Return the hook of a phase, captured and logged, without what anybody but pytest, this plugin
    and ``projects`` does in it.

    The names of pytest's own plugins are not documented, nor is what its logging keeps of a set-up
    for the teardown.
    """
    manager = item.config.pluginmanager
    if when != "setup" and manager.hasplugin("logging-plugin"):
        item.stash.setdefault(caplog_records_key, {})
    name = f"pytest_runtest_{when}"
    callers = item.config.stash.setdefault(_PHASES, {})
    known = callers.get(name)
    if known is None or known[0] != len(manager.get_plugins()):
        others = [
            plugin
            for plugin in manager.get_plugins()
            if manager.get_name(plugin) not in _OF_PHASES and not projects(plugin)
        ]
        known = callers[name] = (
            len(manager.get_plugins()),
            manager.subset_hook_caller(name, others),
        )
    return known[1]


@contextlib.contextmanager
def without_stops(session: pytest.Session) -> Iterator[None]:
    """While hooks run here that may end the session inside, in their test.

    What is set cannot be unset in public.
    """
    stops = session._shouldstop, session._shouldfail
    try:
        yield
    finally:
        session._shouldstop, session._shouldfail = stops


def teardown_by(item: pytest.Item, projects: Callable[[object], bool]) -> Callable[..., Any]:
    """Return the hook of a teardown with ``projects`` alone."""
    manager = item.config.pluginmanager
    callers, plugins = item.config.stash.setdefault(_PHASES, {}), manager.get_plugins()
    known = callers.get("teardown of projects")
    if known is None or known[0] != len(plugins):
        others = [plugin for plugin in plugins if not projects(plugin)]
        known = callers["teardown of projects"] = (
            len(plugins),
            manager.subset_hook_caller("pytest_runtest_teardown", others),
        )
    return known[1]


_PHASES = pytest.StashKey[dict[str, tuple[int, Any]]]()


class _Protocol:
    """Stands in the place of a hook's caller."""

    def __init__(self, original: Any, instead: Callable[..., object]) -> None:  # noqa: ANN401 - of a class that cannot be named
        self._original, self._instead = original, instead

    def __call__(self, *, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        return self._instead(item, nextitem)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return getattr(self._original, name)


@contextlib.contextmanager
def protocol_by(
    config: pytest.Config, instead: Callable[..., object]
) -> Iterator[Callable[..., Any]]:
    """Have the protocol of every test begin with ``instead``, outside of everybody's wrappers;
    gives the caller of pytest's own.

    A wrapper of ours would not do: pluggy has it go on with the others, whose first halves would
    then run in pytest, for each test that runs elsewhere, and once more in there. That the hook
    relay is an object whose attributes can be set is not promised.
    """
    original = config.pluginmanager.hook.pytest_runtest_protocol
    _set_hooks(config, {"pytest_runtest_protocol": _Protocol(original, instead)})
    try:
        yield original
    finally:
        _set_hooks(config, {"pytest_runtest_protocol": original})


def give_back_protocol(config: pytest.Config) -> None:
    """In the child, which runs it as a plain run does."""
    stand_in = config.pluginmanager.hook.pytest_runtest_protocol
    if isinstance(stand_in, _Protocol):
        _set_hooks(config, {"pytest_runtest_protocol": stand_in._original})


def own_makereport(item: pytest.Item) -> Any:  # noqa: ANN401 - a caller's class cannot be named
    """``pytest_runtest_makereport`` of pytest's own plugins alone.

    Only the package that they come from tells them from others.

    The one for ``xfail`` reads what pytest has found out in the set-up, which was the child's.
    """
    manager = item.config.pluginmanager
    if xfailed_key not in item.stash:
        item.stash[xfailed_key] = None
        # A condition that cannot be known: the child has said so
        with contextlib.suppress(pytest.fail.Exception):
            item.stash[xfailed_key] = evaluate_xfail_marks(item)
    callers = item.config.stash.setdefault(_PHASES, {})
    plugins = manager.get_plugins()
    known = callers.get("pytest_runtest_makereport")
    if known is None or known[0] != len(plugins):
        others = [plugin for plugin in plugins if not module_of(plugin).startswith("_pytest.")]
        known = callers["pytest_runtest_makereport"] = (
            len(plugins),
            manager.subset_hook_caller("pytest_runtest_makereport", others),
        )
    return known[1]


def module_of(plugin: object) -> str:
    """Return the name of a plugin's module, or of its class's."""
    return str(getattr(plugin, "__name__", None) or type(plugin).__module__)


_ALONE = pytest.StashKey[tuple[int, dict[str, object]]]()


def redirect_hooks(config: pytest.Config, receiver: object, names: Iterable[str]) -> None:
    """In the child: have some hooks call ``receiver`` alone, so that reports go to the parent and
    not to a copied terminal.

    ``subset_hook_caller`` is pluggy's public way to leave plugins out; that the hook relay is an
    object whose attributes can be set is not promised. It is set on the plugin manager's own relay,
    where those of single conftest folders read it, and on ``config.hook``, which keeps what it has
    read once.
    """
    _set_hooks(config, prepared_callers(config, receiver, names))


def _set_hooks(config: pytest.Config, callers: Mapping[str, object]) -> None:
    for name, caller in callers.items():
        setattr(config.pluginmanager.hook, name, caller)
        setattr(config.hook, name, caller)


def prepared_callers(
    config: pytest.Config, receiver: object, names: Iterable[str]
) -> dict[str, object]:
    """Return the callers for it, made once in the parent (1 ms) and again only when plugins came or
    went.
    """
    manager = config.pluginmanager
    plugins = manager.get_plugins()
    known = config.stash.get(_ALONE, None)
    if known is None or known[0] != len(plugins):
        others = [plugin for plugin in plugins if plugin is not receiver]
        callers: dict[str, object] = {
            name: manager.subset_hook_caller(name, others) for name in names
        }
        known = config.stash[_ALONE] = (len(plugins), callers)
    return known[1]
