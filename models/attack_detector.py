"""Tells a face before the camera from a picture of one: MiniFASNet, two networks that agree.

One network looks at the face and its near surroundings, the other further around it, where the
edge of a screen or of a sheet would be. What they say is evidence of the weakest kind: they were
trained on other people, cameras and attacks than a lesson has, and nobody tested them on these.
So a finding moves the ratio by a factor of about three and no more (`MAX_ABS_LOG10_LR`), until a
site measures APCER and BPCER on its own. Start with `MiniFasNetDetector.judge`.
"""

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from models.installed_pack import InstalledPack
from models.minifasnet import SIDE_PX
from models.network import Network
from models.sessions import open_session
from verifier.arrays import Float32Array, FloatArray, Pixels
from verifier.errors import ModelUnavailableError
from verifier.observation import Box

# As for every finding whose rates nobody measured on this population (docs/attack-detection.md).
MAX_ABS_LOG10_LR: Final = 0.5
BONA_FIDE: Final = 1  # of the classes; 0 and 2 are attacks

ROLES: Final = ("near", "wide")  # in the pack
REACHES: Final = (2.7, 4.0)  # sides of their crops, in boxes; as each was trained

# The networks were trained on boxes that reach into the hair, ours end at the hairline. Medians of
# YuNet's boxes, with which the networks give the figures they are known by, against ours over 60
# photographs, 50 of them LFW (benchmarks/attack_boxes.py).
_BOX_WIDTH, _BOX_HEIGHT, _BOX_RISE = 0.97, 1.15, 0.04
_CUT: Final = "box-v1"  # part of the contract: change it when crops change

_BATCH: Final = 16  # faces at once


class MiniFasNetDetector:
    """Judges faces by the mean of two networks; a `verifier.protocols.AttackDetector`."""

    def __init__(self, near: Network, wide: Network, contract_id: str) -> None:
        self._networks = (near, wide)
        self._contract_id = f"{contract_id}+{_CUT}"

    @property
    def contract_id(self) -> str:
        """The networks, the digest of their weights, and how faces are cut."""
        return self._contract_id

    def judge(self, pixels: Pixels, boxes: Sequence[Box]) -> tuple[float | None, ...]:
        """Return log10 P(finding | bona fide) / P(finding | attack), at most 0.5 either way.

        None for a face so small that a crop would have to be blown up to 80 pixels: detail is
        what the networks go by, and there is none.
        """
        return tuple(
            None if score is None else attack_log10_lr(score)
            for score in self.scores(pixels, boxes)
        )

    def scores(self, pixels: Pixels, boxes: Sequence[Box]) -> tuple[float | None, ...]:
        """Return how much of the networks' belief is on bona fide, 0 to 1; see `judge`.

        Parameters
        ----------
        pixels
            Canonical pixels, shape (height, width, 3), RGB.
        boxes
            The faces, forehead to chin, as `FaceObservation.box_px` has them.
        """
        crops = [face_crops(pixels, trained_box(box)) for box in boxes]
        fit = [(index, crop) for index, crop in enumerate(crops) if crop is not None]
        scores: list[float | None] = [None] * len(boxes)
        for start in range(0, len(fit), _BATCH):
            indices, batch = zip(*fit[start : start + _BATCH], strict=True)
            for index, shares in zip(indices, self.class_shares(np.stack(batch)), strict=True):
                scores[index] = float(shares[BONA_FIDE])
        return tuple(scores)

    def class_shares(self, crops: Float32Array) -> FloatArray:
        """Return the mean belief in each class, shape (n, 3), for n of `face_crops`."""
        logits = [
            network.run(["logits"], {"crops": np.ascontiguousarray(crops[:, view])})[0]
            for view, network in enumerate(self._networks)
        ]
        shares: FloatArray = np.mean([softmax(each) for each in logits], axis=0)
        return shares


def open_attack_detector(pack: InstalledPack, threads: int = 1) -> MiniFasNetDetector:
    """Open the attack detector of an installed pack.

    Raises
    ------
    ModelUnavailableError
        If the pack has none, or a network is not the one that was installed.
    """
    if pack.parts.attack_detector is None:
        raise ModelUnavailableError(f"pack {pack.name} judges no attacks")
    near, wide = (open_session(pack, role, threads) for role in ROLES)
    return MiniFasNetDetector(near, wide, pack.contract_id)


def attack_log10_lr(score: float) -> float:
    """Return what a share of belief, 0 to 1, is worth as evidence.

    The odds, as if bona fide and attack had been equally frequent in training; whether they
    were is not known, which is one more reason for the bound.
    """
    share = min(max(score, 1e-6), 1 - 1e-6)
    log10_odds = math.log10(share / (1 - share))
    return min(max(log10_odds, -MAX_ABS_LOG10_LR), MAX_ABS_LOG10_LR)


def softmax(logits: Float32Array) -> FloatArray:
    """Return the shares of the classes, same shape, each row adding up to 1."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def trained_box(box: Box) -> Box:
    """Return the box that the networks' training would have drawn around the same face."""
    width, height = box.w * _BOX_WIDTH, box.h * _BOX_HEIGHT
    x, y = box.x + box.w / 2, box.y + box.h * (0.5 - _BOX_RISE)
    return Box(x=x - width / 2, y=y - height / 2, w=width, h=height)


def crop_edges(box: Box, reach: float, width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the pixels around a box, right and bottom excluded.

    The crop is ``reach`` boxes wide and high about the box's centre. Where the picture is too
    small for that, it is as large as its shape allows; where it would leave the picture, it is
    moved inside, as in training.
    """
    reach = min(reach, (width_px - 1) / box.w, (height_px - 1) / box.h)
    left, right = _span(box.x + box.w / 2, box.w * reach, width_px)
    top, bottom = _span(box.y + box.h / 2, box.h * reach, height_px)
    return left, top, right, bottom


def _span(centre: float, length: float, limit: int) -> tuple[int, int]:
    start = min(max(centre - length / 2, 0.0), limit - 1 - length)
    return int(start), int(start + length) + 1


def face_crops(pixels: Pixels, box: Box) -> Float32Array | None:
    """Return near and wide crop, shape (2, 3, 80, 80), BGR, 0 to 255; None if one is too small.

    The box is as training drew it; see `trained_box`.
    """
    if min(box.w, box.h) < 1:
        return None
    crops = [_crop(pixels, box, reach) for reach in REACHES]
    whole = [crop for crop in crops if crop is not None]
    return np.stack(whole) if len(whole) == len(REACHES) else None


def _crop(pixels: Pixels, box: Box, reach: float) -> Float32Array | None:
    height, width = pixels.shape[:2]
    left, top, right, bottom = crop_edges(box, reach, width, height)
    if min(right - left, bottom - top) < SIDE_PX:
        return None
    # Bilinear without averaging, although that drops pixels: so were the crops of the training.
    small = cv2.resize(pixels[top:bottom, left:right], (SIDE_PX, SIDE_PX))
    return small[..., ::-1].transpose(2, 0, 1).astype(np.float32)
