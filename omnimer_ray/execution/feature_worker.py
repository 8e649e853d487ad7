"""Workers of features: what an encoder makes of all clips."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from omnimer_ray.config import Kind, MediaConfig, ThinkerConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.execution.unit_worker import UnitWorker, barrier
from omnimer_ray.feature_config import CharNgrams, Checkpoint, Described, Feature, Files, OpenFaceCsv, Prosody, Smile, Tower
from omnimer_ray.features import given
from omnimer_ray.features.described import described, kept_answer, written_kinds
from omnimer_ray.features.locating import find_on_this_node
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.planning.units import FeatureUnit
from omnimer_ray.training.ranks import broadcast_from_rank_0

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from omnimer_ray.model.inputs import MediaEncoder
    from omnimer_ray.model.thinker import Thinker


class FeatureWorker(UnitWorker):
    """A worker of one feature."""

    def execute(self) -> dict[str, Any]:
        """Each rank makes the entries of its share of the clips; a killed unit goes on with those that are missing."""
        assert isinstance(self.unit, FeatureUnit)
        feature = self.unit.feature
        store, write = self._store(feature), self.progress("clips")

        def report(done: int, total: int) -> None:
            self.beat()
            write(done, total)
            if self.should_stop(0):
                raise _StoppedError

        todo: list[Clip] = broadcast_from_rank_0(lambda: store.missing(self.clips))
        with contextlib.suppress(_StoppedError):
            store.fill(todo[self.rank :: self.num_workers], self._encoder(feature), report)
        barrier()
        return {"outcome": broadcast_from_rank_0(lambda: "stopped" if store.missing(self.clips) else "done")}

    def _encoder(self, feature: Feature) -> Callable[[Clip], NDArray[Any]]:
        """What makes an entry."""
        from omnimer_ray.features import measured

        encoder, media = feature.encoder, feature.media or MediaConfig()
        match encoder:
            case CharNgrams():
                return lambda clip: measured.char_ngrams(clip, encoder)
            case Prosody():
                return lambda clip: measured.prosody(clip, media)
            case Smile():
                return lambda clip: measured.smile(clip, encoder, media)
            case Tower():
                from omnimer_ray.features.towers import states

                thinker, media_encoder = self._thinker(encoder.precision, media)
                return lambda clip: states(encoder.tower, thinker, media_encoder, clip)
            case Checkpoint():
                from omnimer_ray.features.pretrained import encoder as load_encoder

                folder = find_on_this_node(self.job.encoders[str(encoder.revision)])
                return load_encoder(encoder, folder, media, self.job.cache, self.device)
            case Files() | OpenFaceCsv():
                place = str(find_on_this_node(self.job.encoders[str(encoder.revision)]))
                here = feature.model_copy(update={"encoder": encoder.model_copy(update={"folder": place})})
                return lambda clip: given.read(here, clip)
            case Described():
                ask, inner = self._ask(encoder, media), self._encoder(Feature(encoder=encoder.encoder, view="text"))
                store = self._store(feature)

                def written(clip: Clip, kind: Kind) -> str:
                    return kept_answer(clip, kind, encoder, media, self.job.feature_store / store.content(clip), ask)

                return lambda clip: inner(described(clip, encoder, written))

    def _thinker(self, precision: str, media: MediaConfig) -> tuple[Thinker, MediaEncoder]:
        from omnimer_ray.model.inputs import MediaEncoder
        from omnimer_ray.model.thinker import load_thinker

        thinker = load_thinker(self.job.base, precision, self.device)
        return thinker, MediaEncoder(thinker.processor, media, self.job.cache, int(self.job.profile.cache_gib * 2**30))

    def _ask(self, settings: Described, media: MediaConfig) -> Callable[[Clip, Kind], str]:
        """The base's free answer to an instruction about a clip."""
        from omnimer_ray.model.inputs import Encoder
        from omnimer_ray.model.thinker import load_thinker
        from omnimer_ray.training.evaluation import auxiliary_answerer

        thinker = load_thinker(self.job.base, settings.precision, self.device)
        about = {"corpus": self.unit.config.corpus, "base": self.job.base.config(), "media": media, "hierarchy": "none"}
        config = ThinkerConfig.model_validate({**about, "answer_language": settings.answer_language})
        encoder = Encoder(thinker.processor, config, self.job.cache)
        answerers = {kind: auxiliary_answerer(thinker, encoder, kind, config.supervision) for kind in written_kinds(settings)}
        return lambda clip, kind: answerers[kind]([clip], [None], 0)[0]

    def _store(self, feature: Feature) -> FeatureStore:
        return FeatureStore(self.job.feature_store, feature, self.job.cache)


class _StoppedError(Exception):
    """The sweep is being stopped."""
