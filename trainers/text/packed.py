"""Arrays in JSON, bit for bit: raw bytes in base64. No compression, whose bytes change between versions."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)


def pack(array: NDArray[Any]) -> str:
    """The array's bytes, little-endian."""
    return base64.b64encode(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).decode()


def unpack(text: str, dtype: type[_Scalar]) -> NDArray[_Scalar]:
    """The packed array (n,). Raises ValueError for an invalid text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).astype(dtype)


def pack_mask(mask: NDArray[np.bool_]) -> str:
    """One bit per element."""
    return pack(np.packbits(mask))


def unpack_mask(text: str, size: int) -> NDArray[np.bool_]:
    """The mask (size,). Raises ValueError if the size differs."""
    bits = unpack(text, np.uint8)
    if len(bits) != (size + 7) // 8:
        raise ValueError(f"a mask of {len(bits)} bytes; expected one of {size} bits")
    return np.unpackbits(bits, count=size).astype(np.bool_)
