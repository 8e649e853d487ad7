"""Each network does what its paper says, reads no padding, and has MMSA's number of parameters; with MMSA's wheel at hand, its outputs too."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from omnimer_ray.config import Modality
from omnimer_ray.fusion.mfn import MfnNetwork
from omnimer_ray.fusion.misa import MisaNetwork, central_moment_discrepancy, difference
from omnimer_ray.fusion.mmef import MmefNetwork
from omnimer_ray.fusion.mult import MultNetwork
from omnimer_ray.fusion.network import LabelLoss
from omnimer_ray.fusion.sequences import Inputs, Sequences, aligned, padded, shortened
from omnimer_ray.fusion.tfn import TfnNetwork, fusion
from omnimer_ray.fusion_config import Mfn, Misa, Mmef, Mult, Tfn

WIDTHS: dict[Modality, int] = {"text": 12, "audio": 5, "video": 9}
LENGTHS: dict[Modality, tuple[int, ...]] = {"text": (7, 9, 6), "audio": (11, 4, 20), "video": (3, 8, 5)}
RELEASED: dict[Modality, int] = {"text": 768, "audio": 18, "video": 673}  # widths of IndoMER's released features
NETWORKS = {
    "tfn": (TfnNetwork, Tfn()),
    "mfn": (MfnNetwork, Mfn()),
    "mult": (MultNetwork, Mult()),
    "misa": (MisaNetwork, Misa(width=16, recurrent=6)),
    "mmef": (MmefNetwork, Mmef(width=8)),
}


def made(name: str, widths: dict[Modality, int] = WIDTHS, labels: int = 3) -> Any:
    torch.manual_seed(0)
    network, settings = NETWORKS[name]
    return network(settings, widths, labels).eval()  # type: ignore[operator]


def sequences(seed: int = 1) -> dict[Modality, list[torch.Tensor]]:
    torch.manual_seed(seed)
    return {name: [torch.randn(length, WIDTHS[name]) for length in LENGTHS[name]] for name in WIDTHS}


def batch(items: dict[Modality, list[torch.Tensor]], hidden: tuple[Modality, ...] = ()) -> Inputs:
    return {name: padded(items[name], [name in hidden] * len(items[name])) for name in items}


def number_of_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("name", "number"), [("tfn", 35_627_085), ("mfn", 591_719), ("mult", 1_869_957)])
def test_the_number_of_parameters_at_the_released_widths_is_that_of_mmsa(name: str, number: int) -> None:
    assert number_of_parameters(made(name, RELEASED, 7)) == number


@pytest.mark.parametrize("name", NETWORKS)
def test_an_item_alone_has_the_logits_that_it_has_among_longer_ones(name: str) -> None:
    network, items = made(name), sequences()
    together = network(batch(items))
    for place in range(3):
        alone = network(batch({modality: [parts[place]] for modality, parts in items.items()}))
        assert torch.allclose(alone[0], together[place], atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("modality", WIDTHS)
def test_what_is_hidden_changes_nothing_and_what_is_shown_does(name: str, modality: Modality) -> None:
    network, items, other = made(name), sequences(), sequences(2)
    changed = {**items, modality: other[modality]}
    assert not torch.allclose(network(batch(items)), network(batch(changed)))
    assert torch.allclose(network(batch(items, (modality,))), network(batch(changed, (modality,))), atol=1e-6)


@pytest.mark.parametrize("name", ["mfn", "mult"])
def test_the_order_of_sounds_matters(name: str) -> None:
    network, items = made(name), sequences()
    backwards = {**items, "audio": [part.flip(0) for part in items["audio"]]}
    assert not torch.allclose(network(batch(items)), network(batch(backwards)), atol=1e-4)


def test_the_fusion_of_tfn_is_the_outer_product_with_the_uni_and_bimodal_parts() -> None:
    torch.manual_seed(0)
    audio, video, text = (torch.randn(2, size) for size in (3, 4, 5))
    product = fusion(audio, video, text).view(2, 4, 5, 6)
    assert torch.allclose(product[:, 1:, 1:, 1:], torch.einsum("bi,bj,bk->bijk", audio, video, text))
    assert torch.equal(product[:, 0, 0, 0], torch.ones(2))
    assert torch.equal(product[:, 1:, 0, 0], audio)
    assert torch.allclose(product[:, 1:, 0, 1:], audio[:, :, None] * text[:, None, :])


def test_the_memory_of_mfn_stays_if_all_is_retained_and_nothing_updated() -> None:
    network = made("mfn")
    for gate, value in ((network.retain, 100.0), (network.update, -100.0)):
        nn.init.zeros_(gate[-1].weight)
        nn.init.constant_(gate[-1].bias, value)
    memory = torch.rand(3, 64)
    assert torch.equal(network.remember(memory, torch.randn(3, 288)), memory)


def test_mult_has_nine_encoders_and_keeps_the_length_of_the_query() -> None:
    network = made("mult")
    assert len(network.cross) + len(network.memory) == 9
    one, other = (padded([torch.randn(length, 50)], [False]) for length in (4, 9))
    assert network.cross["text with audio"](one, other).shape == (1, 4, 50)


def test_a_text_shorter_than_the_kernel_of_mult_is_read() -> None:
    items = sequences()
    items["text"] = [part[:2] for part in items["text"]]
    assert torch.isfinite(made("mult")(batch(items))).all()


def test_equal_codes_have_no_discrepancy_and_orthogonal_ones_no_difference() -> None:
    torch.manual_seed(0)
    codes = torch.randn(6, 4)
    assert float(central_moment_discrepancy(codes, codes)) == 0
    assert float(central_moment_discrepancy(codes, codes + 1)) == pytest.approx(2)  # the means are 1 apart in 4 values
    left, right = torch.zeros(4, 2), torch.zeros(4, 2)
    left[:, 0], right[:, 1] = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert float(difference(left, right)) == 0
    assert float(difference(left, left)) > 0.1


def test_misa_has_one_shared_encoder_and_a_weight_of_zero_ends_its_gradient() -> None:
    for weight in ("difference_weight", "similarity_weight", "reconstruction_weight"):
        settings = Misa(
            width=16,
            recurrent=6,
            **{name: 0.0 for name in ("difference_weight", "similarity_weight", "reconstruction_weight") if name != weight},
        )
        torch.manual_seed(0)
        network = MisaNetwork(settings, WIDTHS, 3).train()
        network(batch(sequences()))
        assert network.extra_loss is not None
        network.zero_grad()
        network.extra_loss.backward()
        rebuilt = [parameter.grad is not None and bool(parameter.grad.abs().sum()) for parameter in network.reconstruct.parameters()]
        assert all(rebuilt) == any(rebuilt) == (weight == "reconstruction_weight")
        private = any(bool(parameter.grad.abs().sum()) for parameter in network.private.parameters() if parameter.grad is not None)
        assert private == (weight != "similarity_weight")
        assert sum("shared" in name for name, _ in network.named_children()) == 1
    network.eval()(batch(sequences()))
    assert network.extra_loss is None


def test_the_loss_of_a_batch_is_shared_out_over_its_items() -> None:
    network, inputs, targets = made("misa").train(), batch(sequences()), torch.tensor([0, 2, 1])
    losses = LabelLoss(network)(inputs, targets)
    extra = network.extra_loss
    assert float((losses - extra).detach().std()) > 0
    assert float(extra.detach()) > 0
    network.train()(inputs)
    torch.manual_seed(0)
    entropies = nn.functional.cross_entropy(network(inputs), targets, reduction="none")
    torch.manual_seed(0)
    assert torch.allclose(LabelLoss(network)(inputs, targets) - network.extra_loss, entropies, atol=1e-5)


def test_the_attention_of_mmef_is_over_modalities_and_leaves_hidden_ones_out() -> None:
    network, items = made("mmef"), sequences()
    fused, weights = network.attended(batch(items))
    assert fused.shape == (3, 24)
    assert weights.shape == (3, 3, 3)
    assert torch.allclose(weights.sum(2), torch.ones(3, 3))
    fused, weights = network.attended(batch(items, ("text",)))
    assert (weights[:, :, network.order.index("text")] == 0).all()
    assert (fused.view(3, 3, 8)[:, network.order.index("text")] == 0).all()
    small = MmefNetwork(Mmef(width=8, projection=False, mlp=False), WIDTHS, 3)
    assert number_of_parameters(small) < number_of_parameters(network)
    assert isinstance(small.project["text"], nn.Linear)
    assert len(small.head) == 1


def test_sequences_are_averaged_over_equal_spans() -> None:
    values = torch.arange(6.0)[:, None]
    assert shortened(values, 3)[:, 0].tolist() == [0.5, 2.5, 4.5]
    assert shortened(values, 9) is values
    both = padded([values, torch.arange(2.0)[:, None]], [False, False])
    assert aligned(both, torch.tensor([3, 4]))[..., 0].tolist() == [[0.5, 2.5, 4.5, 0.0], [0.0, 0.0, 1.0, 1.0]]
    assert both.mean()[:, 0].tolist() == [2.5, 0.5]


# Parity with MMSA 2.2.1, where its wheel is installed or unpacked.


@pytest.fixture(scope="module")
def mmsa() -> Iterator[ModuleType]:
    """The models of MMSA, imported without its package, which would import transformers and more."""
    spec = importlib.util.find_spec("MMSA")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("MMSA is not installed")
    root = Path(next(iter(spec.submodule_search_locations))) / "models"
    names = {"mmsa_models": root, "mmsa_models.subNets": root / "subNets", "mmsa_models.singleTask": root / "singleTask"}
    for name, path in names.items():
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    subnets = sys.modules["mmsa_models.subNets"]
    features = importlib.import_module("mmsa_models.subNets.FeatureNets")
    subnets.SubNet, subnets.TextSubNet, subnets.BertTextEncoder = features.SubNet, features.TextSubNet, None  # type: ignore[attr-defined]
    yield sys.modules["mmsa_models"]
    for name in [name for name in sys.modules if name.startswith("mmsa_models")]:
        del sys.modules[name]


def theirs(name: str, **settings: Any) -> Any:
    module = importlib.import_module(f"mmsa_models.singleTask.{name}")
    torch.manual_seed(3)
    widths = (WIDTHS["text"], WIDTHS["audio"], WIDTHS["video"])
    return getattr(module, name)(SimpleNamespace(feature_dims=widths, num_classes=3, train_mode="classification", **settings)).eval()


def copied(pairs: dict[str, nn.Module], ours: Any) -> None:
    """Copy the weights of MMSA's modules into ours by our names."""
    for path, module in pairs.items():
        ours.get_submodule(path).load_state_dict(module.state_dict(), strict=False)


