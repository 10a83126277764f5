"""Whether the plugin is loaded in the pytest that uses ``isolate``: marked tests never run on the
machine because it is not.

pytest has no global name for the run that imports a module, and there can be one inside the other;
the nearest on the stack is it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

_PLUGIN = "pytest_isolate.plugin"


def is_switched_off(manager: pytest.PytestPluginManager) -> bool:
    """Whether the last word on the command line was ``-p no:isolate``, which blocks that name and
    this one; ``-p isolate`` frees both.
    """
    return bool(manager.is_blocked("pytest_isolate"))


def require() -> None:
    """Refuse ``isolate`` in a pytest without the plugin.

    Raises ``pytest.Collector.CollectError`` for a module that is collected.
    """
    using = sys._getframe(2)
    while using.f_globals.get("__name__") == "importlib._bootstrap" and using.f_back is not None:
        using = using.f_back
    file = os.path.relpath(str(using.f_globals.get("__file__", "a module")))
    frame = using.f_back
    while frame is not None:
        holder: Any = frame.f_locals.get("self")
        # Its own type: proxies claim to be what they stand for
        if issubclass(type(holder), pytest.Collector):
            if not _is_loaded(manager := holder.config.pluginmanager):
                raise pytest.Collector.CollectError(_sentence(file, manager))
            return
        if issubclass(type(holder), pytest.PytestPluginManager):
            # Also if it is loaded: with -p no:isolate it leaves again when the run is configured
            _guard(holder, file)
            return
        frame = frame.f_back


def _is_loaded(manager: pytest.PytestPluginManager) -> bool:
    module = sys.modules.get(_PLUGIN)
    return module is not None and manager.is_registered(module)


def _sentence(file: str, manager: pytest.PytestPluginManager) -> str:
    why = "is switched off by -p no:isolate" if is_switched_off(manager) else "is not loaded"
    return (
        f"{file} uses isolate, and the plugin {why}: tests that ask for isolation would run on the"
        " machine itself; run pytest -p isolate, or to run them plain pytest -p isolate"
        " --isolate-off"
    )


def _guard(manager: pytest.PytestPluginManager, file: str) -> None:
    """Look again when all is collected: a conftest (or plugin) may use ``isolate`` before it is
    known which plugins there will be.
    """
    name = f"isolate-guard-{file}"
    if not manager.has_plugin(name):
        manager.register(_Guard(manager, file), name)


class _Guard:
    """Stops a run without the plugin that has a test marked with it."""

    def __init__(self, manager: pytest.PytestPluginManager, file: str) -> None:
        self._manager = manager
        self._file = file

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Raise ``pytest.UsageError``: no test has run yet."""
        if _is_loaded(self._manager):
            return
        marked = next((item for item in session.items if item.get_closest_marker("isolate")), None)
        if marked is not None:
            raise pytest.UsageError(f"{marked.nodeid}: {_sentence(self._file, self._manager)}")
