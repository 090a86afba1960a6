"""What hfbench's own source never does, and a list of the dependencies with their licences."""

import ast
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
SOURCES = [*ROOT.glob("hfbench/**/*.py"), *ROOT.glob("recipes/**/*.py")]

# They run what they read, or read what can run.
MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml", "code", "pty"}
HARMLESS_NAMES = {("pickle", "UnpicklingError"), ("pickle", "dumps")}  # neither reads one
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pandas.read_pickle",
    "pd.read_pickle", "runpy.run_path", "runpy.run_module", "torch.jit.load",
}  # fmt: skip
TRUE = {"shell", "allow_pickle", "trust_remote_code", "allow_all_kernels"}
"""Arguments that are never the literal True: somebody must have said so."""


def offences(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and "import " in node.value
        ):
            found += embedded(node.value)
        if isinstance(node, ast.Import):
            found += [f"import {a.name}" for a in node.names if a.name.split(".")[0] in MODULES]
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            module = node.module.split(".")[0]
            names = {a.name for a in node.names if (module, a.name) not in HARMLESS_NAMES}
            found += [f"from {module} import {name}" for name in names if module in MODULES]
        if isinstance(node, ast.Call):
            found += offences_of_call(node)
    return found


def embedded(text: str) -> list[str]:
    """Of a script within the source, for a process of its own."""
    try:
        return offences(text)
    except SyntaxError:  # words that tell of an import
        return []


def offences_of_call(call: ast.Call) -> list[str]:
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    found = [f"{name}({key}=True)" for key in TRUE & given.keys() if given[key] == "True"]
    if name in CALLS:
        found.append(name)
    if name == "torch.load" and given.get("weights_only") != "True":
        found.append("torch.load without weights_only=True")
    elif given.get("weights_only", "True") != "True":
        found.append("weights_only other than True")
    if name == "YAML" and given.get("typ") != "'safe'":
        found.append("YAML that is not safe")
    return found


def test_the_source_runs_nothing_that_it_reads():
    assert len(SOURCES) > 300
    found = {str(path.relative_to(ROOT)): offences(path.read_text("utf-8")) for path in SOURCES}
    assert {path: offence for path, offence in found.items() if offence} == {}


@pytest.mark.parametrize(
    "line",
    [
        "eval(x)", "exec(x)", "compile(x, '', 'exec')", "__import__(x)", "os.system(x)",
        "subprocess.run(x, shell=True)", "import pickle", "from pickle import loads",
        "import yaml", "import joblib.externals", "torch.load(x)",
        "torch.load(x, weights_only=False)", "load_state_dict(x, weights_only=flag)",
        "np.load(x, allow_pickle=True)", "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "YAML()", "YAML(typ='unsafe')", "script = 'import torch\\ntorch.load(x)'",
    ],
)  # fmt: skip
def test_each_of_it_would_be_found(line):
    assert len(offences(line)) == 1


def test_what_is_meant_is_allowed():
    for line in (
        "from pickle import UnpicklingError", "torch.load(x, weights_only=True)", "model.eval()",
        "re.compile(x)", "torch.compile(m)", "f(trust_remote_code=trust)", "YAML(typ='safe')",
        "s = 'import this, and be glad'",
    ):  # fmt: skip
        assert offences(line) == []


# --- DEPENDENCIES.md

ROW = re.compile(r"\| ([\w.-]+) \| ([^|]+) \| ([^|]*)\|")
LICENCES = {
    "Apache Software License": "Apache-2.0", "MIT License": "MIT", "BSD License": "BSD",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF",
}  # fmt: skip
"""Classifier -> what the licence's name in the list contains."""
WORDS = {
    "Apache": "Apache-2.0", "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0", "Apache 2.0 License": "Apache-2.0",
    "ISC License": "ISC", "MIT License": "MIT", "2-clause BSD": "BSD-2-Clause",
    "BSD 2-Clause License": "BSD-2-Clause", "3-Clause BSD License": "BSD-3-Clause",
}  # fmt: skip


def listed() -> dict[str, str]:
    """Name -> licence, of every row."""
    text = (ROOT / "DEPENDENCIES.md").read_text("utf-8")
    return {match[1]: match[2].strip() for match in ROW.finditer(text) if match[1] != "Name"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(name: str, extras: frozenset[str], seen: set) -> None:
    """Add to ``seen`` all installed distributions that ``name`` needs, by name and extra."""
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            continue
        key = (normal(requirement.name), frozenset(requirement.extras))
        if key not in seen:
            seen.add(key)
            try:
                needed(*key, seen)
            except PackageNotFoundError:
                seen.discard(key)


def licence_of(name: str) -> str | None:
    """As the distribution's own metadata says, as an SPDX expression where it is short."""
    metadata = distribution(name).metadata
    if expression := metadata.get("License-Expression"):
        return expression
    words = " ".join((metadata.get("License") or "").split())
    if words and words != "UNKNOWN" and len(words) < 30:
        return WORDS.get(words, words)
    kinds = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier") or []]
    return next((LICENCES[kind] for kind in kinds if kind in LICENCES), None)


def test_every_dependency_is_listed_with_its_licence():
    seen: set = set()
    needed("hfbench", frozenset(), seen)
    for extra in ("dev", "clients", "browser", "ray", "docs"):
        needed("hfbench", frozenset({extra}), seen)
    seen = {(name, extras) for name, extras in seen if name != "hfbench"}
    rows = listed()
    missing = {name for name, _ in seen} - rows.keys()
    assert missing == set()
    for name in sorted({name for name, _ in seen}):
        said = licence_of(name)
        assert said is None or said in rows[name], f"{name}: {said}, not {rows[name]}"


def test_only_licences_that_were_looked_at_are_listed():
    known = {
        "Apache-2.0", "MIT", "MIT-CMU", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Zlib",
        "CC0-1.0", "PSF-2.0", "CNRI-Python", "BSL-1.0", "MPL-2.0", "LLVM-exception",
        "PSF-based",
    }  # fmt: skip
    words = {word for licence in listed().values() for word in re.split(r"[\s()]+", licence)}
    assert words - {"", "AND", "OR", "WITH", "---"} <= known
