"""Small random encoders in the layouts of their hubs: stand-ins of HuBERT, wav2vec 2.0, WavLM, BERT, RoBERTa, XLM-R and CLIP."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as t

TRANSFORMER = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
SOUND = {
    **TRANSFORMER,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 8),
    "conv_stride": (10, 32),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
WORDS = ["ini", "kalimat", "senang", "sedih", "##nya", "a", "0", "1", "_"]
MODELS = {
    "hubert": (t.HubertModel, t.HubertConfig, SOUND),
    "wav2vec2": (t.Wav2Vec2Model, t.Wav2Vec2Config, SOUND),
    "wavlm": (t.WavLMModel, t.WavLMConfig, SOUND),
    "bert": (t.BertModel, t.BertConfig, {**TRANSFORMER, "vocab_size": 20, "max_position_embeddings": 32}),
    "roberta": (t.RobertaModel, t.RobertaConfig, {**TRANSFORMER, "vocab_size": 300, "max_position_embeddings": 40}),
    "xlm-roberta": (t.XLMRobertaModel, t.XLMRobertaConfig, {**TRANSFORMER, "vocab_size": 300, "max_position_embeddings": 40}),
}


def write(kind: str, folder: Path, seed: int = 0) -> Path:
    """A checkpoint of a kind, as `save_pretrained` leaves it."""
    torch.manual_seed(seed)
    if kind == "clip":
        vision = {**TRANSFORMER, "image_size": 28, "patch_size": 14}
        words = {**TRANSFORMER, "vocab_size": 20, "max_position_embeddings": 16}
        t.CLIPModel(t.CLIPConfig(text_config=words, vision_config=vision, projection_dim=12)).save_pretrained(folder)
        t.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
        return folder
    model, config, settings = MODELS[kind]
    model(config(**settings)).save_pretrained(folder)
    if kind in ("hubert", "wav2vec2", "wavlm"):
        t.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    elif kind == "bert":
        vocabulary = folder / "vocab.txt"
        vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
        t.BertTokenizer(str(vocabulary), model_max_length=32).save_pretrained(folder)
    else:
        from tokenizers import Tokenizer, models, pre_tokenizers

        tokenizer = Tokenizer(
            models.WordLevel(
                {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, **{word: 4 + place for place, word in enumerate(WORDS)}}, "<unk>"
            )
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", model_max_length=32).save_pretrained(
            folder
        )
    return folder
