"""From two pictures to minutes that can be paid, one step a test. Read from top to bottom.

The numbers are small enough to check by hand; the functions are the engine's own. What networks
do, turning a picture into a vector, is told in ``tests/models``; here vectors are given.
"""

import math
from datetime import UTC, date, datetime

import numpy as np
import pytest

from tests.fakes import CALIBRATION_DATA, CONTRACT, face, frame, vector_at
from verifier.answer import AnswerReason, ComparedFace, JudgedCapture, judge_capture
from verifier.calibration import Calibration, Metric
from verifier.check import Check, Outcome, SessionEvidence
from verifier.claim import Claim, SessionAccount, SettlementReason, settle
from verifier.comparison import (
    ComparisonOutcome,
    Template,
    compare,
    comparison_score,
)
from verifier.credit import Credit, SpanState, credit, credit_spans
from verifier.errors import ContractMismatchError, LedgerError
from verifier.evidence import STATES, State, log_likelihoods
from verifier.observation import FrameObservation, QualityReason
from verifier.policy import default_policy
from verifier.presence import presence, state_probabilities
from verifier.prompt import Judgement
from verifier.session_score import Decision, score_session
from verifier.transparency.checkpoint import Checkpoint, sign_checkpoint
from verifier.transparency.commitment import Opening, commit
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import inclusion_proof, leaf_hash, nodes_of, root_of
from verifier.transparency.note import NoteSigner
from verifier.transparency.receipt import Receipt

POLICY = default_policy()

REFERENCE = Template(contract_id=CONTRACT, vector=vector_at(0.0))

CALIBRATION = Calibration(
    name="for this lesson",
    made_on=date(2026, 3, 1),
    contract_id=CONTRACT,
    metric=Metric.L2,
    slope=20.0,
    intercept=-8.0,
    min_log10_lr=-2.0,
    max_log10_lr=2.0,
    cap_reason="300 people stand behind it",
    data=CALIBRATION_DATA,
)


def probe(distance: float) -> Template:
    """Return a face at ``distance`` from the reference."""
    return Template(contract_id=CONTRACT, vector=vector_at(distance))


# --- 1. two pictures ---------------------------------------------------------------------------


def test_1_two_faces_become_one_number() -> None:
    """A network turns a face into a vector, and likeness into nearness.

    The comparison score is 1 minus the distance, so that higher is more alike. The score says
    nothing yet about who it is: 0.4 may be much from one network and little from another.
    """
    assert comparison_score(REFERENCE.vector, probe(0.0).vector, Metric.L2) == 1.0
    assert comparison_score(REFERENCE.vector, probe(0.6).vector, Metric.L2) == pytest.approx(0.4)
    assert comparison_score(REFERENCE.vector, probe(1.2).vector, Metric.L2) == pytest.approx(-0.2)


def test_2_a_score_becomes_a_likelihood_ratio() -> None:
    """A ratio: how often the same person brings this score, against how often another does.

    A calibration knows it, for one network. A ratio of 1 (logarithm 0) says nothing; 10 to 1
    (logarithm 1) is a decade for the learner, 1 to 10 (-1) a decade against.
    """
    assert CALIBRATION.log10_lr(0.40) == pytest.approx(0)
    assert CALIBRATION.log10_lr(0.45) == pytest.approx(1)
    assert CALIBRATION.log10_lr(0.35) == pytest.approx(-1)


def test_3_few_people_support_no_large_ratio() -> None:
    """A hundred people cannot show that something happens once in a million.

    However alike two pictures are, the ratio stops where its calibration does.
    """
    assert CALIBRATION.log10_lr(1.0) == 2
    assert CALIBRATION.log10_lr(-1.0) == -2


def test_4_vectors_of_different_networks_are_never_compared() -> None:
    """The number would look like any other and mean nothing, so there is none."""
    stranger = Template(contract_id="another-network@4567", vector=REFERENCE.vector)
    with pytest.raises(ContractMismatchError):
        compare(REFERENCE, stranger, CALIBRATION)


