"""Prepare a task or a corpus of this folder and print what it took, as a JSON line.

python tests/data/preparation.py task DATA.jsonl | corpus TEXT.txt CUT
"""

import json
import sys
import time
from pathlib import Path

from hfbench.data.corpus import load_corpus
from hfbench.data.task import load_task
from hfbench.data.tokens import predicted_bytes, tokenize_corpus, tokenize_task
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Corpus
from hfbench.recipe.task import Task


def peak_memory() -> float:
    """MB, that of imports included."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def prepare_task(file: str) -> int:
    """Examples that were tokenised."""
    task = Task(data_files={"train": file}, validation_size=0.1)
    loaded = load_task(task, Path())
    tokenizer = train_tokenizer(loaded.splits["train"]["text"][:], 2000)
    return sum(map(len, tokenize_task(loaded.splits, tokenizer, 512).splits.values()))


def prepare_corpus(file: str, cut: str) -> int:
    """Words that were tokenised."""
    corpus = Corpus(text_file=file, cut=cut, max_length=512)
    texts = load_corpus(corpus, Path(), "corpus").texts
    tokenizer = train_tokenizer(texts["train"], 2000)
    data = tokenize_corpus(texts, tokenizer, corpus, 512)
    assert predicted_bytes(texts["validation"], tokenizer, corpus, 512)
    assert all(len(split) for split in data.splits.values())
    return sum(len(text.split()) for part in texts.values() for text in part)


if __name__ == "__main__":
    imported, started, cpu = peak_memory(), time.perf_counter(), time.process_time()
    number = {"task": prepare_task, "corpus": prepare_corpus}[sys.argv[1]](*sys.argv[2:])
    seconds = time.perf_counter() - started
    result = {"number": number, "seconds": seconds, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**result, "imported_mb": imported, "peak_mb": peak_memory()}))
