"""Who was before the camera, second by second, given everything a session's checks found.

A Markov chain in continuous time over the phases of :mod:`verifier.evidence`, seen only at the
checks. Forward and backward passes give the chance of each state at each moment; sampled paths
give what depends on the whole session: the lower bound and the authenticity.

The prior is closed by default: nobody is there until a check shows somebody, and attendance that
nobody showed fades. Findings of one kind within a session repeat each other, so ``n`` of them
that point the same way count as ``n / (1 + (n - 1) rho)`` (:func:`dependence_weight`): the simple
form, which a model that integrates the lasting effects out will replace. ``docs/score.md`` names
every parameter.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from verifier.arrays import FloatArray
from verifier.assurance import LearnerPath
from verifier.check import Check, SessionEvidence
from verifier.evidence import (
    STATE_OF_PHASE,
    STATES,
    Phase,
    State,
    bounded_log_lr,
    outcome_log_lr,
    phase_log_likelihoods,
)
from verifier.policy import Policy
from verifier.policy_groups import PresenceRates

GRID_S = 5.0  # the longest step between two moments that are looked at
MAX_STEPS = 4_000  # a longer lesson gets longer steps, never more memory
PATHS = 400  # sampled; the 20th lowest is the bound

_SECONDS_PER_HOUR = 3600.0
# Underflow guard: beyond it a phase is impossible in double precision anyway.
_LOWEST_LOG = -600.0
_EVERYTHING = np.ones(len(Phase), dtype=np.bool_)
_ATTACKS = np.array([s not in {State.GENUINE, State.ABSENT} for s in STATE_OF_PHASE])
_IN_STATE = np.array([[s is state for s in STATE_OF_PHASE] for state in STATES], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a session's evidence says about who was there.

    Attributes
    ----------
    minutes
        Expected minutes in each state; they add up to the session's duration.
    lower95_minutes
        Genuine minutes outside of pauses that are reached with 95 % probability; never above the
        mean, and 0 where a session by the face compared none.
    authenticity
        P(no attack at any time, and genuine for at least the policy's share of the session
        without its pauses).
    attack_free
        P(no attack at any time).
    """

    minutes: dict[State, float]
    lower95_minutes: float
    authenticity: float
    attack_free: float


def presence(evidence: SessionEvidence, policy: Policy) -> Presence:
    """Return who was there; the same evidence and policy give the same figures again."""
    grid_s, at_check = _grid(evidence)
    chain = _Chain.of(evidence, policy, grid_s, at_check)
    steps_s = np.diff(grid_s)
    filtered, log_evidence = chain.forward(_EVERYTHING)
    behind = chain.backward()
    minutes = _state_minutes(_proportions(filtered * behind), steps_s)
    attack_free = math.exp(min(0.0, chain.forward(~_ATTACKS)[1] - log_evidence))
    paths = chain.sample_paths(behind, _generator_of(evidence, policy))
    counted_s = np.where(_is_paused(grid_s, evidence.pauses), 0.0, steps_s)
    length_s = evidence.duration_s - math.fsum(end - start for start, end in evidence.pauses)
    genuine_s = _genuine_seconds(paths, counted_s)
    clean = ~_ATTACKS[paths].any(axis=0)
    # Rounded, or the last bit of a sum would decide whether a full lesson reaches a full share.
    enough = genuine_s >= round(policy.decision.min_genuine_share * length_s, 6)
    share = float(enough[clean].mean()) if clean.any() and length_s > 0 else 0.0
    return Presence(
        minutes=minutes,
        lower95_minutes=_lower95(evidence, genuine_s, minutes[State.GENUINE]),
        authenticity=attack_free * share,
        attack_free=attack_free,
    )


