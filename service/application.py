"""Everything the service runs on, joined: settings in, one :class:`Application` out.

Routes and commands take an application; nothing here knows HTTP.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pipelines.archive import Archive
from pipelines.check import FrameChecker
from pipelines.clock import SystemClock
from pipelines.enrolment import Enroller
from pipelines.identity_authority import IdentityAuthority, NoIdentityAuthority
from pipelines.keystore import KeyStore
from pipelines.lesson_engine import LessonEngine
from pipelines.private_files import load_or_create_signer
from pipelines.sealed_template import TemplateSealer
from pipelines.simulate.identity_authority import DemoIdentityAuthority
from service.background import Repeatedly
from service.bounded_observer import BoundedObserver
from service.live.embedded import open_live_state
from service.live.live_state import LiveState
from service.settings import IdentityAuthorityName, Settings
from service.sql.database import Database, load_or_create_database_key
from service.sql.entry_log import SqlEntrySource
from service.sql.idempotency import forget_before
from service.sql.lesson_store import SqlLessonStore
from verifier.comparison import Calibration
from verifier.errors import InputError
from verifier.policy import Policy
from verifier.protocols import Clock, FaceObserver

PUBLISH_EVERY_S: Final = 0.5
"""A receipt is there after at most this and the time to sign: well below the 5 s promised."""
SWEEP_EVERY_S: Final = 30.0
REPLIES_KEPT: Final = timedelta(days=7)
"""Who repeats a request does so within days."""


@dataclass(frozen=True, kw_only=True)
class Application:
    """An installation that is running."""

    settings: Settings
    clock: Clock
    policy: Policy
    database: Database
    live: LiveState
    keystore: KeyStore
    archive: Archive
    identity_authority: IdentityAuthority
    engine: LessonEngine
    enroller: Enroller
    publishing: Repeatedly
    sweeping: Repeatedly


@contextmanager
def open_application(
    settings: Settings,
    *,
    observer: FaceObserver,
    calibration: Calibration,
    policy: Policy,
    clock: Clock | None = None,
) -> Iterator[Application]:
    """Open an installation for as long as the context lasts.

    Parameters
    ----------
    clock
        For the demo and tests only; None: the operating system's.

    Raises
    ------
    InputError
        If production settings meet a clock or identity authority that is not real, or something
        in the settings cannot be used.
    LedgerError
        If database, archive and keys are not each other's, or the disk refused.
    """
    clock = clock or SystemClock()
    authority = _identity_authority(settings, clock)
    _require_real(settings, clock, authority)
    policy.require_valid_on(clock.now().date())
    keystore = KeyStore.open(settings.keys_folder)
    key = load_or_create_database_key(settings.keys_folder / "database.key")
    signer = load_or_create_signer(settings.keys_folder / "signing.key", settings.log_origin)
    redis_url = settings.redis_url and settings.redis_url.get_secret_value()
    database = Database.open(settings.database_address, key=key)
    try:
        with (
            Archive.open(
                settings.data_dir / "archive",
                authority=settings.authority,
                keystore=keystore,
                signer=signer,
                source=SqlEntrySource(database),
            ) as archive,
            open_live_state(redis_url or None, settings.data_dir) as live,
        ):
            store = SqlLessonStore(database)
            checker = FrameChecker(
                observer=BoundedObserver(observer, settings.judges), calibration=calibration
            )
            templates = TemplateSealer(keystore=keystore, authority=settings.authority)
            engine = LessonEngine(
                checker=checker,
                templates=templates,
                store=store,
                archive=archive,
                policy=policy,
                clock=clock,
            )
            engine.recover()
            enroller = Enroller(
                checker=checker,
                templates=templates,
                store=store,
                evidence=archive.evidence,
                clock=clock,
            )

            def sweep() -> None:
                engine.abandon_expired()
                with database.writing() as tx:
                    forget_before(tx, clock.now() - REPLIES_KEPT)

            with (
                Repeatedly("publishing", archive.publish, PUBLISH_EVERY_S) as publishing,
                Repeatedly("sweeping", sweep, SWEEP_EVERY_S) as sweeping,
            ):
                yield Application(
                    settings=settings,
                    clock=clock,
                    policy=policy,
                    database=database,
                    live=live,
                    keystore=keystore,
                    archive=archive,
                    identity_authority=authority,
                    engine=engine,
                    enroller=enroller,
                    publishing=publishing,
                    sweeping=sweeping,
                )
            archive.publish()  # what was acknowledged last need not wait for the next start
    finally:
        database.close()


def _identity_authority(settings: Settings, clock: Clock) -> IdentityAuthority:
    if settings.identity_authority is IdentityAuthorityName.DEMO:
        return DemoIdentityAuthority(clock=clock)
    return NoIdentityAuthority()


def _require_real(settings: Settings, clock: Clock, authority: IdentityAuthority) -> None:
    """Refuse, in production, whoever could make time or people up."""
    if not settings.production:
        return
    if type(clock) is not SystemClock:
        raise InputError("production runs on the operating system's clock and on no other")
    if authority.is_demo:
        raise InputError("production asks no demo authority whose face it is")
