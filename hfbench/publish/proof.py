"""The proof that what lies in a folder or on the Hub is the model that was trained.

A process that has empty caches and no hfbench loads it as a stranger would and computes the logits
of the record's fixed texts; they must be those of the process that trained it, bit for bit. So must
the weights, for the texts do not use all of them.
"""

import inspect
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import numpy as np

from hfbench.errors import HubError
from hfbench.records.schema import Probe
from hfbench.system.hashes import hash_tensors
from hfbench.system.stranger import last_line, run_stranger

_SECONDS = 1800  # for a process that imports torch, downloads a model and loads it twice

_DOWNLOAD = """
import json
task = json.load(open(sys.argv[1], encoding="utf-8"))
from huggingface_hub import errors, snapshot_download
try:
    snapshot_download(task["source"], revision=task["revision"])
except (OSError, errors.HTTPError) as error:
    sys.exit(" ".join(str(error).split()))
"""

_STRANGER = (
    "from collections.abc import Mapping\nfrom typing import Any\n"
    + inspect.getsource(hash_tensors)
    + """
import json
task = json.load(open(sys.argv[1], encoding="utf-8"))
source, options = task["source"], {"trust_remote_code": task["trust_remote_code"]}
if task["revision"]:
    options["revision"] = task["revision"]
import torch, transformers
torch.set_num_threads(1)
def aligned(model):
    # in a mapped file weights lie wherever its header ends; from there sums are rounded otherwise
    for weight in (*model.parameters(), *model.buffers()):
        weight.data = weight.data.clone()
    return model.eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
model = transformers.AutoModelForSequenceClassification.from_pretrained(source, **options)
model = aligned(model)
model.config.use_cache = False  # as the pipeline has it; with a cache the last bits are others
cut = {"truncation": task["max_length"] is not None, "max_length": task["max_length"]}
with torch.no_grad():
    loaded = [
        model(**tokenizer(text, return_tensors="pt", **cut)).logits[0].tolist()
        for text in task["texts"]
    ]
classify = transformers.pipeline("text-classification", model=source, device="cpu", **options)
aligned(classify.model)
names = [model.config.id2label[number] for number in range(model.config.num_labels)]
answers = classify(task["texts"], top_k=None, function_to_apply="none", **cut)
scores = [{answer["label"]: answer["score"] for answer in one} for one in answers]
piped = [[score[name] for name in names] for score in scores]
found = {"from_pretrained": loaded, "pipeline": piped}
json.dump({"logits": found, "weights": hash_tensors(model.state_dict())}, open(sys.argv[2], "w"))
"""
)


class NotTheModelError(Exception):
    """It does not load, or has other logits; the message says what would be right."""


@dataclass(frozen=True)
class Source:
    """What a stranger loads."""

    name: str
    """A folder, or the id of a repo on the Hub."""
    revision: str | None = None
    """The commit of the repo; None for a folder."""
    trust_remote_code: bool = False


def prove(source: Source, probe: Probe) -> str:
    """Load ``source`` as a stranger and compare it with ``probe``; gives the logits' hash.

    Raises:
        NotTheModelError: if it does not load, or one bit of a weight or of a logit differs.
        HubError: if the Hub does not give it the files.
    """
    with tempfile.TemporaryDirectory(prefix="hfbench-proof-") as folder:
        root = Path(folder)
        task, out = root / "task.json", root / "logits.json"
        values = {
            "source": source.name,
            "revision": source.revision,
            "trust_remote_code": source.trust_remote_code,
            "texts": probe.texts,
            "max_length": probe.max_length,
        }
        task.write_text(json.dumps(values), encoding="utf-8")
        if source.revision is not None:
            # a login is in the caches that a stranger lacks, and a private repo asks for it; what
            # the repo brings does not run in this process, and the next one has neither
            token = huggingface_hub.get_token() or ""
            run = run_stranger(_DOWNLOAD, [str(task)], root, seconds=_SECONDS, token=token)
            if run.returncode:
                reason = _reason(run, root)
                raise HubError(f"{source.name} cannot be downloaded for the proof: {reason}")
        run = run_stranger(
            _STRANGER,
            [str(task), str(out)],
            root,
            seconds=_SECONDS,
            readable=[Path(source.name)] if source.revision is None else [],
        )
        if run.returncode:
            reason = _reason(run, root)
            raise NotTheModelError(f"in a process of its own it does not load: {reason}")
        found = json.loads(out.read_text("utf-8"))
    if found["weights"] != probe.weights:
        raise NotTheModelError("its weights are not, bit for bit, those of the trained model")
    for route, logits in found["logits"].items():
        _compare(np.array(logits, np.float32), np.array(probe.logits, np.float32), route)
    return probe.hash


def _reason(run: "subprocess.CompletedProcess[str]", root: Path) -> str:
    return last_line(run.stderr).replace(f"{root}{os.sep}", "")


def _compare(found: np.ndarray, expected: np.ndarray, route: str) -> None:
    if found.shape != expected.shape:
        raise NotTheModelError(
            f"{route} gives logits of shape {found.shape}, the trained model {expected.shape}"
        )
    if found.tobytes() != expected.tobytes():
        change = np.abs(found.astype(np.float64) - expected).max()
        raise NotTheModelError(
            f"{route} gives other logits than the trained model, by up to {change:.2g}"
        )
