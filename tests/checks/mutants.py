"""Models of one's own with one fault each, and variants that have none: how good the checks are.

A mutant is one of the models in `models/`, which share no code with the custom GPT, with some text
replaced; and the check that has to find it. It counts as caught where that check alone is blamed:
what follows from the fault has to be shown as following from it.
"""

import importlib
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hfbench.checks import CHECKS, Examination, find_checked_model

MODELS = Path(__file__).parent / "models"
CONFIGS = {
    "rotary": "RotaryConfig",
    "alibi": "AlibiConfig",
    "gated": "GatedConfig",
    "encoder": "OwnEncoderConfig",
}
# They start processes, which takes 15 s; what they find in a mutant, others find, too.
ELSEWHERE = {"loads elsewhere", "two processes"}


@dataclass(frozen=True)
class Mutant:
    model: str
    fault: str
    caught_by: str | None
    """The check; None for a variant that is right."""
    changes: tuple[tuple[str, str], ...]
    """Text of the model's file, and what stands in its place everywhere."""

    @property
    def name(self) -> str:
        return f"{self.model}: {self.fault}"


def _mutant(model, fault, caught_by, *changes):
    return Mutant(model, fault, caught_by, changes)


_ROTARY_LOSS = """loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )"""
_TO_DICT = """
    def to_dict(self):
        return {{key: value for key, value in super().to_dict().items() if key != "{}"}}
"""
_SAVE_PICKLE = """
    def save_pretrained(self, folder, **kwargs):
        super().save_pretrained(folder, **kwargs)
        torch.save({}, f"{folder}/extra.bin")
"""

