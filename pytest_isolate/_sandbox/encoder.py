"""A process in which pyroute2 encodes messages to the kernel, while something else is done."""

from __future__ import annotations

import json
import subprocess
import sys

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._sandbox import bootstrap

_LONGEST = 60.0  # seconds: 0.3 on a quiet machine


class Encoder:
    """One such process, of a module whose ``main`` prints them, and what it said. Raises ``StepFailedError`` when it cannot be started."""

    def __init__(self, module: str) -> None:
        self._messages: list[str] | None = None
        with Step("start", "a helper process, for pyroute2"):
            self._process = subprocess.Popen(
                bootstrap.command(module, [path for path in sys.path if path]),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the process, which is gone when it has said all."""
        return self._process.pid

    def messages(self) -> list[str]:
        """Hexadecimal. Raises ``StepFailedError``."""
        if self._messages is None:
            try:
                printed, complaint = self._process.communicate(timeout=_LONGEST)
            except subprocess.TimeoutExpired as error:
                self.close()
                raise StepFailedError("wait for", f"a helper process, for pyroute2 (at most {_LONGEST:.0f} s)", 110) from error
            if self._process.returncode:
                raise StepFailedError("encode with pyroute2:", complaint.strip().splitlines()[-1], 5)
            self._messages = json.loads(printed)
        return self._messages

    def descriptors(self) -> set[int]:
        """Its pipes, as long as they are open."""
        return {pipe.fileno() for pipe in (self._process.stdout, self._process.stderr) if pipe and not pipe.closed}

    def close(self) -> None:
        """End it, if nobody wanted to know."""
        if self._messages is None and self._process.returncode is None:
            self._process.kill()
            self._process.communicate()
