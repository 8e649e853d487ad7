"""Checks of the request: the profile, the corpus, the base, and whether the base fits the workers' memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from omnimer_ray.config import CorpusConfig, ThinkerConfig
from omnimer_ray.corpora import load
from omnimer_ray.doctor.finding import Finding
from omnimer_ray.doctor.host import available_gib
from omnimer_ray.errors import OmniMERError
from omnimer_ray.machine.cards import Card
from omnimer_ray.machine.memory import estimate, longest_item, refusal, setup_of
from omnimer_ray.machine.profile import MachineProfile, Resources, concurrency, usable
from omnimer_ray.model.bases import Base, download_command, locate
from omnimer_ray.recipes import recipe_for

CARD_GIB = {"GeForce-RTX-3090": 24.0}  # of the cards that profiles name


def machine(profile: MachineProfile, offered: Resources) -> Finding:
    """Check that at least one run fits the resources."""
    try:
        runs = concurrency(profile, offered)
    except OmniMERError as error:
        return Finding("profile", False, str(error))
    return Finding("profile", True, f"{runs} runs at once on {offered.cpus:g} cores and {offered.gpus:g} cards")


def machines(profile: MachineProfile, nodes: Sequence[Mapping[str, float]]) -> tuple[Finding, Resources]:
    """Check the same for a cluster's nodes, as Ray counts them; also return their resources."""
    try:
        offered = usable(profile, nodes)
    except OmniMERError as error:
        return Finding("profile", False, str(error)), Resources(0, 0)
    return machine(profile, offered), offered


def corpus(spec: str) -> Finding:
    """Check that the corpus can be read and that a release's media exist; a generated corpus is only planned."""
    try:
        loaded = load(spec, need_media=spec != "mini")
    except OmniMERError as error:
        return Finding("corpus", False, str(error))
    splits = Counter(clip.split for clip in loaded.clips)
    text = ", ".join(f"{splits[split]} {split}" for split in ("train", "validation", "test") if splits[split])
    return Finding("corpus", True, f"{loaded.name}: {text} clips")


def base(name: str) -> tuple[Finding, Base | None]:
    """Check that the base is found and that its weights are on this machine."""
    try:
        found = locate(name)
    except OmniMERError as error:
        return Finding("base", False, str(error)), None
    if found.folder is None:
        how = download_command(found.name, found.commit)
        return Finding("base", False, f"{name} is on the hub, but not on this machine; run `{how}` on every machine"), found
    return Finding("base", True, f"{found.name}, revision {found.revision}"), found


def fits(
    profile: MachineProfile,
    found: Base | None,
    offered: Resources | None,
    cards: Sequence[Card] = (),
    configs: Sequence[ThinkerConfig] = (),
) -> Finding:
    """Compare the estimated memory of a worker, for the longest item of the largest config, with the memory that a worker has.

    Without configs the base's recipe is used; without `offered` a worker's memory on a CPU is unknown.
    """
    missing = Finding("fits", False, "the base's config.json is not here, so its memory cannot be estimated")
    if found is None:
        return missing
    try:
        configs = configs or [recipe_for(found.name, found.width)(CorpusConfig(name="any", fingerprint="any"), found.config())]
        if (shape := found.shape) is None:
            return missing
        there = _memory_of_a_worker(profile, offered, cards)
    except OmniMERError as error:
        return Finding("fits", False, str(error))
    setup, item = max(
        ((setup_of(profile, config), longest_item(config)) for config in configs), key=lambda one: estimate(shape, *one).total_gib
    )
    needed = estimate(shape, setup, item).total_gib
    if there is None:
        where = "of its card, and no card is seen" if profile.gpus_per_worker else "of memory, and its machine is not seen"
        return Finding("fits", True, f"a worker needs about {needed:.1f} GiB {where} from here to compare with")
    if fault := refusal(there, shape, setup, item):
        return Finding("fits", False, fault)
    return Finding("fits", True, f"a worker needs about {needed:.1f} GiB of {there:.1f} for items of up to {item.total} tokens")


def _memory_of_a_worker(profile: MachineProfile, offered: Resources | None, cards: Sequence[Card]) -> float | None:
    """Memory in GiB: of the smallest card, or a share of this machine's; None if the cards are elsewhere and of an unknown type."""
    if not profile.gpus_per_worker:
        return None if offered is None else available_gib() / (concurrency(profile, offered) * max(1, profile.workers_per_run))
    share = min(1.0, profile.gpus_per_worker)
    if cards:
        return share * min(card.memory_gib for card in cards)
    known = CARD_GIB.get(profile.accelerator_type or "")
    return None if known is None else share * known
