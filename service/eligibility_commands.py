"""``zhenxue eligibility``: may these hours be paid, and if not, why not, rule by rule.

A file argument, or ``-`` for standard input; a list in gives a list out, in the same order. Every
record is read before any is decided, so that bad input decides nothing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.console_output import ExitCode, out, print_json, reports_errors
from verifier.eligibility import Eligibility, decide
from verifier.eligibility_facts import EligibilityFacts
from verifier.eligibility_record import read_facts
from verifier.eligibility_result import OUTCOME_TEXT, GateOutcome, RuleResult
from verifier.errors import InvalidRecordError
from verifier.policy import default_policy
from verifier.strict_json import load_json

FactsFile = Annotated[str, typer.Argument(metavar="FACTS", help="JSON, or - for standard input.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@reports_errors
def eligibility(facts: FactsFile, as_json: Json = False) -> ExitCode:
    """Ask the subsidy gate about one learner in one class, or a list of them.

    Exit 0: payable, every one. 1: at least one is less. 2: bad input, and nothing was decided.
    """
    document = load_json(sys.stdin.buffer.read() if facts == "-" else Path(facts).read_bytes())
    policy = default_policy()
    several = isinstance(document, list)
    answers = [decide(each, policy) for each in _read(document)]
    if as_json:
        records = [answer.to_record() for answer in answers]
        print_json(records if several else records[0])
    else:
        for answer in answers:
            _print_answer(answer)
    payable = all(answer.outcome is GateOutcome.PAYABLE for answer in answers)
    return ExitCode.OK if payable else ExitCode.NEGATIVE


def _read(document: object) -> Sequence[EligibilityFacts]:
    if not isinstance(document, list):
        return [read_facts(document)]
    if not document:
        # "All of none are payable" would be true, and of no use to a script that pays.
        raise InvalidRecordError("the list is empty; at least one record was wanted")
    return [_read_at(at, record) for at, record in enumerate(document)]


def _read_at(at: int, record: object) -> EligibilityFacts:
    try:
        return read_facts(record)
    except InvalidRecordError as error:
        raise InvalidRecordError(f"[{at}]: {error}") from None


def _print_answer(answer: Eligibility) -> None:
    _print(f"{answer.learner_id} · {answer.class_id}: {' '.join(OUTCOME_TEXT[answer.outcome])}")
    claimed = "nothing" if answer.claimed_s is None else f"{answer.claimed_s:.0f} s"
    _print(
        f"  credited {answer.credited_s:.0f} s = {answer.credit_hours:.2f} 学时,"
        f" pending {answer.pending_s:.0f} s, claimed {claimed}; policy {answer.policy}"
    )
    for result in answer.rules:
        _print_result(result)


def _print_result(result: RuleResult) -> None:
    _print(f"  {result.outcome:<11} {result.rule}" + (f" {result.code}" if result.code else ""))
    for text in result.text or ():
        _print(f"      {text}")
    if result.code is not None:
        seen = ", ".join(f"{name} {value}" for name, value in result.values.items())
        _print(f"      {seen}")


def _print(line: str) -> None:
    # Ids come from strangers; a control character could rewrite what the terminal shows.
    out.print(
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line), markup=False
    )
