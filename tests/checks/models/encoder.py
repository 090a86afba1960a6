"""An encoder after BERT: learned positions, norms after the sums, a pooled first token."""

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class OwnEncoderConfig(PreTrainedConfig):
    model_type = "own_encoder"
    vocab_size: int = 500
    hidden_size: int = 32
    intermediate_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    max_position_embeddings: int = 64
    hidden_dropout_prob: float = 0.1
    layer_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None


def eager(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    scores = query @ key.transpose(-2, -1) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.dropout(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class OwnEncoderAttention(nn.Module):
    is_causal = False

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.size = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states, mask):
        shape = (*states.shape[:2], -1, self.size)
        query, key, value = (
            layer(states).view(shape).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager)
        dropout = self.config.hidden_dropout_prob if self.training else 0.0
        out, _ = attend(self, query, key, value, mask, scaling=self.size**-0.5, dropout=dropout)
        return self.output(out.flatten(2))


class OwnEncoderLayer(GradientCheckpointingLayer):
    def __init__(self, config):
        super().__init__()
        self.attention = OwnEncoderAttention(config)
        self.norm_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states, mask):
        states = self.norm_1(states + self.dropout(self.attention(states, mask)))
        added = self.down(nn.functional.gelu(self.up(states)))
        return self.norm_2(states + self.dropout(added))


class OwnEncoderPreTrainedModel(PreTrainedModel):
    config: OwnEncoderConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _input_embed_layer = "words"


class OwnEncoderModel(OwnEncoderPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.places = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(
            OwnEncoderLayer(config) for _ in range(config.num_hidden_layers)
        )
        self.post_init()

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        states = self.words(input_ids)
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=states.device)[None]
        states = self.dropout(self.norm(states + self.places(position_ids)))
        mask = create_bidirectional_mask(self.config, states, attention_mask)
        for layer in self.layers:
            states = layer(states, mask)
        return states


class OwnEncoderForSequenceClassification(OwnEncoderPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.encoder = OwnEncoderModel(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, labels=None, **kwargs
    ):
        states = self.encoder(input_ids, attention_mask, position_ids)
        pooled = torch.tanh(self.pooler(states[:, 0]))
        logits = self.classifier(self.dropout(pooled))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)


OwnEncoderConfig.register_for_auto_class()
OwnEncoderForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
