"""The IDX format of the MNIST family: a magic number, the sizes, then raw bytes."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import LandscapeError

_UINT8 = 0x08  # the type code that the MNIST family uses


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped if its name ends in `.gz`.

    Raises:
        LandscapeError: another magic number, or fewer or more bytes than the header promises.
    """
    content = _content(path)
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise LandscapeError(
            f"{path} is truncated: expected a header of {header} bytes, found {len(content)} bytes in all. "
            "Copy or download it again."
        )
    magic, *sizes = struct.unpack(f">{1 + dimensions}I", content[:header])
    expected = (_UINT8 << 8) | dimensions
    if magic != expected:
        raise LandscapeError(
            f"{path} starts with the magic number 0x{magic:08x}; expected 0x{expected:08x}, an IDX file of unsigned "
            f"bytes with {dimensions} dimension(s). Check that images and labels are not swapped and that the file is "
            "unpacked."
        )
    promised, found = math.prod(sizes), len(content) - header
    if promised != found:
        raise LandscapeError(
            f"{path} is {'truncated' if found < promised else 'too long'}: its header promises sizes {tuple(sizes)}, "
            f"{promised} bytes, but {found} follow. Copy or download it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(sizes)


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise LandscapeError(
            f"{path} is not a whole gzip file ({error}). Copy or download it again, or unpack it and drop the .gz."
        ) from error
