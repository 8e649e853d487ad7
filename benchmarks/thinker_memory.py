"""Peak memory, seconds an item and share of the card's peak of a Thinker of the 7B's or the 3B's shape, beside the planner's estimate.

Run:   python -m benchmarks.thinker_memory --shape 7B --shape 3B --card-gib 24
Needs: torch, transformers, peft and this repository. Its last part, a sweep, needs ray and deepspeed as well, and is reported as not run without them.

The weights are random and the clips are noise of the right size (5.4 s): memory and time do not depend on what is in them.
On a CPU it measures the bytes that are kept for the backward pass instead of a card's peak.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from omnimer_ray.config import BaseConfig, CorpusConfig, ThinkerConfig
from omnimer_ray.machine.flops import answered_item, trained_item
from omnimer_ray.machine.memory import GIB, Item, Setup, estimate
from omnimer_ray.markdown import table
from omnimer_ray.model.bases import TINY, locate
from omnimer_ray.model.dimensions import HUB_SHAPES, Shape
from omnimer_ray.recipes import recipe_for

if TYPE_CHECKING:
    from omnimer_ray.model.inputs import Encoded, Encoder
    from omnimer_ray.model.thinker import Thinker

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
SHAPES = {name.rpartition("-")[2]: shape for name, shape in HUB_SHAPES.items()}
SEC, PAIRS = 5.4, 5  # length of a clip; pairs of frames at two a second
GRIDS = {300: (12, 20), 640: (16, 32), 1260: (28, 36)}  # video tokens -> patches of a pair of frames
TEXT, ANSWER, WRITTEN = 200, 32, 32  # tokens of a prompt, of an answer that is trained on, of an answer that is generated
PEAKS = {"RTX 3090": 71.0, "H100": 989.0, "H200": 989.0, "A100": 312.0}  # TFLOPS of bf16 with fp32 sums, dense, by the maker
NOT_ON_A_CARD = "not measured: no card"


class Setting(NamedTuple):
    """How items are trained."""

    recompute: bool
    micro_batch: int = 1
    keeps_outputs: bool = False  # of the vision tower, which is not in memory then


class Row(NamedTuple):
    """One measurement; memory in GiB, None where it was not measured or did not fit."""

    shape: str
    work: str
    video_tokens: int
    peak: float | None
    estimated: float
    kept: float | None  # for the backward pass
    kept_estimated: float | None
    sec_per_item: float | None
    share_of_peak: float | None
    note: str = ""


@app.command()
def main(
    shape: Annotated[list[str], typer.Option(help=f"{', '.join(SHAPES)}, or tiny; may be given several times.")] = ["7B", "3B"],  # noqa: B006
    video_tokens: Annotated[list[int], typer.Option(help=f"Of a clip: {', '.join(map(str, GRIDS))}.")] = [640, 1260],  # noqa: B006
    card_gib: Annotated[float, typer.Option(help="The allocator refuses more, so that a larger card stands for a smaller one.")] = 24,
    items: Annotated[int, typer.Option(help="Items a measurement, after one to warm up.", min=1)] = 4,
    folder: Annotated[Path, typer.Option(help="Where the random weights are written and kept.")] = Path("results/random_bases"),
    out: Annotated[Path, typer.Option(help="Where the JSON and the table are written.")] = Path("results/thinker_memory"),
    sweep: Annotated[bool, typer.Option(help="At the end one epoch of a tiny corpus through a sweep, on the first shape.")] = True,
) -> None:
    """Measure training, evaluation and supervision of each shape."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    unknown = sorted({*shape} - {*SHAPES, TINY} | {str(count) for count in video_tokens} - {str(count) for count in GRIDS})
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: known shapes are {', '.join(SHAPES)} and {TINY}, known video tokens {', '.join(map(str, GRIDS))}"
        )
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory / GIB
        torch.cuda.set_per_process_memory_fraction(min(1.0, card_gib / total))
    rows: list[Row] = []
    for name in shape:
        for row in _measure(name, video_tokens, items, folder, device):
            print(_line(row), flush=True)
            rows.append(row)
    swept = _sweep(shape[0], folder, out) if sweep else "not run: --no-sweep"
    about = {"device": _device_name(device), "card_gib": card_gib, "torch": torch.__version__, "sweep": swept}
    out.mkdir(parents=True, exist_ok=True)
    (out / "thinker_memory.json").write_text(
        json.dumps({**about, "rows": [row._asdict() for row in rows]}, indent=1) + "\n", encoding="utf-8"
    )
    (out / "thinker_memory.md").write_text(page(rows, about), encoding="utf-8")
    print(f"sweep: {swept}\n{out / 'thinker_memory.md'}")


