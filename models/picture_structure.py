"""What reading a file's structure yields, before a single pixel is decoded."""

from dataclasses import dataclass

from verifier.errors import UnreadableImageError


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """How large a picture may be; checked from its header, before anything is allocated."""

    max_bytes: int
    max_pixels: int
    max_side_px: int

    def check_bytes(self, size: int) -> None:
        """Raise `UnreadableImageError` ``empty`` or ``too_many_bytes``."""
        if size == 0:
            raise UnreadableImageError("empty", "0 bytes; wanted a JPEG or PNG picture")
        if size > self.max_bytes:
            raise UnreadableImageError(
                "too_many_bytes", f"{size} bytes; at most {self.max_bytes} are accepted"
            )

    def check_dimensions(self, width: int, height: int) -> None:
        """Raise ``corrupt`` (a side of 0), ``dimension_too_large`` or ``too_many_pixels``."""
        if width < 1 or height < 1:
            raise UnreadableImageError("corrupt", f"the header says {width} x {height} pixels")
        if max(width, height) > self.max_side_px:
            raise UnreadableImageError(
                "dimension_too_large",
                f"{width} x {height} pixels; a side may have at most {self.max_side_px}",
            )
        if width * height > self.max_pixels:
            raise UnreadableImageError(
                "too_many_pixels",
                f"{width} x {height} = {width * height} pixels; "
                f"at most {self.max_pixels} are accepted",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureStructure:
    """A file whose structure holds together, reduced to what decoding needs.

    Attributes
    ----------
    width_px, height_px
        As stored, before ``orientation`` is applied.
    orientation
        EXIF orientation, 1 to 8.
    has_alpha
        Whether the pixels carry an alpha channel; only decoding shows whether it is opaque.
    canonical_bytes
        The same coded pixels without metadata and without anything after the picture's end.
    """

    width_px: int
    height_px: int
    orientation: int
    has_alpha: bool
    canonical_bytes: bytes
