"""The requests by which listening sockets are listed, encoded by pyroute2 in a process
of its own.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys

from pytest_isolate._errors import Step, StepFailedError
from pytest_isolate._sandbox import bootstrap

_LONGEST = 60.0  # seconds: 0.3 on a quiet machine


def requests() -> list[bytes]:
    """Those of ``_linux.diag_requests``. Raises ``StepFailedError``."""
    command = bootstrap.command(
        "pytest_isolate._linux.diag_requests", [path for path in sys.path if path]
    )
    try:
        with Step("start", "a helper process, for pyroute2"):
            found = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_LONGEST,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise StepFailedError(
            "wait for",
            f"a helper process, for pyroute2 (at most {_LONGEST:.0f} s)",
            errno.ETIMEDOUT,
        ) from error
    if found.returncode:
        raise StepFailedError(
            "encode with pyroute2:", found.stderr.strip().splitlines()[-1], errno.EIO
        )
    return [bytes.fromhex(each) for each in json.loads(found.stdout)]
