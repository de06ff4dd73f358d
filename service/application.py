"""Everything the service runs on, joined: settings in, one :class:`Application` out.

Routes and commands take an application; nothing here knows HTTP.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pipelines.archive import Archive
from pipelines.clock import SystemClock, require_not_behind
from pipelines.device_registration import DeviceRegistrar
from pipelines.duplicates import DuplicateSearch, blind_text
from pipelines.enrolment import Enroller
from pipelines.erasure import FaceEraser
from pipelines.gallery import Gallery, rebuild
from pipelines.identity_authority import IdentityAuthority, NoIdentityAuthority
from pipelines.keystore import KeyStore
from pipelines.lesson_engine import LessonEngine
from pipelines.private_files import load_or_create_signer
from pipelines.sealed_template import TemplateSealer
from pipelines.simulate.identity_authority import DemoIdentityAuthority
from pipelines.witness_client import WitnessClient
from pipelines.witnessing import Witnessing
from service.background import Repeatedly
from service.delivery import Dispatcher, StreamLimits
from service.live.embedded import open_live_state
from service.live.live_state import LiveState
from service.playback import PlaybackBook
from service.settings import IdentityAuthorityName, Settings
from service.sql.calibrations import SqlCalibrations
from service.sql.database import Database, load_or_create_database_key
from service.sql.entry_log import SqlEntrySource
from service.sql.heartbeat import beat, last_beat, latest_moment
from service.sql.idempotency import forget_before
from service.sql.installation import require_installation
from service.sql.lesson_store import SqlLessonStore
from service.turns import BoundedChecker, Shares, Turns
from service.uploads import Uploads
from verifier.calibration import Calibration, Metric
from verifier.errors import InputError, VerifierError
from verifier.policy import Policy
from verifier.protocols import Clock, FaceObserver

logger = logging.getLogger(__name__)

PUBLISH_EVERY_S: Final = 0.5
"""A receipt is there after at most this and the time to sign: well below the 5 s promised."""
SWEEP_EVERY_S: Final = 30.0
BEAT_EVERY_S: Final = 5.0
FLUSH_EVERY_S: Final = 5.0
"""What a crash may lose of heartbeats."""
LONGEST_SILENCE: Final = timedelta(seconds=2 * BEAT_EVERY_S)
"""Between two signs of life; prompts have enough slack for a start that takes no longer."""
ENROLMENTS_AT_ONCE: Final = 2
"""Of one caller: each takes as long as several answers."""
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
    playback: PlaybackBook
    dispatcher: Dispatcher
    uploads: Uploads
    enroller: Enroller
    registrar: DeviceRegistrar
    eraser: FaceEraser
    calibrations: SqlCalibrations
    turns: Turns
    enrolling: Shares
    publishing: Repeatedly
    sweeping: Repeatedly
    beating: Repeatedly
    flushing: Repeatedly


@dataclass(frozen=True, kw_only=True)
class _Upkeep:
    """What goes on by itself for as long as the application is open."""

    publishing: Repeatedly
    sweeping: Repeatedly
    beating: Repeatedly
    flushing: Repeatedly


@contextmanager
def open_application(
    settings: Settings,
    *,
    observer: FaceObserver,
    metric: Metric,
    calibration: Calibration | None,
    policy: Policy,
    clock: Clock | None = None,
) -> Iterator[Application]:
    """Open an installation for as long as the context lasts.

    Parameters
    ----------
    metric
        By which the observer's templates are compared.
    calibration
        Built in for the observer's contract, in force until two persons put another in force;
        None: a site has to make its own.
    clock
        For the demo and tests only; None: the operating system's.

    Raises
    ------
    InputError
        If production settings meet a clock or identity authority that is not real, the clock is
        behind what is on record, no calibration is in force, or something in the settings cannot
        be used.
    LedgerError
        If database, archive and keys are not each other's, or the disk refused.
    """
    _require_usable(settings, clock or SystemClock(), policy)  # before anything is written
    keystore = KeyStore.open(settings.keys_folder)
    key = load_or_create_database_key(settings.keys_folder / "database.key")
    database = Database.open(settings.database_address, key=key)
    try:
        clock = _clock(clock, database)
        calibrations = SqlCalibrations(
            database, contract_id=observer.contract_id, metric=metric, built_in=calibration
        )
        folder = settings.data_dir / "archive"
        require_installation(
            database, folder, authority=settings.authority, log_origin=settings.log_origin
        )
        calibrations.begin(at=clock.now())
        signer = load_or_create_signer(settings.keys_folder / "signing.key", settings.log_origin)
        redis_url = settings.redis_url and settings.redis_url.get_secret_value()
        with (
            Witnessing(
                [WitnessClient(address) for address in settings.witness_addresses],
                alarms=settings.data_dir / "witness-alarms",
            ) as witnessing,
            Archive.open(
                folder,
                authority=settings.authority,
                keystore=keystore,
                signer=signer,
                source=SqlEntrySource(database),
                witnessing=witnessing,
            ) as archive,
            open_live_state(redis_url or None, settings.data_dir) as live,
        ):
            store = SqlLessonStore(database)
            turns = Turns(settings.judges)
            checker = BoundedChecker(observer=observer, turns=turns)
            templates = TemplateSealer(keystore=keystore, authority=settings.authority)
            playback = PlaybackBook(database=database, rules=policy.playback)
            engine = LessonEngine(
                checker=checker,
                calibrations=calibrations,
                templates=templates,
                store=store,
                archive=archive,
                policy=policy,
                clock=clock,
                before_end=playback.settle,
            )
            _take_up(engine, database, clock)
            duplicates = DuplicateSearch(
                gallery=_gallery(observer, metric, store, templates),
                store=store,
                templates=templates,
                rules=policy.duplicates,
            )
            warn_if_blind(duplicates, calibrations.current())
            enroller = Enroller(
                checker=checker,
                calibrations=calibrations,
                templates=templates,
                store=store,
                evidence=archive.evidence,
                clock=clock,
                comparisons=engine.comparisons,
                duplicates=duplicates,
            )
            registrar = DeviceRegistrar(
                checker=checker,
                calibrations=calibrations,
                templates=templates,
                store=store,
                evidence=archive.evidence,
                clock=clock,
                comparisons=engine.comparisons,
            )
            eraser = FaceEraser(
                gallery=duplicates.gallery,
                keystore=keystore,
                store=store,
                evidence=archive.evidence,
                clock=clock,
                end_sessions=engine.end_sessions,
            )

            uploads = Uploads(clock)
            dispatcher = Dispatcher(
                engine,
                limits=StreamLimits(in_all=settings.streams, of_one=settings.streams_per_platform),
            )
            store.on_saved = dispatcher.touch

            with _upkeep_of(engine, database, playback, uploads) as upkeep, dispatcher:
                yield Application(
                    settings=settings,
                    clock=clock,
                    policy=policy,
                    database=database,
                    live=live,
                    keystore=keystore,
                    archive=archive,
                    identity_authority=_identity_authority(settings, clock),
                    engine=engine,
                    playback=playback,
                    dispatcher=dispatcher,
                    uploads=uploads,
                    enroller=enroller,
                    registrar=registrar,
                    eraser=eraser,
                    calibrations=calibrations,
                    turns=turns,
                    enrolling=Shares(ENROLMENTS_AT_ONCE),
                    publishing=upkeep.publishing,
                    sweeping=upkeep.sweeping,
                    beating=upkeep.beating,
                    flushing=upkeep.flushing,
                )
    finally:
        database.close()


@contextmanager
def _upkeep_of(
    engine: LessonEngine, database: Database, playback: PlaybackBook, uploads: Uploads
) -> Iterator[_Upkeep]:
    """Do whatever goes on by itself until the context ends, and all but the sweeping once more."""
    clock, archive = engine.clock, engine.archive

    def sweep() -> None:
        uploads.forget_expired()
        engine.abandon_expired()
        with database.writing() as tx:
            forget_before(tx, clock.now() - REPLIES_KEPT)

    def show_life() -> None:
        with database.writing() as tx:
            beat(tx, at=clock.now())

    def flush() -> None:
        playback.flush(at=clock.now())

    show_life()
    with (
        Repeatedly("publishing", archive.publish, PUBLISH_EVERY_S) as publishing,
        Repeatedly("sweeping", sweep, SWEEP_EVERY_S) as sweeping,
        Repeatedly("beating", show_life, BEAT_EVERY_S) as beating,
        Repeatedly("flushing", flush, FLUSH_EVERY_S) as flushing,
    ):
        yield _Upkeep(publishing=publishing, sweeping=sweeping, beating=beating, flushing=flushing)
    flush()
    show_life()
    archive.publish_witnessed()  # what came last need not wait for the next start


def _clock(given: Clock | None, database: Database) -> Clock:
    """Return the clock that goes on from what is on record."""
    with database.reading() as tx:
        latest = latest_moment(tx)
    require_not_behind((given or SystemClock()).now(), latest)
    return given or SystemClock(not_before=latest)


def _take_up(engine: LessonEngine, database: Database, clock: Clock) -> None:
    """Go on with the lessons that were in progress; one that is damaged keeps nobody out."""
    for act in (engine.recover, lambda: _resume(engine, database, clock)):
        try:
            act()
        except VerifierError as error:
            logger.error("a session could not be taken up again: %s", type(error).__name__)  # noqa: TRY400 - a traceback could carry what it is about


def _resume(engine: LessonEngine, database: Database, clock: Clock) -> None:
    """Take the time that the service was not there out of the lessons in progress."""
    with database.reading() as tx:
        away_since = last_beat(tx)
    if away_since is None or clock.now() - away_since <= LONGEST_SILENCE:
        return
    away_s = (clock.now() - away_since).total_seconds()
    count = engine.resume_after(away_since)
    logger.info("away for %.0f s; sessions interrupted: %d", away_s, count)


def _gallery(
    observer: FaceObserver, metric: Metric, store: SqlLessonStore, templates: TemplateSealer
) -> Gallery:
    """Return everybody's faces, out of the sealed templates: the only place where they are open."""
    gallery = Gallery(observer.contract_id, metric)
    rebuilt = rebuild(gallery, store, templates)
    logger.info(
        "faces that can be searched: %d; to be enrolled again: %d; forgotten: %d",
        rebuilt.added,
        rebuilt.outdated,
        rebuilt.forgotten,
    )
    return gallery


def warn_if_blind(duplicates: DuplicateSearch, calibration: Calibration) -> None:
    """Log it if the duplicate search can find nobody under a calibration that is in force."""
    if duplicates.is_blind(calibration):
        logger.warning("%s", blind_text(calibration, len(duplicates.gallery)))


def _identity_authority(settings: Settings, clock: Clock) -> IdentityAuthority:
    if settings.identity_authority is IdentityAuthorityName.DEMO:
        return DemoIdentityAuthority(clock=clock)
    return NoIdentityAuthority()


def _require_usable(settings: Settings, clock: Clock, policy: Policy) -> None:
    _require_real(settings, clock, _identity_authority(settings, clock))
    policy.require_valid_on(clock.now().date())


def _require_real(settings: Settings, clock: Clock, authority: IdentityAuthority) -> None:
    """Refuse, in production, whoever could make time or people up."""
    if not settings.production:
        return
    if type(clock) is not SystemClock:
        raise InputError("production runs on the operating system's clock and on no other")
    if authority.is_demo:
        raise InputError("production asks no demo authority whose face it is")
