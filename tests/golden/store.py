"""Store the golden numbers anew, after a version was raised: python tests/golden/store.py

It refuses numbers that changed without a raised version. Where a case of `measure` is another now,
take its concept out of numbers.json first. PEFT must be installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does

from golden.concepts import CONCEPTS
from golden.measure import MEASURES, UNMEASURED, Numbers
from golden.stored import FILE, Stored, differences, in_text, installed_libraries, problem

from hfbench.execution.identity import version_of


def refusal(measured: dict[str, Numbers], stored: Stored) -> str | None:
    """Why ``measured`` must not take the place of what is stored, if it must not."""
    unmeasured = [name for name, numbers in measured.items() if UNMEASURED in numbers.values()]
    if unmeasured:
        return f"Not all of {', '.join(unmeasured)} can be measured here (is PEFT installed?)"
    libraries = installed_libraries()
    if libraries != stored.libraries:
        return None
    versions = {name: version_of(name) for name in CONCEPTS}
    for name, concept in CONCEPTS.items():
        settled = all(stored.versions.get(n) == versions[n] for n in (name, *concept.leans_on))
        if not (settled and name in stored.numbers):
            continue
        if found := problem(name, measured[name], versions[name], stored, libraries):
            return found
    return None


if __name__ == "__main__":
    measured = {name: measure() for name, measure in MEASURES.items()}
    stored = Stored.load()
    if reason := refusal(measured, stored):
        sys.exit(reason)
    versions = {name: version_of(name) for name in CONCEPTS}
    for name, numbers in measured.items():
        count = len(differences(stored.numbers.get(name, {}), numbers))
        print(f"{name}: version {versions[name]}, {count} numbers are others")
    content = {"libraries": installed_libraries(), "versions": versions, "numbers": measured}
    FILE.write_text(in_text(content) + "\n", encoding="utf-8")
