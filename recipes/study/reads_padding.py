"""The study's classifier as it was: it reads padding. For comparison; do not use it.

    python recipes/study/reads_padding.py LANGUAGE_MODEL FOLDER

writes into FOLDER the same weights as a checkpoint of this classifier, with a tokenizer that pads
as the study did. Importing this module makes the Auto classes of the process know it; `imports:`
in as_it_was.yaml does that.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

from hfbench.cli.script import exit_on_user_error
from hfbench.errors import UserError
from hfbench.models import CustomGPTConfig, CustomGPTForSequenceClassification

PAD_ID = 1
"""What the study padded with: in GPT-2's vocabulary the quotation mark."""


class ReadsPaddingConfig(CustomGPTConfig):
    """The custom GPT's, under a name of its own, by which the Auto classes tell them apart."""

    model_type = "reads_padding_gpt"


class ReadsPaddingForSequenceClassification(CustomGPTForSequenceClassification):
    """The custom GPT with a head on the last position of the batch, be it padding or not."""

    config_class = ReadsPaddingConfig

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,  # the Trainer looks for it by this name
        **kwargs: Any,
    ) -> SequenceClassifierOutputWithPast:
        """Logits of shape (B, num_labels), which depend on what a row is padded with and how far.

        Args:
            input_ids: (B, T), padded on the right.
            attention_mask: (B, T); has no effect. Without it every position counts as real, and
                the last one is read.
            labels: (B,), as of the right classifier.
            **kwargs: as of the right classifier.
        """
        return super().forward(input_ids, attention_mask=None, labels=labels, **kwargs)


AutoConfig.register(ReadsPaddingConfig.model_type, ReadsPaddingConfig)
AutoModelForSequenceClassification.register(
    ReadsPaddingConfig, ReadsPaddingForSequenceClassification
)


def convert(language_model: Path, folder: Path) -> None:
    """Write a pretrained custom GPT as a checkpoint of the classifier that reads padding.

    The weights are copied as they are; whoever loads them draws a head, as for the right one.

    Raises:
        UserError: if there is no custom GPT in ``language_model``.
    """
    path = language_model / "config.json"
    if not path.is_file():
        raise UserError(f"there is no model in {str(language_model)!r}; run its recipe first")
    config = json.loads(path.read_text("utf-8"))
    if config["model_type"] != CustomGPTConfig.model_type:
        raise UserError(f"{language_model} holds a {config['model_type']}, not a custom GPT")
    del (
        config["auto_map"],
        config["architectures"],
    )  # the right classifier's code, which is not used
    config |= {"model_type": ReadsPaddingConfig.model_type, "pad_token_id": PAD_ID}
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(PAD_ID)
    tokenizer.save_pretrained(folder)
    for weights in language_model.glob("*.safetensors*"):
        shutil.copyfile(weights, folder / weights.name)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with exit_on_user_error():
        if len(sys.argv) != 3:
            raise UserError("give two folders: of the language model, and the one to write")
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
