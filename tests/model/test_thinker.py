"""The base is loaded shard by shard, directly onto its device."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

from omnimer_ray.model.bases import TINY_FOLDER

PEAK = """
import sys, threading, time
from pathlib import Path
from omnimer_ray.model.bases import locate
from omnimer_ray.model.thinker import load_thinker

def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))  # KiB, without mapped files

def sample():
    while not ended:
        samples.append(anonymous())
        time.sleep(0.001)

ended, samples = [], []
base, before = locate(sys.argv[1]), anonymous()
thread = threading.Thread(target=sample)
thread.start()
model = load_thinker(base, *sys.argv[2:]).model
ended.append(True)
thread.join()
size = sum(value.numel() * value.element_size() for value in model.parameters()) / 1024
print((max(samples) - before) / size)
"""


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of 60 million parameters in bf16, in several shards."""
    folder = tmp_path_factory.mktemp("sharded") / "base"
    config = Qwen2_5OmniThinkerConfig.from_pretrained(TINY_FOLDER)
    config.text_config.num_hidden_layers, config.text_config.layer_types = 20, ["full_attention"] * 20
    config.text_config.intermediate_size = 8000
    with torch.device("meta"):
        model = Qwen2_5OmniThinkerForConditionalGeneration(config).to(torch.bfloat16)
    shutil.copytree(TINY_FOLDER, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    model.to_empty(device="cpu").save_pretrained(folder, max_shard_size="30MB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize(("device", "least", "most"), [("cpu", 0.9, 1.2), ("meta", 0.0, 0.1)])
def test_loading_makes_no_second_copy_of_the_weights_in_host_memory(sharded: Path, device: str, least: float, most: float) -> None:
    """Peak of the process's anonymous memory relative to the model's size: about 1 on the CPU, about 0 on another device.

    "meta" replaces a GPU: weights that are loaded in host memory first and moved later would be counted here. A real GPU is not tested.
    """
    command = [sys.executable, "-c", PEAK, str(sharded), "fp32", device]
    ratio = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"{device}: {ratio:.2f} times the model")
    assert least <= ratio < most
