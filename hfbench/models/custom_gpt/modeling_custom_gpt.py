"""A GPT-2-style decoder with a language-model head or a classification head.

Parameters have GPT-2's names, so that weights map by name; matrices are those of `nn.Linear`, the
transpose of GPT-2's `Conv1D`. This file and the three beside it that it imports travel to the Hub
alone: they import nothing but torch, transformers and each other.

Shapes:
    B: batch
    T: tokens of this call
    S: keys to look at, which is the tokens in the cache plus T
    N: tokens of a batch, padding apart
    n_embd: width, n_head * head_size
"""

import inspect
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_custom_gpt import CustomGPTConfig
from .loss_custom_gpt import causal_lm_loss
from .padding_custom_gpt import RealTokens, count_positions, pool_last_real_token

# What transformers calls the cache: `cache` from 5.24 on. Its generation hands the cache over under
# this name and looks for it there in outputs; users may have learned either, so forwards take both.
_CACHE = "cache"
if _CACHE not in inspect.signature(create_causal_mask).parameters:
    _CACHE = "past_key_values"


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention in plain operations, for its weights; takes (B, n_head, T or S, head_size).

    Returns:
        The output of shape (B, T, n_head, head_size) and the weights of shape (B, n_head, T, S).
    """
    scores = query @ key.transpose(-2, -1) * scaling  # (B, n_head, T, S)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class CustomGPTResidualLinear(nn.Linear):
    """A `nn.Linear` that writes to the residual stream.

    A class of its own so that `_init_weights` knows it: transformers shows custom code only the
    modules that hold parameters themselves, never the attention or MLP around this layer.
    """


class CustomGPTAttention(nn.Module):
    """Causal self-attention."""

    is_causal = True  # read by the attention functions of transformers

    def __init__(self, config: CustomGPTConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_size = config.n_embd // config.n_head
        self.scaling = self.head_size**-0.5
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = CustomGPTResidualLinear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        real_tokens: RealTokens | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Map (B, T, n_embd) to the same shape; also the weights, where the function has them.

        With `real_tokens` it maps (1, N, n_embd), and only the attention itself sees padding.
        """
        projected = self.c_attn(hidden_states)
        if real_tokens is not None:
            projected = real_tokens.put_back(projected)  # (B, T, 3 * n_embd)
        split_shape = (*projected.shape[:-1], -1, self.head_size)
        query, key, value = (
            part.view(split_shape).transpose(1, 2)  # (B, n_head, T, head_size)
            for part in projected.chunk(3, dim=-1)
        )
        cache = past_key_values if cache is None else cache
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)  # (B, n_head, S, head_size)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            scaling=self.scaling,
            dropout=self.config.attn_pdrop if self.training else 0.0,
            **kwargs,
        )  # (B, T, n_head, head_size), (B, n_head, T, S)
        output = output.flatten(2)  # (B, T, n_embd)
        if real_tokens is not None:
            output = real_tokens.take(output)
        return self.resid_dropout(self.c_proj(output)), weights


class CustomGPTTanhGELU(nn.Module):
    """GPT-2's activation, which transformers computes in eight steps, in one kernel.

    0.5 x (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3), which is x sigmoid(2u).
    """

    def forward(self, hidden_states: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return nn.functional.gelu(hidden_states, approximate="tanh")
        # compiled, the tanh of that takes longer than what is read and written
        x = hidden_states.to(torch.promote_types(hidden_states.dtype, torch.float32))
        u = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return (x * torch.sigmoid(2 * u)).to(hidden_states.dtype)


class CustomGPTMLP(nn.Module):
    """Two layers with an activation between them; maps (B, T, n_embd) to the same shape."""

    def __init__(self, config: CustomGPTConfig) -> None:
        super().__init__()
        n_inner = 4 * config.n_embd if config.n_inner is None else config.n_inner
        self.c_fc = nn.Linear(config.n_embd, n_inner)
        is_tanh_gelu = config.activation_function in ("gelu_new", "gelu_pytorch_tanh")
        self.act = CustomGPTTanhGELU() if is_tanh_gelu else ACT2FN[config.activation_function]
        self.c_proj = CustomGPTResidualLinear(n_inner, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.act(self.c_fc(hidden_states))))


