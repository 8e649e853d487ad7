"""Exact scores of a closed set of answers: one pass over the prompt, then one pass over all answers together.

The answers form a tree of tokens: a token that several answers begin with is computed once. The pass over the tree attends to the cached
prompt and to a token's own ancestors only, so each token has the logits that decoding token by token would give it.

Shapes: B items, L prompt tokens, N tokens of the tree, K answers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from omnimer_ray.model.generation import last_position_only
from omnimer_ray.model.inputs import Encoded, Encoder, collate
from omnimer_ray.model.thinker import Thinker


class AnswerTree:
    """Tokens of a closed set of answers, each ending with the end of the turn. Node 0 is the prompt's last token."""

    def __init__(self, answers: Mapping[str, Sequence[int]]) -> None:
        """`answers`: the tokens of each answer's text."""
        self.answers = tuple(answers)
        self.children: list[dict[int, int]] = [{}]  # of each node: token -> node
        self.parents, self.tokens, self.depths = [0], [0], [0]
        self.paths = [self._add(tokens) for tokens in answers.values()]  # nodes of each answer, from its first token to its end
        self.ends = {path[-1]: text for path, text in zip(self.paths, self.answers, strict=True)}

    def num_tokens(self, answer: str) -> int:
        """Number of tokens of an answer, its end included."""
        return len(self.paths[self.answers.index(answer)])

    def _add(self, tokens: Sequence[int]) -> list[int]:
        path, node = [], 0
        for token in tokens:
            if token not in self.children[node]:
                self.children[node][token] = len(self.tokens)
                self.children.append({})
                self.parents.append(node)
                self.tokens.append(token)
                self.depths.append(self.depths[node] + 1)
            node = self.children[node][token]
            path.append(node)
        return path

    def ancestors(self) -> torch.Tensor:
        """(N, N) bool: whether a node, the prompt's left out, sees another: itself and those before it in its answers."""
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        for node in range(1, len(self.tokens)):
            seen[node] |= seen[self.parents[node]]
        return seen[1:, 1:]

    def walk(self, logits: torch.Tensor, constrained: bool) -> str | None:
        """Decode greedily along the tree; None as soon as the best token leaves it. `constrained`: only tokens of the tree are allowed.

        `logits` (N + 1, V): after the prompt, then after each token of the tree.
        """
        node = 0
        while node not in self.ends:
            children = self.children[node]
            allowed = torch.tensor(sorted(children), device=logits.device)
            best = int(allowed[logits[node][allowed].argmax()]) if constrained else int(logits[node].argmax())
            if best not in children:
                return None
            node = children[best]
        return self.ends[node]

    def log_probabilities(self, logits: torch.Tensor) -> list[float]:
        """(K,): log-probability of each whole answer, its end included. `logits` as for `walk`."""
        logs = logits.double().log_softmax(-1)
        steps = logs[self.parents, self.tokens]  # (N + 1,): of each token after its parent
        return [float(steps[path].sum()) for path in self.paths]


class Scored(NamedTuple):
    """The result for one item."""

    answer: str | None  # decoded greedily; None if the greedy answer is not in the closed set
    log_probabilities: list[float]  # (K,) in the order of the answers


def answer_tree(encoder: Encoder, answers: Sequence[str]) -> AnswerTree:
    """Return the tree of answers as they are supervised: tokens of the text, then the end of the turn."""
    return AnswerTree({text: encoder.answer_tokens(text) for text in answers})


def score(thinker: Thinker, encoder: Encoder, items: Sequence[Encoded], tree: AnswerTree, constrained: bool = False) -> list[Scored]:
    """Score the answers of a tree for a batch of items of one kind."""
    model = thinker.model.get_base_model() if hasattr(thinker.model, "get_base_model") else thinker.model
    device = next(model.parameters()).device
    inputs = collate(items, encoder.tokenizer.pad_token_id, "left", device)
    with torch.no_grad():
        prompt = model.model(**inputs, use_cache=True)  # last_hidden_state (B, L, D)
        hidden = _tree_pass(model, inputs["attention_mask"], prompt.past_key_values, tree)  # (B, N, D)
        scored = []
        for last, nodes in zip(prompt.last_hidden_state[:, -1:], hidden, strict=True):  # one item at a time: V is large
            logits = model.lm_head(torch.cat([last, nodes])).float()  # (N + 1, V)
            scored.append(Scored(tree.walk(logits, constrained), tree.log_probabilities(logits)))
    return scored


def _tree_pass(model: Any, prompt_mask: torch.Tensor, cache: Any, tree: AnswerTree) -> torch.Tensor:
    """Return the hidden states of the tree's tokens after the cached prompts, (B, N, D); `prompt_mask` (B, L) is 0 on padding."""
    device, dtype = prompt_mask.device, model.lm_head.weight.dtype
    num_items, num_nodes = len(prompt_mask), len(tree.tokens) - 1
    seen = torch.cat(
        [
            prompt_mask.bool()[:, None, :].expand(num_items, num_nodes, -1),
            tree.ancestors().to(device)[None].expand(num_items, -1, -1),
        ],
        dim=-1,
    )  # (B, N, L + N)
    mask = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, torch.finfo(dtype).min)
    starts = prompt_mask.sum(-1, keepdim=True) + model.model.rope_deltas.to(device)  # (B, 1): position of the first answer token
    positions = starts + torch.tensor(tree.depths[1:], device=device)[None] - 1  # (B, N)
    tokens = torch.tensor(tree.tokens[1:], device=device)[None].expand(num_items, -1)
    out = model.model.language_model(
        input_ids=tokens,
        attention_mask=mask[:, None],
        position_ids=positions[None].expand(3, -1, -1),
        past_key_values=cache,
        use_cache=True,
    )
    return out.last_hidden_state  # type: ignore[no-any-return]


def logit_changes(thinker: Thinker, encoder: Encoder, item: Encoded) -> dict[str, float]:
    """The largest change of a logit after the prompt: without the adapter, with silence for sound, with grey frames or with zeros for kept outputs.

    A change that does not apply to the model or to the item is absent.
    """
    model = thinker.model

    def last(item: Encoded) -> torch.Tensor:  # (V,)
        inputs = collate([item], encoder.tokenizer.pad_token_id, "left", next(model.parameters()).device)
        with torch.no_grad(), last_position_only(model):
            logits: torch.Tensor = model(**inputs, use_cache=False).logits[0, -1].float()
        return logits

    reference, changes = last(item), {}
    if hasattr(model, "disable_adapter"):
        with model.disable_adapter():
            changes["adapter"] = last(item)
    if item.mel is not None:
        changes["sound"] = last(item._replace(mel=torch.zeros_like(item.mel)))
    if item.pixels is not None:
        changes["frames"] = last(item._replace(pixels=torch.zeros_like(item.pixels)))
    return {name: float((logits - reference).abs().max()) for name, logits in changes.items()}
