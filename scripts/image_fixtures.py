#!/usr/bin/env python3
"""Write tests/fixtures/images: small sets of images for tests.

    apt-get install dataset-fashion-mnist
    python3 scripts/image_fixtures.py

`fashion-mnist` holds the first 160 training and 40 test images of each class of Fashion-MNIST, in
their order, as gzipped IDX files, with its notice (MIT). The NPZ files are NumPy's own, of images
whose pixels follow from their position.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np

SOURCE = Path("/usr/share/datasets/fashion-mnist")
NOTICE = Path("/usr/share/doc/dataset-fashion-mnist/copyright")
TARGET = Path(__file__).resolve().parent.parent / "tests/fixtures/images"


def read(path: Path, rank: int) -> np.ndarray:
    content = gzip.decompress(path.read_bytes())
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def write(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
    with gzip.GzipFile(path, "wb", mtime=0) as out:
        out.write(header + array.tobytes())


def fashion_mnist() -> None:
    folder = TARGET / "fashion-mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for part, most in (("train", 160), ("t10k", 40)):
        images = read(SOURCE / f"{part}-images-idx3-ubyte.gz", 3)
        labels = read(SOURCE / f"{part}-labels-idx1-ubyte.gz", 1)
        chosen = np.sort(np.concatenate([np.flatnonzero(labels == c)[:most] for c in range(10)]))
        write(folder / f"{part}-images-idx3-ubyte.gz", images[chosen])
        write(folder / f"{part}-labels-idx1-ubyte.gz", labels[chosen])
    notice = NOTICE.read_text()
    licence = notice.split("License: Expat\n")[-1]
    lines = ("" if line.strip() == "." else line.strip() for line in licence.splitlines())
    (folder / "LICENSE").write_text(
        "A part of Fashion-MNIST (https://github.com/zalandoresearch/fashion-mnist), MIT licence.\n"
        "Copyright (c) 2017 Zalando SE, https://tech.zalando.com\n\n" + "\n".join(lines) + "\n"
    )


def arrays() -> None:
    # Pixel = 100 · image + 20 · row + 5 · column + channel, modulo 256.
    n, h, w, c = np.meshgrid(*(np.arange(k) for k in (6, 4, 3, 3)), indexing="ij")
    images = ((100 * n + 20 * h + 5 * w + c) % 256).astype(np.uint8)
    labels = np.arange(6) % 3
    np.savez_compressed(
        TARGET / "keras.npz",
        x_train=images[:4], y_train=labels[:4], x_test=images[4:], y_test=labels[4:] % 2,
    )  # fmt: skip
    np.savez(
        TARGET / "medmnist.npz",
        train_images=images[..., 0], train_labels=labels[:, None].astype(np.uint8),
    )  # fmt: skip


if __name__ == "__main__":
    if not SOURCE.is_dir():
        sys.exit(f"{SOURCE} is missing\nhint: apt-get install dataset-fashion-mnist")
    fashion_mnist()
    arrays()
