"""Whether what is installed is whole: the distribution pytest-isolate, another project, writes into
the same package.
"""

from __future__ import annotations

import importlib.metadata
import sys

import pytest

_OTHER = "pytest-isolate"


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
            f" pytest-isolate-ns (`pip uninstall {_OTHER}` takes it away): python -m pip install"
            " --force-reinstall --no-deps pytest-isolate-ns"
        ) from None
    raise pytest.UsageError(
        f"the other project {_OTHER} {version} is installed beside pytest-isolate-ns, and both"
        f" install the package pytest_isolate: python -m pip uninstall -y {_OTHER}"
        " pytest-isolate-ns && python -m pip install pytest-isolate-ns"
    )
