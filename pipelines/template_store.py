"""Enrolled templates at rest: one sealed file a learner, bound to purpose and contract.

::

    a1/a1c4….template    canonical JSON: what it is bound to, key check, nonce, ciphertext

The plaintext is the vector, the anchor and the time of enrolment; the file's name is the keyed
reference that the log uses, so neither name nor content tells who it is.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from pipelines.durable_files import make_folder, replace_file
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


class TemplateStore:
    """Sealed templates of one authority in a folder."""

    def __init__(self, folder: Path, keystore: KeyStore, *, authority: str) -> None:
        self._folder = folder
        self._keystore = keystore
        self._authority = authority
        make_folder(folder, mode=0o700)

    def store(self, learner_id: str, enrolled: EnrolledTemplate) -> None:
        """Seal a template under the learner's key, over an earlier one if there is one."""
        key_id, key = self._keystore.key_for(learner_id, RecordClass.FACE_EVIDENCE)
        context = self._context(learner_id, key_id, key, enrolled.template.contract_id)
        sealed = seal(key, _plaintext(enrolled), context, _PART)
        file: dict[str, JSONValue] = {
            "format": FORMAT,
            "bound_to": context.to_json(),
            "key_check": to_base64(key_check(key, context)),
            "nonce": to_base64(sealed.nonce),
            "ciphertext": to_base64(sealed.ciphertext),
        }
        path = self._path(context.learner)
        make_folder(path.parent, mode=0o700)
        replace_file(path, canonical_json(file), temporary=self._folder, mode=0o600)

    def load(self, learner_id: str, *, contract_id: str) -> EnrolledTemplate:
        """Open a learner's template.

        Raises
        ------
        UnknownSubjectError
            If the learner is not enrolled here, or the key was destroyed.
        ContractMismatchError
            If the template was made under another contract: the learner must enrol again.
        WrongKeyError, LedgerError
            If key or file are not what was stored.
        """
        try:
            # To look somebody up must not leave a key behind.
            key_id, key = self._keystore.find(learner_id, RecordClass.FACE_EVIDENCE)
        except UnknownSubjectError as error:
            raise UnknownSubjectError("this learner is not enrolled") from error
        context = self._context(learner_id, key_id, key, contract_id)
        path = self._path(context.learner)
        if not path.is_file():
            raise UnknownSubjectError("this learner is not enrolled")
        sealed, check = _read(path.read_bytes(), context)
        return _enrolled(unseal(key, sealed, context, _PART, check), contract_id)

    def _context(self, learner_id: str, key_id: str, key: bytes, contract_id: str) -> SealContext:
        return SealContext(
            authority=self._authority,
            learner=learner_reference(key, learner_id),
            record_class=RecordClass.FACE_EVIDENCE.value,
            purpose="template",
            contract=contract_id,
            key_id=key_id,
        )

    def _path(self, reference: str) -> Path:
        return self._folder / reference[:2] / f"{reference}.template"


def _read(data: bytes, context: SealContext) -> tuple[SealedPart, bytes]:
    """Return what is sealed and the key check, of a file that is bound to ``context``."""
    try:
        file = parse_canonical_object(data)
        _require_context(file, context)
        nonce, ciphertext, check = (
            from_base64(_text(file, name)) for name in ("nonce", "ciphertext", "key_check")
        )
    except InvalidRecordError as error:
        # We wrote this file: broken, it is damage and nothing that a caller could put right.
        raise LedgerError("the template file was damaged") from error
    if len(nonce) != NONCE_BYTES:
        raise LedgerError(f"the template file's nonce has {len(nonce)} bytes, not {NONCE_BYTES}")
    return SealedPart(nonce=nonce, ciphertext=ciphertext), check


def _require_context(file: Mapping[str, JSONValue], context: SealContext) -> None:
    """Refuse a file of another contract by its name, and anything else that differs as damage."""
    bound = file.get("bound_to")
    if file.get("format") != FORMAT or not isinstance(bound, Mapping):
        raise LedgerError(f"the template file is not of format {FORMAT}")
    made_under = _text(bound, "contract")
    if made_under != context.contract:
        raise ContractMismatchError(
            f"template made under {made_under}, {context.contract} is in use: "
            "the learner must enrol again"
        )
    if not hmac.compare_digest(canonical_json(bound), canonical_json(context.to_json())):
        raise LedgerError("the template file is bound to something else")


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
        raise LedgerError(f"the template file has no text under {name}")
    return value
