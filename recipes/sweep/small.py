"""Small configurations of every architecture of transformers, by the names of their fields.

A name tells a size nearly everywhere (``hidden_size``, ``d_model`` ...); `OWN` says what is left.
"""

from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

VOCABULARY = 400
"""Rows of word embeddings that the recipe does not size by the tokenizer."""

SIZES = {
    # width
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "embedding_size": 32,
    "embed_dim": 32, "decoder_hidden_size": 32, "cross_attention_hidden_size": 32,
    "intermediate_size": 64, "ffn_dim": 64, "d_ff": 64, "d_inner": 64, "n_inner": 64,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "hidden_dim": 64, "ffn_hidden_size": 64,
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "mlp_hidden_size": 64,
    "shared_intermediate_size": 32, "expert_ffn_hidden_size": 32, "dff": 64,
    # depth
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "encoder_layers": 2,
    "decoder_layers": 2, "num_decoder_layers": 2, "num_encoder_layers": 2,
    # heads
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_key_value_heads": 2,
    "d_kv": 8, "d_head": 8, "head_dim": 8, "kv_channels": 8, "attention_head_size": 8,
    # experts
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "n_shared_experts": 1, "moe_topk": 2,
    # latent attention
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    # positions
    "max_position_embeddings": 64, "n_positions": 64, "n_ctx": 64, "max_seq_len": 64,
    "max_2d_position_embeddings": 64, "relative_attention_num_buckets": 8,
    # state spaces
    "state_size": 8, "mamba_d_state": 8, "ssm_state_size": 8, "mamba_n_heads": 4,
    "time_step_rank": 4, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    # what stands beside the words
    "emb_dim": 32, "entity_vocab_size": 10, "entity_emb_size": 8, "pronunciation_embed_dim": 8,
    "pronunciation_vocab_size": 50, "shape_embed_dim": 8, "shape_vocab_size": 50,
    "max_xpath_tag_unit_embeddings": 16, "max_xpath_subs_unit_embeddings": 16, "tag_pad_id": 15,
    "subs_pad_id": 15, "max_depth": 4, "image_size": 32, "num_hash_buckets": 64,
    "num_latents": 8, "d_latents": 32, "num_self_attends_per_block": 2,
    "num_self_attention_heads": 4, "num_cross_attention_heads": 4,
    "vocab_size_per_layer_input": 300, "hidden_size_per_layer_input": 8,
}  # fmt: skip
"""Field -> small value, for whichever configuration has the field."""

_HYBRID = ["linear_attention", "hybrid"]
_LAYERS = ["linear_attention", "full_attention"]

OWN: dict[str, dict[str, Any]] = {
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10000.0}
            for kind in ("full_attention", "sliding_attention")
        }
    },
    "esmc": {"num_key_value_heads": 4},
    "codegen": {"rotary_dim": 4},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "gemma3n_text": {
        "num_kv_shared_layers": 0, "intermediate_size": [64, 64],
        "activation_sparsity_pattern": [0.0, 0.0], "laurel_rank": 4,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "gemma4_text": {"per_layer_config": {}},
    "gemma4_unified_text": {"per_layer_config": {}},
    "kimi_linear": {"num_experts_per_token": 2, "linear_head_dim": 8, "linear_num_heads": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8},
    "axk1": {"n_group": 1, "topk_group": 1},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "gptj": {"rotary_dim": 4},
    "layoutlmv3": {"coordinate_size": 4, "shape_size": 8},
    "lilt": {"hidden_size": 48},
    "mistral4": {"head_dim": 16},
    "mpnet": {"relative_attention_num_buckets": 32},
    "t5": {"decoder_start_token_id": 1},
    "xmod": {"default_language": "en_XX"},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    # with its axial positions it trains on texts of one length only, their product
    "reformer": {
        "axial_pos_embds": False, "attn_layers": ["local", "lsh"], "feed_forward_size": 64,
        "num_buckets": 2, "local_attn_chunk_length": 64, "lsh_attn_chunk_length": 64,
    },
    "zamba": {
        "num_hidden_layers": 4, "layers_block_type": _HYBRID * 2, "attention_head_dim": 16,
        "attention_hidden_size": 64, "mamba_dt_rank": 4,
    },
    "zamba2": {
        "layers_block_type": _HYBRID, "hybrid_layer_ids": [1], "mamba_headdim": 8,
        "n_mamba_heads": 8, "attention_head_dim": 16, "attention_hidden_size": 64,
        "num_query_groups": 4, "adapter_rank": 8,
    },
}  # fmt: skip
"""Type -> what is special about it."""

NEEDS_MORE_THAN_TEXT = "takes images, audio or another model's states with the text"
NO_SMALL_CONFIGURATION = "its configuration was not made small by names of fields"
NOT_TRIED = {
    "blt": NO_SMALL_CONFIGURATION,
    "dots3_note": NO_SMALL_CONFIGURATION,
    "dots3_note_text": NO_SMALL_CONFIGURATION,
    "gemma4_assistant": NEEDS_MORE_THAN_TEXT,
    "gemma4_unified_assistant": NEEDS_MORE_THAN_TEXT,
    "git": NEEDS_MORE_THAN_TEXT,
    "musicgen": NEEDS_MORE_THAN_TEXT,
    "musicgen_melody": NEEDS_MORE_THAN_TEXT,
    "qwen4_exp": NO_SMALL_CONFIGURATION,
    "qwen4_exp_text": NO_SMALL_CONFIGURATION,
}
"""Language models that are left out, and why."""


def small_config(model_type: str, head: str) -> dict[str, Any]:
    """The ``config`` of a recipe that makes the architecture of this type small."""
    fields = small_fields(CONFIG_MAPPING[model_type]()) | OWN.get(model_type, {})
    if model_type == "reformer" and head == "language model":
        fields["is_decoder"] = True  # it refuses to be built without
    return fields


def small_fields(config: PreTrainedConfig) -> dict[str, Any]:
    """Small values of the fields that ``config`` has, those of its parts included."""
    values = config.to_dict()
    fields: dict[str, Any] = {
        name: small
        for name, small in SIZES.items()
        if isinstance(values.get(name), int) and values[name] > small
    }
    if "linear" in str(values.get("layer_types")):
        fields["layer_types"] = _LAYERS
    if "qk_rope_head_dim" in fields:  # of latent attention each head has keys of its own
        fields["num_key_value_heads"] = SIZES["num_attention_heads"]
    for part in config.sub_configs:
        if getattr(config, part, None) is not None:
            fields[part] = small_fields(getattr(config, part))
            if hasattr(getattr(config, part), "vocab_size"):
                fields[part] |= {"vocab_size": VOCABULARY, "pad_token_id": 0}
    return fields
