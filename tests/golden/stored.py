"""The golden numbers as they were stored, and what is wrong where they are others now."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from golden.concepts import CONCEPTS
from golden.measure import UNMEASURED, Numbers

FILE = Path(__file__).parent / "numbers.json"
COMMAND = "python tests/golden/store.py"
LIBRARIES = ("accelerate", "numpy", "scikit-learn", "tokenizers", "torch", "transformers")

# Two numbers are equal if they differ by no more than ABSOLUTE + RELATIVE * |stored|. In these
# units, seen for the concept that a change is about:
#   what must not be noticed                         what must be
#   two threads                          0.001       weight_decay 0.1 -> 0.11            7
#   kernels without AVX, MKL for any CPU 0.04        GELU by erf, not tanh              11
#   AVX2 in place of AVX-512             0.005       adam_epsilon 1e-8 -> 1e-7          32
#   eager attention in place of sdpa     0.01        adam_beta2 0.95 -> 0.96           180
#   AdamW that is not fused              0.01        max_grad_norm 1 -> 1.1          4,600
#   transformers 5.17.0, 5.24.0          0           another order              20,000
ABSOLUTE, RELATIVE = 2e-5, 2e-4
_SHOWN = 4  # differences in a message
_NOTHING = "nothing"


@dataclass(frozen=True)
class Stored:
    """What the file holds: numbers by concept, and the versions of all when they were stored."""

    numbers: Mapping[str, Numbers]
    versions: Mapping[str, int]
    libraries: Mapping[str, str]

    @classmethod
    def load(cls) -> "Stored":
        return cls(**json.loads(FILE.read_text("utf-8")))


def installed_libraries() -> dict[str, str]:
    return {name: metadata.version(name).partition("+")[0] for name in LIBRARIES}


def problem(
    concept: str, measured: Numbers, version: int, stored: Stored, libraries: Mapping[str, str]
) -> str | None:
    """What is to be done about the numbers of ``concept``; None if they are the stored ones."""
    place = CONCEPTS[concept].place
    if concept not in stored.numbers:
        return f"No numbers of {concept!r} are stored: {COMMAND}"
    if version != stored.versions[concept]:
        return (
            f"{place} is {version}, and the golden numbers of {concept!r} are those of version "
            f"{stored.versions[concept]}. Store them anew: {COMMAND}"
        )
    found = differences(stored.numbers[concept], measured)
    if not found:
        return None
    lines = [f"The numbers of {concept!r} changed, and its version is {version} as before:"]
    lines += [f"  {line}" for line in found[:_SHOWN]]
    lines += [f"  and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    others = [
        f"{name} {stored.libraries[name]} -> {now}"
        for name, now in libraries.items()
        if stored.libraries[name] != now
    ]
    if others:
        lines.append(
            f"They were stored with other libraries ({', '.join(others)}), whose versions are part "
            f"of what a result is known by. If hfbench did not change them: {COMMAND}"
        )
    lines.append(
        f"If they are meant to change, raise {place}, so that results of the former code are not "
        f"taken for those of this one, and store them anew: {COMMAND}"
    )
    return "\n".join(lines)


def differences(stored: Numbers, measured: Numbers) -> list[str]:
    """A line each, of what can be measured here."""
    left_out = tuple(f"{path}." for path, value in _leaves(measured) if value == UNMEASURED)
    before, after = (
        {path: value for path, value in _leaves(numbers) if not f"{path}.".startswith(left_out)}
        for numbers in (stored, measured)
    )
    return [
        f"{path}: {_short(before.get(path, _NOTHING))} -> {_short(after.get(path, _NOTHING))}"
        for path in dict.fromkeys((*before, *after))
        if not _are_equal(before.get(path, _NOTHING), after.get(path, _NOTHING))
    ]


def in_text(values: Any, indent: str = "") -> str:
    """JSON with a line for each list, numbers with six digits."""
    if isinstance(values, Mapping) and values:
        inner = f"{indent} "
        lines = [f"{inner}{json.dumps(k)}: {in_text(v, inner)}" for k, v in values.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return json.dumps(_rounded(values))


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping | list):
        pairs = values.items() if isinstance(values, Mapping) else enumerate(values)
        for key, value in pairs:
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, values


def _are_equal(old: Any, new: Any) -> bool:
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(new, old, rel_tol=0, abs_tol=ABSOLUTE + RELATIVE * abs(old))
    return old == new


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:12]


def _rounded(values: Any) -> Any:
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return float(f"{values:.6g}") if isinstance(values, float) else values
