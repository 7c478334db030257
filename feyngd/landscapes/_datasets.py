"""Real images: the bundled digits, and readers of the published CIFAR-10 and Fashion-MNIST files.

Nothing is ever downloaded. Images come as float32 in [0, 1], one row per example, with integer labels.
"""

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._arguments import check_integer
from ..errors import ArgumentError, LandscapeError
from ._idx import read_idx
from ._restricted_pickle import load_arrays

Images = NDArray[np.float32]
Labels = NDArray[np.int32]


def digits(limit: int | None = None) -> tuple[Images, Labels]:
    """Scikit-learn's bundled handwritten digits.

    Args:
        limit: how many images to return, from the first; all 1,797 if `None`.

    Returns:
        `(images, labels)` of shapes (M, 8, 8), float32 in [0, 1], and (M,), int32 from 0 to 9.

    Raises:
        ArgumentError: `limit` is not an integer from 1 to 1,797.

    Examples:
        >>> from feyngd.landscapes import digits
        >>> images, labels = digits(limit=5)
        >>> images.shape, labels.tolist()
        ((5, 8, 8), [0, 1, 2, 3, 4])
    """
    from sklearn.datasets import load_digits  # here, because importing scikit-learn takes a second

    bunch = load_digits()
    total = len(bunch.target)
    if limit is not None:
        try:
            limit = check_integer("limit", limit, least=1)
        except ArgumentError as error:
            raise ArgumentError(
                f"limit must be an integer from 1 to {total}, the number of digits, or None: {error}"
            ) from error
        if limit > total:
            raise ArgumentError(f"limit must be an integer from 1 to {total}, the number of digits; got {limit}.")
    images = np.asarray(bunch.images[:limit], dtype=np.float32) / np.float32(16)  # the file's grey levels are 0 to 16
    return images, np.asarray(bunch.target[:limit], dtype=np.int32)


def load_cifar10(folder: str | PathLike[str], split: str = "train") -> tuple[Images, Labels]:
    """Read CIFAR-10 from its published "python version" files.

    The files are pickles; they are read by an unpickler that builds arrays of numbers and refuses everything else.

    Args:
        folder: the folder with `data_batch_1` … `data_batch_5` and `test_batch`, or the one that holds
            `cifar-10-batches-py`.
        split: `"train"` (the five data batches, in order) or `"test"`.

    Returns:
        `(images, labels)` of shapes (M, 32, 32, 3), float32 in [0, 1], red-green-blue, and (M,), int32 from 0 to 9.

    Raises:
        LandscapeError: a file is missing, truncated, or not in the published format.
        ArgumentError: an unknown split, or a folder that is not a path.

    References:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    names = _files(split, {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)})
    base = _folder(folder)
    if (base / "cifar-10-batches-py").is_dir():
        base = base / "cifar-10-batches-py"
    batches = [_cifar_batch(base / name) for name in names]
    images = np.concatenate([images for images, _ in batches])
    return images, np.concatenate([labels for _, labels in batches])


def _cifar_batch(path: Path) -> tuple[Images, Labels]:
    if not path.is_file():
        raise LandscapeError(
            f"There is no file {path}. CIFAR-10's python version has data_batch_1 … data_batch_5 and test_batch: "
            "unpack cifar-10-python.tar.gz and give the folder it makes."
        )
    batch = load_arrays(path)
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise LandscapeError(
            f"{path} is not a CIFAR-10 batch: expected a dictionary with the keys b'data' and b'labels'. Use the "
            "python version of CIFAR-10 (CIFAR-100 has other keys)."
        )
    data = batch[b"data"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        given = f"{data.dtype}{list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise LandscapeError(f"{path}: expected b'data' to be uint8[M, 3072]; found {given}. Unpack the archive again.")
    pixels = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _scaled(pixels), _checked_labels(batch[b"labels"], len(data), path)


def load_fashion_mnist(folder: str | PathLike[str], split: str = "train") -> tuple[Images, Labels]:
    """Read Fashion-MNIST from its published IDX files, gzipped or not.

    Args:
        folder: the folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
            `t10k-labels-idx1-ubyte`, each as it is or with `.gz`. A plain file is preferred to a gzipped one.
        split: `"train"` or `"test"` (the `t10k` files).

    Returns:
        `(images, labels)` of shapes (M, 28, 28), float32 in [0, 1], and (M,), int32 from 0 to 9.

    Raises:
        LandscapeError: a file is missing, truncated, or not in the published format, or the label count is wrong.
        ArgumentError: an unknown split, or a folder that is not a path.

    References:
        Xiao, Rasul and Vollgraf, "Fashion-MNIST", 2017.
    """
    (prefix,) = _files(split, {"train": ("train",), "test": ("t10k",)})
    base = _folder(folder)
    image_path = _plain_or_gzipped(base, f"{prefix}-images-idx3-ubyte")
    label_path = _plain_or_gzipped(base, f"{prefix}-labels-idx1-ubyte")
    pixels = read_idx(image_path, dimensions=3)
    if pixels.shape[1:] != (28, 28):
        raise LandscapeError(f"{image_path}: expected images of 28×28 pixels; found {pixels.shape[1:]}.")
    return _scaled(pixels), _checked_labels(read_idx(label_path, dimensions=1), len(pixels), label_path)


def _plain_or_gzipped(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise LandscapeError(
        f"There is no file {folder / name}, with or without .gz. Put the four published Fashion-MNIST files in one "
        "folder and give that folder."
    )


def _folder(folder: str | PathLike[str]) -> Path:
    if not isinstance(folder, str | PathLike):
        raise ArgumentError(f"folder is a path, text or a pathlib.Path; got {folder!r}.")
    return Path(folder)


def _files(split: str, names: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    if not isinstance(split, str) or split not in names:
        raise ArgumentError(f"Unknown split {split!r}; the splits are {', '.join(map(repr, names))}.")
    return names[split]


def _scaled(pixels: NDArray[np.uint8]) -> Images:
    return np.ascontiguousarray(pixels, dtype=np.float32) / np.float32(255)


def _checked_labels(labels: object, count: int, path: Path) -> Labels:
    try:
        given = np.asarray(labels)
    except ValueError as error:
        raise LandscapeError(f"{path}: the labels are not a list of integers. Unpack or copy it again.") from error
    if given.shape != (count,):
        raise LandscapeError(f"{path}: expected {count} labels, one per image; found shape {given.shape}.")
    if count == 0:
        raise LandscapeError(f"{path} holds no images; the published files hold thousands. Unpack or copy it again.")
    if given.dtype.kind not in "iu" or given.min() < 0 or given.max() > 9:
        raise LandscapeError(f"{path}: expected integer labels from 0 to 9; found others. Unpack or copy it again.")
    return given.astype(np.int32)
