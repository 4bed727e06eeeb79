#!/usr/bin/env python3
"""Set up libtorch for the feature `train`, from PyPI's wheels (x86-64 Linux; pip and nothing else).

PyPI's torch is built for CUDA; its CPU parts, and the two CUDA libraries that they link to, are
enough for training on the CPU and take 460 MB instead of several GB. Downloads 530 MB once.

    python3 scripts/setup_libtorch.py [DESTINATION]

DESTINATION is `$XDG_CACHE_HOME/gennape/libtorch-<version>` unless given (`~/.cache` for an unset
XDG_CACHE_HOME). Cargo finds it through `.cargo/config.toml`, which git ignores and this script
writes unless there is one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

VERSION = "2.13.0"  # the one that the crate torch-sys binds to
WHEELS = (f"torch=={VERSION}", "nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*")
PLATFORMS = ("manylinux_2_28", "manylinux_2_25", "manylinux2014", "manylinux_2_17")
TORCH_LIBRARIES = ("libc10.so", "libtorch_cpu.so", "libgomp.so.1")
CUDA_LIBRARIES = ("libcudart.so.13", "libcupti.so.13")
CARGO_CONFIG = Path(__file__).resolve().parent.parent / ".cargo/config.toml"


def default_destination() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "gennape" / f"libtorch-{VERSION}"


def is_ready(destination: Path) -> bool:
    stamp = destination / "build-version"
    return stamp.exists() and stamp.read_text().strip() == VERSION


def download(folder: Path) -> list[Path]:
    # torch-sys needs no Python, so any Python's wheel will do.
    target = ["--python-version", "3.11", "--implementation", "cp"]
    for platform in PLATFORMS:
        target += ["--platform", f"{platform}_x86_64"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, *target, "--dest", str(folder), *WHEELS], check=True)
    return list(folder.glob("*.whl"))


def place(name: str) -> Path | None:
    """Where a wheel's member belongs inside libtorch, or None where it isn't needed."""
    path = PurePosixPath(name)
    if path.is_relative_to("torch/include"):
        return Path(path.relative_to("torch"))
    wanted = TORCH_LIBRARIES if path.parent == PurePosixPath("torch/lib") else CUDA_LIBRARIES
    return Path("lib") / path.name if path.name in wanted else None


def unpack(wheel: Path, libtorch: Path) -> None:
    with zipfile.ZipFile(wheel) as members:
        for member in members.infolist():
            target = None if member.is_dir() else place(member.filename)
            if target is None:
                continue
            (libtorch / target).parent.mkdir(parents=True, exist_ok=True)
            with members.open(member) as source, open(libtorch / target, "wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)


def install(destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    # Beside the destination, so that the last step is a rename and never leaves half a libtorch.
    with tempfile.TemporaryDirectory(dir=destination.parent) as temporary:
        folder = Path(temporary)
        libtorch = folder / "libtorch"
        for wheel in download(folder):
            unpack(wheel, libtorch)
        # The wheel's own libtorch.so only adds libtorch_cuda.so, which is left out.
        (libtorch / "lib/libtorch.so").symlink_to("libtorch_cpu.so")
        (libtorch / "build-version").write_text(f"{VERSION}\n")
        if destination.exists():
            shutil.rmtree(destination)
        libtorch.rename(destination)


def configure_cargo(destination: Path) -> None:
    if CARGO_CONFIG.exists():
        return
    CARGO_CONFIG.parent.mkdir(exist_ok=True)
    CARGO_CONFIG.write_text(f'[env]\nLIBTORCH = "{destination}"\n')
    print(f"wrote {CARGO_CONFIG}", file=sys.stderr)


def main() -> None:
    destination = Path(sys.argv[1]).resolve() if sys.argv[1:] else default_destination()
    if not is_ready(destination):
        print(f"downloading libtorch {VERSION} to {destination}", file=sys.stderr)
        install(destination)
    configure_cargo(destination)


if __name__ == "__main__":
    main()
