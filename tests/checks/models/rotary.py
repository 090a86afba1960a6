"""A decoder of today's kind: rotary positions, RMS norm, grouped keys, a gated MLP.

It leans on transformers wherever it can: the cache, the masks, the attention functions.
"""

import inspect

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

CACHE = "cache"  # its name from transformers 5.24 on
if CACHE not in inspect.signature(create_causal_mask).parameters:
    CACHE = "past_key_values"


class RotaryConfig(PreTrainedConfig):
    model_type = "own_rotary"
    vocab_size: int = 500
    hidden_size: int = 32
    intermediate_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 64
    rotary_base: float = 10000.0
    initializer_range: float = 0.02
    attention_dropout: float = 0.0
    use_cache: bool = True
    tie_word_embeddings: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None


class RotaryRMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, states):
        scale = torch.rsqrt(states.float().pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * (states.float() * scale).to(states.dtype)


class RotaryAngles(nn.Module):
    """Cosines and sines of shape (B, T, head size)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.register_buffer("frequencies", self.compute(), persistent=False)

    def compute(self):
        size = self.config.hidden_size // self.config.num_attention_heads
        return self.config.rotary_base ** -(torch.arange(0, size, 2).float() / size)

    def forward(self, positions, dtype):
        angles = positions[..., None].float() * self.frequencies
        angles = torch.cat([angles, angles], -1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(states, cosines, sines):
    first, second = states.chunk(2, -1)
    return states * cosines[:, None] + torch.cat([-second, first], -1) * sines[:, None]


def eager(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(-2, -1) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class RotaryAttention(nn.Module):
    is_causal = True

    def __init__(self, config, layer_idx):
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_size = config.hidden_size // config.num_attention_heads
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        keys = config.num_key_value_heads * self.head_size
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, states, angles, mask, past, **kwargs):
        shape = (*states.shape[:2], -1, self.head_size)
        query, key, value = (
            layer(states).view(shape).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate(query, *angles), rotate(key, *angles)
        if past is not None:
            key, value = past.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager)
        dropout = self.config.attention_dropout if self.training else 0.0
        scaling = self.head_size**-0.5
        out, _ = attend(self, query, key, value, mask, scaling=scaling, dropout=dropout, **kwargs)
        return self.o_proj(out.flatten(2))


class RotaryMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, states):
        return self.down_proj(nn.functional.silu(self.gate_proj(states)) * self.up_proj(states))


class RotaryBlock(GradientCheckpointingLayer):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.norm_1 = RotaryRMSNorm(config.hidden_size)
        self.attention = RotaryAttention(config, layer_idx)
        self.norm_2 = RotaryRMSNorm(config.hidden_size)
        self.mlp = RotaryMLP(config)

    def forward(self, states, angles, mask, past, **kwargs):
        states = states + self.attention(self.norm_1(states), angles, mask, past, **kwargs)
        return states + self.mlp(self.norm_2(states))


class RotaryPreTrainedModel(PreTrainedModel):
    config: RotaryConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, RotaryAngles):
            init.copy_(module.frequencies, module.compute())
        else:
            super()._init_weights(module)


class RotaryModel(RotaryPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.angles = RotaryAngles(config)
        self.layers = nn.ModuleList(
            RotaryBlock(config, number) for number in range(config.num_hidden_layers)
        )
        self.norm = RotaryRMSNorm(config.hidden_size)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past=None,
        inputs_embeds=None,
        use_cache=False,
        **kwargs,
    ):
        states = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and past is None:
            past = DynamicCache(config=self.config)
        seen = 0 if past is None else past.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(states.shape[1], device=states.device)[None] + seen
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=states,
            attention_mask=attention_mask,
            position_ids=position_ids,
            **{CACHE: past},
        )
        angles = self.angles(position_ids, states.dtype)
        for layer in self.layers:
            states = layer(states, angles, mask, past, **kwargs)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(states), **{CACHE: past})


class RotaryForCausalLM(RotaryPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = RotaryModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        cache=None,
        logits_to_keep=0,
        **kwargs,
    ):
        out = self.model(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values if cache is None else cache,
            inputs_embeds,
            use_cache=self.config.use_cache and not self.training
            if use_cache is None
            else use_cache,
        )
        states = out.last_hidden_state
        logits = self.lm_head(states[:, -logits_to_keep:])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE: out.get(CACHE)})


class RotaryForSequenceClassification(RotaryPreTrainedModel):
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.model = RotaryModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, labels=None, **kwargs
    ):
        states = self.model(input_ids, attention_mask, position_ids).last_hidden_state
        if attention_mask is None:
            attention_mask = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        places = torch.arange(states.shape[1], device=states.device)
        last = (places * attention_mask).argmax(-1)
        logits = self.score(states[torch.arange(len(states), device=states.device), last])
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutputWithPast(loss=loss, logits=logits)


RotaryConfig.register_for_auto_class()
RotaryModel.register_for_auto_class("AutoModel")
RotaryForCausalLM.register_for_auto_class("AutoModelForCausalLM")
RotaryForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
