"""The rules of a project, whose reader is imported for projects that have some."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_isolate._config import pyproject

if TYPE_CHECKING:
    from pytest_isolate._config.rules import Rules


def of(config: pytest.Config) -> Rules | None:
    """Return the rules of the project, None without any. Raises ``pytest.UsageError``."""
    if not pyproject.is_there(path := config.rootpath / "pyproject.toml"):
        return None
    from pytest_isolate._config.rules import Rules  # noqa: PLC0415 - for projects with some

    try:
        pyproject.check(path)
        found = Rules(config.rootpath)
    except ValueError as error:
        raise pytest.UsageError(f"isolate: {error}") from None
    return found if found.all else None
