"""The readers of real datasets, on small files in the published formats."""

import gzip
import pickle
import struct
from functools import partial

import numpy as np
import pytest

from feyngd.errors import ArgumentError, LandscapeError
from feyngd.landscapes import digits, load_cifar10, load_fashion_mnist

TRAIN = [f"data_batch_{i}" for i in range(1, 6)]

# NumPy's pickle of uint8 [[7, 9]] as Python 2 wrote it: byte strings, protocol 2, numpy.core
PYTHON2_ARRAY = (
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01K\x01K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89U\x02\x07\x09tb"
)


def cifar_pixels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(count, 3072), dtype=np.uint8)


def write_cifar(folder, count=3, protocol=2, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate([*TRAIN, "test_batch"]):
        batch = {b"data": cifar_pixels(count, seed), b"labels": [(seed + i) % 10 for i in range(count)]}
        batch |= {b"batch_label": name.encode(), b"filenames": [b"cat.png"] * count}
        batch |= {key.encode(): value for key, value in changes.items()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    return folder


def idx(array):
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_fashion(folder, count=4, zipped=False, labels=None, pixels=None):
    pixels = np.random.default_rng(0).integers(0, 256, size=(count, 28, 28)) if pixels is None else pixels
    labels = np.arange(count) % 10 if labels is None else np.asarray(labels)
    for prefix in ("train", "t10k"):
        for name, array in (("images-idx3-ubyte", pixels), ("labels-idx1-ubyte", labels)):
            content = idx(array)
            path = folder / f"{prefix}-{name}{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)
    return pixels, labels


# --- digits --------------------------------------------------------------------------------------


def test_digits_are_all_there():
    images, labels = digits()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert labels.dtype == np.int32
    assert set(labels.tolist()) == set(range(10))


def test_a_limit_takes_the_first_digits():
    images, labels = digits(limit=7)
    np.testing.assert_array_equal(images, digits()[0][:7])
    assert labels.shape == (7,)


@pytest.mark.parametrize("limit", [0, -3, 1798, 2.5, True])
def test_a_limit_outside_the_digits_is_refused(limit):
    with pytest.raises(ArgumentError, match="1 to 1797"):
        digits(limit)


# --- CIFAR-10 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_cifar_images_are_scaled_and_put_colours_last(tmp_path, protocol):
    write_cifar(tmp_path, protocol=protocol)
    images, labels = load_cifar10(tmp_path, "test")
    assert images.shape == (3, 32, 32, 3)
    assert images.dtype == np.float32
    raw = cifar_pixels(3, seed=5)
    assert images[1, 4, 6, 2] == np.float32(raw[1, 2 * 1024 + 4 * 32 + 6]) / np.float32(255)
    assert labels.tolist() == [5, 6, 7]
    assert labels.dtype == np.int32


def test_the_cifar_train_split_joins_five_batches_in_order(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-py", count=2)
    images, labels = load_cifar10(tmp_path)
    assert images.shape == (10, 32, 32, 3)
    assert labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_a_batch_pickled_by_python_2_is_read(tmp_path):
    """The published files come from Python 2; the error below shows that their array was rebuilt."""
    write_cifar(tmp_path)
    (tmp_path / "test_batch").write_bytes(b"\x80\x02}(U\x04data" + PYTHON2_ARRAY + b"U\x06labels]K\x03au.")
    with pytest.raises(LandscapeError, match=r"found uint8\[1, 2\]"):
        load_cifar10(tmp_path, "test")


def test_a_missing_cifar_file_says_which(tmp_path):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(LandscapeError, match=r"data_batch_4.*unpack cifar-10-python"):
        load_cifar10(tmp_path)
    load_cifar10(tmp_path, "test")


@pytest.mark.parametrize("kept", [0, 1, 40, 5000, -1])
def test_a_truncated_cifar_file_says_so(tmp_path, kept):
    path = write_cifar(tmp_path) / "test_batch"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(LandscapeError, match="test_batch is truncated"):
        load_cifar10(tmp_path, "test")


class Malicious:
    def __init__(self, call, *args):
        self.reduced = (call, args)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    "payload",
    [
        partial(Malicious, exec, "raise SystemExit"),
        partial(Malicious, getattr, "a", "upper"),
        partial(Malicious, np.load, "weights.npy"),
        partial(np.array, [None, 1], dtype=object),
    ],
)
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path, payload):
    write_cifar(tmp_path, extra=payload())
    with pytest.raises(LandscapeError, match="not a published data file"):
        load_cifar10(tmp_path, "test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [1, 2]}, "expected 3 labels"),
        ({"labels": [1, 2, 10]}, "from 0 to 9"),
        ({"labels": [1.0, 2.0, 3.0]}, "integer labels"),
        ({"labels": [1, [2], 3]}, "not a list of integers"),
        ({"data": cifar_pixels(3)[:, :1024]}, r"uint8\[M, 3072\]; found uint8\[3, 1024\]"),
        ({"data": cifar_pixels(3).astype(float)}, "found float64"),
        ({"data": "pixels"}, "found str"),
        ({"data": cifar_pixels(0), "labels": []}, "no images"),
    ],
)
def test_cifar_data_must_fit_together(tmp_path, changes, message):
    write_cifar(tmp_path, **changes)
    with pytest.raises(LandscapeError, match=message):
        load_cifar10(tmp_path, "test")


