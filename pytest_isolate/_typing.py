"""The marker's type, for type checkers only: never imported at run time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

import pytest

from pytest_isolate._config.internet import Internet
from pytest_isolate._config.layers import Layer
from pytest_isolate._config.network import Network

Size = int | str
Duration = float | str
Markable = TypeVar("Markable", bound="Callable[..., Any] | type")


class IsolateMark(pytest.MarkDecorator):
    """``isolate``, bare or with keywords, wherever a marker may stand."""

    @overload  # type: ignore[override, no-overload-impl]  # narrower than any marker, as those that pytest types itself
    def __call__(self, arg: Markable, /) -> Markable: ...

    # keywords: begin, written by tools/build_docs.py
    @overload
    def __call__(
        self,
        *,
        net: bool | Network | Internet | Literal["host", "deny", "internet"] | None = ...,
        forward: int | str | Sequence[int | str] | None = ...,
        memory: Size | None = ...,
        cpu: float | None = ...,
        cpu_time: Duration | None = ...,
        timeout: Duration | None = ...,
        pids: int | None = ...,
        disk: Size | None = ...,
        files: int | None = ...,
        io_read: Size | None = ...,
        io_write: Size | None = ...,
        fs: Literal["overlay", "readonly", "host"] | None = ...,
        rootfs: str | os.PathLike[str] | None = ...,
        layers: Sequence[str | os.PathLike[str] | Layer] | str | Layer | None = ...,
        fs_allow: Sequence[str | os.PathLike[str]] | str | None = ...,
        fs_hide: Sequence[str | os.PathLike[str]] | str | None = ...,
        bind: Sequence[str | os.PathLike[str]] | str | None = ...,
        hostname: str | None = ...,
        user: str | int | None = ...,
        env: Mapping[str, str | None] | Literal["clean"] | None = ...,
        fixtures: Literal["shared", "fresh"] | Sequence[str] | None = ...,
        scope: Literal["function", "class", "module"] | None = ...,
        serial: bool | None = ...,
        leaks: Literal["error", "warn", "ignore"] | None = ...,
        on_missing: Literal["error", "skip", "warn"] | None = ...,
        profile: str | None = ...,
    ) -> pytest.MarkDecorator:
        """Run the test in namespaces, limits and an overlay of its own.

        Args:
            net: own network, loopback only; host or False: the machine's; deny: attempts to leave
                fail; internet: a way out; Network: hosts
            forward: servers reached at their address: fixtures', others too, or none
            memory: bytes: what the process tree may use, swap included, such as 64M
            cpu: cores: bandwidth quota of the process tree, such as 0.5
            cpu_time: seconds: processor time of the process tree, past which it is killed
            timeout: seconds: wall time of setup, call and teardown inside, such as 250ms or 2m
            pids: processes and threads: how many the process tree may have at once
            disk: bytes: what the test may write to its private file systems, such as 64M
            files: file descriptors: how many a process may have open
            io_read: bytes a second: what the process tree may read from block devices, such as 64M
            io_write: bytes a second: what the process tree may write to block devices, such as 64M
            fs: what / is: overlay, readonly or host
            rootfs: another root directory: a directory, oci:DIR[:TAG], or an archive of docker save
            layers: read-only layers over /, the lowest first
            fs_allow: all that a test may change: patterns such as build/**, and tmp_path
            fs_hide: paths that are not there, such as ~/.ssh or .env
            bind: host paths that stay shared: PATH[:ro] or SRC:DST[:ro]
            hostname: the host name inside
            user: who the test runs as: a name, a uid or 'root'; as the caller by default
            env: variables added, NAME=VALUE, or 'clean'
            fixtures: shared: wider scopes set up once, in pytest; fresh: inside; names: these
                inside
            scope: how many tests share one sandbox
            serial: with --isolate-jobs: nothing else runs beside it
            leaks: what processes left behind are: error, warn or ignore
            on_missing: when this machine cannot give it: error, skip, warn
            profile: 'strict' (see security.md), or a set of these from
                [tool.pytest_isolate.profiles.NAME]

        """

    # keywords: end, of the marker
