"""GNU's OpenMP (libgomp, as scikit-learn, PyTorch and others bring it along) and forks.

It keeps the threads of a parallel region for the next one. They are not in a forked child, which
waits for them at its own first region for ever. OpenMP 5.0 has a word for letting go of them, which
pytest says before it forks; both start others when they need some. LLVM's and Intel's OpenMP, and
OpenBLAS, have handlers of forks.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

from pytest_isolate._errors import Step

_LIBRARY = re.compile(r"(/[^\n]*/libgomp[^/\n]*\.so[^/\n]*)$", re.MULTILINE)
_SOFT = 1  # omp_pause_soft


class OpenMP:
    """Whatever copies of libgomp this process has loaded."""

    def __init__(self) -> None:
        self._modules = 0  # how many Python had when we looked: a library comes with one
        self._pauses: dict[str, Callable[[int], int]] = {}

    def pause(self) -> None:
        """In pytest, before a fork: have the main thread's team of each go."""
        if len(sys.modules) != self._modules:
            self._look()
        for pause in self._pauses.values():
            pause(_SOFT)

    def _look(self) -> None:
        with (
            Step("read", "/proc/self/maps"),
            open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file,
        ):
            found = set(_LIBRARY.findall(file.read()))
        for path in found - self._pauses.keys():
            import ctypes  # noqa: PLC0415 - where there is one

            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            if hasattr(library, "omp_pause_resource_all"):  # of GCC 9 and later
                self._pauses[path] = library.omp_pause_resource_all
        self._modules = len(sys.modules)