def test_5_there_are_three_outcomes() -> None:
    """Match, no match, and a wide zone between them in which nobody should decide."""
    distances = {0.5: "match", 0.6: "inconclusive", 0.8: "no_match"}
    for distance, outcome in distances.items():
        result = compare(REFERENCE, probe(distance), CALIBRATION)
        assert result.outcome is ComparisonOutcome(outcome)


# --- 2. a check --------------------------------------------------------------------------------


def judged(*seen: FrameObservation) -> JudgedCapture:
    """Judge the frames of one answer as the engine does."""
    compared = [
        ComparedFace(
            frame_index=index,
            face=observation.faces[0],
            comparison=compare(REFERENCE, _template(observation), CALIBRATION),
        )
        for index, observation in enumerate(seen)
        if len(observation.faces) == 1 and not observation.faces[0].quality
    ]
    return judge_capture(seen, compared)


def _template(observation: FrameObservation) -> Template:
    vector = observation.faces[0].embedding
    assert vector is not None
    return Template(contract_id=CONTRACT, vector=vector)


LEARNER, STRANGER = frame(face(vector_at(0.4))), frame(face(vector_at(0.9)))


def test_6_a_check_is_pass_retry_or_refer() -> None:
    """A prompt asks for frames; the platform hears one of three words and never a number.

    Refer does not mean guilty: a person will look, and learning goes on.
    """
    assert judged(LEARNER, LEARNER).judgement is Judgement.PASS
    assert judged(frame(), frame()).judgement is Judgement.RETRY
    assert judged(STRANGER, STRANGER).judgement is Judgement.REFER


def test_7_the_worst_frame_speaks() -> None:
    """Whoever mixes a picture of the learner into the answer gains nothing by it."""
    answer = judged(LEARNER, STRANGER)
    assert answer.judgement is Judgement.REFER
    assert answer.check.comparison_log10_lr == -2


def test_8_bad_light_is_nobodys_fault() -> None:
    """A face too poor to compare is asked for again, with what to mend, and accuses nobody."""
    dark = frame(face(vector_at(0.9), quality=(QualityReason.TOO_DARK,)))
    answer = judged(dark, dark)
    assert (answer.judgement, answer.reason) == (Judgement.RETRY, AnswerReason.PICTURE_POOR)
    assert answer.quality == (QualityReason.TOO_DARK,)
    assert answer.check.comparison_log10_lr is None


def test_9_a_finding_tells_apart_only_what_it_can() -> None:
    """An empty chair speaks for absence, and says nothing about *who* is absent.

    A match speaks against another person. About a photograph of the learner it says nothing: it
    matches just as well.
    """
    ln = dict(zip(STATES, log_likelihoods(no_face(0), POLICY), strict=True))
    assert ln[State.ABSENT] > ln[State.GENUINE]
    assert ln[State.GENUINE] == pytest.approx(ln[State.IMPOSTOR])
    ln = dict(zip(STATES, log_likelihoods(matched(0), POLICY), strict=True))
    assert (ln[State.GENUINE] - ln[State.IMPOSTOR]) / math.log(10) == pytest.approx(2)
    assert ln[State.PRESENTATION_ATTACK] > ln[State.IMPOSTOR]


# --- 3. a session ------------------------------------------------------------------------------


def matched(t: float, log10_lr: float = 2.0) -> Check:
    """Return a check in which the face was compared."""
    return Check(
        t=t, prompted=True, outcome=Outcome.CAPTURED, faces=1, comparison_log10_lr=log10_lr
    )


def no_face(t: float) -> Check:
    """Return a check in which nobody was seen."""
    return Check(t=t, prompted=True, outcome=Outcome.NO_FACE, faces=0)


def lesson(*checks: Check) -> SessionEvidence:
    """Return a lesson of one hour."""
    return SessionEvidence(session_id="s1", planned_minutes=60.0, duration_s=3600.0, checks=checks)


EVERY_4_MINUTES = [240.0 * k for k in range(16)]
ATTENDED = lesson(*(matched(t) for t in EVERY_4_MINUTES))
LEFT_AT_30 = lesson(*(matched(t) if t <= 1800 else no_face(t) for t in EVERY_4_MINUTES))
REPLACED_AT_30 = lesson(*(matched(t, 2.0 if t <= 1800 else -2.0) for t in EVERY_4_MINUTES))


