"""How many tokens a model takes: it is asked, since configurations do not say it in one way.

RoBERTa's positions start after its pad id, so that 514 of them are enough for 512 tokens; MPT says
``max_seq_len``; relative positions and ALiBi have no limit; a tokenizer without one says 10^30.
"""

import inspect
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.initialization import no_init_weights

from hfbench.errors import UserError, one_line
from hfbench.models.architecture import AUTO_CLASSES, find_model_class
from hfbench.models.embedding import fit_embedding, parts_of_words, set_pad_token
from hfbench.models.twin import shallow
from hfbench.recipe.model import Model

NO_LIMIT = int(1e30)
"""Tokens of a text where nothing limits them, as tokenizers of transformers say it."""

_NAMES = ("max_position_embeddings", "max_seq_len", "max_sequence_length")
_SHORT = 8  # tokens of a text that every model takes
# Tokens that a model is asked about, so that it answers in seconds: attention may need the square,
# and recurrent layers are loops. Longformer has positions for 4,098, and longer tables are rare.
_MOST_ASKED = 4100
_ASKED_BEYOND = 512
_ASKED_WITHOUT_LIMIT = 2048
_LARGE = 1_000_000  # tokens times width times layers; then a twin of two layers is asked

FOUND: dict[tuple[str, ...], int] = {}
"""What models said in this process, by all that decides it; another process may be told."""


def find_max_length(
    entry: Model, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, rows: int
) -> int:
    """The most tokens of a text that tokenizer and model take; `NO_LIMIT` where none is found.

    The model is asked once for each configuration, see `_Reader`, and only about a length that lets
    it answer in seconds; beyond that the configuration is believed.

    Args:
        entry: of the recipe.
        config: of the model.
        tokenizer: of the model.
        rows: that its word embedding needs.

    Raises:
        UserError: naming the model, if it cannot read even a short text.
    """
    key = (
        type(config).__name__,
        config.to_json_string(),
        type(tokenizer).__name__,
        str(tokenizer.model_max_length),
        str(len(tokenizer)),
        entry.source,
    )
    if key not in FOUND:
        FOUND[key] = _find(entry, config, tokenizer, rows)
    return FOUND[key]


def _find(
    entry: Model, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, rows: int
) -> int:
    told = told_max_length(config, tokenizer)
    asked = _to_ask(told)
    reader = _Reader(entry, config, tokenizer, rows)
    if asked * _numbers_a_token(config) > _LARGE:
        twin = _Reader(entry, shallow(config), tokenizer, rows)
        # layers that are none without the others are no twin
        reader = reader if twin.refuses(min(_SHORT, asked)) else twin
    if not reader.refuses(asked):
        return told
    takes, fails = min(_SHORT, asked), asked
    if error := reader.refuses(takes):
        reason = one_line(f"{type(error).__name__}: {error}")
        raise UserError(
            f"models.{entry.name}: {reader.name} ({entry.source}) cannot read a text of {takes} "
            f"tokens: {reason}"
        ) from error
    while fails - takes > 1:
        middle = (takes + fails) // 2
        takes, fails = (takes, middle) if reader.refuses(middle) else (middle, fails)
    return takes


def told_max_length(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """The most tokens of a text as configuration and tokenizer say it; nobody was asked."""
    return min(tokenizer.model_max_length, NO_LIMIT, *_told_by(config))


def _told_by(config: PreTrainedConfig) -> list[int]:
    """The limits that a configuration names, or its parts of words; -1 is XLNet's word for none."""
    values = [getattr(part, name, None) for part in parts_of_words(config) for name in _NAMES]
    return [value for value in values if isinstance(value, int) and value > 0]


def _to_ask(told: int) -> int:
    if told <= _MOST_ASKED:
        return told
    return _ASKED_WITHOUT_LIMIT if told >= NO_LIMIT else _ASKED_BEYOND


def _numbers_a_token(config: PreTrainedConfig) -> int:
    """Width times layers, by the names that transformers' architectures have in common."""
    sizes = [
        (getattr(part, "hidden_size", None), getattr(part, "num_hidden_layers", None))
        for part in parts_of_words(config)
    ]
    known = [w * n for w, n in sizes if isinstance(w, int) and isinstance(n, int)]
    return max(1, *known, 1)


class _Reader:
    """A model that reads texts on the CPU as it would, but for the numbers that come out.

    Its weights are not drawn, and memory that nobody touches costs nothing; its matrix products and
    its attention give zeros, which costs little. Shapes, positions and masks are the real ones.
    """

    def __init__(
        self,
        entry: Model,
        config: PreTrainedConfig,
        tokenizer: PreTrainedTokenizerBase,
        rows: int,
    ) -> None:
        self.tokenizer = deepcopy(tokenizer)  # it keeps as its state how it was told to truncate
        known = (h for h in AUTO_CLASSES if find_model_class(h, type(config)))
        auto_class = AUTO_CLASSES[next(known, "classifier")]
        config = deepcopy(config)
        with no_init_weights():
            self.model: PreTrainedModel = auto_class.from_config(
                config, trust_remote_code=entry.trust_remote_code, dtype=torch.float32
            ).eval()
            fit_embedding(self.model, rows)
        set_pad_token(self.model.config, tokenizer)
        self.model.config.use_cache = False  # as the Trainer has it
        self.name = type(self.model).__name__
        self.parameters = inspect.signature(self.model.forward).parameters

    def refuses(self, length: int) -> Exception | None:
        """Why it does not read a text of so many tokens; None if it does."""
        text = "cats and dogs " * length
        encoded = self.tokenizer(
            [text], truncation=True, max_length=length, return_tensors="pt", verbose=False
        )
        inputs = {name: values for name, values in encoded.items() if name in self.parameters}
        try:
            with torch.no_grad(), torch.random.fork_rng([]), _WithoutProducts():
                self.model(**inputs)
        except Exception as error:  # a model's code may raise anything
            return error
        return None


class _WithoutProducts(TorchDispatchMode):
    """Within, products of matrices, convolutions and fused attention are zeros of their shape."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called for each operation."""
        return _ZEROS.get(func, func)(*args, **(kwargs or {}))


def _product(a: Tensor, b: Tensor, **_: Any) -> Tensor:
    """Of matrices, (M, K) and (K, N), or of batches of them."""
    if a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        raise RuntimeError(f"{tuple(a.shape)} and {tuple(b.shape)} cannot be multiplied")
    return a.new_zeros(*a.shape[:-1], b.shape[-1])


def _attention(
    q: Tensor, k: Tensor, v: Tensor, *_: Any, attn_mask: Tensor | None = None, **__: Any
) -> tuple[Tensor, Tensor]:
    """Of q (B, H, T, D), k and v (B, H, S, D): the output and its log-sum-exp."""
    if attn_mask is not None:
        torch.broadcast_shapes(attn_mask.shape, (*q.shape[:-1], k.shape[-2]))
    return q.new_zeros(*q.shape[:-1], v.shape[-1]), q.new_zeros(q.shape[:-1])


_aten = torch.ops.aten
_ZEROS: dict[Any, Callable[..., Any]] = {
    _aten.mm.default: _product,
    _aten.bmm.default: _product,
    _aten.addmm.default: lambda _, a, b, **__: _product(a, b),
    _aten.baddbmm.default: lambda _, a, b, **__: _product(a, b),
    _aten._scaled_dot_product_flash_attention_for_cpu.default: _attention,
}
