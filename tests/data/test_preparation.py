"""Time and memory at real sizes, each in a process of its own.

The time is that of the processor, which nothing else that runs on the machine makes longer.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]
SCRIPT = Path(__file__).with_name("preparation.py")
WORDS = [
    "".join(random.Random(number).choices("etaoinshrdlu", k=2 + number % 9))
    for number in range(20_000)
]


def sentence(rng, words):
    return " ".join(rng.choices(WORDS, k=words)).capitalize() + "."


def write_corpus(folder, words):
    """Text of so many words, in sentences of 18 and lines of two sentences."""
    rng = random.Random(0)
    name = f"{words}.txt"
    with (folder / name).open("w") as file:
        for _ in range(words // 36):
            file.write(f"{sentence(rng, 18)} {sentence(rng, 18)}\n")
    return name


def prepare(folder, *arguments):
    command = [sys.executable, str(SCRIPT), *arguments]
    environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    result = json.loads(done.stdout.splitlines()[-1])
    print(arguments, result)
    return result


@pytest.mark.parametrize("cut", ["sentences", "rows", "blocks"])
def test_two_million_words_take_a_minute_and_memory_does_not_grow(tmp_path, cut):
    small = prepare(tmp_path, "corpus", write_corpus(tmp_path, 2_000_000), cut)
    large = prepare(tmp_path, "corpus", write_corpus(tmp_path, 8_000_000), cut)
    assert small["number"] == pytest.approx(2_000_000, rel=1e-3)
    assert small["cpu_seconds"] < 60
    assert large["number"] == pytest.approx(8_000_000, rel=1e-3)
    assert large["peak_mb"] < 1.1 * small["peak_mb"]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_task_of_sst2s_size_takes_twenty_seconds_and_less_than_a_gigabyte(tmp_path):
    rng = random.Random(0)
    with (tmp_path / "data.jsonl").open("w") as file:
        for number in range(67_349):
            row = {"text": sentence(rng, rng.randint(1, 18)), "label": number % 2}
            file.write(json.dumps(row) + "\n")
    result = prepare(tmp_path, "task", "data.jsonl")
    assert result["number"] == 67_349
    assert result["cpu_seconds"] < 20
    assert result["peak_mb"] < 1000
