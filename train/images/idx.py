"""The content of a gzipped idx file, the format of MNIST."""

import gzip

import numpy as np
import numpy.typing as npt

__all__ = ["to_idx_gz"]


def to_idx_gz(array: npt.NDArray[np.uint8]) -> bytes:
    """Return a gzipped idx file of an array of bytes; it has no time stamp.

    Two zero bytes, the type (8: bytes), the number of dimensions, each dimension as 4 bytes, the most significant
    first, and then the array in row-major order (Y. LeCun, http://yann.lecun.com/exdb/mnist/).

    Parameters
    ----------
    array : uint8, any shape of 1 to 255 dimensions
    """
    head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(head + array.tobytes(), mtime=0)