def unpadded(length: int) -> Inputs:
    torch.manual_seed(5)
    return {name: padded([torch.randn(length, width) for _ in range(4)], [False] * 4) for name, width in WIDTHS.items()}


@pytest.mark.mmsa
def test_tfn_is_that_of_mmsa(mmsa: ModuleType) -> None:
    other = theirs("TFN", hidden_dims=(128, 32, 128), text_out=256, post_fusion_dim=32, dropouts=(0.4,) * 4)
    mine, inputs = made("tfn"), unpadded(6)
    pairs = {"text": other.text_subnet.rnn, "text_out.1": other.text_subnet.linear_1}
    for name, net in (("audio", other.audio_subnet), ("video", other.video_subnet)):
        pairs |= {f"{name}.0": net.norm, f"{name}.2": net.linear_1, f"{name}.4": net.linear_2, f"{name}.6": net.linear_3}
    pairs |= {"head.1": other.post_fusion_layer_1, "head.3": other.post_fusion_layer_2, "head.5": other.post_fusion_layer_3}
    copied(pairs, mine)
    expected = other(inputs["text"].values, inputs["audio"].mean(), inputs["video"].mean())["M"]
    scale = (1 + other.audio_subnet.norm.eps) ** 0.5  # of a batch norm that has seen no batch
    for name in ("audio", "video"):
        inputs = {**inputs, name: Sequences(inputs[name].values / scale, *inputs[name][1:])}  # type: ignore[dict-item]
    assert torch.allclose(mine(inputs), expected, atol=1e-6)


