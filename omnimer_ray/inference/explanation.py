"""One clip explained as in the paper's Figure 5: each auxiliary's answer beside its gold label and what was measured, and the final answer."""

from __future__ import annotations

import io
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omnimer_ray.config import AUXILIARY_OF, Kind, Modality, SupervisionConfig
from omnimer_ray.corpora import default_cache
from omnimer_ray.corpora.clips import LABELS, Clip
from omnimer_ray.inference.model import Loaded, Source
from omnimer_ray.media.load import load_media, load_wave
from omnimer_ray.media.prosody import Prosody, measure
from omnimer_ray.tasks.instructions import Style, parse, stated_sentiment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOWN_FRAMES = 4
BLUE, ORANGE, GREY, FAINT = "#0072B2", "#D55E00", "#8a8a8a", "#e6e6e6"
TITLES: dict[Kind, str] = {
    "text_keywords": "keywords in the text",
    "facial_expression": "face in the video",
    "prosody": "prosody in the audio",
}
CUES = {  # of an answer on prosody, English and Indonesian -> what was measured for it
    "pitch level": r"high|low|deep|shrill|pitch|tinggi|rendah",
    "pitch slope": r"ris\w+|fall\w+|drop\w+|intonation|lively|flat|monoton\w*|naik|turun|datar",
    "energy": r"loud\w*|soft\w*|quiet\w*|strong|weak|energ\w+|keras|lembut|pelan",
    "speaking rate": r"fast|slow\w*|quick\w*|rapid\w*|pace|drawn out|rate|cepat|lambat",
}


class Explanation(NamedTuple):
    """All that the picture and the text show."""

    clip: Clip
    seen: tuple[Modality, ...]
    frames: NDArray[np.uint8] | None  # (T, H, W, 3)
    wave: NDArray[np.float32] | None  # mono, 16 kHz
    prosody: Prosody | None
    auxiliary: dict[Kind, str]  # answer of each instruction whose modality is there
    task: str
    answer: str
    prediction: str | None
    gold: str | None
    probabilities: dict[str, float]
    notices: tuple[str, ...]  # of stand-ins


def explain(source: Source, model: Loaded, clip: Clip, seen: tuple[Modality, ...], notices: tuple[str, ...]) -> Explanation:
    """Let the model answer, and measure the sound."""
    from omnimer_ray.model.generation import generate
    from omnimer_ray.training.evaluation import answerer

    config, thinker, encoder = source.config, model.thinker, model.encoder
    kinds = [kind for kind, one in AUXILIARY_OF.items() if one.modality in seen]
    tokens = SupervisionConfig().max_new_tokens
    auxiliary = {kind: generate(thinker, encoder, [encoder.encode(clip, kind)], tokens)[0] for kind in kinds}
    shown = tuple(modality for modality in seen if modality in config.modalities)
    [one] = answerer(thinker, encoder, config.task, config.evaluation, config.corpus.unfixed)(
        [encoder.encode(clip, config.task, seen=shown)]
    )
    parsed = parse(one.text, config.task, Style.of(config))
    sound = (clip.audio_path or clip.video_path) if "audio" in seen else None
    wave = load_wave(sound, config.media)[0] if sound is not None else None
    return Explanation(
        clip,
        seen,
        load_media(clip, config.media, default_cache()).frames if "video" in seen else None,
        wave,
        measure(wave) if wave is not None else None,
        auxiliary,
        config.task,
        one.text,
        parsed.label(config.task) if parsed else None,
        clip.label(config.task),
        dict(zip(LABELS[config.task], one.probabilities or (), strict=False)),
        notices,
    )


def lines(found: Explanation, style: Style) -> list[str]:
    """The explanation as text."""
    printed = [*(f"STAND-IN: {notice}" for notice in found.notices), f"clip {found.clip.id}"]
    printed += [f"transcript  {found.clip.text or 'none'}"]
    for kind, text in found.auxiliary.items():
        gold = found.clip.modality_sentiment(AUXILIARY_OF[kind].modality)
        printed += ["", f"{TITLES[kind]}: {stated_sentiment(text, style) or 'no label'}, gold {gold or 'unknown'}", f"  {text}"]
        if kind == "prosody" and found.prosody is not None:
            printed += [f"  {name}: {value}" for name, value in beside(text, found.prosody, found.clip).items()]
    likely = ", ".join(f"{label} {value:.2f}" for label, value in sorted(found.probabilities.items(), key=lambda pair: -pair[1]))
    printed += ["", f"{found.task}: {found.prediction or 'no label'}, gold {found.gold or 'unknown'}", f"  {found.answer}"]
    return [*printed, *([f"  probabilities: {likely}"] if likely else [])]


def measured(prosody: Prosody, clip: Clip) -> dict[str, str]:
    """What was measured, by the kind of cue that it bears on."""
    seconds = float(prosody.times[-1]) if len(prosody.times) else 0.0
    words = f", {len(clip.text.split()) / seconds:.1f} words/s" if clip.text and seconds else ""
    unvoiced = "nothing is voiced"
    return {
        "pitch level": unvoiced if prosody.level_hz is None else f"median F0 {prosody.level_hz:.0f} Hz",
        "pitch slope": unvoiced if prosody.slope is None else f"F0 {prosody.slope:+.1f} semitones/s over the clip",
        "energy": f"median {prosody.loudness_db:.0f} dB of full scale",
        "speaking rate": unvoiced if prosody.syllables_per_sec is None else f"{prosody.syllables_per_sec:.1f} syllables/s{words}",
    }


