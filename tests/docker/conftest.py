"""The daemon, once for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import dockerd
import pytest


@pytest.fixture(scope="session")
def daemon() -> Iterator[dockerd.Docker]:
    """One with an image of the plugin. Nothing stays of it, also where it could not be made."""
    made = dockerd.Docker()
    try:
        made.start()
        yield made
    finally:
        made.stop()
