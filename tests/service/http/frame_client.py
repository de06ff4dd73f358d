"""The learner frame as a program: a key, and requests that it signs."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.device_keys import PROOF_HEADER, DeviceKey, Proof, signed_text
from tests.pipelines.lesson_stage import LEARNER_FACE
from tests.service.http.service_stage import ServiceStage, picture
from verifier.transparency.base64_text import to_base64


def new_private_key() -> ec.EllipticCurvePrivateKey:
    """Return a key as a browser makes one."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(kw_only=True)
class FrameClient:
    """What runs in a learner's browser; ``secret`` is the token, or a code before there is any."""

    stage: ServiceStage
    private_key: ec.EllipticCurvePrivateKey = field(default_factory=new_private_key)
    secret: str = field(default="", repr=False)

    @property
    def key(self) -> DeviceKey:
        """The public half."""
        public = self.private_key.public_key()
        return DeviceKey(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def sign(self, text: bytes) -> bytes:
        """Return r and s, as WebCrypto gives them."""
        r, s = decode_dss_signature(self.private_key.sign(text, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def proof(
        self, method: str, target: str, body: bytes, *, off_s: int = 0, secret: str | None = None
    ) -> str:
        """Return the proof header of a request, ``off_s`` away from the engine's clock."""
        at_s = int(self.stage.clock.now().timestamp()) + off_s
        shown = self.secret if secret is None else secret
        text = signed_text(method=method, target=target, at_s=at_s, secret=shown, body=body)
        return Proof(at_s=at_s, signature=self.sign(text)).header

    def call(
        self, method: str, path: str, body: Any = None, *, proof: str | None = None
    ) -> httpx.Response:
        """Send a request with its proof, or with another one; "" for none."""
        # As httpx writes what the stage hands it: the signature is over the very bytes.
        written = (
            ""
            if body is None
            else json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        )
        shown = self.proof(method, path, written.encode()) if proof is None else proof
        headers = {PROOF_HEADER: shown} if shown else {}
        return self.stage.call(method, path, body, by=self.secret, headers=headers)

    def register(
        self, learner_id: str, *who: str, code: str | None = None, proof: str | None = None
    ) -> httpx.Response:
        """Register this device with frames of somebody, for a fresh code or a given one."""
        self.secret = code or device_code(self.stage, learner_id)
        shown = who or (LEARNER_FACE,)
        frames = [to_base64(picture(each, number)) for number, each in enumerate(shown)]
        body = {"public_key": to_base64(self.key.spki), "frames": frames}
        return self.call("POST", "/v1/frame/devices", body, proof=proof)

    def enter(self, opened: Any, *, proof: str | None = None) -> httpx.Response:
        """Exchange the code of an opened session; keeps the token."""
        self.secret = opened["code"]
        path = f"/v1/frame/sessions/{opened['session_id']}/token"
        response = self.call("POST", path, {"device_id": self.key.device_id}, proof=proof)
        if response.is_success:
            self.secret = response.json()["token"]
        return response


def device_code(stage: ServiceStage, learner_id: str, *, by: str | None = None) -> str:
    """Return a code with which a learner registers a device."""
    return str(stage.post(f"/v1/learners/{learner_id}/device-code", by=by)["code"])


def open_frame_session(stage: ServiceStage, learner_id: str, class_id: str) -> Any:
    """Open a session in the engine's frame; return the reply."""
    body = {
        "learner_id": learner_id,
        "class_id": class_id,
        "planned_minutes": 12,
        "assurance": "frame",
    }
    return stage.post("/v1/sessions", body)


def entered(stage: ServiceStage) -> tuple[FrameClient, str]:
    """Return a frame with a registered device in a session of its own, and the session."""
    learner_id, class_id = stage.prepare()
    client = FrameClient(stage=stage)
    assert client.register(learner_id).status_code == 201
    opened = open_frame_session(stage, learner_id, class_id)
    assert client.enter(opened).is_success
    return client, str(opened["session_id"])
