"""Problem details (RFC 9457): every answer of the service that is not a success, in one form.

``type`` is ``urn:zhenxue:problem:<code>``. RFC 9457 wants a URI that means the same everywhere:
each authority runs its own server, so an ``https`` address would be another one in every city,
and a relative one another on every path. It need not be resolvable; ``code`` is its last part,
for programs to switch on.

A problem never holds a score, a picture, a name or a number of a person, nor what the caller
sent: only which field was wrong and what was wanted there.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class ProblemKind(NamedTuple):
    """What all problems of one code share; ``retry_after_s`` where asking again may help."""

    status: int
    title: str
    title_zh: str
    retry_after_s: int | None = None


PROBLEMS: Mapping[str, ProblemKind] = MappingProxyType(
    {
        # What was sent cannot be understood.
        "malformed_body": ProblemKind(
            400, "The body is not readable JSON", "请求体不是可读的 JSON"
        ),
        "malformed_request": ProblemKind(400, "The request is malformed", "请求格式不正确"),
        "request_timeout": ProblemKind(408, "The body took too long to arrive", "请求体接收超时"),
        "body_too_large": ProblemKind(413, "The body is too large", "请求体过大"),
        "wrong_content_type": ProblemKind(
            415,
            "The body must be application/json in UTF-8",
            "请求体须为 UTF-8 的 application/json",
        ),
        "not_acceptable": ProblemKind(
            406, "No acceptable form of the answer", "无法按要求的格式返回"
        ),
        "method_not_allowed": ProblemKind(405, "Not a method of this path", "该路径不支持此方法"),
        # Who calls, and how often.
        "unauthenticated": ProblemKind(401, "Valid credentials were wanted", "未提供有效凭证"),
        "forbidden": ProblemKind(403, "Not allowed with these credentials", "该凭证无权执行此操作"),
        "proof_missing": ProblemKind(401, "The device's signature is missing", "缺少本设备的签名"),
        "proof_wrong": ProblemKind(
            401, "The device's signature is not of this request and minute", "本设备的签名无效"
        ),
        "device_unknown": ProblemKind(
            403, "Register this device for the learner first", "请先登记这台设备"
        ),
        "device_taken": ProblemKind(409, "This key was registered before", "该设备密钥已登记过"),
        "rate_limited": ProblemKind(429, "Too many requests", "请求过于频繁", 1),
        # What was sent is understood, and wrong.
        "not_found": ProblemKind(404, "Nothing is here", "未找到"),
        "unknown_subject": ProblemKind(404, "No such learner, class or session", "未登记的对象"),
        "unknown_case": ProblemKind(404, "No such case", "未找到该案件"),
        "unknown_grant": ProblemKind(404, "No such accommodation", "未找到该项便利安排"),
        "unknown_calibration": ProblemKind(404, "No such calibration", "未找到该校准"),
        "invalid_input": ProblemKind(422, "A value is not what was wanted", "输入不符合要求"),
        "invalid_record": ProblemKind(422, "A record breaks its format", "记录不符合格式"),
        "unreadable_image": ProblemKind(422, "A picture cannot be read", "图像无法读取"),
        "idempotency_conflict": ProblemKind(
            422,
            "This Idempotency-Key came with another request",
            "该 Idempotency-Key 已用于其他请求",
        ),
        "answer_in_progress": ProblemKind(
            409, "An answer to this prompt is being judged", "该验证的应答正在判定", 1
        ),
        "unknown_upload": ProblemKind(
            404, "No such upload, or no longer", "没有该上传任务，或已失效"
        ),
        "wrong_offset": ProblemKind(
            409, "Go on where Upload-Offset says", "请从 Upload-Offset 指明的位置续传"
        ),
        "upload_incomplete": ProblemKind(409, "Not all of it has arrived", "上传尚未完成"),
        "digest_mismatch": ProblemKind(
            422, "Not the bytes that were announced; send them again", "内容摘要不符，请重新上传"
        ),
        "not_available": ProblemKind(422, "Not available here", "暂不提供"),
        "evidence_pending": ProblemKind(
            409, "No signed checkpoint holds it yet", "尚未进入已签名的存证", 1
        ),
        "enrolment_outdated": ProblemKind(
            409,
            "The face was enrolled with another model; enrol it again",
            "人脸模型已更换，请重新登记人脸",
        ),
        # What the state of a session or prompt does not allow; codes of ProtocolError.
        "session_outdated": ProblemKind(
            409,
            "The session was opened with another model; open a new one",
            "人脸模型已更换，请重新开始学习",
        ),
        "not_allowed_now": ProblemKind(
            409, "The session does not allow this now", "当前状态不允许"
        ),
        "consent_missing": ProblemKind(
            409, "The learner's consent is not in force", "学员未同意或已撤回同意"
        ),
        "accommodation_missing": ProblemKind(
            409,
            "No officer granted the learner another way than the face",
            "未经批准使用非人脸核验方式",
        ),
        "identity_missing": ProblemKind(
            409,
            "No name and number are on record to compare the card with",
            "尚未登记姓名和身份证号，无法核对证件",
        ),
        "code_spent": ProblemKind(
            401, "The code was used before or is too old", "该验证码已使用或已过期"
        ),
        "platform_exists": ProblemKind(409, "The platform is on record", "平台已登记"),
        "class_exists": ProblemKind(409, "A class with this id is on record", "班级编号已被使用"),
        "class_withdrawn": ProblemKind(409, "The class was withdrawn", "班级已撤销"),
        "already_approved": ProblemKind(409, "It was approved before", "已批准过"),
        "second_person_wanted": ProblemKind(
            409, "Another person has to approve it", "须由另一人批准"
        ),
        "grant_revoked": ProblemKind(409, "The accommodation was revoked", "该项便利安排已撤销"),
        "grant_over": ProblemKind(409, "The time asked for has passed", "申请的有效期已过"),
        "make_up_refused": ProblemKind(
            409, "This session cannot make up for that one", "不符合补学条件"
        ),
        "case_closed": ProblemKind(409, "The case was closed before", "该案件已办结"),
        "not_proposed": ProblemKind(
            409, "That is not what another officer proposed", "与待批准的处理意见不一致"
        ),
        "session_changed": ProblemKind(
            409, "The session changed meanwhile", "本次学习状态已变化，请重试", 1
        ),
        "session_over": ProblemKind(409, "The session is over", "本次学习已结束"),
        "session_paused": ProblemKind(409, "The session is paused", "本次学习已暂停"),
        "session_in_progress": ProblemKind(409, "The session has not ended", "本次学习尚未结束"),
        "not_paused": ProblemKind(409, "The session is not paused", "本次学习未暂停"),
        "not_running": ProblemKind(409, "The session is not running", "本次学习不在进行中"),
        "not_ending": ProblemKind(409, "The end was not announced", "尚未宣布结束"),
        "not_due": ProblemKind(409, "Too early", "时间未到"),
        "prompt_open": ProblemKind(409, "A prompt waits for an answer", "有验证尚未应答"),
        "wrong_kind": ProblemKind(
            409, "Not a kind of prompt of this session", "本次学习没有这种验证"
        ),
        "prompt_reused": ProblemKind(409, "The prompt was issued already", "该验证已发出"),
        "prompt_already_resolved": ProblemKind(409, "The prompt was resolved", "该验证已有结果"),
        "closing_prompt_missing": ProblemKind(409, "The closing prompt is due", "缺少结束验证"),
        "wrong_nonce": ProblemKind(
            409, "Not the nonce that was issued last", "随机数不是最近发出的"
        ),
        "nonce_reused": ProblemKind(409, "The nonce was used already", "随机数已使用"),
        "time_went_back": ProblemKind(409, "Another act came later already", "已有更晚的操作", 1),
        "deadline_passed": ProblemKind(410, "The answer came too late", "应答已超时"),
        "closing_prompt_late": ProblemKind(
            410, "Too late for the closing prompt", "结束验证已超时"
        ),
        # What the caller cannot help.
        "internal": ProblemKind(500, "The engine failed", "系统内部错误"),
        "storage_busy": ProblemKind(503, "The store is busy", "存储繁忙，请稍后重试", 1),
        "commit_uncertain": ProblemKind(
            503,
            "Perhaps carried out; repeat it with the same Idempotency-Key",
            "结果未知，请用相同 Idempotency-Key 重试",
            1,
        ),
        "live_state_unavailable": ProblemKind(503, "Live state is unavailable", "缓存暂不可用", 5),
        "storage_unavailable": ProblemKind(503, "The store cannot be written", "存储暂不可用", 30),
        "busy": ProblemKind(
            503,
            "Too many pictures wait; send the same request again",
            "判定繁忙，请重发同一请求",
            2,
        ),
        "too_many_streams": ProblemKind(
            503, "Too many event streams are open", "事件流连接过多", 5
        ),
        "too_many_uploads": ProblemKind(
            503, "Too many uploads are under way", "同时上传过多，请稍后重试", 5
        ),
        "ledger_unverified": ProblemKind(503, "Stored evidence does not verify", "存档校验未通过"),
        "model_unavailable": ProblemKind(503, "The models are not installed", "模型未就绪", 30),
        "identity_authority_unavailable": ProblemKind(
            503, "The identity authority cannot be asked", "身份核验机构暂不可用", 5
        ),
    }
)


class FieldProblem(BaseModel):
    """One field that was wrong, and what was wanted there."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(examples=["body.planned_minutes"])
    wanted: str = Field(examples=["Input should be greater than 0"])


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(examples=["urn:zhenxue:problem:deadline_passed"])
    title: str = Field(examples=["The answer came too late"])
    title_zh: str = Field(examples=["应答已超时"])
    status: int = Field(examples=[410])
    code: str = Field(
        description=f"For programs: {', '.join(PROBLEMS)}.", examples=["deadline_passed"]
    )
    detail: str | None = Field(default=None, examples=["the answer came 3.2 s too late"])
    reason: str | None = Field(default=None, description="Finer than `code`, where there is more.")
    errors: tuple[FieldProblem, ...] | None = Field(
        default=None, description="Which fields were wrong, the first twenty of them."
    )
    retry_after_s: int | None = Field(default=None, description="As the Retry-After header.")
    request_id: str | None = Field(default=None, description="As the X-Request-Id header.")

    @classmethod
    def of(
        cls,
        code: str,
        *,
        detail: str | None = None,
        reason: str | None = None,
        errors: tuple[FieldProblem, ...] | None = None,
        retry_after_s: int | None = None,
    ) -> "Problem":
        """Fill in what all problems of this code share; KeyError for one not in the table."""
        kind = PROBLEMS[code]
        return cls(
            type=f"urn:zhenxue:problem:{code}",
            title=kind.title,
            title_zh=kind.title_zh,
            status=kind.status,
            code=code,
            detail=detail,
            reason=reason,
            errors=errors,
            retry_after_s=kind.retry_after_s if retry_after_s is None else retry_after_s,
        )


class ProblemError(Exception):
    """Raised by routes and what they depend on, where the core has no error for it.

    Parameters are those of :meth:`Problem.of`: a code of the table, and what is special here.
    """

    def __init__(
        self, code: str, *, detail: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(code)
        self.problem = Problem.of(code, detail=detail, retry_after_s=retry_after_s)


def problem_response(
    problem: Problem, *, request_id: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    """Render a problem with the headers that its status asks for."""
    shown = problem.model_copy(update={"request_id": request_id})
    all_headers = dict(headers or {})
    if problem.retry_after_s is not None:
        all_headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status == 401:
        all_headers.setdefault("WWW-Authenticate", 'Bearer realm="zhenxue"')
    return Response(
        shown.model_dump_json(exclude_none=True),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=all_headers,
    )
