"""What goes up of a model: the files by which it loads, by an allow-list, and nothing else."""

import json
import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from hfbench.errors import UserError, nearest
from hfbench.evidence.model_runs import ModelRuns
from hfbench.metrics.built_in import LOSSES
from hfbench.metrics.registry import METRICS, Metric, score
from hfbench.records.predictions import load_predictions
from hfbench.records.schema import ClassificationRecord
from hfbench.system.code_references import find_code_files

CARD = "README.md"
RECORD = "record.json"
EVAL_RESULTS = ".eval_results/hfbench.yaml"

_ALLOWED = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|config\.json|generation_config\.json"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json"
    r"|vocab\.json|vocab\.txt|merges\.txt|chat_template\.jinja"
    r"|tokenizer\.model|spiece\.model|sentencepiece\.bpe\.model"
)
_OURS = re.compile(rf"{re.escape(CARD)}|{re.escape(RECORD)}|\.eval_results/[^/]+\.yaml|[^/]+\.py")
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_OWN_CODE = Path(__file__).parents[1] / "models" / "custom_gpt"
_NEEDED_CLASSES = ("AutoConfig", "AutoModelForSequenceClassification")


@dataclass(frozen=True)
class Choice:
    """The run of a model whose weights are published."""

    record: ClassificationRecord
    reason: str
    """Why this one, in words."""


def is_ours(name: str) -> bool:
    """Whether a push may have written a file of this path: what it leaves behind it may remove."""
    return bool(_ALLOWED.fullmatch(name) or _OURS.fullmatch(name))


def is_published_model(folder: Path) -> bool:
    """Whether it holds a model as a push puts it together, by its record."""
    return (folder / RECORD).is_file()


def choose_run(model: ModelRuns, seed: str, results: Path) -> Choice:
    """The finished run of ``seed``, or the one that is best on the validation examples.

    Best by the measure of the comparison; among equals the lowest validation loss decides, then the
    lowest seed.

    Args:
        model: its runs.
        seed: a number, or ``best-of-validation``.
        results: the folder, for messages.

    Raises:
        UserError: if there is no such run, or the model was not trained.
    """
    if not model.finished:
        raise UserError(f"{results}: no run of {model.name} finished")
    if not model.trained:
        kind = model.finished[0].kind
        raise UserError(
            f"{results}: {model.name} is a {kind}: it has no weights of its own to publish"
        )
    runs = {str(record.seed): record for record in model.trained}
    if seed in runs:
        return Choice(runs[seed], f"seed {seed} was asked for")
    if seed != "best-of-validation":
        known = ", ".join(runs)
        raise UserError(
            f"--seed {seed!r}: no finished run of {model.name} has it (seeds: {known}; or "
            f"best-of-validation){nearest(seed, ['best-of-validation'])}"
        )
    metric = model.metric
    best = min(runs.values(), key=lambda record: _validation_rank(record, metric, results))
    if len(runs) == 1:
        return Choice(best, "it is the only run")
    return Choice(
        best,
        f"of {len(runs)} seeds it has the {'highest' if metric.higher_is_better else 'lowest'} "
        f"{metric.label} on the validation examples",
    )


def stage_files(checkpoint: Path, destination: Path) -> list[str]:
    """Copy the allowed files of a saved model; gives the names of those that stay behind.

    Raises:
        UserError: if something is missing without which it would not load.
    """
    if not checkpoint.is_dir():
        raise UserError(
            f"{checkpoint}: the weights were not kept; run `hfbench compare RECIPE "
            "save_models=true --rerun`"
        )
    config = checkpoint / "config.json"
    if not config.is_file():
        raise UserError(f"{checkpoint}: config.json is missing")
    code = find_code_files(checkpoint)
    _refuse_incomplete_map(checkpoint)
    destination.mkdir(parents=True, exist_ok=True)
    left_out = []
    for path in sorted(checkpoint.rglob("*")):
        name = path.relative_to(checkpoint).as_posix()
        if path.is_dir():
            continue
        if name in code or _ALLOWED.fullmatch(name):
            if path.is_symlink():
                raise UserError(f"{path}: is a link to {path.readlink()}; put the file itself here")
            shutil.copyfile(path, destination / name)
        else:
            left_out.append(name)
    if not any(_WEIGHTS.fullmatch(path.name) for path in destination.iterdir()):
        raise UserError(f"{checkpoint}: there are no weights as safetensors here")
    return left_out


def foreign_code(folder: Path) -> list[str]:
    """The Python files in a staged folder that are not, byte for byte, hfbench's own."""
    own = {path.name: path.read_bytes() for path in _OWN_CODE.glob("*.py")}
    found = sorted(folder.glob("*.py"))
    return [path.name for path in found if path.read_bytes() != own.get(path.name)]


def _refuse_incomplete_map(checkpoint: Path) -> None:
    """Where code is named for a configuration, it must be by which a classifier loads."""
    auto_map = json.loads((checkpoint / "config.json").read_text("utf-8")).get("auto_map")
    for auto_class in _NEEDED_CLASSES if auto_map else ():
        if auto_class not in auto_map:
            raise UserError(
                f"{checkpoint / 'config.json'}: auto_map has no {auto_class}; call "
                "register_for_auto_class() on the configuration and on each model class"
            )


def _validation_rank(
    record: ClassificationRecord, metric: Metric, results: Path
) -> tuple[float, float, int]:
    """By the predictions, of which the metrics in the record are what somebody says.

    A run of which the measure has no number is the last.
    """
    found = load_predictions(record, results, "validation")
    logits, labels, kind = found["logits"], found["label"], record.task.problem_type
    value = score(kind, logits, labels, [metric], record.thresholds).values.get(metric.name)
    rank = math.inf if value is None else -value if metric.higher_is_better else value
    return rank, METRICS[LOSSES[kind]].compute(logits, labels), record.seed