def state_probabilities(evidence: SessionEvidence, policy: Policy) -> tuple[FloatArray, FloatArray]:
    """Return moments in seconds, shape (n,), and P(state | all findings) there, shape (n, 5).

    The columns follow ``verifier.evidence.STATES``.
    """
    grid_s, at_check = _grid(evidence)
    chain = _Chain.of(evidence, policy, grid_s, at_check)
    marginals = _proportions(chain.forward(_EVERYTHING)[0] * chain.backward())
    return grid_s, np.asarray(marginals @ _IN_STATE.T, dtype=np.float64)


def rates_of(evidence: SessionEvidence, policy: Policy) -> PresenceRates:
    """Return the prior of a session.

    By a grant, an officer saw person and card before: others are expected there less often. That
    is all that the grant says; somebody has to be there as in any session. And where no camera
    looks nothing can be presented to one; a program that types is an injection, as likely as ever.
    """
    if evidence.path is LearnerPath.FACE:
        return policy.presence
    known = policy.non_face
    return replace(
        policy.presence,
        start_impostor=known.start_impostor,
        impostor_per_h=known.impostor_per_h,
        start_presentation_attack=0.0,
        presentation_attack_per_h=0.0,
    )


def generator(rates: PresenceRates) -> FloatArray:
    """Return the rates per second from phase (row) to phase (column), shape (8, 8)."""
    q = np.zeros((len(Phase), len(Phase)))
    q[Phase.GENUINE] = _attacks_by_phase(
        rates.impostor_per_h,
        rates.presentation_attack_per_h,
        rates.injection_per_h,
        pi_self=rates.pi_self,
    )
    q[Phase.GENUINE, Phase.SHORT_BREAK] = rates.short_break_per_h
    q[Phase.GENUINE, Phase.AWAY] = rates.leave_per_h
    q[Phase.SHORT_BREAK, Phase.GENUINE] = rates.break_end_per_h
    q[Phase.AWAY] = rates.return_per_h * _arrivals(rates)
    q[_ATTACKS, Phase.GENUINE] = rates.attack_end_per_h
    q[_ATTACKS, Phase.AWAY] = rates.leave_per_h
    np.fill_diagonal(q, 0.0)
    np.fill_diagonal(q, -q.sum(axis=1))
    return q / _SECONDS_PER_HOUR


def start(rates: PresenceRates) -> FloatArray:
    """Return the chance of each phase at second 0, shape (8,): mostly nobody."""
    chances = rates.start_present * _arrivals(rates)
    chances[Phase.AWAY] = 1 - rates.start_present
    return chances


def transitions(q: FloatArray, steps_s: FloatArray) -> FloatArray:
    """Return ``exp(q h)`` for each step ``h``, shape (n, k, k), rows summing to 1.

    By uniformisation: a Poisson sum of powers of a stochastic matrix has no negative term, so
    nothing cancels. Long steps are halved until the sum is short, and squared back.
    """
    fastest = max(float(-q.diagonal().min()), 1e-12)
    # More halvings than 60 reach equilibrium in any case.
    load = fastest * float(steps_s.max(initial=0.0))
    halvings = min(60, max(0, int(np.ceil(np.log2(max(load, 1e-300) / 0.5)))))
    rate = np.minimum(fastest * steps_s / 2.0**halvings, 0.5)[:, None, None]
    jump = np.eye(len(q)) + q / fastest
    power, weight = np.eye(len(q)), np.exp(-rate)
    total = weight * power
    for order in range(1, 18):  # 0.5**17 / 17! is far below double precision
        power, weight = power @ jump, weight * rate / order
        total = total + weight * power
    for _ in range(halvings):
        total = total @ total
    return np.asarray(total / total.sum(axis=2, keepdims=True), dtype=np.float64)


