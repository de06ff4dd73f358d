"""What a learner is told about an unfit picture: how to do better, in words anybody follows."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from verifier.observation import QualityReason

REASON_TEXT: Final[Mapping[QualityReason, tuple[str, str]]] = MappingProxyType(
    {
        QualityReason.FACE_TOO_SMALL: (
            "离镜头太远，请靠近一些",
            "You are too far away: please move closer to the camera.",
        ),
        QualityReason.FACE_CUT_OFF: (
            "脸没有拍全，请把整张脸放进画面",
            "Part of your face is outside the picture: please move to the middle.",
        ),
        QualityReason.TOO_DARK: (
            "光线太暗，请面向窗户或打开灯",
            "It is too dark: please face a window or switch on a light.",
        ),
        QualityReason.TOO_BRIGHT: (
            "光线太亮，请避开直射的阳光或灯光",
            "It is too bright: please move out of direct sun or lamp light.",
        ),
        QualityReason.UNEVEN_LIGHT: (
            "脸上光线一边亮一边暗，请转过来面向窗户或灯",
            "One side of your face is in shadow: please turn to face the window or the lamp.",
        ),
        QualityReason.LOW_CONTRAST: (
            "画面发白看不清，请擦一擦镜头，不要背对窗户",
            "The picture looks washed out: wipe the lens and turn away from the window.",
        ),
        QualityReason.BLURRED: (
            "画面模糊，请拿稳手机、擦一擦镜头",
            "The picture is blurred: please hold still and wipe the lens.",
        ),
        QualityReason.NOISY: (
            "画面噪点太多，请打开灯，让脸上光线足一些",
            "The picture is grainy: please switch on a light in front of you.",
        ),
        QualityReason.TURNED_AWAY: (
            "请正对镜头",
            "Please look straight at the camera.",
        ),
        QualityReason.TILTED: (
            "请把头或手机摆正",
            "Please hold your head, or the phone, upright.",
        ),
        QualityReason.EYES_CLOSED: (
            "请睁开眼睛看镜头",
            "Please open your eyes and look at the camera.",
        ),
        QualityReason.FACE_COVERED: (
            "脸被遮住了，请拿开手或摘下口罩、墨镜",
            "Your face is covered: please take your hand away, or take off a mask or sunglasses.",
        ),
        QualityReason.UNCERTAIN_FACE: (
            "没有看清您的脸，请取下口罩或墨镜，不要用手遮脸",
            "Your face is not clear: please take off a mask or sunglasses and uncover your face.",
        ),
        QualityReason.BACKGROUND_FACE: (
            "背景里还有别的人脸，请避开路人、海报和屏幕上的人像",
            "Another face is in the background: please keep passers-by and posters out of view.",
        ),
    }
)
"""What to tell the learner, (Chinese, English): how to do better, never a number."""
