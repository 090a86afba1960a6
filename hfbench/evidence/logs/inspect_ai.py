"""Logs of inspect_ai: ``.json``, or ``.eval``, a zip with a JSON text for each sample.

A log says task, model and settings under ``eval``; a sample has ``id``, ``epoch``, ``input``,
``target`` and ``scores``: scorer -> ``value``, a number, a letter (C, P, I, N: right, partly right,
wrong and no answer) or several of them by name. As ``inspect_ai/log/_log.py`` and
``_recorders/eval.py`` of UKGovernmentBEIS/inspect_ai write them (version 2 of the log).
"""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from hfbench.errors import UserError
from hfbench.evidence.logs.logged import MOST_BYTES, LoggedRun, number, parse, text_of

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_MOST_SAMPLES = 1_000_000
_MOST_JSON = 2**31
_ZSTD = 93  # a way to compress that Python's zipfile knows from 3.14 on


def is_inspect_log(path: Path) -> bool:
    """Whether a file is one: by its ending, or of .json by what it begins with."""
    if path.suffix == ".eval":
        return True
    if path.suffix != ".json":
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return b'"version"' in head and b'"eval"' in head and b'"status"' in head


def read_inspect_log(path: Path) -> list[LoggedRun]:
    """The runs of a log, one for each epoch.

    Raises:
        UserError: if it cannot be read, or samples have no score.
    """
    if path.suffix != ".eval":
        return _runs(path, *_read_json(path))
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: no log of inspect_ai: {error}") from None
    with archive:
        return _runs(path, *_read_zip(archive, path))


def _runs(path: Path, header: dict[str, Any], samples: "_Samples") -> list[LoggedRun]:
    status = text_of(header, "status")
    if status not in (None, "success"):
        raise UserError(f"{path}: its status is {status!r}: it is no whole run")
    model = text_of(header, "eval", "model") or path.parent.name
    task = text_of(header, "eval", "task")
    if task is None:
        raise UserError(f"{path}: it does not say which task it is of (eval.task)")
    facts = {"version of the task": text_of(header, "eval", "task_version")}
    arguments = header.get("eval", {}).get("task_args") if isinstance(header, dict) else None
    if isinstance(arguments, dict) and arguments:
        facts["arguments of the task"] = json.dumps(arguments, sort_keys=True)[:200]
    epochs: dict[int, dict[str, dict[str, float]]] = {}
    contents: dict[str, str] = {}
    prompts: dict[str, str] = {}
    without: list[str] = []
    for where, sample in samples:
        name = text_of(sample, "id")
        if name is None:
            raise UserError(f"{where}: a sample without id")
        content = _hash(sample.get("target"))
        if contents.setdefault(name, content) != content:
            raise UserError(f"{where}: sample {name!r} stands for two examples")
        prompts[name] = _hash(_messages(sample.get("input")))
        epoch = sample.get("epoch", 1)
        own = epochs.setdefault(epoch if isinstance(epoch, int) else 1, {})
        found = _scores(sample)
        if not found:
            without.append(name)
        for metric, value in found.items():
            if name in own.setdefault(metric, {}):
                raise UserError(f"{where}: sample {name!r} is there twice in an epoch")
            own[metric][name] = value
    if not contents:
        raise UserError(f"{path}: no samples in it")
    if without:
        some = ", ".join(map(repr, without[:5])) + (", ..." if len(without) > 5 else "")
        raise UserError(f"{path}: {len(without):,} samples have no score ({some})")
    known = {key: value for key, value in facts.items() if value is not None}
    runs = []
    for number_of, scores in sorted(epochs.items()):
        whole = {m: values for m, values in scores.items() if len(values) == len(contents)}
        if not whole:
            raise UserError(
                f"{path}: in epoch {number_of} no score is there for each of {len(contents):,} "
                "samples"
            )
        runs.append(LoggedRun(model, task, whole, contents, prompts, known, source=str(path)))
    return runs


def _scores(sample: dict[str, Any]) -> dict[str, float]:
    found = sample.get("scores")
    values: dict[str, float] = {}
    for scorer, score in found.items() if isinstance(found, dict) else []:
        value = score.get("value") if isinstance(score, dict) else score
        several = value if isinstance(value, dict) else {None: value}
        for part, one in several.items():
            known = _value(one)
            if known is not None:
                values[scorer if part is None else f"{scorer}/{part}"] = known
    return values


