"""Where pytest's cache and temporary directories are."""

from __future__ import annotations

from pathlib import Path

import pytest


def temporary_base(config: pytest.Config) -> Path | None:
    """Return the base of all ``tmp_path``, made by the parent so that forty children do not make
    forty of them; None with ``-p no:tmpdir``.
    """
    factory: pytest.TempPathFactory | None = getattr(config, "_tmp_path_factory", None)
    return None if factory is None else factory.getbasetemp()


def known_temporary_base(config: pytest.Config) -> Path | None:
    """Return it if it is there; there is no public way to ask without having it made."""
    factory: pytest.TempPathFactory | None = getattr(config, "_tmp_path_factory", None)
    return None if factory is None else factory._basetemp


def keeps_failed_temporary(config: pytest.Config) -> bool:
    """Whether pytest's retention policy keeps the ``tmp_path`` of a failing test."""
    return config.getini("tmp_path_retention_policy") in {"all", "failed"}


def cache_directory(config: pytest.Config) -> Path | None:
    """Where pytest's cache is: the ini value is public, the rules by which it becomes a path are
    not.
    """
    directory: Path | None = getattr(getattr(config, "cache", None), "_cachedir", None)
    return directory
