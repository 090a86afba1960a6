"""The parts of docs/checks.md that are made from the checks, the mutants and the clean models.

``python tests/support/checks_page.py`` asks all mutants and writes the page; it takes minutes.
"""

import gc
import inspect
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where it is started as a script

from support.clean_models import KNOWN_FAULTS, MODELS
from support.mutation import ask_all, format_table, load_mutants, outcome

from hfbench.checks import CHECKS
from hfbench.checks.family import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"
_END = "<!-- end -->\n"


def format_checks() -> str:
    """Markdown: each check with its question, its level and its causes."""
    lines = [
        f"{len(CHECKS)} checks:",
        "",
        "| check | | if it fails | of whom | follows from |",
        "| --- | --- | --- | --- | --- |",
    ]
    for check in CHECKS:
        question = str(inspect.getdoc(check.run)).partition("\n\n")[0].replace("\n", " ")
        whom = ["all"] if check.families == FAMILIES else list(check.families)
        whom += ["language models"] if check.heads == ("language model",) else []
        whom += ["classifiers"] if check.heads == ("classifier",) else []
        whom = whom[1:] if whom[0] == "all" and len(whom) > 1 else whom
        causes = ", ".join(check.follows_from)
        quick = "**" if check.quick else ""
        row = [f"{quick}{check.name}{quick}", question, check.level, ", ".join(whom), causes]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "**Bold**: asked of an architecture of your own before a comparison."]
    return "\n".join(lines) + "\n"


def format_clean() -> str:
    """The types that pass."""
    return f"{len(MODELS)}: {', '.join(sorted(MODELS))}.\n"


def format_known() -> str:
    """Types in which something is found, and what."""
    lines = [
        f"- {model_type}: {', '.join(f'`{name}`' for name in sorted(fault.fails))}. {fault.reason}"
        for model_type, fault in sorted(KNOWN_FAULTS.items())
    ]
    return "\n".join(lines) + "\n"


def section(name: str) -> str:
    """What the page has there."""
    return PAGE.read_text("utf-8").partition(f"<!-- {name} -->\n")[2].partition(_END)[0]


def write_section(name: str, text: str) -> None:
    start = f"<!-- {name} -->\n"
    before, _, rest = PAGE.read_text("utf-8").partition(start)
    PAGE.write_text(f"{before}{start}{text}{_END}{rest.partition(_END)[2]}", encoding="utf-8")


def main() -> None:
    """Ask all mutants, and write."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    gc.freeze()  # the Trainer collects garbage as it starts
    mutants, outcomes = load_mutants(), []
    with tempfile.TemporaryDirectory() as folder:
        for number, mutant in enumerate(mutants):
            blamed = ask_all(mutant, Path(folder), f"mutant_{number}")
            outcomes.append(outcome(mutant, blamed))
            print(f"{mutant.name}: {outcomes[-1]} {sorted(blamed.noted)}", flush=True)
    write_section("checks", format_checks())
    write_section("mutants", format_table(mutants, outcomes))
    write_section("clean", format_clean())
    write_section("known", format_known())


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
