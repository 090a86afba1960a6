"""Of a text's tokens to one row of numbers: by a rule of the recipe, or the checkpoint's own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.utils import cached_file

from hfbench.errors import UserError


@dataclass(frozen=True)
class Pooling:
    """One or more ways, whose results stand side by side, and what follows on them."""

    ways: tuple[str, ...]
    """Names in `WAYS`."""
    normalises: bool = False
    """Whether a row is divided by its length."""
    left_out: tuple[str, ...] = ()
    """What a checkpoint has besides, in words."""

    @property
    def name(self) -> str:
        """In words, and one for each that there is."""
        return ", ".join([" and ".join(self.ways), *(["normalised"] if self.normalises else [])])

    def __call__(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Pool padded rows.

        Args:
            states: of the last layer, shape (B, T, width), with the padding on the right.
            lengths: tokens of each row, at least 1, shape (B,).

        Returns:
            Shape (B, ways * width).
        """
        places = torch.arange(states.shape[1], device=states.device)
        is_token = places < lengths[:, None]  # (B, T)
        rows = torch.cat([WAYS[way](states, is_token, lengths) for way in self.ways], dim=-1)
        return F.normalize(rows, dim=-1) if self.normalises else rows


def _sum(states: Tensor, weights: Tensor) -> Tensor:
    return (states * weights[..., None].to(states.dtype)).sum(1)


def _mean(states: Tensor, is_token: Tensor, lengths: Tensor) -> Tensor:
    return _sum(states, is_token) / lengths[:, None]


def _by_root(states: Tensor, is_token: Tensor, lengths: Tensor) -> Tensor:
    return _sum(states, is_token) / lengths[:, None].to(states.dtype).sqrt()


def _later_more(states: Tensor, is_token: Tensor, lengths: Tensor) -> Tensor:
    """The n-th token counts n times, as in SGPT (https://arxiv.org/abs/2202.08904)."""
    numbers = is_token.cumsum(1) * is_token
    return _sum(states, numbers) / numbers.sum(1, keepdim=True)


def _first(states: Tensor, is_token: Tensor, lengths: Tensor) -> Tensor:
    return states[:, 0]


def _last(states: Tensor, is_token: Tensor, lengths: Tensor) -> Tensor:
    return states[torch.arange(len(states), device=states.device), lengths - 1]


def _highest(states: Tensor, is_token: Tensor, lengths: Tensor) -> Tensor:
    return states.masked_fill(~is_token[..., None], -torch.inf).amax(1)


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "last": _last,
    "max": _highest,
    "mean": _mean,
    "mean_sqrt_len": _by_root,
    "weightedmean": _later_more,
}
"""Name -> how; of states (B, T, width), which places are tokens (B, T), and how many (B,)."""

_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}
"""Key of 1_Pooling/config.json -> way, in the order in which sentence-transformers joins them."""
_NAMES = {way: way for way in WAYS} | {"lasttoken": "last"}
"""Of its key ``pooling_mode``, in place of these."""


def own_pooling(name: str, revision: str | None, key: str) -> Pooling | None:
    """How sentence-transformers pools a checkpoint, as its files say; None for other checkpoints.

    They are read as data: no class that they name is looked for.

    Args:
        name: of the Hub, or a folder.
        revision: a commit.
        key: which names it, for messages.

    Raises:
        UserError: if they say what cannot be followed.
    """
    modules = _read(name, "modules.json", revision, key)
    folders = {"1_Pooling": "Pooling"}  # of the first checkpoints, which have no list
    if modules is not None:
        if not (isinstance(modules, list) and all(isinstance(one, dict) for one in modules)):
            raise UserError(f"{key}: modules.json of {name} is no list of modules")
        folders = {
            str(one.get("path", "")): str(one.get("type", "")).rpartition(".")[2] for one in modules
        }
    pooling = next((path for path, kind in folders.items() if kind == "Pooling"), None)
    config = _read(name, f"{pooling}/config.json", revision, key) if pooling else None
    if config is None:
        return None
    known = ("Transformer", "Pooling", "Normalize")
    return Pooling(
        _ways(config, name, key),
        normalises="Normalize" in folders.values(),
        left_out=tuple(kind for kind in folders.values() if kind not in known),
    )


def _ways(config: Any, name: str, key: str) -> tuple[str, ...]:
    values = config if isinstance(config, dict) else {}
    chosen = tuple(way for entry, way in _KEYS.items() if values.get(entry) is True)
    said = values.get("pooling_mode")
    if not chosen and said is not None:
        several = said if isinstance(said, list) else [said]
        chosen = tuple(_NAMES[one] for one in several if one in _NAMES)
        chosen = chosen if len(chosen) == len(several) else ()
    if not chosen:
        raise UserError(
            f"{key}: {name} pools in a way that is not known here (its Pooling/config.json): give "
            "probe.pooling, one of mean, cls, last"
        )
    return tuple(dict.fromkeys(chosen))


def _read(name: str, file: str, revision: str | None, key: str) -> Any:
    if ".." in file or file.startswith("/"):
        raise UserError(
            f"{key}: modules.json of {name} names {file!r}, which is no file of its own"
        )
    path = cached_file(
        name,
        file,
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return None
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{key}: {file} of {name} is no JSON: {error}") from None
