"""What the builder needs of ``signal``, whose own module makes enumerations of all numbers and so
imports half a megabyte.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from signal import SIG_IGN, SIGCHLD, SIGINT, SIGKILL, pidfd_send_signal, signal
else:
    from _signal import SIG_IGN, SIGCHLD, SIGINT, SIGKILL, pidfd_send_signal, signal

__all__ = ["SIGCHLD", "SIGINT", "SIGKILL", "SIG_IGN", "pidfd_send_signal", "signal"]