MUTANTS = [
    # -- rotary: what sees the future
    _mutant(
        "rotary",
        "a token sees the next one",
        "future",
        ("        angles = self.angles(position_ids", "        states = states + 0.1 * torch.roll(states, -1, 1)\n        angles = self.angles(position_ids"),
    ),
    _mutant(
        "rotary",
        "tokens beyond the 32nd see the next one",
        "future",
        (
            "        angles = self.angles(position_ids",
            "        later = torch.nn.functional.pad(states[:, 33:], (0, 0, 0, 1))\n"
            "        if states.shape[1] > 33:\n"
            "            states = torch.cat([states[:, :32], states[:, 32:] + 0.1 * later], 1)\n"
            "        angles = self.angles(position_ids",
        ),
    ),
    _mutant(
        "rotary",
        "tokens of a block of 8 see each other",
        "future",
        (
            "        angles = self.angles(position_ids",
            "        blocks = [part + 0.1 * part.mean(1, keepdim=True) for part in states.split(8, 1)]\n"
            "        states = torch.cat(blocks, 1)\n"
            "        angles = self.angles(position_ids",
        ),
    ),
    # -- rotary: caches
    _mutant(
        "rotary",
        "positions stop counting after 12 tokens in the cache",
        "cache",
        ("device=states.device)[None] + seen", "device=states.device)[None] + min(seen, 12)"),
    ),
    _mutant(
        "rotary",
        "keys go into the cache before they are rotated",
        "cache",
        (
            "        query, key = rotate(query, *angles), rotate(key, *angles)\n        if past is not None:\n            key, value = past.update(key, value, self.layer_idx)\n",
            "        if past is not None:\n            key, value = past.update(key, value, self.layer_idx)\n"
            "        query = rotate(query, *angles)\n"
            "        if key.shape[2] == query.shape[2]:\n            key = rotate(key, *angles)\n",
        ),
    ),
    _mutant(
        "rotary",
        "a chunk on a filled cache sees its own future",
        "cache, in chunks",
        (
            "        angles = self.angles(position_ids",
            "        if seen and states.shape[1] > 1:\n"
            "            mask = states.new_zeros(1, 1, states.shape[1], seen + states.shape[1])\n"
            "        angles = self.angles(position_ids",
        ),
    ),
    _mutant(
        "rotary",
        "the length is read from the shape of the cached keys",
        "cache, static",
        (
            "seen = 0 if past is None else past.get_seq_length()",
            "seen = 0\n        if past is not None and past.layers and past.layers[0].is_initialized:\n"
            "            seen = past.layers[0].keys.shape[-2]",
        ),
    ),
    _mutant(
        "rotary",
        "the last token is kept in the module, not in the cache",
        "cache, reordered",
        (
            "        angles = self.angles(position_ids",
            "        real = states if attention_mask is None else states * attention_mask[:, -states.shape[1] :, None]\n"
            "        first = self.last if seen else torch.zeros_like(states[:, :1])\n"
            "        self.last = real[:, -1:]\n"
            "        states = states + 0.3 * torch.cat([first, real[:, :-1]], 1)\n"
            "        angles = self.angles(position_ids",
        ),
    ),
    _mutant(
        "rotary",
        "tokens in the cache are counted by the model",
        "cache, cropped",
        (
            "        if position_ids is None:\n",
            "        if past is not None:\n"
            "            seen = getattr(past, 'tokens', 0)\n"
            "            past.tokens = seen + states.shape[1]\n"
            "        if position_ids is None:\n",
        ),
    ),
    _mutant(
        "rotary",
        "use_cache returns no cache",
        "cache",
        ("**{CACHE: out.get(CACHE)})", ")"),
    ),
    _mutant(
        "rotary",
        "no GenerationMixin",
        "generation",
        ("class RotaryForCausalLM(RotaryPreTrainedModel, GenerationMixin)", "class RotaryForCausalLM(RotaryPreTrainedModel)"),
    ),
    _mutant(
        "rotary",
        "position_ids are ignored",
        "positions",
        ("        if position_ids is None:\n            position_ids = torch.arange", "        if True:\n            position_ids = torch.arange"),
    ),
    # -- rotary: files
    _mutant(
        "rotary",
        "a field of the configuration is not saved",
        "config values",
        ("    eos_token_id: int | None = None\n", "    eos_token_id: int | None = None\n" + _TO_DICT.format("rotary_base")),
    ),
    _mutant(
        "rotary",
        "a weight is left out of the file",
        "weights in the file",
        ("    base_model_prefix = \"model\"\n", "    base_model_prefix = \"model\"\n    _keys_to_ignore_on_save = [\"model.norm.weight\"]\n"),
    ),
    _mutant(
        "rotary",
        "random numbers in a buffer that is not saved",
        "weights in the file",
        ("        self.norm = RotaryRMSNorm(config.hidden_size)\n        self.gradient", "        self.norm = RotaryRMSNorm(config.hidden_size)\n        self.register_buffer('noise', torch.randn(config.hidden_size), persistent=False)\n        self.gradient"),
        ("else inputs_embeds\n        if use_cache and", "else inputs_embeds\n        states = states + 0.3 * self.noise\n        if use_cache and"),
    ),
    _mutant(
        "rotary",
        "frequencies are not computed again when it is loaded",
        "weights in the file",
        ("            init.copy_(module.frequencies, module.compute())", "            pass"),
    ),
    _mutant(
        "rotary",
        "the head is tied by hand",
        "tied weights",
        ("    _tied_weights_keys = {\"lm_head.weight\": \"model.embed_tokens.weight\"}\n", ""),
        ("config.vocab_size, bias=False)\n", "config.vocab_size, bias=False)\n        self.lm_head.weight = self.model.embed_tokens.weight\n"),
    ),
    _mutant(
        "rotary",
        "tie_word_embeddings ties nothing",
        "tied weights",
        ("    _tied_weights_keys = {\"lm_head.weight\": \"model.embed_tokens.weight\"}\n", ""),
    ),
    _mutant(
        "rotary",
        "a pickle beside the weights",
        "no pickle",
        ("    _can_compile_fullgraph = True\n", "    _can_compile_fullgraph = True\n" + _SAVE_PICKLE),
    ),
    _mutant(
        "rotary",
        "the language model lacks post_init",
        "post_init",
        ("config.vocab_size, bias=False)\n        self.post_init()\n", "config.vocab_size, bias=False)\n"),
    ),
    # -- rotary: embeddings
    _mutant(
        "rotary",
        "no set_input_embeddings",
        "embeddings",
        ("embed_tokens", "wte"),
        ("    _can_compile_fullgraph = True\n", "    _can_compile_fullgraph = True\n\n    def get_input_embeddings(self):\n        return (self.model if hasattr(self, 'model') else self).wte\n"),
    ),
    _mutant(
        "rotary",
        "the head is not found when words are added",
        "resize",
        ("lm_head", "to_words"),
    ),
    _mutant(
        "rotary",
        "the loss keeps the old number of words",
        "resize",
        ("config.vocab_size, bias=False)\n", "config.vocab_size, bias=False)\n        self.words = config.vocab_size\n"),
        ("vocab_size=self.config.vocab_size, **kwargs", "vocab_size=self.words, **kwargs"),
    ),
    # -- rotary: training
    _mutant(
        "rotary",
        "no gradient checkpointing",
        "activation checkpointing",
        ("    supports_gradient_checkpointing = True\n", ""),
    ),
    _mutant(
        "rotary",
        "gradient checkpointing that does nothing",
        "activation checkpointing",
        ("class RotaryBlock(GradientCheckpointingLayer)", "class RotaryBlock(nn.Module)"),
    ),
    _mutant(
        "rotary",
        "gradient checkpointing that cuts gradients",
        "activation checkpointing",
        ("    def forward(self, states, angles, mask, past, **kwargs):\n        states = states + self.attention(", "    def forward(self, states, angles, mask, past, **kwargs):\n        if self.gradient_checkpointing:\n            states = states.detach()\n        states = states + self.attention("),
    ),
    _mutant("rotary", "sdpa is not declared", "attention", ("    _supports_sdpa = True\n", "")),
    _mutant(
        "rotary",
        "eager attention lacks its scale",
        "attention",
        ("key.transpose(-2, -1) * scaling", "key.transpose(-2, -1)"),
    ),
    _mutant(
        "rotary",
        "autocast meets an assignment of another type",
        "autocast",
        ("        logits = self.score(states[", "        logits = states.new_zeros(len(states), self.score.out_features)\n        logits[torch.arange(len(states))] = self.score(states["),
    ),
    _mutant(
        "rotary",
        "a norm that gives float32 in bfloat16",
        "half precision",
        ("(states.float() * scale).to(states.dtype)", "(states.float() * scale)"),
    ),
    _mutant(
        "rotary",
        "labels are not shifted",
        "labels",
        (_ROTARY_LOSS, "loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())"),
    ),
    _mutant(
        "rotary",
        "the loss of a part, not of the step",
        "fairness",
        ("vocab_size=self.config.vocab_size, **kwargs", "vocab_size=self.config.vocab_size"),
    ),
    _mutant(
        "rotary",
        "rows see each other",
        "company",
        ("        angles = self.angles(position_ids", "        states = states - 0.3 * states.mean(0)\n        angles = self.angles(position_ids"),
    ),
    _mutant(
        "rotary",
        "dropout in evaluation",
        "determinism",
        ("self.up_proj(states))", "nn.functional.dropout(self.up_proj(states), 0.1))"),
    ),
    _mutant(
        "rotary",
        "the head is frozen",
        "every parameter learns",
        ("config.num_labels, bias=False)\n", "config.num_labels, bias=False)\n        self.score.requires_grad_(False)\n"),
    ),
    _mutant(
        "rotary",
        "a layer that nothing uses",
        "every parameter learns",
        ("        self.down_proj =", "        self.spare = nn.Linear(4, 4)\n        self.down_proj ="),
    ),
    _mutant(
        "rotary",
        "a large gain that is not drawn",
        "initialisation",
        ("        self.norm_2 = RotaryRMSNorm", "        self.gain = nn.Parameter(torch.full((config.hidden_size,), 50.0))\n        self.norm_2 = RotaryRMSNorm"),
        ("        return states + self.mlp(self.norm_2(states))", "        return states + self.gain * self.mlp(self.norm_2(states))"),
    ),
    _mutant(
        "rotary",
        "scaled initialisation keyed on a block",
        "scaled initialisation",
        ("            super()._init_weights(module)\n", "            super()._init_weights(module)\n        if isinstance(module, RotaryMLP):\n            std = 0.02 / (2 * self.config.num_hidden_layers) ** 0.5\n            init.normal_(module.down_proj.weight, std=std)\n"),
    ),
    _mutant(
        "rotary",
        "the classifier reads the last place, padding or not",
        "padding",
        ("last = (places * attention_mask).argmax(-1)", "last = torch.full((len(states),), states.shape[1] - 1)"),
    ),
    _mutant("rotary", "right: dropout is a number in the code", None, ("self.up_proj(states))", "nn.functional.dropout(self.up_proj(states), 0.3, self.training))")),
    _mutant("rotary", "right: attention drops out by a number in the code", None, ("self.config.attention_dropout if", "0.3 if")),
    _mutant("rotary", "right: tied by default", None, ("tie_word_embeddings: bool = False", "tie_word_embeddings: bool = True")),
    # -- alibi
    _mutant("alibi", "a token sees the next one", "future", ("(distance >= 0)", "(distance >= -1)")),
    _mutant("alibi", "tokens beyond the 32nd see the next one", "future", ("seen = (distance >= 0)[", "seen = ((distance >= 0) | ((distance >= -1) & (places > 32)))[")),
    _mutant("alibi", "with a cache places count from 0", "cache", ("queries = places[keys - tokens :]", "queries = places[:tokens]")),
    _mutant("alibi", "a chunk on a filled cache sees its own future", "cache, in chunks", ("seen = (distance >= 0)[", "seen = ((distance >= 0) | (tokens < keys))[")),
    _mutant(
        "alibi",
        "distances are wrong after 12 cached tokens",
        "cache",
        ("        distance = (queries[:, None] - places[None]).float()\n", "        distance = (queries[:, None] - places[None]).float()\n        distance = distance + (keys > tokens + 12) * (distance > 12)\n"),
    ),
    _mutant("alibi", "padded keys are seen", "generation", (" & mask[:, None, None].bool()", "")),
    _mutant("alibi", "the mean counts padding", "padding", ("shares = attention_mask[..., None].to(states.dtype)", "shares = torch.ones_like(states[..., :1])")),
    _mutant("alibi", "a field of the configuration is not saved", "config values", ("\n\nclass AlibiAttention", _TO_DICT.format("steepness") + "\n\nclass AlibiAttention")),
    _mutant("alibi", "an argument of the configuration is kept nowhere", "config values", ("self.steepness = steepness", "self.steepness = 8.0")),
    _mutant("alibi", "slopes are not computed again when it is loaded", "weights in the file", ("            init.copy_(module.slopes, module.compute_slopes())", "            pass")),
    _mutant("alibi", "slopes are a tensor and no buffer", "weights in the file", ('self.register_buffer("slopes", self.compute_slopes(), persistent=False)', "self.slopes = self.compute_slopes()"), ("            init.copy_(module.slopes, module.compute_slopes())", "            pass")),
    _mutant(
        "alibi",
        "a running maximum that is not saved",
        "weights in the file",
        ("        self.norm = nn.LayerNorm(config.width)\n        self.register", "        self.norm = nn.LayerNorm(config.width)\n        self.register_buffer('most', torch.ones(()), persistent=False)\n        self.register"),
        ("        if isinstance(module, AlibiDecoder):\n", "        if isinstance(module, AlibiDecoder):\n            init.ones_(module.most)\n"),
        ("        return self.norm(states), past", "        if self.training:\n            self.most = torch.maximum(self.most, states.detach().abs().max())\n            return self.norm(states), past\n        return self.norm(states) * self.most, past"),
    ),
    _mutant("alibi", "set_input_embeddings sets another attribute", "embeddings", ("        self.words = value", "        self.wte = value")),
    _mutant("alibi", "biases stay float32 in bfloat16", "half precision", ("bias.to(query.dtype)", "bias")),
    _mutant("alibi", "gradient checkpointing that cuts gradients", "activation checkpointing", ("    def forward(self, states, bias, past):\n        states = states + self.dropout", "    def forward(self, states, bias, past):\n        states = states.detach() if self.gradient_checkpointing else states\n        states = states + self.dropout")),
    _mutant("alibi", "no gradient checkpointing", "activation checkpointing", ("    supports_gradient_checkpointing = True\n", "")),
    _mutant("alibi", "the classifier's loss is a sum", "labels", ("loss = self.loss_function(labels, logits, self.config)", "loss = nn.functional.cross_entropy(logits, labels, reduction='sum')")),
    _mutant("alibi", "ignored labels count as word 0", "labels", ("self.loss_function(logits, labels,", "self.loss_function(logits, labels.clamp(min=0),")),
    _mutant("alibi", "the loss of a part, not of the step", "fairness", ("self.config.vocab_size, **kwargs)", "self.config.vocab_size)")),
    _mutant("alibi", "the body is cut off from the classifier", "every parameter learns", ("states * shares).sum(1)", "states.detach() * shares).sum(1)")),
    _mutant("alibi", "rows see each other in training", "fairness", ("        bias = self.bias(attention_mask,", "        if self.training:\n            states = states - 0.3 * states.mean(0)\n        bias = self.bias(attention_mask,")),
    _mutant("alibi", "the decoder lacks post_init", "post_init", ("self.compute_slopes(), persistent=False)\n        self.post_init()\n", "self.compute_slopes(), persistent=False)\n")),
    _mutant("alibi", "weights drawn by numpy", "determinism", ("        super()._init_weights(module)\n", "        super()._init_weights(module)\n        if isinstance(module, nn.Embedding):\n            import numpy\n\n            module.weight.copy_(torch.from_numpy(numpy.random.default_rng().normal(0, 0.02, module.weight.shape)))\n")),
    _mutant("alibi", "words beyond the first vocabulary share rows", "resize", ("states = self.words(input_ids)", "states = self.words(input_ids % self.rows)"), ("        self.words = nn.Embedding", "        self.rows = config.vocab_size\n        self.words = nn.Embedding")),
    _mutant("alibi", "right: dropout is a number in the code", None, ("nn.Dropout(config.dropout)", "nn.Dropout(0.3)")),
    _mutant("alibi", "forward takes no cache", "generation", ("        past_key_values=None,\n", ""), ("attention_mask, past_key_values, use_cache)", "attention_mask, None, False)"), ("logits=logits, past_key_values=past)", "logits=logits)")),
    # -- gated
    _mutant("gated", "the recurrence reads the next token", "future", ("+ added[:, token]", "+ added[:, min(token + 1, states.shape[1] - 1)]")),
    _mutant("gated", "tokens beyond the 32nd read the next one", "future", ("+ added[:, token]", "+ added[:, token + (32 < token < states.shape[1] - 1)]")),
    _mutant("gated", "the state of the first block is not handed on", "cache", ("        return self.norm(states), after", "        return self.norm(states), [state[0], *after[1:]]")),
    _mutant("gated", "the state is kept in float16", "cache", ("            after.append(last)", "            after.append(last.half().float())")),
    _mutant("gated", "the state is the last token's alone", "cache", ("        return states + self.down(inner.to(states.dtype)), state", "        return states + self.down(inner.to(states.dtype)), added[:, -1]")),
    _mutant("gated", "use_cache returns no state", "cache", ("cache_params=state if use_cache else None", "cache_params=None")),
    _mutant("gated", "padding moves the state", "padding, other side", ("gate = torch.where(mask, gate, 1.0)", "gate = gate")),
    _mutant("gated", "the classifier reads the last place, padding or not", "padding", ("* attention_mask).argmax(-1)", "* torch.ones_like(attention_mask)).argmax(-1)")),
    _mutant("gated", "an EOS at the end is taken for padding", "eos", ("        states, _ = self.body(input_ids, attention_mask)\n        if attention_mask is None:\n            attention_mask = torch.ones_like(input_ids)\n", "        if attention_mask is None:\n            attention_mask = torch.ones_like(input_ids)\n        attention_mask = attention_mask * (input_ids != self.config.eos_token_id)\n        states, _ = self.body(input_ids, attention_mask)\n")),
    _mutant("gated", "the language model drops tokens beyond the 48th", "whole text", ("self.body(input_ids, attention_mask, cache_params)", "self.body(input_ids[:, :48], attention_mask, cache_params)"), ("mask = attention_mask[:, -input_ids.shape[1] :, None].bool()", "mask = attention_mask[:, : input_ids.shape[1], None].bool() if len(attention_mask[0]) > 48 else attention_mask[:, -input_ids.shape[1] :, None].bool()")),
    _mutant("gated", "the classifier drops tokens beyond the 48th", "whole text", ("        states, _ = self.body(input_ids, attention_mask)\n", "        input_ids = input_ids[:, :48]\n        attention_mask = None if attention_mask is None else attention_mask[:, :48]\n        states, _ = self.body(input_ids, attention_mask)\n")),
    _mutant("gated", "the state starts at random", "determinism", ("states.new_zeros(len(states), inner)", "torch.randn(len(states), inner)")),
    _mutant("gated", "rows see each other", "company", ("        normed = self.norm(states)", "        normed = self.norm(states - 0.3 * states.mean(0))")),
    _mutant("gated", "the body lacks post_init", "post_init", ("        self.norm = nn.LayerNorm(config.hidden_size)\n        self.post_init()\n", "        self.norm = nn.LayerNorm(config.hidden_size)\n")),
    _mutant("gated", "a gate that is not registered", "weights in the file", ("        self.down = nn.Linear(inner, width)", "        self.down = nn.Linear(inner, width)\n        self.offsets = [torch.randn(inner)]"), ("torch.sigmoid(self.to_gate(normed))", "torch.sigmoid(self.to_gate(normed) + self.offsets[0].to(normed.dtype))")),
    _mutant("gated", "weights far too large", "initialisation", ("initializer_range: float = 0.05", "initializer_range: float = 2.0")),
    _mutant("gated", "the loss of a part, not of the step", "fairness", ("vocab_size=self.config.vocab_size, **kwargs", "vocab_size=self.config.vocab_size")),
    _mutant("gated", "the output gate gets no gradient", "every parameter learns", ("silu(self.to_output(normed))", "silu(self.to_output(normed).detach())")),
    _mutant("gated", "gradient checkpointing that does nothing", "activation checkpointing", ("class GatedBlock(GradientCheckpointingLayer)", "class GatedBlock(nn.Module)")),
    _mutant("gated", "a state of float32 in bfloat16", "half precision", ("states.new_zeros(len(states), inner)", "torch.zeros(len(states), inner)"), ("self.down(inner.to(states.dtype))", "self.down(inner)")),
    _mutant("gated", "the configuration changes when it is copied", "config round trip", ("    eos_token_id: int | None = None\n", "    eos_token_id: int | None = None\n\n    def __post_init__(self, **kwargs):\n        super().__post_init__(**kwargs)\n        self.expansion += 1\n")),
    _mutant("gated", "words are looked up by another table than the one that is set", "embeddings", ('    _input_embed_layer = "words"', "    def get_input_embeddings(self):\n        return self.body.words if hasattr(self, 'body') else self.words\n\n    def set_input_embeddings(self, value):\n        self.words = value")),
    # -- encoder
    _mutant("encoder", "padded keys are seen", "padding", ("create_bidirectional_mask(self.config, states, attention_mask)", "create_bidirectional_mask(self.config, states, None)")),
    _mutant("encoder", "the mean counts padding", "padding", ("self.pooler(states[:, 0])", "self.pooler(states.mean(1))")),
    _mutant("encoder", "tokens beyond the 48th are dropped", "whole text", ("        states = self.encoder(input_ids, attention_mask, position_ids)", "        if attention_mask is not None:\n            attention_mask = attention_mask[:, :48]\n        states = self.encoder(input_ids[:, :48], attention_mask, position_ids)")),
    _mutant("encoder", "one position too few", "truncation", ("nn.Embedding(config.max_position_embeddings,", "nn.Embedding(config.max_position_embeddings - 1,")),
    _mutant("encoder", "position_ids are ignored", "positions", ("        if position_ids is None:\n", "        if True:\n")),
    _mutant("encoder", "the loss is a sum", "labels", ("loss = self.loss_function(labels, logits, self.config)", "loss = nn.functional.cross_entropy(logits, labels, reduction='sum')")),
    _mutant("encoder", "rows see each other", "company", ("        mask = create_bi", "        states = states - 0.3 * states.mean(0)\n        mask = create_bi")),
    _mutant("encoder", "a batch norm", "fairness", ("        self.classifier = nn.Linear", "        self.batch_norm = nn.BatchNorm1d(config.hidden_size)\n        self.classifier = nn.Linear"), ("self.classifier(self.dropout(pooled))", "self.classifier(self.dropout(self.batch_norm(pooled)))")),
    _mutant("encoder", "dropout in evaluation", "determinism", ("nn.functional.gelu(self.up(states))", "nn.functional.dropout(nn.functional.gelu(self.up(states)), 0.1)")),
    _mutant("encoder", "words are frozen", "every parameter learns", ("        self.places = nn.Embedding", "        self.words.requires_grad_(False)\n        self.places = nn.Embedding")),
    _mutant("encoder", "the body is cut off from the head", "every parameter learns", ("self.pooler(states[:, 0])", "self.pooler(states[:, 0].detach())")),
    _mutant("encoder", "eager attention lacks its scale", "attention", ("key.transpose(-2, -1) * scaling", "key.transpose(-2, -1)")),
    _mutant("encoder", "sdpa is not declared", "attention", ("    _supports_sdpa = True\n", "")),
    _mutant("encoder", "no gradient checkpointing", "activation checkpointing", ("    supports_gradient_checkpointing = True\n", "")),
    _mutant("encoder", "a field of the configuration is not saved", "config values", ("    eos_token_id: int | None = None\n", "    eos_token_id: int | None = None\n" + _TO_DICT.format("layer_norm_eps"))),
    _mutant("encoder", "the configuration changes when it is copied", "config round trip", ("    eos_token_id: int | None = None\n", "    eos_token_id: int | None = None\n\n    def __post_init__(self, **kwargs):\n        super().__post_init__(**kwargs)\n        self.intermediate_size *= 2\n")),
    _mutant("encoder", "the pooler is left out of the file", "weights in the file", ('    base_model_prefix = "encoder"\n', '    base_model_prefix = "encoder"\n    _keys_to_ignore_on_save = ["pooler.weight"]\n')),
    _mutant("encoder", "the head lacks post_init", "post_init", ("config.num_labels)\n        self.post_init()\n", "config.num_labels)\n")),
    _mutant("encoder", "set_input_embeddings sets the positions", "embeddings", ('_input_embed_layer = "words"', '_input_embed_layer = "places"')),
    _mutant("encoder", "words beyond the first vocabulary share rows", "resize", ("states = self.words(input_ids)", "states = self.words(input_ids % self.rows)"), ("        self.words = nn.Embedding", "        self.rows = config.vocab_size\n        self.words = nn.Embedding")),
    _mutant("encoder", "autocast meets an assignment of another type", "autocast", ("        logits = self.classifier(self.dropout(pooled))", "        logits = states.new_zeros(len(states), self.classifier.out_features)\n        logits[torch.arange(len(states))] = self.classifier(self.dropout(pooled))")),
    _mutant("encoder", "positions of float32 in bfloat16", "half precision", ("self.places(position_ids)", "self.places(position_ids).float()")),
    _mutant("encoder", "a large gain that is not drawn", "initialisation", ("        self.classifier = nn.Linear", "        self.gain = nn.Parameter(torch.full((config.hidden_size,), 1e3))\n        self.classifier = nn.Linear"), ("self.dropout(pooled)", "self.dropout(pooled * self.gain)")),
    _mutant("encoder", "an EOS at the end is taken for padding", "eos", ("        states = self.encoder(input_ids, attention_mask, position_ids)", "        if attention_mask is not None:\n            attention_mask = attention_mask * (input_ids != self.config.eos_token_id)\n        states = self.encoder(input_ids, attention_mask, position_ids)")),
    _mutant("encoder", "a pickle beside the weights", "no pickle", ("    _supports_attention_backend = True\n", "    _supports_attention_backend = True\n" + _SAVE_PICKLE)),
    _mutant("encoder", "right: dropout is a number in the code", None, ("nn.Dropout(config.hidden_dropout_prob)", "nn.Dropout(0.3)")),
    _mutant("encoder", "right: layers that are used twice", None, ("for layer in self.layers:", "for layer in [*self.layers, *self.layers]:")),
    _mutant(
        "encoder",
        "right: positions are a frozen table of sines",
        None,
        (
            "        self.places = nn.Embedding(config.max_position_embeddings, config.hidden_size)\n",
            "        self.places = nn.Parameter(self.sines(), requires_grad=False)\n",
        ),
        ("self.places(position_ids)", "self.places[position_ids]"),
        (
            '    _input_embed_layer = "words"\n',
            '    _input_embed_layer = "words"\n\n'
            "    def sines(self):\n"
            "        steps = torch.arange(self.config.hidden_size) / self.config.hidden_size\n"
            "        return torch.sin(torch.arange(self.config.max_position_embeddings)[:, None] / 100**steps)\n\n"
            "    @torch.no_grad()\n    def _init_weights(self, module):\n        super()._init_weights(module)\n"
            "        if isinstance(module, OwnEncoderModel):\n"
            "            init.copy_(module.places, self.sines())\n",
        ),
        ("from transformers import PreTrainedConfig, PreTrainedModel\n", "from transformers import PreTrainedConfig, PreTrainedModel\nfrom transformers import initialization as init\n"),
    ),
]