def _measure(name: str, video_tokens: list[int], items: int, folder: Path, device: str) -> Iterator[Row]:
    from benchmarks.random_base import make
    from omnimer_ray.model.dimensions import read_shape
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.thinker import load_thinker

    precision = "bf16" if device == "cuda" else "fp32"
    base = locate(TINY if name == TINY else str(make(folder / f"{name}-{precision}", SHAPES[name], precision, device)))
    assert base.folder is not None
    sizes = read_shape(base.folder)
    config = _config(base.config(), base.width, precision)
    for tokens in video_tokens:
        for setting in (Setting(True), Setting(False), Setting(True, 2), Setting(True, 1, True), Setting(False, 1, True)):
            thinker = load_thinker(base, precision, device)
            yield _train(name, sizes, thinker, config, setting, tokens, items, device)
            del thinker
            _free(device)
        thinker = load_thinker(base, precision, device)
        encoder = Encoder(thinker.processor, config, folder)
        yield _answer(name, "evaluation", sizes, thinker, encoder, config, tokens, items, device)
        yield _answer(name, "supervision", sizes, thinker, encoder, config, tokens, items, device)
        del thinker, encoder
        _free(device)


def _config(base: BaseConfig, width: int | None, precision: str) -> ThinkerConfig:
    recipe = recipe_for(base.name, width)(CorpusConfig(name="noise", fingerprint="noise"), base)
    return recipe.model_copy(update={"base": base.model_copy(update={"precision": precision})})


def _train(name: str, sizes: Shape, thinker: Thinker, config: ThinkerConfig, setting: Setting, tokens: int, items: int, device: str) -> Row:
    """A forward and a backward pass and a step of AdamW over micro-batches of equal items."""
    import torch

    from omnimer_ray.features.vision_outputs import remove_tower
    from omnimer_ray.model.inputs import collate, labels
    from omnimer_ray.model.lora import place_lora, trainable
    from omnimer_ray.training.loop import AnswerLoss

    if setting.keeps_outputs:
        remove_tower(thinker)
        _free(device)
    item = Item(TEXT, int(25 * SEC), tokens, ANSWER)
    model = place_lora(thinker.model, config.lora, 0)[0].train()
    if setting.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer, loss = torch.optim.AdamW(trainable(model).values(), lr=1e-4), AnswerLoss(model)
    encoded = [noise(thinker, item, seed) for seed in range(setting.micro_batch)]
    if setting.keeps_outputs:
        encoded = [one._replace(pixels=torch.randn(tokens, sizes.width)) for one in encoded]
    inputs, targets = collate(encoded, thinker.processor.tokenizer.pad_token_id, "right", device), labels(encoded).to(device)
    off_card = ("vision",) if setting.keeps_outputs else ()
    setup = Setup(config.lora, config.base.precision, micro_batch=setting.micro_batch, recompute=setting.recompute, off_card=off_card)
    planned = estimate(sizes, setup, item)
    kept = None if device == "cuda" else _kept(model, lambda: loss(inputs, targets).sum()) / GIB

    def step() -> None:
        loss(inputs, targets).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    measured = _timed(step, items, device)
    sec = measured.sec and measured.sec / setting.micro_batch
    work = f"training, micro-batch {setting.micro_batch}{', recompute' * setting.recompute}{', kept outputs' * setting.keeps_outputs}"
    share = _share(trained_item(sizes, config, item, setting.recompute, setting.keeps_outputs), sec, device)
    return Row(name, work, tokens, measured.peak, planned.training_gib, kept, planned.kept, sec, share, measured.note)


def _answer(
    name: str, work: str, sizes: Shape, thinker: Thinker, encoder: Encoder, config: ThinkerConfig, tokens: int, items: int, device: str
) -> Row:
    """Evaluation scores the closed set of sentiments; supervision writes WRITTEN tokens, of which random weights end none early."""
    from omnimer_ray.model.generation import generate
    from omnimer_ray.model.scoring import answer_tree, score
    from omnimer_ray.tasks.instructions import closed_answers

    item = Item(TEXT, int(25 * SEC), tokens, 0)
    encoded = [noise(thinker, item, 0)]
    tree = answer_tree(encoder, list(closed_answers("sentiment", encoder.style)))
    run: dict[str, Callable[[], object]] = {
        "evaluation": lambda: score(thinker, encoder, encoded, tree, False),
        "supervision": lambda: generate(thinker, encoder, encoded, WRITTEN),
    }
    measured = _timed(run[work], items, device)
    planned = estimate(sizes, Setup(config.lora, config.base.precision), item._replace(answer=WRITTEN))
    share = _share(answered_item(sizes, item._replace(answer=WRITTEN)), measured.sec, device)
    return Row(name, work, tokens, measured.peak, planned.evaluation_gib, None, None, measured.sec, share, measured.note)


