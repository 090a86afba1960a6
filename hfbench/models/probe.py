"""A model's weights and its logits of a few fixed texts: by them a copy proves that it is one."""

from copy import deepcopy

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfbench.records.schema import Probe
from hfbench.system.hashes import hash_tensors

TEXTS = (
    "A film so good that I saw it twice.",
    "The plot is thin, the jokes are old, and the ending never comes.",
    "Not bad at all!",
    "She rubs the dog and he holds the cat.",
    "Of the 12,000 coins that were struck in 1794, few survive.",
    "WHY WOULD ANYBODY DO THIS???",
    "Crème brûlée in a naïve café, 東京, שלום 🙂",
    # longer than many models can take, so that the truncation is part of the proof
    "It goes on and on, " * 64 + "and then it ends.",
)


def probe_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> Probe:
    """The hash of its weights and its logits of `TEXTS` on the CPU, in float32.

    A new model of the same class takes the weights: the given one may be on a GPU, and a Trainer
    may have wrapped its forward for mixed precision. Each text is a batch of its own, one thread
    computes and nothing is cached, since sums are rounded otherwise in other batches, with other
    numbers of threads and with a cache, which the pipeline of transformers turns off.

    Args:
        model: the trained model; it stays as it is.
        tokenizer: its tokenizer.
        max_length: tokens at which texts are truncated; None: nowhere.
    """
    config = deepcopy(model.config)
    config.use_cache = False
    copy = type(model)._from_config(config, dtype=torch.float32)
    copy.load_state_dict({name: weight.cpu() for name, weight in model.state_dict().items()})
    copy.eval()
    options = {"truncation": max_length is not None, "max_length": max_length}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            logits = [
                copy(**tokenizer(text, **options, return_tensors="pt")).logits[0] for text in TEXTS
            ]
    finally:
        torch.set_num_threads(threads)
    return Probe(
        weights=hash_tensors(copy.state_dict()),
        texts=list(TEXTS),
        max_length=max_length,
        logits=[row.tolist() for row in logits],
    )
