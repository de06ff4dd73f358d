"""What the pixels of one face say, as values: kept with the face, judged under any rules.

`verifier.face_pixels.measure_face` takes them; `verifier.quality.assess` turns them into reasons.
"""

from dataclasses import dataclass
from typing import Final

from verifier.face_features import NO_FEATURES, FeatureMeasures
from verifier.face_light import NO_LIGHT, LightMeasures


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceMeasures:
    """What the pixels inside one face say.

    Attributes
    ----------
    sharpness
        Variance of the Laplacian at the standard face width, grey levels squared. A face
        smaller than that is enlarged first and so measures low: its detail is indeed missing.
    least_sharpness
        Variance of the second difference, as for sharpness, along that of four directions in
        which it is smallest: motion blurs one direction only.
    grain
        Standard deviation of the noise from pixel to pixel, 0 to 1: in the picture's own pixels,
        or at the standard face width where the face is larger, as averaging removes the rest.
    brightness
        Mean luma, 0 to 1.
    contrast
        Standard deviation of luma, 0 to 0.5.
    shading
        The same within the two sides of the face: light from one side does not count.
    light
        Clipped shadows and highlights, and how evenly both sides are lit.
    features
        Light and shade of eyes, nose and mouth.
    """

    sharpness: float
    least_sharpness: float
    grain: float
    brightness: float
    contrast: float
    shading: float
    light: LightMeasures
    features: FeatureMeasures


NOTHING_MEASURED: Final = FaceMeasures(
    sharpness=0.0,
    least_sharpness=0.0,
    grain=0.0,
    brightness=0.0,
    contrast=0.0,
    shading=0.0,
    light=NO_LIGHT,
    features=NO_FEATURES,
)
