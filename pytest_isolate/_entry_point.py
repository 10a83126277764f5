"""What pytest loads by the name ``isolate``: it looks at the installation, and asks for the plugin.

PYTEST_DONT_REWRITE.

The other project pytest-isolate installs a package of this name with ``__init__`` and ``plugin`` of
its own. Where it was installed last, its files are in the place of ours and this module is the
first of ours that runs: it relies on none of these two.
"""

from __future__ import annotations

import pytest

from pytest_isolate import _installation

#: Loaded under its own name, which is the same whoever asks for it: pytest refuses a plugin under a
#: second one.
pytest_plugins = ["pytest_isolate.plugin"]


@pytest.hookimpl(tryfirst=True)
def pytest_addoption() -> None:
    """Before the plugin is asked for, and before pytest would stumble over a second one."""
    _installation.check()
