"""Models of transformers as it makes them, small and with random weights: the checks accuse none.

A class by its name, and the sizes that are not under the names that `attribute_map` knows.
"""

from dataclasses import dataclass

from transformers import AutoConfig

from hfbench.checks import CheckedModel
from hfbench.models.prepare import PreparedModel
from hfbench.models.tokenizer import end_texts, train_tokenizer
from hfbench.recipe.model import Model

_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}

_SEQ2SEQ = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}

MODELS: dict[str, dict] = {
    # encoders
    "albert": {"embedding_size": 16},
    "bert": {},
    "camembert": {},
    "deberta-v2": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "electra": {"embedding_size": 32},
    "ernie": {},
    "modernbert": {"local_attention": 16},
    "mpnet": {},
    "roberta": {},
    "roformer": {"embedding_size": 32},
    "xlm-roberta": {},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    # encoders with a decoder
    "t5": {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
    },
    "umt5": {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
    },
    # decoders
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "falcon": {},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 16,
    },
    "gpt_neox": {},
    "gptj": {"rotary_dim": 4},
    "llama": {},
    "mistral": {"sliding_window": 16},
    "mixtral": {"num_local_experts": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64},
    "olmo": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "stablelm": {},
    "starcoder2": {},
    # state spaces
    "mamba": {"state_size": 4, "time_step_rank": 4},
    "mamba2": {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
}


@dataclass(frozen=True)
class KnownFault:
    """What the checks find in a model of transformers, and is so."""

    sizes: dict
    fails: set[str]
    reason: str


KNOWN_FAULTS = {
    "bart": KnownFault(
        _SEQ2SEQ,
        {"labels", "generation"},
        "Its causal language model does not shift labels, and counts positions from the left.",
    ),
    "convbert": KnownFault(
        {"embedding_size": 32}, {"padding"}, "Its convolution takes padding for text."
    ),
    "deberta": KnownFault(
        {}, {"autocast"}, "It fills a mask in bfloat16 with the least number of float32."
    ),
    "mbart": KnownFault(_SEQ2SEQ, {"labels", "generation"}, "As BART."),
    "nystromformer": KnownFault(
        {}, {"padding"}, "It takes means over parts of the text, padding included."
    ),
    "rwkv": KnownFault(
        {"attention_hidden_size": 32},
        {"forward"},
        "One token of n texts on a state gives n times n logits.",
    ),
}


def small_model(model_type: str) -> CheckedModel:
    """A small one of this type with new weights."""
    tokenizer = train_tokenizer(["He and I like cats and dogs."], 260)
    tokenizer.padding_side = "left" if model_type == "xlnet" else "right"
    default = AutoConfig.for_model(model_type)
    if default.is_encoder_decoder:
        end_texts(tokenizer)
    fields = {*default.to_dict(), *default.attribute_map}
    eos = tokenizer.eos_token_id
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": eos,
        "eos_token_id": eos,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    fault = KNOWN_FAULTS.get(model_type)
    own = fault.sizes if fault else MODELS[model_type]
    values = {**{k: v for k, v in _SIZES.items() if k in fields}, **ids, **own}
    config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), num_labels=3, **values)
    entry = Model.model_validate({"name": "checked", "model_type": model_type})
    return CheckedModel(PreparedModel(entry, tokenizer, config, revision=None))
