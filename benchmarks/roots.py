"""What another root costs: ``python benchmarks/roots.py [--megabytes N] [--rounds N]``.

An image of so many megabytes of this machine's ``/usr`` is unpacked, compressed by gzip and not,
beside umoci where it is installed, GNU tar, and a plain copy of as many bytes: the disk's speed.
Then empty isolated tests run on the machine's own root and on that one, in turn.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pytest_isolate._images import images

_HERE = Path(__file__).parent
_TESTS, _LEFT_OUT = 200, 20
_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def make_layer(path: Path, size: int) -> int:
    """Write a tar archive of files of /usr, up to so many bytes. Returns how many files."""
    files = 0
    with tarfile.open(path, "w") as archive:
        for directory, _, names in os.walk("/usr"):
            for name in names:
                if archive.offset > size:
                    return files
                if os.access(place := f"{directory}/{name}", os.R_OK):
                    archive.add(place, recursive=False)
                    files += 1
    return files


def make_layout(directory: Path, layer: Path, *, packed: bool) -> None:
    """Put an image of one layer there, with the tag ``it``."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    data = layer.read_bytes()
    diff_id = f"sha256:{hashlib.sha256(data).hexdigest()}"
    rootfs = {"type": "layers", "diff_ids": [diff_id]}
    config = {"os": "linux", "architecture": _MACHINE, "rootfs": rootfs}
    media = "application/vnd.oci.image"
    kind = f"{media}.layer.v1.tar{'+gzip' if packed else ''}"
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": f"{media}.config.v1+json", **put(json.dumps(config).encode())},
        "layers": [{"mediaType": kind, **put(gzip.compress(data, 6) if packed else data)}],
    }
    described = put(json.dumps(manifest).encode())
    described |= {
        "mediaType": f"{media}.manifest.v1+json",
        "annotations": {"org.opencontainers.image.ref.name": "it"},
    }
    index = {"schemaVersion": 2, "manifests": [described]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _ours(layout: Path, target: Path) -> None:
    target.mkdir()
    with images.opened("oci", str(layout), "it", str(target.parent)) as image:
        image.unpack(str(target))


def _umoci(layout: Path, target: Path) -> None:
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    command = ["umoci", "unpack", *rootless, "--image", f"{layout}:it", str(target)]
    subprocess.run(command, check=True, capture_output=True)


def _tar(layer: Path, target: Path) -> None:
    target.mkdir()
    subprocess.run(["tar", "--extract", "--file", layer, "--directory", target], check=True)


def _copy(layer: Path, target: Path) -> None:
    target.mkdir()
    with layer.open("rb") as source, (target / "copy").open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)


def _processor() -> float:
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return sum(each.ru_utime + each.ru_stime for each in (own, children))


def unpacking(work: Path, size: int, rounds: int) -> Path:
    """Measure and print how fast an image is unpacked. Returns a tree that was."""
    files = make_layer(layer := work / "layer.tar", size)
    make_layout(work / "gzip", layer, packed=True)
    make_layout(work / "plain", layer, packed=False)
    ways: dict[str, Callable[[Path], None]] = {
        "copied": lambda target: _copy(layer, target),
        "GNU tar": lambda target: _tar(layer, target),
        "plain layer": lambda target: _ours(work / "plain", target),
        "gzip layer": lambda target: _ours(work / "gzip", target),
    }
    if shutil.which("umoci"):
        ways["umoci, gzip layer"] = lambda target: _umoci(work / "gzip", target)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            target = work / "target"
            began, used = time.perf_counter(), _processor()
            way(target)
            found[name].append((time.perf_counter() - began, _processor() - used))
            shutil.rmtree(target)
    megabytes = layer.stat().st_size / 1e6
    print(f"{megabytes:.0f} MB in {files} files; medians of {rounds} rounds")
    for name, times in found.items():
        wall, used = (statistics.median(each[at] for each in times) for at in (0, 1))
        print(f"{name:18} {wall:6.2f} s, processor {used:6.2f} s: {megabytes / wall:6.0f} MB/s")
    _ours(work / "plain", work / "root")
    return work / "root"


def tests(work: Path, root: Path, rounds: int) -> None:
    """Measure and print what a test takes on either root."""
    module = work / "test_empty.py"
    module.write_text("".join(f"def test_{number}(): pass\n" for number in range(_TESTS)))
    found: dict[str, list[float]] = {"/": [], str(root): []}
    for _ in range(rounds):
        for rootfs, times in found.items():
            stamps = work / "stamps"
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p"]
            command += [
                "isolate",
                "-p",
                "plugins.measure",
                "--isolate-all",
                f"--isolate-rootfs={rootfs}",
            ]
            environment = os.environ | {
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTHONPATH": str(_HERE),
                "ISOLATE_BENCH_STAMPS": str(stamps),
            }
            subprocess.run(
                [*command, module], check=True, env=environment, cwd=work, capture_output=True
            )
            at = json.loads(stamps.read_text())["stamps"][_LEFT_OUT:]
            times.append(statistics.median(b - a for a, b in itertools.pairwise(at)) * 1e3)
    own, other = found.values()
    ratios = [b / a for a, b in zip(own, other, strict=True)]
    print(f"{_TESTS} empty tests; ms a test, median of {rounds} rounds")
    print(
        f"on / {statistics.median(own):.2f}, on the image {statistics.median(other):.2f}, ", end=""
    )
    print(f"ratio {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", default=None, help="a directory on the disk to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        root = unpacking(Path(work), arguments.megabytes * 10**6, arguments.rounds)
        tests(Path(work), root, arguments.rounds)


if __name__ == "__main__":
    main()
