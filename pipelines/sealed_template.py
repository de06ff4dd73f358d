"""Enrolled templates as they are kept: sealed under the learner's key, for one purpose.

Canonical JSON: what it is bound to, key check, nonce, ciphertext. The plaintext is the vector,
the anchor and the time of enrolment; nothing outside it tells who it is.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pipelines.keystore import KeyStore, RecordClass
from pipelines.sealing import (
    NONCE_BYTES,
    SealContext,
    SealedPart,
    key_check,
    learner_reference,
    seal,
    unseal,
)
from verifier.comparison import Template
from verifier.enrolment import Anchor
from verifier.errors import (
    ContractMismatchError,
    InvalidRecordError,
    LedgerError,
    UnknownSubjectError,
)
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.canonical_json import JSONValue, canonical_json, parse_canonical_object

FORMAT = "zhenxue/template/v1"
_PART = "template"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledTemplate:
    """A template, who vouches for it, and when it was made."""

    template: Template
    anchor: Anchor
    enrolled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSealer:
    """Seals and opens the templates of one authority."""

    keystore: KeyStore
    authority: str

    def seal(self, learner_id: str, enrolled: EnrolledTemplate) -> bytes:
        """Return a template sealed under the learner's key, which is made at need."""
        key_id, key = self.keystore.key_for(learner_id, RecordClass.FACE_EVIDENCE)
        context = self._context(learner_id, key_id, key, enrolled.template.contract_id)
        sealed = seal(key, _plaintext(enrolled), context, _PART)
        record: dict[str, JSONValue] = {
            "format": FORMAT,
            "bound_to": context.to_json(),
            "key_check": to_base64(key_check(key, context)),
            "nonce": to_base64(sealed.nonce),
            "ciphertext": to_base64(sealed.ciphertext),
        }
        return canonical_json(record)

    def open(self, learner_id: str, data: bytes, *, contract_id: str) -> EnrolledTemplate:
        """Open a learner's template.

        Raises
        ------
        UnknownSubjectError
            If the key that sealed it was destroyed, whether or not the learner has a new one.
        ContractMismatchError
            If the template was made under another contract: the learner must enrol again.
        WrongKeyError, LedgerError
            If key or data are not what was sealed.
        """
        file = _parse(data)
        bound = _bound_to(file)
        key_id = _text(bound, "key_id")
        try:
            key = self.keystore.key_by_id(key_id, RecordClass.FACE_EVIDENCE)
        except UnknownSubjectError as error:
            raise UnknownSubjectError("this learner is not enrolled") from error
        # The learner's reference under that key is part of it: nobody else's key will do.
        context = self._context(learner_id, key_id, key, contract_id)
        _require_context(bound, context)
        sealed, check = _sealed_part(file)
        return _enrolled(unseal(key, sealed, context, _PART, check), contract_id)

    def _context(self, learner_id: str, key_id: str, key: bytes, contract_id: str) -> SealContext:
        return SealContext(
            authority=self.authority,
            learner=learner_reference(key, learner_id),
            record_class=RecordClass.FACE_EVIDENCE.value,
            purpose="template",
            contract=contract_id,
            key_id=key_id,
        )


def _parse(data: bytes) -> Mapping[str, JSONValue]:
    try:
        return parse_canonical_object(data)
    except InvalidRecordError as error:
        # We wrote it: broken, it is damage and nothing that a caller could put right.
        raise LedgerError("the sealed template was damaged") from error


def _bound_to(file: Mapping[str, JSONValue]) -> Mapping[str, JSONValue]:
    bound = file.get("bound_to")
    if file.get("format") != FORMAT or not isinstance(bound, Mapping):
        raise LedgerError(f"the sealed template is not of format {FORMAT}")
    return bound


def _sealed_part(file: Mapping[str, JSONValue]) -> tuple[SealedPart, bytes]:
    """Return what is sealed, and the key check."""
    try:
        nonce, ciphertext, check = (
            from_base64(_text(file, name)) for name in ("nonce", "ciphertext", "key_check")
        )
    except InvalidRecordError as error:
        raise LedgerError("the sealed template was damaged") from error
    if len(nonce) != NONCE_BYTES:
        raise LedgerError(f"the sealed template's nonce has {len(nonce)} bytes, not {NONCE_BYTES}")
    return SealedPart(nonce=nonce, ciphertext=ciphertext), check


def _require_context(bound: Mapping[str, JSONValue], context: SealContext) -> None:
    """Refuse a template of another contract by its name, and anything else that differs."""
    made_under = _text(bound, "contract")
    if made_under != context.contract:
        raise ContractMismatchError(
            f"template made under {made_under}, {context.contract} is in use: "
            "the learner must enrol again"
        )
    if not hmac.compare_digest(canonical_json(bound), canonical_json(context.to_json())):
        raise LedgerError("the sealed template is bound to something else")


def _plaintext(enrolled: EnrolledTemplate) -> bytes:
    vector = enrolled.template.vector.astype("<f4").tobytes()
    return canonical_json(
        {
            "anchor": enrolled.anchor.value,
            "enrolled_at": enrolled.enrolled_at.isoformat(),
            "vector": to_base64(vector),
        }
    )


def _enrolled(plaintext: bytes, contract_id: str) -> EnrolledTemplate:
    fields = parse_canonical_object(plaintext)
    vector = np.frombuffer(from_base64(_text(fields, "vector")), dtype="<f4").astype(np.float32)
    return EnrolledTemplate(
        template=Template(contract_id=contract_id, vector=vector),
        anchor=Anchor(_text(fields, "anchor")),
        enrolled_at=datetime.fromisoformat(_text(fields, "enrolled_at")),
    )


def _text(fields: Mapping[str, JSONValue], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise LedgerError(f"the sealed template has no text under {name}")
    return value
