"""How long texts are, and about how many of them each model of a recipe would cut.

No model is loaded: tokens are counted by a ``tokenizer.json`` where one is on this machine, else
estimated; and the longest text that a model takes is what its ``config.json`` or the recipe says.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import numpy as np
from huggingface_hub.errors import HFValidationError
from tokenizers import Tokenizer

from hfbench.data.doctor.finding import Finding, percent
from hfbench.recipe.model import Model
from hfbench.recipe.schema import Recipe

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_PIECES = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")
# GPT-2's tokenizer makes 1.06 to 1.15 tokens of each in TREC, rotten_tomatoes and SST-2
_TOKENS_A_PIECE = 1.15
_SPECIAL_TOKENS = 2
_MOST_TEXTS = 5000
_UNLIMITED = 10**6  # what tokenizers say that know no limit is far more
_LIMITS = ("n_positions", "max_position_embeddings", "n_ctx")


@dataclass(frozen=True)
class Lengths:
    """Of the texts of a split: half have up to so many, 95 %, all."""

    characters: tuple[int, int, int]
    words: tuple[int, int, int]
    """What white space parts."""


@dataclass(frozen=True)
class Cut:
    """What a model would cut of the training texts."""

    model: str
    limit: int | None
    """Tokens; None where it is known only once the model is built."""
    counted: bool
    """Whether by the model's tokenizer; else estimated."""
    examples: float = 0.0
    """Share of the texts that are longer, a fraction."""
    tokens: float = 0.0
    """Share of all tokens that is cut off, a fraction."""
    unknown: float = 0.0
    """Share of all tokens that stand for what the tokenizer does not know, a fraction."""


def measure(texts: Sequence[str]) -> Lengths:
    """Lengths of ``texts``, of which there is one at least."""

    def ranks(values: list[int]) -> tuple[int, int, int]:
        half, most, longest = np.quantile(values, [0.5, 0.95, 1.0], method="inverted_cdf")
        return int(half), int(most), int(longest)

    return Lengths(ranks([*map(len, texts)]), ranks([len(text.split()) for text in texts]))


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has for a tokenizer that is not at hand."""
    return round(_TOKENS_A_PIECE * len(_PIECES.findall(text))) + _SPECIAL_TOKENS


def count_cuts(texts: Sequence[str], recipe: Recipe) -> list[Cut]:
    """What each model of ``recipe`` but its controls would cut of ``texts``, or of some of them."""
    some = texts[:: max(1, len(texts) // _MOST_TEXTS)]
    return [_cut(model, some, recipe) for model in recipe.models if model.has_network]


def describe(cuts: list[Cut], recipe: Recipe) -> list[Finding]:
    """What each model that cuts more than a few texts, or cannot read them, does to them."""
    assert recipe.task
    whole = [model.name for model in recipe.models if model.control == "tfidf-logreg"]
    findings = []
    for cut in cuts:
        if cut.unknown >= 0.01:
            findings.append(
                Finding(
                    "high" if cut.unknown >= 0.1 else "medium",
                    "unknown tokens",
                    f"{cut.model}: about {percent(cut.unknown, 1)} of the tokens stand for what "
                    "its tokenizer does not know (another language, emoji): take a checkpoint "
                    "that reads such texts",
                    "model_name_or_path",
                )
            )
        if cut.limit is None or cut.examples < 0.02:
            continue
        by = "" if cut.counted else ", by an estimate of tokens"
        other = f"; {whole[0]} reads whole texts" if whole else ""
        # the key that binds is the one to raise; otherwise the model takes no more
        binds = cut.limit == recipe.task.max_length
        findings.append(
            Finding(
                "high" if cut.examples >= 0.5 else "medium",
                "truncation",
                f"{cut.model}: about {percent(cut.examples, 1)} of the training texts are longer "
                f"than {cut.limit:,} tokens; about {percent(cut.tokens, 1)} of the tokens are cut "
                f"off{by}{other}",
                "max_length" if binds else "truncation",
            )
        )
    return findings


def _cut(model: Model, texts: Sequence[str], recipe: Recipe) -> Cut:
    limit, path = _limit(model, recipe), _tokenizer_file(model, recipe)
    unknown = 0.0
    if path:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        nothing = _unknown_id(tokenizer)
        ids = [row.ids for row in tokenizer.encode_batch(list(texts))]
        lengths = np.array([*map(len, ids)])
        if nothing is not None:
            unknown = sum(row.count(nothing) for row in ids) / sum(map(len, ids))
    else:
        lengths = np.array([*map(estimate_tokens, texts)])
    over = np.maximum(lengths - limit, 0) if limit else np.zeros(len(lengths))
    return Cut(
        model.name,
        limit,
        path is not None,
        examples=float(np.mean(over > 0)),
        tokens=float(over.sum() / lengths.sum()),
        unknown=unknown,
    )


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    """The token for what is not in the vocabulary; None of tokenizers that fall back to bytes."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("byte_fallback"):
        return None
    if model.get("unk_id") is not None:
        return model["unk_id"]
    return tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else None


def _tokenizer_file(model: Model, recipe: Recipe) -> Path | None:
    """The model's tokenizer, if it is on this machine; nothing is downloaded."""
    chosen = model.tokenizer or (None if model.model_name_or_path else recipe.tokenizer)
    if chosen:
        name, revision = chosen.name_or_path, chosen.revision
    else:
        name, revision = model.model_name_or_path, model.revision
    return _local_file(name, "tokenizer.json", revision) if name else None


def _limit(model: Model, recipe: Recipe) -> int | None:
    """The least of what the task, the recipe's entry and the model's files say."""
    assert recipe.task
    limits = [recipe.task.max_length, *(model.config.get(name) for name in _LIMITS)]
    if model.model_name_or_path:
        for file, names in (
            ("config.json", _LIMITS),
            ("tokenizer_config.json", ("model_max_length",)),
        ):
            path = _local_file(model.model_name_or_path, file, model.revision)
            values = json.loads(path.read_text("utf-8")) if path else {}
            limits += [values.get(name) for name in names]
    known = [limit for limit in limits if isinstance(limit, int) and limit < _UNLIMITED]
    return min(known) if known else None


def _local_file(name: str, file: str, revision: str | None) -> Path | None:
    """A file of a folder, or of a repo of the Hub that was downloaded before."""
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    try:
        found = huggingface_hub.try_to_load_from_cache(name, file, revision=revision)
    except HFValidationError:  # a folder that is not there: a comparison refuses it by its key
        return None
    return Path(found) if isinstance(found, str) else None
