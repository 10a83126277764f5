"""Whether what is installed is whole: the distribution pytest-isolate, another project, writes into
the same package.
"""

from __future__ import annotations

import importlib.metadata
import sys

import pytest

_OTHER = "pytest-isolate"
# What it was installed from (an index, a file, a clone) is not known here
_AGAIN = (
    "install pytest-isolate-ns again from where you had it: python -m pip install --force-reinstall"
    " --no-deps NAME-PATH-OR-URL"
)


def check() -> None:
    """Raise ``pytest.UsageError`` where the other project is installed too, whichever was last, or
    took files with it when it went.
    """
    try:
        version = importlib.metadata.version(_OTHER)
    except importlib.metadata.PackageNotFoundError:
        if hasattr(sys.modules["pytest_isolate"], "Violation"):
            return
        raise pytest.UsageError(
            "the package pytest_isolate is not whole, its __init__.py is not that of"
            f" pytest-isolate-ns (`pip uninstall {_OTHER}` takes it away): {_AGAIN}"
        ) from None
    raise pytest.UsageError(
        f"the other project {_OTHER} {version} is installed beside pytest-isolate-ns, and both"
        f" install the package pytest_isolate: python -m pip uninstall -y {_OTHER}"
        f" pytest-isolate-ns, and {_AGAIN}"
    )
