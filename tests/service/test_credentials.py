"""Secrets that callers show: their form, their digest, and that they do not show themselves."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.credentials import (
    ApiKey,
    Credential,
    LearnerToken,
    OneTimeCode,
    Role,
    issue_api_key,
    issue_learner_token,
    issue_one_time_code,
)
from verifier.errors import InputError

KEY = "zx_platform_0a1b2c3d_" + "A" * 20 + "_-" + "z" * 21


def issued() -> list[Credential]:
    keys: list[Credential] = [issue_api_key(role) for role in Role]
    return [*keys, issue_learner_token(), issue_one_time_code()]


def test_a_known_key() -> None:
    key = ApiKey(KEY)
    assert (key.role, key.key_id) == (Role.PLATFORM, "0a1b2c3d")
    assert key.digest == hashlib.sha256(KEY.encode()).digest()


@pytest.mark.parametrize("role", list(Role))
def test_an_issued_key_names_role_and_id(role: Role) -> None:
    key = issue_api_key(role)
    assert key.role is role
    assert re.fullmatch("[0-9a-f]{8}", key.key_id)
    assert key.text.startswith(f"zx_{role}_{key.key_id}_")


def test_what_was_issued_is_read_again_and_has_a_digest_of_its_own() -> None:
    credentials = issued()
    for one in credentials:
        again = type(one).parse(one.text)
        assert again is not None
        assert [other for other in credentials if other.digest == again.digest] == [one]


def test_secrets_have_the_bits_they_claim() -> None:
    """Six bits a character: 43 hold 256 bits, 22 hold 128."""
    assert len(issue_api_key(Role.OFFICER).text.split("_", 3)[3]) == 43
    assert len(issue_learner_token().text.removeprefix("zx_learner_")) == 43
    assert len(issue_one_time_code().text.removeprefix("zx_code_")) == 22


def test_no_two_are_alike() -> None:
    texts = [credential.text for _ in range(50) for credential in issued()]
    assert len(set(texts)) == len(texts)


def test_another_role_or_id_is_another_key() -> None:
    stored = ApiKey(KEY).digest
    for forged in (KEY.replace("platform", "officer"), KEY.replace("0a1b2c3d", "0a1b2c3e")):
        key = ApiKey.parse(forged)
        assert key is not None
        assert key.digest != stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY + "A",
        KEY[:-1],
        KEY + "\n",
        KEY.upper(),
        KEY.replace("platform", "auditor"),
        KEY.replace("0a1b2c3d", "0A1B2C3D"),
        KEY[:-1] + "ä",
        KEY[:-1] + "=",
    ],
)
def test_what_is_no_key(text: str) -> None:
    assert ApiKey.parse(text) is None


@given(text=st.text())
def test_text_of_any_kind_is_read_without_an_error(text: str) -> None:
    assert ApiKey.parse(text) is None


def test_one_kind_does_not_pass_for_another() -> None:
    for credential in issued():
        kinds: list[type[Credential]] = [ApiKey, LearnerToken, OneTimeCode]
        readers = [kind for kind in kinds if kind.parse(credential.text) is not None]
        assert readers == [type(credential)]


def test_nothing_shows_a_secret() -> None:
    for credential in issued():
        secret = credential.text[-22:]
        for shown in (repr(credential), str(credential), f"{credential}", repr([credential])):
            assert secret not in shown
    with pytest.raises(InputError) as refusal:
        ApiKey("zx_platform_secret")
    assert "secret" not in str(refusal.value)


def test_texts_are_not_compared_with_each_other() -> None:
    """A comparison that stops at the first difference tells how far a guess was right."""
    assert ApiKey(KEY) != ApiKey(KEY)
