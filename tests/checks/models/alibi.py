"""A decoder with biases for distances (ALiBi) and its own attention and masks.

Written as many are: a configuration with ``__init__``, masks by hand, no attention function of
transformers. Heads are tied by default.
"""

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import DynamicCache
from transformers.generation import GenerationMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import CausalLMOutputWithPast, SequenceClassifierOutputWithPast


class AlibiConfig(PreTrainedConfig):
    model_type = "own_alibi"
    attribute_map = {
        "hidden_size": "width",
        "num_hidden_layers": "depth",
        "num_attention_heads": "heads",
    }

    def __init__(
        self,
        vocab_size=500,
        width=32,
        depth=2,
        heads=4,
        steepness=8.0,
        dropout=0.1,
        initializer_range=0.02,
        tie_word_embeddings=True,
        use_cache=True,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.width = width
        self.depth = depth
        self.heads = heads
        self.steepness = steepness
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.use_cache = use_cache
        super().__init__(
            pad_token_id=pad_token_id,
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            tie_word_embeddings=tie_word_embeddings,
            **kwargs,
        )


class AlibiAttention(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.heads, self.layer_idx = config.heads, layer_idx
        self.size = config.width // config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states, bias, past):
        rows, tokens, width = states.shape
        query, key, value = (
            part.view(rows, tokens, self.heads, self.size).transpose(1, 2)
            for part in self.qkv(states).chunk(3, -1)
        )
        if past is not None:
            key, value = past.update(key, value, self.layer_idx)
        scores = query @ key.transpose(-2, -1) / self.size**0.5 + bias.to(query.dtype)
        weights = self.dropout(scores.softmax(-1))
        return self.out((weights @ value).transpose(1, 2).reshape(rows, tokens, width))


class AlibiBlock(GradientCheckpointingLayer):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.width)
        self.attention = AlibiAttention(config, layer_idx)
        self.norm_2 = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states, bias, past):
        states = states + self.dropout(self.attention(self.norm_1(states), bias, past))
        return states + self.dropout(self.down(torch.tanh(self.up(self.norm_2(states)))))


class AlibiPreTrainedModel(PreTrainedModel):
    config_class = AlibiConfig
    base_model_prefix = "decoder"
    supports_gradient_checkpointing = True

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, AlibiDecoder):
            init.copy_(module.slopes, module.compute_slopes())


class AlibiDecoder(AlibiPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(AlibiBlock(config, number) for number in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.register_buffer("slopes", self.compute_slopes(), persistent=False)
        self.post_init()

    def compute_slopes(self):
        heads = self.config.heads
        return 2.0 ** -(torch.arange(1, heads + 1) * self.config.steepness / heads)

    def get_input_embeddings(self):
        return self.words

    def set_input_embeddings(self, value):
        self.words = value

    def bias(self, mask, tokens, dtype):
        """Of shape (B, heads, tokens, keys): the lowest number where nothing may be seen."""
        keys = mask.shape[1]
        places = torch.arange(keys, device=mask.device)
        queries = places[keys - tokens :]
        distance = (queries[:, None] - places[None]).float()
        bias = -distance * self.slopes[:, None, None]
        seen = (distance >= 0)[None, None] & mask[:, None, None].bool()
        return bias[None].masked_fill(~seen, torch.finfo(dtype).min)

    def forward(self, input_ids, attention_mask=None, past=None, use_cache=False):
        states = self.words(input_ids)
        if use_cache and past is None:
            past = DynamicCache(config=self.config)
        seen = 0 if past is None else past.get_seq_length()
        keys = seen + input_ids.shape[1]
        if attention_mask is None:
            attention_mask = torch.ones(len(input_ids), keys, device=states.device)
        bias = self.bias(attention_mask, input_ids.shape[1], states.dtype)
        for block in self.blocks:
            states = block(states, bias, past)
        return self.norm(states), past


class AlibiForCausalLM(AlibiPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"head.weight": "decoder.words.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.decoder = AlibiDecoder(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, value):
        self.head = value

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        past_key_values=None,
        labels=None,
        use_cache=None,
        **kwargs,
    ):
        use_cache = use_cache and not self.training
        states, past = self.decoder(input_ids, attention_mask, past_key_values, use_cache)
        logits = self.head(states)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past)


class AlibiForSequenceClassification(AlibiPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.decoder = AlibiDecoder(config)
        self.score = nn.Linear(config.width, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, labels=None, **kwargs):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        states, _ = self.decoder(input_ids, attention_mask)
        shares = attention_mask[..., None].to(states.dtype)
        logits = self.score((states * shares).sum(1) / shares.sum(1))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels, logits, self.config)
        return SequenceClassifierOutputWithPast(loss=loss, logits=logits)


AlibiConfig.register_for_auto_class()
AlibiForCausalLM.register_for_auto_class("AutoModelForCausalLM")
AlibiForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