@pytest.mark.mmsa
def test_mfn_is_that_of_mmsa(mmsa: ModuleType) -> None:
    layers = {
        "NN1Config": (128, 0.2),
        "NN2Config": (128, 0.0),
        "gamma1Config": (64, 0.2),
        "gamma2Config": (64, 0.7),
        "outConfig": (64, 0.7),
    }
    about = {name: {"shapes": shape, "drop": drop} for name, (shape, drop) in layers.items()}
    other = theirs("MFN", hidden_dims=(64, 16, 64), memsize=64, windowsize=2, **about)
    mine, inputs = made("mfn"), unpadded(6)
    pairs = {"cells.text": other.lstm_l, "cells.audio": other.lstm_a, "cells.video": other.lstm_v}
    for name, prefix in (("attention", "att1"), ("proposal", "att2"), ("retain", "gamma1"), ("update", "gamma2"), ("head", "out")):
        pairs |= {f"{name}.0": getattr(other, f"{prefix}_fc1"), f"{name}.3": getattr(other, f"{prefix}_fc2")}
    copied(pairs, mine)
    expected = other(inputs["text"].values, inputs["audio"].values, inputs["video"].values)["M"]
    assert torch.allclose(mine(inputs), expected, atol=1e-6)


@pytest.mark.mmsa
def test_mult_is_that_of_mmsa(mmsa: ModuleType) -> None:
    drops = {f"{name}_dropout": 0.1 for name in ("attn", "relu", "embed", "res", "output", "text")} | {
        "attn_dropout_a": 0.1,
        "attn_dropout_v": 0.0,
    }
    kernels = {"conv1d_kernel_size_l": 5, "conv1d_kernel_size_a": 1, "conv1d_kernel_size_v": 1}
    other = theirs("MULT", use_bert=False, dst_feature_dim_nheads=(50, 10), nlevels=2, attn_mask=True, **drops, **kernels)
    mine, inputs = made("mult"), unpadded(9)
    short = {"text": "l", "audio": "a", "video": "v"}
    pairs: dict[str, nn.Module] = {f"project.{name}": getattr(other, f"proj_{letter}") for name, letter in short.items()}
    pairs |= {"first": other.proj1, "second": other.proj2, "out": other.out_layer}
    encoders = {
        f"cross.{one} with {two}": getattr(other, f"trans_{a}_with_{b}") for one, a in short.items() for two, b in short.items() if a != b
    }
    for path, encoder in (encoders | {f"memory.{one}": getattr(other, f"trans_{a}_mem") for one, a in short.items()}).items():
        pairs[f"{path}.norm"] = encoder.layer_norm
        for number, layer in enumerate(encoder.layers):
            start = f"{path}.layers.{number}"
            pairs |= {f"{start}.attention": layer.self_attn, f"{start}.first": layer.fc1, f"{start}.second": layer.fc2}
            pairs |= {f"{start}.norms": layer.layer_norms}
    copied(pairs, mine)
    expected = other(inputs["text"].values, inputs["audio"].values, inputs["video"].values)["M"]
    assert torch.allclose(mine(inputs), expected, atol=1e-6)