def dependence_weight(count: int, rho: float) -> float:
    """Return how much each of ``count`` alike findings counts: ``1 / (1 + (count - 1) rho)``.

    References
    ----------
    Kish, Survey Sampling (1965), the design effect of a cluster.
    """
    return 1.0 / (1.0 + max(0, count - 1) * rho)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """The chain on the grid: start (8,), moves (n, 8, 8), and emissions (n + 1, 8), largest 1."""

    start: FloatArray
    moves: FloatArray
    emissions: FloatArray

    @classmethod
    def of(
        cls,
        evidence: SessionEvidence,
        policy: Policy,
        grid_s: FloatArray,
        at_check: NDArray[np.intp],
    ) -> "_Chain":
        """Return the chain of one session; ``at_check`` says which moment each check lies at."""
        logs = np.zeros((len(grid_s), len(Phase)))
        np.add.at(logs, at_check, _weighted_log_likelihoods(evidence.checks, policy))
        logs -= logs.max(axis=1, keepdims=True)
        rates = rates_of(evidence, policy)
        q = generator(rates)
        lengths, which = np.unique(np.diff(grid_s), return_inverse=True)
        return cls(
            start=start(rates),
            moves=transitions(q, lengths)[which] if lengths.size else np.zeros((0, *q.shape)),
            emissions=np.exp(np.maximum(logs, _LOWEST_LOG)),
        )

    def forward(self, allowed: NDArray[np.bool_]) -> tuple[FloatArray, float]:
        """Return filtered chances (n + 1, 8) within allowed phases, and ln P(findings, allowed)."""
        emissions = self.emissions * allowed
        filtered = np.empty_like(emissions)
        logs = np.empty(len(emissions))
        ahead = self.start
        for at, emission in enumerate(emissions):
            joint = ahead * emission
            logs[at] = total = joint.sum()
            filtered[at] = joint / total
            if at < len(self.moves):
                ahead = filtered[at] @ self.moves[at]
        return filtered, float(np.log(logs).sum())

    def backward(self) -> FloatArray:
        """Return what later findings say about each phase, shape (n + 1, 8), scaled to sum 1."""
        behind = np.full_like(self.emissions, 1 / len(Phase))
        for at in range(len(self.moves) - 1, -1, -1):
            message = self.moves[at] @ (self.emissions[at + 1] * behind[at + 1])
            behind[at] = message / message.sum()
        return behind

    def sample_paths(self, behind: FloatArray, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw whole sessions given all findings; phases, shape (n + 1, PATHS)."""
        weights = behind * self.emissions
        first = np.cumsum(self.start * weights[0])
        steps = np.cumsum(self.moves * weights[1:, None, :], axis=2)
        draws = rng.random((len(weights), PATHS))
        paths = np.empty(draws.shape, dtype=np.intp)
        paths[0] = _choose(np.broadcast_to(first, (PATHS, len(first))), draws[0])
        for at, step in enumerate(steps, start=1):
            paths[at] = _choose(step[paths[at - 1]], draws[at])
        return paths


def _choose(cumulative: FloatArray, draws: FloatArray) -> NDArray[np.intp]:
    """Return the index each draw falls on; rows of ``cumulative`` need not end at 1."""
    thresholds = draws * cumulative[:, -1]
    return np.asarray((cumulative <= thresholds[:, None]).sum(axis=1), dtype=np.intp)


def _weighted_log_likelihoods(checks: Sequence[Check], policy: Policy) -> FloatArray:
    rates = policy.presence
    outcome = _weights(checks, lambda c: outcome_log_lr(c, policy), rates.outcome_rho)
    comparison = _weights(
        checks, lambda c: bounded_log_lr(c.comparison_log10_lr, policy), rates.comparison_rho
    )
    pad = _weights(checks, lambda c: bounded_log_lr(c.pad_log10_lr, policy), rates.pad_rho)
    rows = [
        phase_log_likelihoods(check, policy, outcome_weight=o, comparison_weight=c, pad_weight=p)
        for check, o, c, p in zip(checks, outcome, comparison, pad, strict=True)
    ]
    return np.array(rows).reshape(len(checks), len(Phase))


def _weights(checks: Sequence[Check], finding: Callable[[Check], float], rho: float) -> list[float]:
    """Weigh each check's finding by how many point the same way.

    Those that point the other way come from another pair of faces, or another cause, and repeat
    nothing: counting them in would let an honest first half drown a replaced second one.
    """
    signs = [float(np.sign(finding(check))) for check in checks]
    alike = Counter(signs)
    return [dependence_weight(alike[sign], rho) for sign in signs]


def _attacks_by_phase(
    impostor: float, presentation_attack: float, injection: float, *, pi_self: float
) -> FloatArray:
    """Spread a figure for each kind of attack over its phases, shape (8,)."""
    spread = np.zeros(len(Phase))
    spread[Phase.IMPOSTOR] = impostor
    shares = np.array([pi_self, 1 - pi_self])
    spread[[Phase.PRESENTED_SELF, Phase.PRESENTED_OTHER]] = presentation_attack * shares
    spread[[Phase.INJECTED_SELF, Phase.INJECTED_OTHER]] = injection * shares
    return spread


def _arrivals(rates: PresenceRates) -> FloatArray:
    """Return which phase somebody who comes is in, shape (8,), summing to 1."""
    shares = _attacks_by_phase(
        rates.start_impostor,
        rates.start_presentation_attack,
        rates.start_injection,
        pi_self=rates.pi_self,
    )
    shares[Phase.GENUINE] = 1 - shares.sum()
    return shares


def _grid(evidence: SessionEvidence) -> tuple[FloatArray, NDArray[np.intp]]:
    """Return the moments looked at, and for each check the moment it lies at."""
    times = np.array([check.t for check in evidence.checks], dtype=np.float64)
    ends = [end for pause in evidence.pauses for end in pause]
    knots = np.unique(np.concatenate([[0.0, evidence.duration_s], ends, times]))
    longest = max(GRID_S, evidence.duration_s / MAX_STEPS)
    pieces = [
        np.linspace(a, b, max(1, int(np.ceil((b - a) / longest))), endpoint=False)
        for a, b in pairwise(knots)
    ]
    grid = np.concatenate([*pieces, knots[-1:]])
    return grid, np.searchsorted(grid, times)


def _is_paused(grid_s: FloatArray, pauses: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """Say of each step whether it lies in a pause; shape (n,), and no step lies half in one."""
    starts, ends = np.array(pauses, dtype=np.float64).reshape(-1, 2).T
    began = np.searchsorted(starts, grid_s[:-1], side="right")
    return np.asarray(began > np.searchsorted(ends, grid_s[:-1], side="right"))


def _proportions(joint: FloatArray) -> FloatArray:
    """Scale each row to sum 1: P(phase at each moment | all findings)."""
    return np.asarray(joint / joint.sum(axis=1, keepdims=True), dtype=np.float64)


def _state_minutes(marginals: FloatArray, steps_s: FloatArray) -> dict[State, float]:
    between = (marginals[:-1] + marginals[1:]) / 2
    minutes = _IN_STATE @ (steps_s @ between) / 60
    return {state: float(value) for state, value in zip(STATES, minutes, strict=True)}


def _genuine_seconds(paths: NDArray[np.intp], steps_s: FloatArray) -> FloatArray:
    genuine = (paths == Phase.GENUINE).astype(np.float64)
    seconds = steps_s @ ((genuine[:-1] + genuine[1:]) / 2)
    return np.asarray(np.round(seconds, 6), dtype=np.float64)


def _lower95(evidence: SessionEvidence, genuine_s: FloatArray, mean_minutes: float) -> float:
    # Nothing bounds who was there where nobody was compared, whatever the prior says; unless an
    # officer had established who it is.
    compared = any(check.comparison_log10_lr is not None for check in evidence.checks)
    if evidence.path is LearnerPath.FACE and not compared:
        return 0.0
    bound = float(np.quantile(genuine_s, 0.05, method="lower")) / 60
    return min(bound, mean_minutes)


def _generator_of(evidence: SessionEvidence, policy: Policy) -> np.random.Generator:
    # Seeded by what is judged, so that a rerun agrees and nobody can draw until it suits.
    digest = hashlib.sha256(evidence.to_json().encode() + policy.digest.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
