"""Everything the core raises on purpose.

VerifierError
├── InputError               the caller can fix it
│   ├── UnreadableImageError     bytes that are no picture, or not one we accept
│   ├── InvalidRecordError       a public record breaks its format
│   └── UnknownSubjectError      a learner, session or prompt nobody registered
├── InvalidEvidenceError     a finding breaks an invariant
├── ContractMismatchError    templates made under different contracts were mixed
├── TooFewTrialsError        a rate asked of too little data
├── ModelUnavailableError    weights missing, or the wrong digest
├── IdentityAuthorityUnavailableError  the authority cannot be asked at the moment
├── ProtocolError            an act that the session's state does not allow
└── LedgerError              stored evidence no longer verifies
    ├── WrongKeyError            the key offered is not the key it was sealed with
    └── UncertainOutcomeError    whether a unit of work was kept cannot be known now

A non-match, an attack or a failure to acquire is a result, not an exception.
"""


class VerifierError(Exception):
    """Root of every error the engine raises on purpose."""


class InputError(VerifierError):
    """The caller can fix it; the message names what was seen and what was wanted."""


class UnreadableImageError(InputError):
    """The bytes are not a picture that the one decoder accepts.

    ``code`` is stable and machine-readable, for example ``truncated`` or ``too_many_pixels``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class InvalidRecordError(InputError):
    """A record in one of the public formats breaks that format."""


class UnknownSubjectError(InputError):
    """A learner, session or prompt that nobody registered."""


class InvalidEvidenceError(VerifierError):
    """A finding breaks an invariant of its type."""


class ContractMismatchError(VerifierError):
    """Two templates, or a template and a calibration, were made under different contracts."""


class TooFewTrialsError(VerifierError):
    """A rate was asked of too little data; it is undefined, not zero."""


class ModelUnavailableError(VerifierError):
    """Weights are missing, or are not the bytes that were pinned."""


class IdentityAuthorityUnavailableError(VerifierError):
    """Whoever confirms identities cannot be asked at the moment; that confirms nobody."""


class ProtocolError(VerifierError):
    """An act that the state of the session or prompt does not allow.

    ``code`` is stable and machine-readable, for example ``prompt_already_answered``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LedgerError(VerifierError):
    """Stored evidence no longer verifies: changed, cut short, or never signed."""


class WrongKeyError(LedgerError):
    """The key offered is not the key the object was sealed with."""


class UncertainOutcomeError(LedgerError):
    """The store went away while a unit of work was committed: kept or not, nobody knows yet."""
