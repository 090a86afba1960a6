"""A recurrent decoder: a gated linear recurrence, with a state in place of keys and values.

h_t = z_t * h_(t-1) + (1 - z_t) * x_t, of the kind of "Were RNNs All We Needed?"
(https://arxiv.org/abs/2410.01201).
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import SequenceClassifierOutputWithPast
from transformers.utils import ModelOutput


class GatedConfig(PreTrainedConfig):
    model_type = "own_gated"
    vocab_size: int = 500
    hidden_size: int = 32
    num_hidden_layers: int = 2
    expansion: int = 2
    initializer_range: float = 0.05
    use_cache: bool = True
    tie_word_embeddings: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None


@dataclass
class GatedOutput(ModelOutput):
    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    cache_params: list | None = None


class GatedBlock(GradientCheckpointingLayer):
    def __init__(self, config):
        super().__init__()
        width, inner = config.hidden_size, config.expansion * config.hidden_size
        self.norm = nn.LayerNorm(width)
        self.to_gate = nn.Linear(width, inner)
        self.to_value = nn.Linear(width, inner)
        self.to_output = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def forward(self, states, mask, state):
        """(B, T, width), the mask (B, T, 1) and the state (B, inner) to the first and the last."""
        normed = self.norm(states)
        gate = torch.sigmoid(self.to_gate(normed))
        gate = torch.where(mask, gate, 1.0)  # padding leaves the state as it is
        added = (1 - gate) * self.to_value(normed)
        found = []
        for token in range(states.shape[1]):
            state = gate[:, token] * state + added[:, token]
            found.append(state)
        inner = torch.stack(found, 1) * torch.nn.functional.silu(self.to_output(normed))
        return states + self.down(inner.to(states.dtype)), state


class GatedPreTrainedModel(PreTrainedModel):
    config: GatedConfig
    base_model_prefix = "body"
    supports_gradient_checkpointing = True
    _is_stateful = True
    _input_embed_layer = "words"


class GatedBody(GatedPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(GatedBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, state=None):
        states = self.words(input_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        mask = attention_mask[:, -input_ids.shape[1] :, None].bool()
        if state is None:
            inner = self.config.expansion * self.config.hidden_size
            state = [states.new_zeros(len(states), inner) for _ in self.blocks]
        after = []
        for block, before in zip(self.blocks, state, strict=True):
            states, last = block(states, mask, before)
            after.append(last)
        return self.norm(states), after


class GatedForCausalLM(GatedPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "body.words.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.body = GatedBody(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        cache_params=None,
        labels=None,
        use_cache=None,
        **kwargs,
    ):
        states, state = self.body(input_ids, attention_mask, cache_params)
        logits = self.lm_head(states)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )
        return GatedOutput(loss=loss, logits=logits, cache_params=state if use_cache else None)


class GatedForSequenceClassification(GatedPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.body = GatedBody(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, labels=None, **kwargs):
        states, _ = self.body(input_ids, attention_mask)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        last = (torch.arange(states.shape[1], device=states.device) * attention_mask).argmax(-1)
        logits = self.score(states[torch.arange(len(states)), last])
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutputWithPast(loss=loss, logits=logits)


GatedConfig.register_for_auto_class()
GatedForCausalLM.register_for_auto_class("AutoModelForCausalLM")
GatedForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
