"""What a rule of the gate answers: an outcome, a code with its text, and the values behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from verifier.transparency.canonical_json import JSONValue

Scalar: TypeAlias = "bool | int | float | str | None"


class GateOutcome(StrEnum):
    """The gate's answers, the worst first; ``min`` of several is the one that decides.

    Ordered by what they say, not by their spelling.
    """

    NOT_PAYABLE = "not_payable"
    REFER = "refer"  # a person has to look
    NOT_YET = "not_yet"  # something is still to come
    PAYABLE = "payable"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(GateOutcome).index(self)

    # All four, because text brings an order of its own.
    def __lt__(self, other: str) -> bool:
        return self.rank < GateOutcome(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= GateOutcome(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > GateOutcome(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= GateOutcome(other).rank


OUTCOME_TEXT: Final[Mapping[GateOutcome, tuple[str, str]]] = MappingProxyType(
    {
        GateOutcome.NOT_PAYABLE: ("不予补贴", "not payable"),
        GateOutcome.REFER: ("须人工核实", "for a person to look at"),
        GateOutcome.NOT_YET: ("条件未齐", "not yet payable"),
        GateOutcome.PAYABLE: ("可以补贴", "payable"),
    }
)


class GateCode(StrEnum):
    """Why a rule did not answer ``payable``."""

    LEARNER_UNKNOWN = "LEARNER_UNKNOWN"
    REGISTERED_AFTER_EVENT = "REGISTERED_AFTER_EVENT"
    CONSENT_MISSING = "CONSENT_MISSING"
    SESSION_WITHOUT_CONSENT = "SESSION_WITHOUT_CONSENT"
    CLASS_UNKNOWN = "CLASS_UNKNOWN"
    CLASS_WITHDRAWN = "CLASS_WITHDRAWN"
    CLASS_NOT_APPROVED = "CLASS_NOT_APPROVED"
    CLASS_APPROVED_AFTER_EVENT = "CLASS_APPROVED_AFTER_EVENT"
    NOT_ON_ROSTER = "NOT_ON_ROSTER"
    ON_ROSTER_AFTER_EVENT = "ON_ROSTER_AFTER_EVENT"
    REMOVED_FROM_ROSTER = "REMOVED_FROM_ROSTER"
    SESSION_AFTER_REMOVAL = "SESSION_AFTER_REMOVAL"
    OUTSIDE_CLASS_DAYS = "OUTSIDE_CLASS_DAYS"
    NO_SESSION_SEEN = "NO_SESSION_SEEN"
    NO_SESSION_YET = "NO_SESSION_YET"
    REQUIRED_HOURS_UNKNOWN = "REQUIRED_HOURS_UNKNOWN"
    UNDER_REVIEW = "UNDER_REVIEW"
    UNDER_REVIEW_AND_SHORT = "UNDER_REVIEW_AND_SHORT"
    PENDING_PROOF = "PENDING_PROOF"
    HOURS_SHORT = "HOURS_SHORT"
    IDENTITY_NOT_ANCHORED = "IDENTITY_NOT_ANCHORED"
    ASSURANCE_NOT_ACCEPTED = "ASSURANCE_NOT_ACCEPTED"
    BLACK_LISTED = "BLACK_LISTED"
    BLACK_LIST_PROPOSED = "BLACK_LIST_PROPOSED"
    DUPLICATE_FACE_UNDER_REVIEW = "DUPLICATE_FACE_UNDER_REVIEW"
    DUPLICATE_FACE_FOUND = "DUPLICATE_FACE_FOUND"
    TOO_MANY_COMPARISONS = "TOO_MANY_COMPARISONS"
    NON_FACE_SHARE = "NON_FACE_SHARE"
    MISS_BUDGET_EXCEEDED = "MISS_BUDGET_EXCEEDED"
    SCHEDULE_UNWITNESSED = "SCHEDULE_UNWITNESSED"


GATE_TEXT: Final[Mapping[GateCode, tuple[str, str]]] = MappingProxyType(
    {
        GateCode.LEARNER_UNKNOWN: (
            "系统内没有该学员的实名注册信息",
            "The learner is not registered in the system.",
        ),
        GateCode.REGISTERED_AFTER_EVENT: (
            "学员实名注册晚于首次学习（尚未学习的，晚于开班日）",
            "The learner was registered after the first session (or, with none, the first day).",
        ),
        GateCode.CONSENT_MISSING: (
            "学员尚未单独同意人脸信息处理，或已撤回同意",
            "The learner has given no consent to face processing, or withdrew it.",
        ),
        GateCode.SESSION_WITHOUT_CONSENT: (
            "有学习记录开始时学员的同意不在有效期内，须人工核实",
            "A session was opened while no consent was in force; a person has to look.",
        ),
        GateCode.CLASS_UNKNOWN: (
            "系统内没有该班级的开班申请",
            "No opening application for the class is in the system.",
        ),
        GateCode.CLASS_WITHDRAWN: ("开班申请已撤回", "The class was withdrawn."),
        GateCode.CLASS_NOT_APPROVED: ("开班申请未获批准", "The class has not been approved."),
        GateCode.CLASS_APPROVED_AFTER_EVENT: (
            "先学后批：开班批准晚于首次学习（尚未学习的，晚于开班日）",
            "The class was approved after the first session (or, with none, the first day).",
        ),
        GateCode.NOT_ON_ROSTER: (
            "学员不在该班花名册内",
            "The learner is not on the class's roster.",
        ),
        GateCode.ON_ROSTER_AFTER_EVENT: (
            "列入花名册晚于首次学习（尚未学习的，晚于开班日）",
            "Put on the roster after the first session (or, with none, the first day).",
        ),
        GateCode.REMOVED_FROM_ROSTER: (
            "学员在学习前已从花名册移除",
            "The learner was taken off the roster before any session.",
        ),
        GateCode.SESSION_AFTER_REMOVAL: (
            "学员从花名册移除后仍有学习记录，须人工核实",
            "A session was opened after the learner left the roster; a person has to look.",
        ),
        GateCode.OUTSIDE_CLASS_DAYS: (
            "有计入学时的学习不在开班申请的起止日期内，须人工核实",
            "Hours were earned outside the days that the class applied for; a person has to look.",
        ),
        GateCode.NO_SESSION_SEEN: (
            "不进不补：平台上报了学时，系统内没有任何学习记录",
            "Time was claimed, but the engine held no session and saw nothing.",
        ),
        GateCode.NO_SESSION_YET: ("尚无学习记录", "No session has been held yet."),
        GateCode.REQUIRED_HOURS_UNKNOWN: (
            "班级信息缺失，无法确定应修学时",
            "Without the class nobody knows how many hours it asks for.",
        ),
        GateCode.UNDER_REVIEW: (
            "核验学时不足，待复核时长若通过即可补足",
            "Hours are short; time that waits for a person's review could fill them.",
        ),
        GateCode.UNDER_REVIEW_AND_SHORT: (
            "部分时长待人工复核；即使全部通过，学时仍不足，须继续学习",
            "Time waits for a person's review; hours stay short even if all of it is accepted.",
        ),
        GateCode.PENDING_PROOF: (
            "学时已足，部分记录的存证尚未签发，请稍候",
            "Hours suffice, but a signed checkpoint does not cover all of them yet.",
        ),
        GateCode.HOURS_SHORT: ("核验学时不足，须继续学习", "Credited hours are short."),
        GateCode.IDENTITY_NOT_ANCHORED: (
            "身份未经权威部门或经办人员核实",
            "Neither an authority nor an officer established whose face it is.",
        ),
        GateCode.ASSURANCE_NOT_ACCEPTED: (
            "采集方式未获政策直接认可，须人工复核",
            "Policy asks for a second look at sessions captured this way.",
        ),
        GateCode.BLACK_LISTED: (
            "学员、培训机构或平台在黑名单内",
            "The learner, the institution or the platform is black-listed.",
        ),
        GateCode.BLACK_LIST_PROPOSED: (
            "有待批准的黑名单提议，须人工处理；提议本身不取消补贴",
            "A black-listing is proposed and not approved; a person has to decide on it.",
        ),
        GateCode.DUPLICATE_FACE_UNDER_REVIEW: (
            "同一人脸疑似登记在两个身份下，须人工核实；核实前不取消补贴",
            "One face may be enrolled under two identities; a person has to look.",
        ),
        GateCode.DUPLICATE_FACE_FOUND: (
            "经两名经办人认定同一人登记了两个身份，须人工处理；认定本身不取消补贴",
            "Two officers found one person under two identities; a person decides what follows.",
        ),
        GateCode.TOO_MANY_COMPARISONS: (
            "一日内人脸比对次数异常，须人工核实",
            "The face was compared unusually often in one day; a person has to look.",
        ),
        GateCode.NON_FACE_SHARE: (
            "班级内以非人脸方式学习的学员比例偏高，须人工核实；核实前不取消补贴",
            "Unusually many of the class are known otherwise than by the face; a person looks.",
        ),
        GateCode.MISS_BUDGET_EXCEEDED: (
            "全班次漏答随机验证的比例超过规定且未补足，须人工核实",
            "More prompts of the class were missed than may be; a person has to look.",
        ),
        GateCode.SCHEDULE_UNWITNESSED: (
            "有计入学时的学习，其随机验证计划缺少规定数量的见证签名",
            "Too few witnesses cosigned what the schedule of a session follows from.",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """What one rule answered.

    Attributes
    ----------
    rule
        ``name@version``.
    code
        None if and only if the outcome is ``payable``.
    values
        What the rule looked at; times as ISO 8601. For officers: platforms see codes only.
    """

    rule: str
    outcome: GateOutcome
    code: GateCode | None = None
    values: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.code is None) != (self.outcome is GateOutcome.PAYABLE):
            raise ValueError(f"{self.rule}: {self.outcome} with code {self.code}")

    @property
    def text(self) -> tuple[str, str] | None:
        """The reason in Chinese and in English; None where there is nothing to explain."""
        return None if self.code is None else GATE_TEXT[self.code]

    def to_record(self) -> dict[str, JSONValue]:
        """Return the public form."""
        return {
            "rule": self.rule,
            "outcome": self.outcome.value,
            "code": None if self.code is None else self.code.value,
            "values": dict(self.values),
        }
