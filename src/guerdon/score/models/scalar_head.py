"""A reward model of a transformer and a linear head: one number a response, a step, or a token.

Read at the last token it is an outcome reward model (a classifier with the link "sigmoid", a regressor or a
Bradley-Terry model without one); at the ends of steps it is a process reward model; at every token a value model,
where the value of a token is read from the position that predicts it. Several outputs are several aspects, of which a
weighted sum is the reward.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from guerdon.score.models.model_card import write_card
from guerdon.score.models.process import piece_inputs
from guerdon.score.models.reward_model import Response, Scores, as_steps, joined, read_settings, write_settings

READS = ("last_token", "every_token", "step_ends")
LINKS = ("none", "sigmoid")
_HEAD = "head.pt"


@dataclass(frozen=True)
class HeadSettings:
    r"""What a `ScalarHeadModel` is besides its weights.

    Attributes:
        read: "last_token" -> (B,), "every_token" -> (B, L), "step_ends" -> (B, S).
        aspects: Names of the outputs.
        weights: What each aspect counts in the reward; empty = equally, with a sum of 1.
        link: "sigmoid" makes a probability of the logit when responses are scored; "none" leaves it.
        delimiter: Text that ends a step, for "step_ends" and responses that are not cut into steps yet.
        max_length: Tokens of prompt and response; longer ones are not scored. 0 = no limit.
        batch_size: Responses at a time.

    Raises:
        ValueError: A setting is out of range.
    """

    read: str = "last_token"
    aspects: tuple[str, ...] = ("reward",)
    weights: tuple[float, ...] = ()
    link: str = "none"
    delimiter: str = "\n"
    max_length: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name, allowed in (("read", READS), ("link", LINKS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected one of {allowed}")
        if not self.aspects or len(set(self.aspects)) != len(self.aspects):
            raise ValueError(f"aspects is {list(self.aspects)}: expected at least one, each once")
        if len(self.weights) not in (0, len(self.aspects)):
            raise ValueError(f"weights has {len(self.weights)} entries: expected {len(self.aspects)}, one an aspect")
        if self.batch_size < 1 or self.max_length < 0:
            raise ValueError(f"batch_size is {self.batch_size}, max_length {self.max_length}: expected >= 1 and >= 0")


def last_real_token(attention_mask: Tensor) -> Tensor:
    """(B,) int64: the position of each row's last token that is no padding, wherever the padding is.

    Args:
        attention_mask: (B, L), 0 = padding.

    Raises:
        ValueError: A row has no token.

    Example:
        >>> import torch
        >>> last_real_token(torch.tensor([[1, 1, 0], [0, 1, 1]])).tolist()
        [1, 2]
    """
    real = attention_mask.bool()
    if not bool(real.any(1).all()):
        raise ValueError(f"attention_mask in row {int((~real.any(1)).nonzero()[0])} has no token: expected some")
    place = torch.arange(real.shape[1], device=real.device)
    return torch.where(real, place, -1).amax(1)


class ScalarHeadModel(nn.Module):
    """A transformer with a linear head; see the module.

    Args:
        backbone: A transformers model that gives `last_hidden_state`.
        read: Where the head reads; see `HeadSettings`.
        tokenizer: Its tokenizer, for `score`.
        settings: Further fields of `HeadSettings`.
    """

    def __init__(self, backbone: Any, read: str = "last_token", tokenizer: Any = None, **settings: Any) -> None:
        super().__init__()
        self.settings = HeadSettings(read=read, **settings)
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.head = nn.Linear(backbone.config.hidden_size, len(self.settings.aspects))
        # Scores start equal, so that a fresh head prefers nothing.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, ends: Tensor | None = None) -> Tensor:
        """Logits in float32, NaN where there is nothing to read.

        Args:
            input_ids: (B, L) int64.
            attention_mask: (B, L), 0 = padding, on either side.
            ends: (B, S) int64, the position of each step's last token, -1 = no step; for "step_ends".

        Returns:
            (B,), (B, L) or (B, S), by `read`; with several aspects one dimension more, (..., A). For "every_token" the
            value of a token is read at the position before it, and the first token has none.

        Raises:
            ValueError: `ends` is missing.
        """
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.settings.read == "last_token":
            rows = torch.arange(len(hidden), device=hidden.device)
            return self._one(self._logits(hidden[rows, last_real_token(attention_mask)]))
        if self.settings.read == "every_token":
            value = nn.functional.pad(self._logits(hidden[:, :-1]), (0, 0, 1, 0), value=torch.nan)
            # A token is predicted by a real position only.
            real = attention_mask.bool()
            predicted = real & nn.functional.pad(real[:, :-1], (1, 0))
            return self._one(torch.where(predicted[..., None], value, torch.nan))
        if ends is None:
            raise ValueError("ends is None: expected (B, S) positions of the ends of steps")
        width = hidden.shape[-1]
        at = torch.gather(hidden, 1, ends.clamp(min=0)[..., None].expand(*ends.shape, width))
        return self._one(torch.where((ends >= 0)[..., None], self._logits(at), torch.nan))

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.head(hidden.to(self.head.weight.dtype)).float()
        return logits

    def _one(self, logits: Tensor) -> Tensor:
        return logits.squeeze(-1) if len(self.settings.aspects) == 1 else logits

    def reward(self, logits: Tensor) -> Tensor:
        """Link and weighted sum of the aspects: (..., A), or (...) with one aspect, -> (...)."""
        linked = torch.sigmoid(logits) if self.settings.link == "sigmoid" else logits
        if len(self.settings.aspects) == 1:
            return linked * self.settings.weights[0] if self.settings.weights else linked
        number = len(self.settings.aspects)
        weights = self.settings.weights or (1.0 / number,) * number
        return (linked * torch.tensor(weights, dtype=linked.dtype, device=linked.device)).sum(-1)

    def encode(self, prompts: Sequence[str], responses: Sequence[Response]) -> dict[str, Tensor]:
        """Tokens of prompts and responses, padded on the right, with the ends of steps if those are read.

        A step that gives no token has no end.

        Returns:
            `input_ids` and `attention_mask` (B, L) int64, and for "step_ends" `ends` (B, S) int64.
        """
        if self.tokenizer is None:
            raise ValueError("tokenizer is None: expected the backbone's tokenizer")
        whole = self.settings.read != "step_ends"
        cut = [[joined(text)] if whole else as_steps(text, self.settings.delimiter) for text in responses]
        found = piece_inputs(self.tokenizer, [[prompt, *steps] for prompt, steps in zip(prompts, cut, strict=True)])
        encoded = {"input_ids": found.ids, "attention_mask": found.attention}
        if not whole:
            ends = torch.full((len(prompts), max((len(steps) for steps in cut), default=0)), -1)
            kept = found.length > 0
            ends[found.row[kept], found.index[kept]] = found.position[kept]
            encoded["ends"] = ends
        return encoded

    @torch.no_grad()
    def score(self, prompts: Sequence[str], responses: Sequence[Response]) -> Scores:
        """Score responses; see `guerdon.score.models.reward_model.RewardModel`.

        With several aspects the columns "aspect/<name>" hold each of them, numbers or lists of the steps' numbers.

        Raises:
            ValueError: The model reads every token, which is a value for training and no score, or has no tokenizer.
        """
        if self.settings.read == "every_token":
            raise ValueError("read is 'every_token': expected 'last_token' or 'step_ends' to score responses")
        training = self.training
        self.eval()
        encoded = self.encode(prompts, responses)
        lengths = encoded["attention_mask"].sum(1)
        reasons = [self._reason(int(length), joined(text)) for length, text in zip(lengths, responses, strict=True)]
        rows = torch.tensor([row for row, reason in enumerate(reasons) if not reason], dtype=torch.int64)
        shape = tuple(encoded["ends"].shape) if "ends" in encoded else (len(prompts),)
        logits = torch.full(
            (*shape, *((len(self.settings.aspects),) if len(self.settings.aspects) > 1 else ())), torch.nan
        )
        device = self.head.weight.device
        # Rows of about the same length come together, so that little is padded.
        order = rows[lengths[rows].argsort(stable=True)]
        for start in range(0, len(order), self.settings.batch_size):
            part = order[start : start + self.settings.batch_size]
            width = int(lengths[part].max())
            inputs = {n: (x[part, :width] if n != "ends" else x[part]).to(device) for n, x in encoded.items()}
            logits[part] = self(**inputs).cpu()
        self.train(training)
        return self._scores(logits, tuple(reasons) if any(reasons) else ())

    def _reason(self, length: int, text: str) -> str:
        if not text.strip():
            return "the response is empty"
        if self.settings.max_length and length > self.settings.max_length:
            return f"prompt and response have {length} tokens: the model takes {self.settings.max_length}"
        return ""

    def _scores(self, logits: Tensor, reasons: tuple[str, ...]) -> Scores:
        columns = {}
        if len(self.settings.aspects) > 1:
            linked = torch.sigmoid(logits) if self.settings.link == "sigmoid" else logits
            columns = {f"aspect/{name}": linked[..., at].tolist() for at, name in enumerate(self.settings.aspects)}
        value = self.reward(logits)
        if self.settings.read == "step_ends":
            return Scores(process=value, reasons=reasons, columns=columns)
        return Scores(value, reasons=reasons, columns=columns)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write backbone, tokenizer, head, settings and a model card into a folder, and return it."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.backbone.save_pretrained(target)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(target)
        torch.save(self.head.state_dict(), target / _HEAD)
        write_settings(target, "scalar_head", {"settings": asdict(self.settings)})
        write_card(target, "scalar_head", asdict(self.settings), self.backbone.config)
        return target

    @staticmethod
    def from_pretrained(folder: str | os.PathLike[str]) -> ScalarHeadModel:
        """Read what `save_pretrained` wrote; a folder without tokenizer gives a model without one."""
        from transformers import AutoModel, AutoTokenizer

        source = Path(folder)
        settings = read_settings(source)["settings"]
        settings |= {"aspects": tuple(settings["aspects"]), "weights": tuple(settings["weights"])}
        tokenizer = AutoTokenizer.from_pretrained(source) if (source / "tokenizer_config.json").is_file() else None
        model = ScalarHeadModel(AutoModel.from_pretrained(source), tokenizer=tokenizer, **settings)
        model.head.load_state_dict(torch.load(source / _HEAD, weights_only=True))
        return model.eval()