def test_10_checks_become_presence() -> None:
    """Between checks nobody looked; a model of how people come and go fills the gaps.

    The minutes of all states add up to the lesson's, and without any check nobody was there.
    """
    seen = presence(ATTENDED, POLICY)
    assert math.fsum(seen.minutes.values()) == pytest.approx(60)
    assert seen.minutes[State.GENUINE] > 57
    assert presence(lesson(), POLICY).minutes[State.GENUINE] < 2


def test_11_presence_knows_when() -> None:
    """Whoever left half-way was probably there before, and probably not after."""
    times_s, chances = state_probabilities(LEFT_AT_30, POLICY)
    genuine = chances[:, STATES.index(State.GENUINE)]
    assert genuine[np.searchsorted(times_s, 900)] > 0.9
    assert genuine[np.searchsorted(times_s, 3000)] < 0.1


def test_12_a_score_is_a_decision_with_its_reasons() -> None:
    """Accept, or let a person look: for leaving early as for being replaced.

    Leaving is no fraud, and the two are told apart.
    """
    honest, left, replaced = (
        score_session(each, POLICY) for each in (ATTENDED, LEFT_AT_30, REPLACED_AT_30)
    )
    assert honest.decision is Decision.ACCEPT
    assert left.decision is Decision.REVIEW
    assert replaced.decision is not Decision.ACCEPT
    assert left.minutes[State.ABSENT] > 20 > left.minutes[State.IMPOSTOR]
    assert replaced.minutes[State.IMPOSTOR] > 20 > replaced.minutes[State.ABSENT]


# --- 4. credit ---------------------------------------------------------------------------------


def at(clock: str) -> float:
    """Return ``minutes:seconds`` in seconds."""
    minutes, seconds = clock.split(":")
    return 60 * float(minutes) + float(seconds)


PASSES_S = [at(clock) for clock in ("0:00", "6:10", "14:30", "22:40", "39:05", "47:00")]
SPANS = credit_spans(passes_s=PASSES_S, breaks_s=[at("21:00")], pauses=[])


def earned(decision: Decision, *, lower95_s: float) -> Credit:
    """Decide the worked example's spans."""
    return credit(SPANS, decision=decision, lower95_s=lower95_s, rules=POLICY.credit)


def test_13_time_between_two_passes_can_be_credited() -> None:
    """A lesson of 47 minutes: passes at 0:00, 6:10, 14:30, 22:40, 39:05, 47:00, a miss at 21:00.

    0:00 to 14:30 and 22:40 to 47:00 can be credited, together 38:50. The 8:10 around the miss
    wait for a person, who may know why nobody answered.
    """
    creditable = [span for span in SPANS if span.state is SpanState.CREDITABLE]
    assert [(span.start_s, span.end_s) for span in creditable] == [
        (at("0:00"), at("14:30")),
        (at("22:40"), at("47:00")),
    ]
    assert math.fsum(span.credit_s for span in creditable) == at("38:50")


def test_14_credit_needs_an_accepted_session_and_enough_certainty() -> None:
    """The presence model never pays; it gates. Fail the gate, and the time waits for a person."""
    enough_s = 0.8 * at("38:50")
    accepted = earned(Decision.ACCEPT, lower95_s=enough_s)
    assert (accepted.credited_s, accepted.pending_s) == (at("38:50"), at("8:10"))
    assert accepted.credit_hours == pytest.approx(at("38:50") / at("45:00"))
    assert earned(Decision.REVIEW, lower95_s=enough_s).credited_s == 0
    assert earned(Decision.ACCEPT, lower95_s=enough_s - 1).credited_s == 0
    assert earned(Decision.ACCEPT, lower95_s=enough_s - 1).pending_s == at("47:00")