class CustomGPTBlock(GradientCheckpointingLayer):
    """Pre-norm attention and MLP, each added to its input; maps (B, T, n_embd) to the same."""

    def __init__(self, config: CustomGPTConfig, layer_idx: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = CustomGPTAttention(config, layer_idx)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = CustomGPTMLP(config)

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        attended, _ = self.attn(self.ln_1(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.ln_2(hidden_states))


class CustomGPTPreTrainedModel(PreTrainedModel):
    """What transformers wants to know of the architecture, and how its weights start."""

    config: CustomGPTConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    _input_embed_layer = "wte"
    _no_split_modules = ("CustomGPTBlock",)
    _skip_keys_device_placement = (_CACHE,)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _can_compile_fullgraph = True
    _supports_attention_backend = True
    _can_record_outputs: ClassVar[dict[str, type[nn.Module]]] = {
        "hidden_states": CustomGPTBlock,
        "attentions": CustomGPTAttention,
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw new weights as GPT-2 does.

        Embeddings and linear layers from N(0, `initializer_range`), biases 0. Each block adds
        twice to the residual stream; 1/sqrt(2 * n_layer) on what is added keeps the variance of
        the sum from growing with depth ("Language Models are Unsupervised Multitask Learners",
        Radford et al. 2019, section 2.3).
        """
        if isinstance(module, CustomGPTResidualLinear):
            std = self.config.initializer_range / math.sqrt(2 * self.config.n_layer)
            init.normal_(module.weight, mean=0.0, std=std)
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)


class CustomGPTModel(CustomGPTPreTrainedModel):
    """The decoder without a head."""

    def __init__(self, config: CustomGPTConfig) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(CustomGPTBlock(config, i) for i in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        skip_padding: bool | Tensor = False,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states of shape (B, T, n_embd) after the final norm.

        Args:
            input_ids: (B, T).
            attention_mask: (B, S), 0 for padding on whichever side; None if there is none.
            position_ids: (B, T); by default each row counts its real tokens from 0.
            past_key_values: `cache` by the name that it has before transformers 5.24.
            inputs_embeds: (B, T, n_embd), in place of `input_ids`.
            use_cache: whether to return keys and values; by default as the configuration says.
            skip_padding: leave padding, whose hidden states are then 0, out of all but the
                attention, without a cache and outputs of layers. It looks at values of the mask,
                or takes a tensor (N,) for the real ones among the B * T tokens, and maybe some
                padding.
            cache: keys and values of the tokens before these.
            **kwargs: for the attention function, and `output_hidden_states` and
                `output_attentions`.

        Raises:
            ValueError: if a row has more than `n_positions` tokens, padding not counted, or not
                exactly one input is given.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.wte(input_ids)  # (B, T, n_embd)
        cache = past_key_values if cache is None else cache
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)

        num_past = 0 if cache is None else cache.get_seq_length()
        causal_mask = None  # sdpa is causal without; compiled, transformers would make one
        is_sdpa = self.config._attn_implementation == "sdpa"
        is_plain = attention_mask is None and cache is None and position_ids is None
        if not (is_sdpa and is_plain):
            causal_mask = create_causal_mask(
                config=self.config,
                inputs_embeds=inputs_embeds,
                attention_mask=attention_mask,
                position_ids=position_ids,
                **{_CACHE: cache},
            )
        if position_ids is None:
            position_ids = count_positions(inputs_embeds, attention_mask, num_past)  # (B or 1, T)
        self._check_length(position_ids, num_past, cache)
        real_tokens = None
        index = skip_padding if isinstance(skip_padding, Tensor) else None
        skips = skip_padding if index is None else True
        if skips and attention_mask is not None and cache is None:
            real_tokens = RealTokens(attention_mask, index)
            inputs_embeds = real_tokens.take(inputs_embeds)  # (1, N, n_embd)
            position_ids = position_ids.expand(attention_mask.shape)
            position_ids = real_tokens.take(position_ids.unsqueeze(-1)).squeeze(-1)  # (1, N)
        hidden_states = self.drop(inputs_embeds + self.wpe(position_ids))  # (B, T, n_embd)
        for block in self.h:
            hidden_states = block(
                hidden_states,
                attention_mask=causal_mask,
                position_ids=position_ids,  # flash attention finds packed rows by them
                real_tokens=real_tokens,
                **{_CACHE: cache},
                **kwargs,
            )
        hidden_states = self.ln_f(hidden_states)
        if real_tokens is not None:
            hidden_states = real_tokens.put_back(hidden_states)
        return BaseModelOutputWithPast(last_hidden_state=hidden_states, **{_CACHE: cache})

    def _check_length(
        self, position_ids: Tensor, num_past: int | Tensor, cache: Cache | None
    ) -> None:
        # To look at the positions makes a GPU wait and breaks the graph of a compiled model:
        # only where there are, padding included, more tokens than positions.
        if cache is not None and isinstance(num_past, Tensor):  # a static cache
            most = cache.layers[0].max_cache_len
        else:
            most = num_past + position_ids.shape[-1]
        if most <= self.config.n_positions:
            return
        length = int(position_ids.max()) + 1
        if length > self.config.n_positions:
            raise ValueError(
                f"a text of {length} tokens is longer than n_positions "
                f"({self.config.n_positions}); truncate it or generate fewer tokens"
            )


class CustomGPTForCausalLM(CustomGPTPreTrainedModel, GenerationMixin):
    """The decoder with a language-model head."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "transformer.wte.weight"}

    def __init__(self, config: CustomGPTConfig) -> None:
        super().__init__(config)
        self.transformer = CustomGPTModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        skip_logits: bool = False,
        skip_padding: bool | Tensor = False,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of shape (B, T, vocab_size), the scores of each next token.

        `labels` (B, T) give the loss; they are shifted here, and -100 is ignored. The loss is the
        mean over tokens or, with `num_items_in_batch`, their sum divided by that number.
        `logits_to_keep` says how many of the last positions get logits (0: all), or which ones.
        With `skip_logits` only the loss is returned, for which the logits never exist at once; on a
        CPU none are computed where labels are ignored, in a padded batch most of the work;
        elsewhere none of the padding that `skip_padding` names by a tensor.
        The other arguments and the errors are those of `CustomGPTModel.forward`.
        """
        outputs = self.transformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            skip_padding=skip_padding,
            cache=cache,
            **kwargs,
        )
        logits: Tensor | None = None
        loss: Tensor | None = None
        if skip_logits and labels is not None:
            loss = causal_lm_loss(
                outputs.last_hidden_state,
                self.lm_head.weight,
                labels,
                kwargs.get("num_items_in_batch"),
                skip_padding if isinstance(skip_padding, Tensor) else None,
            )
        else:
            is_number = isinstance(logits_to_keep, int)
            kept = slice(-logits_to_keep, None) if is_number else logits_to_keep
            logits = self.lm_head(outputs.last_hidden_state[:, kept])  # (B, T, vocab_size)
            if labels is not None:
                loss = self.loss_function(
                    logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
                )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **{_CACHE: getattr(outputs, _CACHE)},
        )


class CustomGPTForSequenceClassification(CustomGPTPreTrainedModel):
    """The decoder with a classification head on each row's last real token."""

    # The loss is the mean over the batch at hand. Without this line the Trainer would take
    # `**kwargs` for a promise to divide by the examples of the whole step, and scale it wrongly
    # (huggingface/transformers#47688).
    accepts_loss_kwargs = False

    def __init__(self, config: CustomGPTConfig) -> None:
        super().__init__(config)
        self.transformer = CustomGPTModel(config)
        self.score = nn.Linear(config.n_embd, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool = False,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutputWithPast:
        """Logits of shape (B, num_labels).

        Without an `attention_mask` every row's last position is read, be it padding or not.
        `labels` (B,) of class numbers give the loss; for regression and for labels that do not
        exclude each other see `problem_type` of the configuration. `use_cache` is off by default,
        for there is no next token. The other arguments and the errors are those of
        `CustomGPTModel.forward`.
        """
        outputs = self.transformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            cache=cache,
            **kwargs,
        )
        pooled = pool_last_real_token(outputs.last_hidden_state, attention_mask)  # (B, n_embd)
        logits = self.score(pooled)  # (B, num_labels)
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **{_CACHE: getattr(outputs, _CACHE)},
        )


__all__ = [
    "CustomGPTForCausalLM",
    "CustomGPTForSequenceClassification",
    "CustomGPTModel",
    "CustomGPTPreTrainedModel",
]
