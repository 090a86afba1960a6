"""transformers' own common tests for models on the custom GPT, where its sources are at hand.

    pip download --no-binary :all: --no-deps transformers==<the installed version>
    tar xzf transformers-*.tar.gz
    pip install parameterized
    TRANSFORMERS_SOURCE=transformers-... pytest -m slow tests/models/test_custom_gpt_in_...

The source distribution has no tests of generation and of exporters, which the common ones inherit;
they are left out. tests/models/test_custom_gpt_generation.py asks the modes of generation.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hfbench import version

CASES = Path(__file__).parents[1] / "support" / "transformers_suite" / "custom_gpt_cases.py"
STUBS = {
    "exporters/test_export.py": "class ExportTesterMixin: pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin: pass\n",
    "utils/test_configuration_utils.py": """config_common_kwargs = {
    "return_dict": False, "output_hidden_states": True, "output_attentions": True,
    "chunk_size_feed_forward": 5, "architectures": ["BertModel"], "id2label": {0: "label"},
    "label2id": {"label": "0"}, "problem_type": "regression",
}
""",
}


@pytest.fixture
def source():
    """The unpacked source distribution of the installed transformers."""
    folder = Path(os.environ.get("TRANSFORMERS_SOURCE", ""))
    if not (folder / "tests" / "test_modeling_common.py").is_file():
        pytest.skip("TRANSFORMERS_SOURCE names no unpacked source distribution of transformers")
    assert folder.resolve().name == f"transformers-{importlib.metadata.version('transformers')}"
    if importlib.util.find_spec("parameterized") is None:
        pytest.skip("transformers' tests need the package parameterized")
    return folder


def outcomes(source, folder, case):
    """Test -> how it ended, of one class of `CASES`."""
    shutil.copytree(source / "tests", folder / "tests")
    for name, code in {"__init__.py": "", **STUBS}.items():
        path = folder / "tests" / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(code, encoding="utf-8")
    shutil.copy(CASES, folder / "tests" / "test_cases.py")
    root = str(Path(version.__file__).parents[1])
    subprocess.run(
        [sys.executable, "-m", "pytest", f"tests/test_cases.py::{case}", "-q", "--junitxml=j.xml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
        check=False,
        capture_output=True,
    )
    cases = ElementTree.parse(folder / "j.xml").iter("testcase")
    return {found.get("name"): found[0].tag if len(found) else "passed" for found in cases}


@pytest.mark.slow
def test_no_common_test_of_transformers_fails(source, tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours = outcomes(source, tmp_path / "ours", "CustomGPTTest")
    theirs = outcomes(source, tmp_path / "theirs", "GPT2Test")
    assert [name for name, ended in ours.items() if ended not in ("passed", "skipped")] == []
    assert [*theirs.values()].count("passed") > 80
    # nothing is skipped but what needs another machine, or is off by default
    only_theirs = {n for n, ended in theirs.items() if ended == "passed" and ours[n] == "skipped"}
    assert only_theirs == set()
