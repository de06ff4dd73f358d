"""What is said of prompts in a proof, (Chinese, English)."""

from collections.abc import Mapping
from typing import Final

from pipelines.schedule_leaves import Fate
from pipelines.schedule_prompts import ProvenPrompt
from pipelines.schedule_silences import Why
from verifier.prompt import PromptOrigin

ORIGIN_TEXT: Final[Mapping[PromptOrigin, tuple[str, str]]] = {
    PromptOrigin.OPENING: ("开场", "opening"),
    PromptOrigin.SCHEDULED: ("随机", "scheduled"),
    PromptOrigin.ADDED: ("追加", "added"),
    PromptOrigin.CLOSING: ("结束", "closing"),
}
FATE_TEXT: Final[Mapping[Fate, tuple[str, str]]] = {
    Fate.PASSED: ("通过", "passed"),
    Fate.REFERRED: ("转人工", "referred"),
    Fate.MISSED: ("未完成", "missed"),
    Fate.ANSWERED: ("已应答", "answered"),
}
WHY_TEXT: Final[Mapping[Why, tuple[str, str]]] = {
    Why.BEFORE_OPENING: ("开场核验通过之前", "before the opening check passed"),
    Why.LOCKED_OUT: ("多次失败后的暂停", "pause after too many failed answers"),
    Why.CALLED: ("工作人员联系期间", "while an officer called"),
    Why.ENGINE_AWAY: ("引擎停机", "the engine was away"),
    Why.PROMPT_OPEN: ("课程结束时另有验证未答", "another prompt was open at the end"),
    Why.AT_THE_END: ("恰在课程结束时", "due at the very end"),
    Why.SUPERVISOR: ("监督员追加", "wanted by a supervisor"),
    Why.POSTERIOR: ("未通过后追加", "after one that was not passed"),
}


def result_text(prompt: ProvenPrompt) -> str:
    """Say what became of a prompt, and why it did not go out or was added."""
    if prompt.issued_s is None and prompt.why is None:
        return "缺失 MISSING"
    fate = "未出 not asked" if prompt.fate is None else " ".join(FATE_TEXT[prompt.fate])
    return fate if prompt.why is None else f"{fate}: {' '.join(WHY_TEXT[prompt.why])}"