def _value(value: Any) -> float | None:
    """As inspect_ai takes it, `value_to_float`."""
    if isinstance(value, str):
        if value in _LETTERS:
            return _LETTERS[value]
        if value.lower() in _WORDS:
            return _WORDS[value.lower()]
        try:
            return number(float(value))
        except ValueError:
            return None
    return number(value)


def _messages(content: Any) -> Any:
    """Of a chat who says what: messages have random ids."""
    if not isinstance(content, list):
        return content
    return [[one.get("role"), one.get("content")] for one in content if isinstance(one, dict)]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


_Samples = Iterator[tuple[str, dict[str, Any]]]


def _read_json(path: Path) -> tuple[dict[str, Any], _Samples]:
    size = path.stat().st_size
    if size > 16 * MOST_BYTES:
        raise UserError(
            f"{path}: {size:,} bytes are too many for one JSON text; `inspect log convert --to "
            "eval` makes a file that is read sample by sample"
        )
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: no log of inspect_ai, which is an object")
    samples = values.pop("samples", None)
    return values, _each(samples, str(path))


def _each(samples: Any, where: str) -> _Samples:
    for sample in samples if isinstance(samples, list) else []:
        if not isinstance(sample, dict):
            raise UserError(f"{where}: a sample that is no object")
        yield where, sample


def _read_zip(archive: zipfile.ZipFile, path: Path) -> tuple[dict[str, Any], _Samples]:
    entries = {entry.filename: entry for entry in archive.infolist()}
    try:
        with path.open("rb") as file:
            for entry in archive.infolist():  # a name that is damaged would hide a sample
                _go_to(file, entry)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: a damaged log: {error}") from None
    names = [n for n in entries if n.startswith("samples/") and n.endswith(".json")]
    if len(entries) > _MOST_SAMPLES or sum(e.file_size for e in entries.values()) > 16 * _MOST_JSON:
        raise UserError(f"{path}: it unpacks to more than is read of a log")
    header = next((n for n in ("header.json", "_journal/start.json") if n in entries), None)
    if header is None:
        raise UserError(f"{path}: no log of inspect_ai: there is no header.json in it")
    values = _entry(archive, entries[header], path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: {header} is no object")
    if header != "header.json":
        raise UserError(f"{path}: its run did not end, so that it has no header.json")

    def samples() -> _Samples:
        if not names and "summaries.json" in entries:
            summaries = _entry(archive, entries["summaries.json"], path)
            yield from _each(summaries, f"{path}: summaries.json")
        for name in names:
            sample = _entry(archive, entries[name], path)
            if not isinstance(sample, dict):
                raise UserError(f"{path}: {name} is no object")
            yield f"{path}: {name}", sample

    return values, samples()


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Any:
    """The JSON text of one file in the archive."""
    where = f"{path}: {entry.filename}"
    if entry.file_size > 4 * MOST_BYTES:
        raise UserError(f"{where}: {entry.file_size:,} bytes are more than is read of a sample")
    try:
        if entry.compress_type == _ZSTD:
            content = _unpack_zstd(path, entry)
        else:
            with archive.open(entry) as file:
                content = file.read(4 * MOST_BYTES + 1)
    # of a damaged stream zlib raises its own error, of an encrypted file zipfile a RuntimeError
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError, OSError) as error:
        raise UserError(f"{where}: cannot be unpacked: {error}") from None
    return parse(content, where)


def _unpack_zstd(path: Path, entry: zipfile.ZipInfo) -> bytes:
    import pyarrow as pa

    with path.open("rb") as file:
        _go_to(file, entry)
        packed = file.read(entry.compress_size)
    with pa.input_stream(pa.BufferReader(packed), compression="zstd") as stream:
        content: bytes = stream.read(entry.file_size)  # which is so much memory at once
    if zlib.crc32(content) != entry.CRC:
        raise ValueError("its checksum is not that of its content")
    return content


def _go_to(file: BinaryIO, entry: zipfile.ZipInfo) -> None:
    """Seek to where the content of ``entry`` begins.

    Raises:
        ValueError: if there is none, or one of another name.
    """
    file.seek(entry.header_offset)
    head = file.read(30)  # a local header: of its name and its extra field the lengths
    if len(head) == 30 and head[:4] == b"PK\x03\x04":
        name, extra = struct.unpack("<HH", head[26:30])
        is_utf8 = entry.flag_bits & 0x800
        if file.read(name).decode("utf-8" if is_utf8 else "cp437") == entry.orig_filename:
            file.seek(extra, io.SEEK_CUR)
            return
    raise ValueError(f"there is no {entry.filename} where the list of its entries says")