class Given(nn.Module):
    """Stands for MMSA's text model, and returns what it is given."""

    values: torch.Tensor

    def __init__(self, **named: Any) -> None:
        super().__init__()

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        return self.values


@pytest.mark.mmsa
def test_misa_is_that_of_mmsa(mmsa: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("mmsa_models.singleTask.MISA")
    monkeypatch.setattr(module, "BertTextEncoder", Given)
    settings = {
        "use_bert": True,
        "use_finetune": False,
        "transformers": "",
        "pretrained": "",
        "rnncell": "lstm",
        "hidden_size": 16,
        "dropout": 0.0,
    }
    torch.manual_seed(3)
    about = SimpleNamespace(feature_dims=(768, 7, 7), num_classes=3, train_mode="classification", use_cmd_sim=True, **settings)
    other = module.MISA(about).eval()
    widths: dict[Modality, int] = {"text": 768, "audio": 7, "video": 7}
    mine = MisaNetwork(Misa(width=16, recurrent=7), widths, 3).eval()
    torch.manual_seed(5)
    inputs = {name: padded([torch.randn(6, width) for _ in range(4)], [False] * 4) for name, width in widths.items()}
    pairs = {"shared": other.shared, "transformer": other.transformer_encoder.layers[0], "head": other.fusion}
    for name in widths:
        letter = name[0]
        pairs |= {f"project.{name}": getattr(other, f"project_{letter}"), f"private.{name}": getattr(other, f"private_{letter}")}
        pairs[f"reconstruct.{name}"] = getattr(other, f"recon_{letter}")
        if name != "text":
            pairs |= {f"first.{name}": getattr(other, f"{letter}rnn1"), f"second.{name}": getattr(other, f"{letter}rnn2")}
            pairs[f"norm.{name}"] = getattr(other, f"{letter}layer_norm")
    for path, theirs_ in pairs.items():
        ours = mine.get_submodule(path)
        ours.load_state_dict(dict(zip(ours.state_dict(), theirs_.state_dict().values(), strict=True)))
    other.bertmodel.values = inputs["text"].values
    expected = other(torch.ones(4, 3, 6), inputs["audio"].values, inputs["video"].values)["M"]
    assert torch.allclose(mine(inputs), expected, atol=1e-6)
