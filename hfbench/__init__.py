"""hfbench: compare text classifiers honestly.

>>> from hfbench import compare, load_comparison, load_recipe
>>> outcome = compare(load_recipe("recipes/quickstart.yaml"), "results")  # doctest: +SKIP
>>> load_comparison(outcome.folder).models  # doctest: +SKIP

What is in ``__all__`` is promised to stay; the modules behind it are not.
"""

from typing import TYPE_CHECKING, Any

from hfbench.version import __version__

if TYPE_CHECKING:
    from hfbench.api import check, compare, decide, gate, plan, pretrain, verify
    from hfbench.errors import HfbenchError, HubError, UserError
    from hfbench.evidence.comparison import Comparison, load_comparison
    from hfbench.evidence.judge import Judgement, judge
    from hfbench.execution.compare import Outcome
    from hfbench.publish.push import push_model, verify_push
    from hfbench.publish.results import push_results
    from hfbench.recipe.load import load_recipe
    from hfbench.recipe.schema import Recipe
    from hfbench.records.schema import Record
    from hfbench.records.store import load_records

__all__ = [
    "Comparison",
    "HfbenchError",
    "HubError",
    "Judgement",
    "Outcome",
    "Recipe",
    "Record",
    "UserError",
    "__version__",
    "check",
    "compare",
    "decide",
    "gate",
    "judge",
    "load_comparison",
    "load_recipe",
    "load_records",
    "plan",
    "pretrain",
    "push_model",
    "push_results",
    "verify",
    "verify_push",
]

_HOMES = {
    "Comparison": "evidence.comparison",
    "HfbenchError": "errors",
    "HubError": "errors",
    "Judgement": "evidence.judge",
    "Outcome": "execution.compare",
    "Recipe": "recipe.schema",
    "Record": "records.schema",
    "UserError": "errors",
    "check": "api",
    "compare": "api",
    "decide": "api",
    "gate": "api",
    "judge": "evidence.judge",
    "load_comparison": "evidence.comparison",
    "load_recipe": "recipe.load",
    "load_records": "records.store",
    "plan": "api",
    "pretrain": "api",
    "push_model": "publish.push",
    "push_results": "publish.results",
    "verify": "api",
    "verify_push": "publish.push",
}


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used: `import hfbench` must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hfbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"hfbench.{_HOMES[name]}"), name)
