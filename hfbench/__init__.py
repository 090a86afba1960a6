"""hfbench: compare text classifiers honestly.

>>> from hfbench import compare, load_recipe
>>> compare(load_recipe("recipes/quickstart.yaml"), Path("results"))  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from hfbench.version import __version__

__all__ = [
    "Comparison",
    "HubError",
    "Outcome",
    "Recipe",
    "Record",
    "UserError",
    "__version__",
    "compare",
    "load_comparison",
    "load_recipe",
    "load_records",
    "push_model",
    "push_results",
    "verify_push",
]

if TYPE_CHECKING:
    from hfbench.errors import HubError, UserError
    from hfbench.evidence.comparison import Comparison, load_comparison
    from hfbench.execution.compare import Outcome, compare
    from hfbench.publish.push import push_model, verify_push
    from hfbench.publish.results import push_results
    from hfbench.recipe.load import load_recipe
    from hfbench.recipe.schema import Recipe
    from hfbench.records.schema import Record
    from hfbench.records.store import load_records

_HOMES = {
    "Comparison": "hfbench.evidence.comparison",
    "load_comparison": "hfbench.evidence.comparison",
    "Outcome": "hfbench.execution.compare",
    "compare": "hfbench.execution.compare",
    "Record": "hfbench.records.schema",
    "load_records": "hfbench.records.store",
    "Recipe": "hfbench.recipe.schema",
    "load_recipe": "hfbench.recipe.load",
    "UserError": "hfbench.errors",
    "HubError": "hfbench.errors",
    "push_model": "hfbench.publish.push",
    "verify_push": "hfbench.publish.push",
    "push_results": "hfbench.publish.results",
}


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used: `import hfbench` must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hfbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
