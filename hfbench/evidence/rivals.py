"""What a row is that was not fine-tuned, in words."""

from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.words import enumerate_names
from hfbench.records.schema import ProbeRecord, PromptRecord

_HEADS = {
    "linear": "a linear classifier",
    "knn": "nearest neighbours (by the cosine)",
    "mlp": "a classifier with one hidden layer",
}


def describe_rival(model: ModelRuns) -> str | None:
    """Of a probe, a prompt, an estimator; None of other rows."""
    probes = [record for record in model.finished if isinstance(record, ProbeRecord)]
    if probes:
        return _describe_probe(probes)
    prompts = [record for record in model.finished if isinstance(record, PromptRecord)]
    if prompts:
        return _describe_prompt(prompts[0])
    estimators = [record.settings["models"][0].get("estimator") for record in model.finished]
    return f"the estimator of {estimators[0]}" if any(estimators) else None


def _describe_probe(records: list[ProbeRecord]) -> str:
    first = records[0]
    poolings = list(dict.fromkeys(record.features.pooling for record in records))
    by = {"validation": ", chosen on validation", "checkpoint": ", as sentence-transformers pools"}
    said = f"{' or '.join(poolings)}{by.get(first.features.chosen_by, '')}"
    chosen: dict[str, list[str]] = {}
    for record in records:
        for name, value in record.fitted.chosen.items():
            chosen.setdefault(name, []).append(f"{value:g}")
    settings = [f"{name} {' or '.join(dict.fromkeys(values))}" for name, values in chosen.items()]
    how = " by cross-validation" if first.fitted.folds else ""
    told = f", {enumerate_names(settings)}{how}" if settings else ""
    return (
        f"not fine-tuned: {_HEADS[first.fitted.name]} on {first.features.width:,} frozen features "
        f"({said}){told}"
    )


def _describe_prompt(record: PromptRecord) -> str:
    prompt = record.prompt
    shots = "no example"
    if number := len(prompt.shots):
        shots = f"{number} training example{'s' if number > 1 else ''} that the seed drew"
    words = "log-likelihood of each label's words"
    if max(prompt.word_tokens.values()) > 1:
        words = f"{words}, the {prompt.likelihood} over their tokens"
    calibrated = ", calibrated by prompts without a text" if prompt.calibration else ""
    return f"not trained: prompted with {shots}; it answers by the {words}{calibrated}"