def write(mutant: Mutant, folder: Path, name: str) -> str:
    """Write its module into ``folder``; gives by which `hfbench check` finds it."""
    code = (MODELS / f"{mutant.model}.py").read_text("utf-8")
    for old, new in mutant.changes:
        assert old in code, f"{mutant.name}: the model has no {old!r}"
        code = code.replace(old, new)
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    importlib.invalidate_caches()
    return f"{name}:{CONFIGS[mutant.model]}"


@contextmanager
def importable(folder: Path):
    """Modules in ``folder`` can be imported; they are forgotten afterwards."""
    before = {*sys.modules}
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in {*sys.modules} - before:
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


def blamed(mutant: Mutant, folder: Path, name: str = "mutant") -> tuple[set[str], set[str]]:
    """Checks that fail, and those that note something, with no other check as the cause."""
    with importable(folder):
        checked = find_checked_model(write(mutant, folder, name))
        examination = Examination(checked, CHECKS)
        verdicts = [
            (check.name, verdict)
            for check in CHECKS
            if check.name not in ELSEWHERE
            for verdict in examination.ask(check)
            if verdict.status in ("FAIL", "note") and not verdict.follows_from
        ]
    return tuple(
        {name for name, verdict in verdicts if verdict.status == status}
        for status in ("FAIL", "note")
    )


def is_caught(mutant: Mutant, failed: set[str], noted: set[str]) -> bool:
    """Whether the right check is blamed, and no other fails."""
    if mutant.caught_by is None:
        return not failed
    return failed == {mutant.caught_by} or (not failed and mutant.caught_by in noted)
