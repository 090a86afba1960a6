"""Classifiers of transformers as small as those are whose layers see no padding, with dropout."""

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

BERT = {
    "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "vocab_size": 100, "max_position_embeddings": 40, "pad_token_id": 1,
}  # fmt: skip
SHAPES = {
    "distilbert": {"dim": 128, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 100},
    "gpt2": {
        "n_embd": 128, "n_layer": 2, "n_head": 2, "vocab_size": 100, "pad_token_id": 1,
        "eos_token_id": 2, "bos_token_id": 2, "use_cache": False,
    },
    "modernbert": {
        **BERT, "local_attention": 6, "attention_dropout": 0.1, "mlp_dropout": 0.1,
        "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3,
    },
}  # fmt: skip


def small_classifier(kind, **changes):
    """Of a model type; the same weights each time."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SHAPES.get(kind, BERT), **changes})
    model = AutoModelForSequenceClassification.from_config(config)
    for parameter in model.parameters():  # else a pass differs little whatever attention sees
        nn.init.normal_(parameter, std=0.2)
    return model.train()


def without_dropout(model):
    """All rates of ``model`` become 0."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def pad_tokenizer():
    """Says what padding is."""
    return transformers.BertTokenizer(vocab={"[UNK]": 0, "[PAD]": 1}, pad_token="[PAD]")
