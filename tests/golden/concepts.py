"""The concepts that have a version: where it stands, and what their golden numbers lean on."""

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Concept:
    """A part of hfbench whose version is in the identity of the cells that use it."""

    file: str
    """Below the root of the repository."""
    constant: str = "VERSION"
    """Its name there; of a class: ``Class.constant``."""
    leans_on: tuple[str, ...] = ()
    """Concepts by whose numbers its own come about. A change of theirs is blamed on them alone:
    they are in the identity of every cell that uses this one, so that the cell runs again."""

    @property
    def place(self) -> str:
        return f"{self.constant} in {self.file}"

    def written_version(self) -> int:
        """What the file says."""
        *classes, name = self.constant.split(".")
        body = ast.parse((ROOT / self.file).read_text("utf-8")).body
        for wanted in classes:
            body = next(
                node.body for node in body if isinstance(node, ast.ClassDef) and node.name == wanted
            )
        for node in body:
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=found)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value)
                ) if found == name:
                    return ast.literal_eval(value)
        raise LookupError(self.place)


_TRAINED = ("metrics", "data", "models")
_CONTROLS = "hfbench/models/controls.py"
_RIVALS = "hfbench/models/rivals/__init__.py"

# In the order of blame: each leans on those before it alone.
CONCEPTS = {
    "metrics": Concept("hfbench/metrics/__init__.py"),
    "data": Concept("hfbench/data/__init__.py"),
    "data.answers": Concept("hfbench/data/answers/__init__.py", leans_on=("metrics", "data")),
    "models": Concept("hfbench/models/__init__.py"),
    "training": Concept("hfbench/training/__init__.py", leans_on=_TRAINED),
    "models.custom_gpt": Concept(
        "hfbench/models/custom_gpt/__init__.py", leans_on=(*_TRAINED, "training")
    ),
    "models.lora": Concept("hfbench/models/lora.py", leans_on=(*_TRAINED, "training")),
    "estimator": Concept(_RIVALS, "ESTIMATOR_VERSION", ("metrics",)),
    "probe": Concept(_RIVALS, "PROBE_VERSION", _TRAINED),
    "prompt": Concept(_RIVALS, "PROMPT_VERSION", _TRAINED),
    "control.majority": Concept(_CONTROLS, "MajorityClassifier.version", ("metrics",)),
    "control.tfidf-logreg": Concept(_CONTROLS, "TfidfLogisticRegression.version", ("metrics",)),
}
