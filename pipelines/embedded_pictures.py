"""Pictures of people as vectors: what was made of each, or why nothing could be.

Start with `embed_listed`, or with `embed_pictures` where everybody is told by name; `clear_face`
says whom a photograph is of.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.image_decoder import STILL_LIMITS, decode_image
from models.pip_download import Silent
from pipelines.picture_lists import FacePicture, PictureList
from verifier.arrays import Flags, Float32Array
from verifier.errors import InputError, UnreadableImageError
from verifier.observation import FaceObservation
from verifier.protocols import FaceObserver, ProgressSink

# Of 50 photographs of LFW 4 have a second face, at most 0.68 as wide as the one they are named
# after; faces of two people side by side differ by less than a fifth.
_NEARLY_AS_WIDE: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPictures:
    """What is left of the pictures: vectors, and why some have none.

    Attributes
    ----------
    vectors
        Shape (n, d); a row of zeros where ``acquired`` is False.
    acquired
        Shape (n,): whether a template could be made of the picture.
    unfit
        Shape (n,): acquired, but the face is not fit for comparison in a lesson (`quality`).
    failures
        How many pictures failed to be acquired, by reason: ``no_face``, ``no_clear_face``, or
        the decoder's code; their sum is FTA.
    pixels_sha256
        One digest for each picture; None where it could not be decoded.
    contract_id
        The contract the vectors were made under.
    """

    pictures: tuple[FacePicture, ...]
    vectors: Float32Array = field(repr=False)
    acquired: Flags
    unfit: Flags
    failures: Mapping[str, int]
    pixels_sha256: tuple[bytes | None, ...] = field(repr=False)
    contract_id: str

    @property
    def fta(self) -> int:
        """Pictures of which no template could be made."""
        return sum(self.failures.values())

    def first_of_its_pixels(self) -> NDArray[np.intp]:
        """Return, shape (n,), the index of the first picture with the same pixels.

        Of one that was never decoded, its own.
        """
        first: dict[bytes, int] = {}
        return np.array(
            [
                at if digest is None else first.setdefault(digest, at)
                for at, digest in enumerate(self.pixels_sha256)
            ],
            np.intp,
        )


def clear_face(faces: Sequence[FaceObservation]) -> FaceObservation | None:
    """Return whom a labelled photograph is of; None without a face, or without a clear one.

    The largest face, unless another is nearly as wide: the label says that somebody is shown,
    and of two alike it does not say which. In a lesson a second face of any size asks again.
    """
    if not faces:
        return None
    largest, *others = faces
    # All of them: they come by area, and a narrow one may be larger than a wide one.
    if any(other.box_px.w > _NEARLY_AS_WIDE * largest.box_px.w for other in others):
        return None
    return largest


def embed_pictures(
    pictures: Sequence[FacePicture],
    observer: FaceObserver,
    *,
    copies_allowed: bool = False,
    progress: ProgressSink | None = None,
) -> EmbeddedPictures:
    """Make a vector of every picture, one picture in memory at a time.

    ``copies_allowed``: the same pixels may be given as two subjects, since nobody named them.

    Raises
    ------
    InputError
        If the very same pixels are given as two subjects: one of the labels is wrong.
    """
    sink = progress or Silent()
    shown_in: dict[bytes, FacePicture] = {}
    seen: list[_Seen] = []
    for at, picture in enumerate(pictures):
        sink.update("pictures", at, len(pictures))
        seen.append(_look(picture, observer))
        digest = seen[-1].pixels_sha256
        if digest is not None and not copies_allowed:
            _refuse_two_subjects(shown_in.setdefault(digest, picture), picture)
    sink.update("pictures", len(pictures), len(pictures))
    return EmbeddedPictures(
        pictures=tuple(pictures),
        vectors=_stacked([each.vector for each in seen]),
        acquired=np.array([each.vector is not None for each in seen], np.bool_),
        unfit=np.array([each.unfit for each in seen], np.bool_),
        failures=Counter(each.failure for each in seen if each.failure is not None),
        pixels_sha256=tuple(each.pixels_sha256 for each in seen),
        contract_id=observer.contract_id,
    )


def embed_listed(
    listed: PictureList, observer: FaceObserver, *, progress: ProgressSink | None = None
) -> tuple[PictureList, EmbeddedPictures]:
    """Make a vector of every listed picture; return the list as well.

    Where subjects were inferred, two pictures of the same pixels are one subject in it.

    Raises
    ------
    InputError
        As `embed_pictures` does; or naming a row that is not mated although copies of a picture
        make it one person's.
    """
    inferred = listed.subjects_inferred
    embedded = embed_pictures(listed.pictures, observer, copies_allowed=inferred, progress=progress)
    if not inferred:
        return listed, embedded
    joined = _joined_copies(embedded)
    pairs = [] if listed.pairs is None else listed.pairs.tolist()
    for (first, second), where in zip(pairs, listed.pair_rows, strict=True):
        mated = listed.pictures[first].subject == listed.pictures[second].subject
        if not mated and joined[first].subject == joined[second].subject:
            raise InputError(
                f"{where}: not mated, but mated pairs and copies of a picture make them one person"
            )
    return replace(listed, pictures=joined), replace(embedded, pictures=joined)


def _joined_copies(embedded: EmbeddedPictures) -> tuple[FacePicture, ...]:
    """Return the pictures, subjects that share pixels being one: the first of them."""
    leader = {picture.subject: picture.subject for picture in embedded.pictures}

    def led(subject: str) -> str:
        while leader[subject] != subject:
            leader[subject] = leader[leader[subject]]
            subject = leader[subject]
        return subject

    for at, first in enumerate(embedded.first_of_its_pixels().tolist()):
        leader[led(embedded.pictures[at].subject)] = led(embedded.pictures[first].subject)
    return tuple(replace(picture, subject=led(picture.subject)) for picture in embedded.pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What one picture gave; ``failure`` is None where it gave a vector."""

    vector: Float32Array | None = None
    unfit: bool = False
    failure: str | None = None
    pixels_sha256: bytes | None = None


def _look(picture: FacePicture, observer: FaceObserver) -> _Seen:
    try:
        with picture.path.open("rb") as file:
            # No more of the file than the decoder would accept.
            image = decode_image(file.read(STILL_LIMITS.max_bytes + 1), STILL_LIMITS)
    except UnreadableImageError as error:
        return _Seen(failure=error.code)
    except OSError:
        return _Seen(failure="not_a_file")
    faces = observer.observe(image.pixels).faces
    face = clear_face(faces)
    if face is None or face.embedding is None:
        failure = "no_clear_face" if faces else "no_face"
        return _Seen(failure=failure, pixels_sha256=image.pixels_sha256)
    return _Seen(vector=face.embedding, unfit=bool(face.quality), pixels_sha256=image.pixels_sha256)


def _refuse_two_subjects(before: FacePicture, picture: FacePicture) -> None:
    if before.subject != picture.subject:
        raise InputError(f"{before.path} and {picture.path}: one picture, given as two people")


def _stacked(vectors: Sequence[Float32Array | None]) -> Float32Array:
    """Stack vectors, shape (n, d), zeros for those that are missing."""
    length = next((vector.size for vector in vectors if vector is not None), 0)
    missing = np.zeros(length, np.float32)
    rows = [missing if vector is None else vector for vector in vectors]
    return np.array(rows, np.float32).reshape(len(rows), length)