def test_another_pickle_is_not_a_cifar_batch(tmp_path):
    (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": 1, b"fine_labels": []}))
    with pytest.raises(LandscapeError, match="b'labels'"):
        load_cifar10(tmp_path, "test")


@pytest.mark.parametrize("load", [load_cifar10, load_fashion_mnist])
def test_an_unknown_split_lists_the_known_ones(tmp_path, load):
    with pytest.raises(ArgumentError, match="'train', 'test'"):
        load(tmp_path, "validation")


# --- Fashion-MNIST -------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("split", ["train", "test"])
def test_fashion_images_are_read_plain_and_gzipped(tmp_path, zipped, split):
    pixels, labels = write_fashion(tmp_path, zipped=zipped)
    images, read = load_fashion_mnist(str(tmp_path), split)
    np.testing.assert_array_equal(images, pixels.astype(np.float32) / np.float32(255))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(read, labels)
    assert read.dtype == np.int32


def test_a_missing_fashion_file_says_which(tmp_path):
    write_fashion(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(LandscapeError, match=r"t10k-labels-idx1-ubyte, with or without \.gz"):
        load_fashion_mnist(tmp_path, "test")
    load_fashion_mnist(tmp_path, "train")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_fashion_file_says_so(tmp_path, zipped, kept):
    write_fashion(tmp_path, zipped=zipped)
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' if zipped else ''}"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(LandscapeError, match=r"train-images-idx3-ubyte.*(truncated|not a whole gzip)"):
        load_fashion_mnist(tmp_path)


def test_bytes_after_the_end_are_refused(tmp_path):
    write_fashion(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(LandscapeError, match="too long"):
        load_fashion_mnist(tmp_path)


def test_a_wrong_magic_number_says_what_was_expected(tmp_path):
    write_fashion(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes((tmp_path / "train-labels-idx1-ubyte").read_bytes() + bytes(20))
    with pytest.raises(LandscapeError, match="0x00000801; expected 0x00000803"):
        load_fashion_mnist(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1, 2]}, "expected 4 labels"),
        ({"labels": [0, 1, 2, 10]}, "from 0 to 9"),
        ({"pixels": np.zeros((4, 28, 27))}, "28×28"),
        ({"count": 0}, "no images"),
    ],
)
def test_fashion_data_must_fit_together(tmp_path, changes, message):
    write_fashion(tmp_path, **changes)
    with pytest.raises(LandscapeError, match=message):
        load_fashion_mnist(tmp_path)
