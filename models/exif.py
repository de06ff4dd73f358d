"""The one piece of EXIF that matters: which way up the picture was taken.

EXIF is a small TIFF file: a byte-order mark, then a directory of 12-byte entries. Everything
else in it (place, time, device, thumbnail) is never looked at and never kept.

References
----------
CIPA DC-008 (Exif 2.32), sections 4.5.2 and 4.6.4.
"""

import struct
from typing import Final

UPRIGHT: Final = 1

_ORIENTATION_TAG: Final = 0x0112
_SHORT: Final = 3
_BYTE_ORDERS: Final = {b"II*\x00": "<", b"MM\x00*": ">"}


def read_orientation(tiff: bytes) -> int:
    """Return the orientation, 1 to 8, or 1 where the block is malformed or does not say.

    Parameters
    ----------
    tiff
        The EXIF block from its byte-order mark on.
    """
    try:
        order = _BYTE_ORDERS[tiff[:4]]
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        # A directory may claim 65,535 entries; unpacking stops at the end of the block.
        for index in range(count):
            entry = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * index)
            if entry[:3] == (_ORIENTATION_TAG, _SHORT, 1):
                return entry[3] if 1 <= entry[3] <= 8 else UPRIGHT
    except (KeyError, struct.error):
        # A broken note about a picture is no reason to refuse the picture.
        return UPRIGHT
    return UPRIGHT


def orientation_block(orientation: int) -> bytes:
    """Return the smallest EXIF block that says nothing but ``orientation``."""
    entry = struct.pack(">HHIHH", _ORIENTATION_TAG, _SHORT, 1, orientation, 0)
    return b"MM\x00*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
