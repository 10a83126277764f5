"""``python -m pantry DIRECTORY``: serve a directory until stopped; says ``ready PORT`` once it
listens.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from pantry.server import Server
from pantry.store import Store


def main() -> None:
    """Serve until nobody comes any more."""
    parser = argparse.ArgumentParser(
        prog="pantry", description="Serve a directory's keys and values over TCP."
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--idle",
        type=float,
        default=3600,
        help="leave when nobody has connected for so many seconds",
    )
    given = parser.parse_args()
    with closing(Store(given.directory)) as store, Server(store, given.host, given.port) as server:
        print(f"ready {server.port}", flush=True)  # noqa: T201 - the one line that daemon.start() waits for
        server.serve_until_idle(given.idle)


if __name__ == "__main__":
    main()
