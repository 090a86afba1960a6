"""hfbench: compare text classifiers honestly.

>>> from hfbench import compare, load_recipe
>>> compare(load_recipe("recipes/quickstart.yaml"), Path("results"))  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "HubError",
    "Outcome",
    "Recipe",
    "Record",
    "UserError",
    "compare",
    "load_comparison",
    "load_recipe",
    "load_records",
    "push_model",
    "push_results",
    "verify_push",
]

if TYPE_CHECKING:
    from hfbench.comparison import Comparison, load_comparison
    from hfbench.errors import HubError, UserError
    from hfbench.experiment import Outcome, compare
    from hfbench.publish.push import push_model, verify_push
    from hfbench.publish.results import push_results
    from hfbench.recipe import Recipe
    from hfbench.recipe_file import load_recipe
    from hfbench.record import Record, load_records

_HOMES = {
    "Comparison": "hfbench.comparison",
    "load_comparison": "hfbench.comparison",
    "Outcome": "hfbench.experiment",
    "compare": "hfbench.experiment",
    "Record": "hfbench.record",
    "load_records": "hfbench.record",
    "Recipe": "hfbench.recipe",
    "load_recipe": "hfbench.recipe_file",
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