def noise(thinker: Thinker, item: Item, seed: int) -> Encoded:
    """An item with random tokens, frames and sound, and its media where a prompt has them."""
    import torch

    from omnimer_ray.model.inputs import Encoded

    config, chance = thinker.model.config, torch.Generator().manual_seed(seed)
    height, width = GRIDS[item.video]
    words = torch.randint(5, 1000, (item.text + item.answer,), generator=chance).tolist()
    video = [config.vision_start_token_id, *[config.video_token_id] * item.video, config.vision_end_token_id]
    audio = [config.audio_start_token_id, *[config.audio_token_id] * item.audio, config.audio_end_token_id]
    prompt = [*video, *audio, *words[: item.text - 4]]
    return Encoded(
        torch.tensor([*prompt, *words[item.text :]]),
        len(prompt),
        torch.randn(PAIRS * height * width, 1176, generator=chance),
        torch.tensor([PAIRS, height, width]),
        1.0,
        torch.randn(128, 4 * item.audio, generator=chance),
    )


class Measured(NamedTuple):
    """Median seconds of a call and the peak of the card's memory."""

    sec: float | None
    peak: float | None
    note: str = ""


def _timed(run: Callable[[], object], times: int, device: str) -> Measured:
    """One call to warm up, then `times` that are measured; if the card's memory does not suffice, the note says so."""
    import torch

    try:
        run()
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(times):
            _synchronise(device)
            began = time.perf_counter()
            run()
            _synchronise(device)
            seconds.append(time.perf_counter() - began)
    except torch.cuda.OutOfMemoryError:
        return Measured(None, None, "does not fit")
    peak = torch.cuda.max_memory_reserved() / GIB if device == "cuda" else None
    return Measured(median(seconds), peak, "" if device == "cuda" else NOT_ON_A_CARD)


def _kept(model: Any, forward: Callable[[], Any]) -> int:
    """Bytes of the distinct storages that a forward pass keeps for the backward pass, without parameters and buffers."""
    import torch

    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    with _saved(own) as kept:
        result = forward()
    assert result.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values() if isinstance(tensor, torch.Tensor))


@contextmanager
def _saved(own: set[int]) -> Iterator[dict[int, Any]]:
    import torch

    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def _share(operations: float, sec: float | None, device: str) -> float | None:
    peak = next((value for name, value in PEAKS.items() if name in _device_name(device)), None)
    return operations / sec / (peak * 1e12) if sec and peak else None


def _sweep(name: str, folder: Path, out: Path) -> str:
    """One epoch of a few generated clips through a sweep on the base of this shape; what became of it."""
    if missing := [package for package in ("ray", "deepspeed", "espeakng_loader") if importlib.util.find_spec(package) is None]:
        return f"not run: {' and '.join(missing)} not installed"
    bases = [TINY] if name == TINY else [str(path) for path in sorted(folder.glob(f"{name}-*"))]
    command = [
        sys.executable,
        "-m",
        "omnimer_ray.sweep",
        str(Path(__file__).with_name("one_epoch.py")),
        "--base",
        bases[0],
        "--limit",
        "24",
    ]
    machine = "gpu" if _device_name("cuda") != "no card" else "laptop"
    began = time.monotonic()
    ended = subprocess.run([*command, "--machine", machine, "--results", str(out / "sweep")], capture_output=True, text=True)
    if ended.returncode:
        return f"failed with {ended.returncode}: {(ended.stderr or ended.stdout).strip().splitlines()[-1]}"
    return f"done in {time.monotonic() - began:.0f} s"


def _device_name(device: str) -> str:
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name() if torch.cuda.is_available() else "no card"
    return "CPU"


def _synchronise(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _free(device: str) -> None:
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def _line(row: Row) -> str:
    return f"{row.shape}, {row.video_tokens} video tokens, {row.work}: " + ", ".join(
        f"{heading} {cell}" for heading, cell in zip(HEADINGS[3:], _cells(row)[3:], strict=True) if cell
    )


HEADINGS = ("shape", "video tokens", "work", "peak GiB", "estimate GiB", "kept GiB", "kept, estimate", "s an item", "share of peak", "note")


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    return (
        row.shape,
        str(row.video_tokens),
        row.work,
        number(row.peak, 2),
        number(row.estimated, 2),
        number(row.kept, 4),
        number(row.kept_estimated, 4),
        number(row.sec_per_item, 3),
        "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
        row.note,
    )


def page(rows: list[Row], about: dict[str, Any]) -> str:
    """The table with what it was measured on."""
    lines = [f"- {name}: {value}" for name, value in about.items()]
    return "\n".join(
        ["# Memory and time of a Thinker with random weights", "", table(HEADINGS, map(_cells, rows), numbers=False), "", *lines, ""]
    )


if __name__ == "__main__":
    app()
