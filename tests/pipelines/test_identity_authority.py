"""Who confirms whom: nobody, and the demo's people."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clock import ManualClock
from pipelines.identity_authority import Confirmation, IdentityAuthority, NoIdentityAuthority
from pipelines.simulate.identity_authority import (
    DEMO_IDENTITIES,
    DemoIdentityAuthority,
    demo_identity,
)
from verifier.enrolment import Anchor
from verifier.errors import InvalidRecordError
from verifier.identity import Identity, check_character, parse_identity

NOW = datetime(2026, 1, 15, 8, tzinfo=UTC)
PORTRAIT = b"a picture"


def identity_in(region: str) -> Identity:
    body = f"{region}19800101001"
    return Identity(name="张三", id_number=body + check_character(body))


def demo_authority() -> IdentityAuthority:
    return DemoIdentityAuthority(ManualClock(NOW))


@given(n=st.integers(0, DEMO_IDENTITIES - 1))
def test_a_demo_identity_is_one_that_anybody_would_accept(n: int) -> None:
    identity = demo_identity(n)
    assert identity.region_code == "999999"
    assert identity == parse_identity(identity.name, identity.id_number, today=NOW.date())


def test_the_first_demo_identity() -> None:
    assert demo_identity(0).id_number[:17] == "99999919700101000"
    assert demo_identity(DEMO_IDENTITIES - 1).born_on == date(1997, 5, 18)


@given(pair=st.tuples(*[st.integers(0, DEMO_IDENTITIES - 1)] * 2))
def test_each_has_its_own_number(pair: tuple[int, int]) -> None:
    one, other = (demo_identity(n).id_number for n in pair)
    assert (one == other) == (pair[0] == pair[1])


@pytest.mark.parametrize("n", [-1, DEMO_IDENTITIES])
def test_no_demo_identity(n: int) -> None:
    with pytest.raises(ValueError, match="was wanted"):
        demo_identity(n)


def test_the_demo_authority_confirms_its_own() -> None:
    confirmation = demo_authority().confirm(demo_identity(7), PORTRAIT)
    assert confirmation is not None
    assert confirmation.anchor is Anchor.AUTHORITY
    assert confirmation.confirmed_at == NOW


@given(region=st.integers(0, 999_998))
def test_the_demo_authority_confirms_nobody_who_may_live(region: int) -> None:
    assert demo_authority().confirm(identity_in(f"{region:06}"), PORTRAIT) is None


def test_the_demo_authority_confirms_nobody_unseen() -> None:
    assert demo_authority().confirm(demo_identity(7), b"") is None


def test_a_reference_is_not_made_from_the_number() -> None:
    references = set()
    for _ in range(2):
        confirmation = demo_authority().confirm(demo_identity(7), PORTRAIT)
        assert confirmation is not None
        references.add(confirmation.reference)
    assert len(references) == 2


def test_the_demo_authority_says_what_it_is() -> None:
    assert demo_authority().is_demo
    assert demo_authority().name == "demo-authority"


def test_without_an_authority_nobody_is_confirmed() -> None:
    authority: IdentityAuthority = NoIdentityAuthority()
    assert authority.confirm(demo_identity(7), PORTRAIT) is None
    assert not authority.is_demo


@pytest.mark.parametrize("reference", ["", "x" * 201, "two\nlines"])
def test_no_reference(reference: str) -> None:
    with pytest.raises(InvalidRecordError, match="reference"):
        Confirmation(reference=reference, confirmed_at=NOW)


def test_a_confirmation_has_a_zone() -> None:
    with pytest.raises(InvalidRecordError, match="zone"):
        Confirmation(reference="r", confirmed_at=NOW.replace(tzinfo=None))