def beside(answer: str, prosody: Prosody, clip: Clip) -> dict[str, str]:
    """Each cue that an answer on prosody claims, with what was measured."""
    found = {}
    for name, value in measured(prosody, clip).items():
        claimed = sorted(set(re.findall(rf"\b(?:{CUES[name]})\b", answer.casefold())))
        found[name] = f"{value}   (claimed: {', '.join(claimed)})" if claimed else f"{value}   (not claimed)"
    return found


def picture(found: Explanation, style: Style) -> bytes:
    """The explanation as one PNG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({**mpl.rcParamsDefault, "font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure(figsize=(11, 9.5), layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        top, sound, text = list(figure.subfigures(3, 1, height_ratios=[1.25, 1.9, 2.3]))  # type: ignore[arg-type]
        _frames(top, found)
        _sound(sound, found)
        _answers(text, found, style)
        figure.suptitle(
            f"{found.clip.id}: {found.task} {found.prediction or 'no label'} (gold {found.gold or 'unknown'})", fontweight="bold"
        )
        if found.notices:
            figure.supxlabel("Stand-in: " + "; ".join(found.notices), fontsize=7, color=ORANGE, parse_math=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _frames(figure: Any, found: Explanation) -> None:
    panels = figure.subplots(1, SHOWN_FRAMES)
    count = 0 if found.frames is None else len(found.frames)
    for number, axes in enumerate(panels):
        axes.axis("off")
        if found.frames is not None:
            place = round(number * (count - 1) / (SHOWN_FRAMES - 1))
            axes.imshow(found.frames[place])
            axes.set_title(f"frame {place + 1} of {count}", fontsize=8)
    if found.frames is None:
        panels[0].text(0, 0.5, "no pictures", color=GREY)


def _sound(figure: Any, found: Explanation) -> None:
    import numpy as np

    wave_axes, pitch_axes = figure.subplots(2, 1, sharex=True)
    if found.wave is None or found.prosody is None:
        for axes in (wave_axes, pitch_axes):
            axes.axis("off")
        wave_axes.text(0, 0.5, "no sound", color=GREY)
        return
    seconds = np.arange(len(found.wave)) / 16_000
    wave_axes.plot(seconds, found.wave, color=GREY, linewidth=0.4)
    wave_axes.set_ylabel("waveform")
    energy = wave_axes.twinx()
    energy.plot(found.prosody.times, found.prosody.energy_db, color=ORANGE, linewidth=1)
    energy.set_ylabel("energy, dB", color=ORANGE)
    energy.set_ylim(-80, 0)
    pitch_axes.plot(found.prosody.times, found.prosody.f0_hz, ".", color=BLUE, markersize=3)
    pitch_axes.set_ylabel("pitch F0, Hz", color=BLUE)
    pitch_axes.set_xlabel("seconds")
    pitch_axes.set_ylim(50, 510)
    pitch_axes.grid(color=FAINT)


def _answers(figure: Any, found: Explanation, style: Style) -> None:
    words, bars = figure.subplots(1, 2, width_ratios=[2.3, 1])
    words.axis("off")
    blocks = [f"Transcript: {found.clip.text or 'none'}"]
    for kind, text in found.auxiliary.items():
        gold = found.clip.modality_sentiment(AUXILIARY_OF[kind].modality)
        blocks.append(f"{TITLES[kind].capitalize()}: {stated_sentiment(text, style) or 'no label'} (gold {gold or 'unknown'})\n{text}")
        if kind == "prosody" and found.prosody is not None:
            blocks[-1] += "".join(f"\n{name}: {value}" for name, value in beside(text, found.prosody, found.clip).items())
    blocks.append(f"Final answer: {found.answer}")
    wrapped = "\n\n".join("\n".join(textwrap.fill(line, 92, subsequent_indent="  ") for line in block.splitlines()) for block in blocks)
    words.text(0, 1, wrapped, va="top", ha="left", fontsize=8, parse_math=False, transform=words.transAxes)
    if not found.probabilities:
        bars.axis("off")
        return
    labels = list(found.probabilities)
    colors = [BLUE if label == found.prediction else GREY for label in labels]
    bars.barh(range(len(labels)), list(found.probabilities.values()), color=colors)
    bars.set_yticks(range(len(labels)), [f"{label}{' (gold)' if label == found.gold else ''}" for label in labels])
    bars.invert_yaxis()
    bars.set_xlim(0, 1)
    bars.set_xlabel("probability over the closed set")


def write(found: Explanation, style: Style, out: Path) -> None:
    """Write the picture."""
    from omnimer_ray.records import write_atomically

    image = picture(found, style)
    write_atomically(out, lambda temporary: temporary.write_bytes(image))