def test_15_a_claim_earns_nothing() -> None:
    """The platform claims ten hours for a lesson of 47 minutes, and ten for one never held.

    What the engine saw is credited; what it did not see is not.
    """
    claim = Claim(learner_id="l1", class_id="c1", claimed_s=at("600:00"))
    account = SessionAccount(
        session_id="s1",
        learner_id=claim.learner_id,
        class_id=claim.class_id,
        started_at=datetime(2026, 3, 2, 1, tzinfo=UTC),
        ended_at=datetime(2026, 3, 2, 2, tzinfo=UTC),
        score=score_session(ATTENDED, POLICY),
        credit=earned(Decision.ACCEPT, lower95_s=at("38:50")),
    )
    held, never_held = settle(claim, [account]), settle(claim, [])
    assert held.credited_s == at("38:50")
    assert SettlementReason.CLAIM_EXCEEDS_VERIFIED in held.reasons
    assert (never_held.credited_s, never_held.pending_s) == (0, 0)
    assert never_held.reasons == (SettlementReason.NO_SESSION,)


# --- 5. a receipt ------------------------------------------------------------------------------

SIGNER = NoteSigner("log.example/chongqing", bytes(32))
OPENING = Opening(blinding=bytes(range(32)), record={"outcome": "captured", "faces": 1})


def entry(minute: int, *, opening: Opening | None = None) -> bytes:
    """Return one entry of the log, committed to ``opening``."""
    leaf = Leaf(
        kind="snapshot",
        time=datetime(2026, 5, 1, 9, minute, tzinfo=UTC),
        session_id="s1",
        sequence=minute,
        assurance="frame",
        commitment=None if opening is None else commit(opening),
        object_sha256=None if opening is None else "ab" * 32,
    )
    return leaf.serialize()


ENTRIES = [entry(0), entry(6), entry(14, opening=OPENING), entry(22), entry(39)]
LEAVES = [leaf_hash(each) for each in ENTRIES]


def receipt_for(index: int) -> Receipt:
    """Return the receipt of one entry: its way to the root, and the root signed."""
    checkpoint = Checkpoint(origin="log.example/chongqing", size=5, root=root_of(LEAVES))
    return Receipt(
        index=index,
        path=inclusion_proof(nodes_of(LEAVES), index, 5),
        checkpoint=sign_checkpoint(checkpoint, SIGNER).serialize(),
        entry=ENTRIES[index],
        opening=OPENING if index == 2 else None,
    )


def test_16_everything_is_written_into_a_log_that_only_grows() -> None:
    """Each entry is hashed into one root. Changing, adding or dropping any gives another root."""
    changed = [*LEAVES[:2], leaf_hash(entry(15, opening=OPENING)), *LEAVES[3:]]
    assert len({root_of(LEAVES), root_of(changed), root_of(LEAVES[:-1])}) == 3


def test_17_a_receipt_proves_one_entry_offline() -> None:
    """Whoever holds the log's public key needs nothing else: no network and no trust in us.

    The log itself shows no picture and no outcome, only a commitment; the receipt opens this
    one and no other.
    """
    text = receipt_for(2).serialize()
    checkpoint, leaf = Receipt.parse(text).verify(SIGNER.verifier)
    assert checkpoint.size == 5
    assert leaf.time == datetime(2026, 5, 1, 9, 14, tzinfo=UTC)
    assert b"captured" not in ENTRIES[2]
    opening = Receipt.parse(text).opening
    assert opening is not None
    assert opening.record == {"outcome": "captured", "faces": 1}


def test_18_a_receipt_that_was_changed_proves_nothing() -> None:
    """Neither another outcome, nor another entry, nor another log can be slipped in."""
    honest = receipt_for(2)
    better = Opening(blinding=OPENING.blinding, record={"outcome": "captured", "faces": 2})
    other_log = NoteSigner.generate("log.example/chongqing")
    forged = (
        Receipt(
            index=2,
            path=honest.path,
            checkpoint=honest.checkpoint,
            entry=honest.entry,
            opening=better,
        ),
        Receipt(
            index=2,
            path=honest.path,
            checkpoint=honest.checkpoint,
            entry=entry(15, opening=OPENING),
            opening=OPENING,
        ),
    )
    for receipt in forged:
        with pytest.raises(LedgerError):
            receipt.verify(SIGNER.verifier)
    with pytest.raises(LedgerError):
        honest.verify(other_log.verifier)
