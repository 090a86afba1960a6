"""Words in a model: its embedding, if it has one, and the parts of its configuration with ids."""

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def embedding_rows(model: PreTrainedModel) -> int | None:
    """Rows of the word embedding; None for a model without one.

    CANINE hashes characters, and what Perceiver calls its input embeddings are its latents.
    """
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        return None
    if not isinstance(embedding, nn.Module):
        return None
    # by its weight: I-BERT's is quantised, and no torch.nn.Embedding
    weight = dict(embedding.named_parameters(recurse=False)).get("weight")
    return None if weight is None else weight.shape[0]


def fit_embedding(model: PreTrainedModel, rows: int) -> None:
    """Add rows to the word embedding where it has fewer than ``rows``, as for a new pad token."""
    found = embedding_rows(model)
    if found is not None and found < rows:
        model.resize_token_embeddings(rows, mean_resizing=False)


def parts_of_words(config: PreTrainedConfig) -> list[PreTrainedConfig]:
    """The configuration itself, and those of its parts that have a vocabulary."""
    parts = [getattr(config, name, None) for name in config.sub_configs]
    return [config, *(part for part in parts if hasattr(part, "vocab_size"))]


def set_pad_token(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Tell a model of the tokenizer's pad token.

    The classifier of a model of texts and images looks for it in the configuration of its texts.
    """
    for part in parts_of_words(config):
        part.pad_token_id = tokenizer.pad_token_id
