"""Other plugins that need something of us, or that cannot do their work in a forked child: what is known of them, by name.

docs/plugins.md has the results of running them all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

#: By plugin, as pytest knows it, and fixture: what of their work is lost in a child. One warning a run says so, at the first such test.
_LOST = {
    (
        "benchmark",
        "benchmark",
    ): "pytest-benchmark keeps its measurements in the memory of the process that measures: isolated tests are not in its table",
    (
        "syrupy",
        "snapshot",
    ): "syrupy counts and writes snapshots in the memory of the process that compares: those of isolated tests are compared, "
    "but neither counted nor updated; run --snapshot-update with --isolate-off",
}


def troubles(item: pytest.Item, said: set[str]) -> Iterator[str]:
    """A sentence for everything here that does not work in this test as it does in others; each is said once a run."""
    for text in _found(item):
        if text not in said:
            said.add(text)
            yield f"isolate: {text}"


def _found(item: pytest.Item) -> Iterator[str]:
    for (name, fixture), text in _LOST.items():
        if fixture in getattr(item, "fixturenames", ()) and item.config.pluginmanager.hasplugin(name):
            yield text
    if item.config.getoption("forked", default=False):
        yield "--forked of pytest-forked runs tests in children of its own and loses what isolated ones say: leave it out"
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        yield "gevent has patched threads: greenlets of shared fixtures do not run in a sandbox's copy; fixtures='fresh' starts them inside"
