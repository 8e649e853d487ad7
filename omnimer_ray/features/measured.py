"""Features that need no model: character n-grams of the transcript, and prosody of the sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnimer_ray.config import MediaConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import MissingExtraError
from omnimer_ray.feature_config import CharNgrams, Smile
from omnimer_ray.media.decode import SAMPLE_RATE_HZ
from omnimer_ray.media.load import clip_wave
from omnimer_ray.media.prosody import measure

PITCH_FROM_HZ = 100.0


def char_ngrams(clip: Clip, settings: CharNgrams) -> NDArray[np.float32]:
    """Hashed counts, (1, size)."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(analyzer="char_wb", ngram_range=(settings.shortest, settings.longest), n_features=settings.size)
    return np.asarray(hashing.transform([clip.text]).toarray(), np.float32)


def smile(clip: Clip, settings: Smile, media: MediaConfig) -> NDArray[np.float32]:
    """openSMILE's low-level descriptors, (T, 18). Raises MissingExtraError without the extra."""
    try:
        import opensmile
    except ImportError:
        raise MissingExtraError("opensmile", "smile") from None
    feature_set = getattr(opensmile.FeatureSet, settings.version)
    extract = opensmile.Smile(feature_set=feature_set, feature_level=opensmile.FeatureLevel.LowLevelDescriptors)
    return np.asarray(extract.process_signal(clip_wave(clip, media), SAMPLE_RATE_HZ).to_numpy(), np.float32)


def prosody(clip: Clip, media: MediaConfig) -> NDArray[np.float32]:
    """Pitch, voicing and energy every 10 ms, (T, 3)."""
    found = measure(clip_wave(clip, media))
    voiced = np.isfinite(found.f0_hz)
    pitch = np.where(voiced, 12 * np.log2(np.where(voiced, found.f0_hz, PITCH_FROM_HZ) / PITCH_FROM_HZ), 0.0)
    return np.stack([pitch, voiced, found.energy_db], axis=1).astype(np.float32)
