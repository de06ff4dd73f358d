"""The networks that the settings name, opened."""

from models.attack_detector import open_attack_detector
from models.installation import open_pack
from models.installed_pack import InstalledPack
from models.observer import FaceObserver, open_observer
from service.settings import Settings
from verifier.protocols import AttackDetector


def chosen_observer(
    settings: Settings, *, pack: InstalledPack | None = None, judge_attacks: bool = False
) -> FaceObserver:
    """Open the pack of ``ZHENXUE_PACK`` and, where it is to judge attacks, that for them.

    ``pack`` is that pack, where the caller has it open: its files are not hashed again.

    Raises
    ------
    InputError
        If no pack has that name.
    ModelUnavailableError
        If it is not installed, damaged, bars commercial use unasked, or observes no faces.
    """
    return open_observer(
        pack or _open(settings.pack, settings),
        threads=settings.threads,
        attack_detector=chosen_attack_detector(settings) if judge_attacks else None,
        batch_slots=settings.batch_slots,
    )


def chosen_attack_detector(settings: Settings) -> AttackDetector | None:
    """Open the pack of ``ZHENXUE_ATTACK_PACK``; without one nobody judges attacks.

    Errors as `chosen_observer`, and if the pack judges no attacks.
    """
    if settings.attack_pack is None:
        return None
    return open_attack_detector(_open(settings.attack_pack, settings), settings.threads)


def _open(name: str, settings: Settings) -> InstalledPack:
    return open_pack(name, settings.cache_dir, allow_non_commercial=settings.allow_non_commercial)
