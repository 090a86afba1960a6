"""Files of data: which ones a name of a recipe stands for, how they are packed and encoded."""

import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

import charset_normalizer
import pyarrow as pa

from hfbench.errors import UserError
from hfbench.recipe.task import Task
from hfbench.recipe.types import is_pattern
from hfbench.system.hub import user_errors

PACKED = (".gz", ".xz", ".zst")
_SAMPLE_BYTES = 1 << 16
# What charset-normalizer may answer: what people's programs write, and none of the code pages of
# long ago, which it takes for likely where a text is short.
_ENCODINGS = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255",
    "cp1256", "koi8_r", "gb18030", "big5", "cp932", "euc_jp", "cp949",
]  # fmt: skip


@dataclass(frozen=True)
class DataFile:
    """A file or folder that a recipe names."""

    path: Path
    key: str
    """Of the recipe, which names it."""
    encoding: str | None = None
    """None: UTF-8, with or without a byte order mark."""

    @property
    def where(self) -> str:
        """The beginning of a message about it."""
        return f"{self.key}: {self.path}"

    @property
    def ending(self) -> str:
        """``.csv`` of ``reviews.CSV.gz``."""
        name = Path(self.path.name.lower())
        return Path(name.stem).suffix if name.suffix in PACKED else name.suffix

    @property
    def is_packed(self) -> bool:
        """Whether it is compressed, by its name."""
        return self.path.suffix.lower() in PACKED

    @contextmanager
    def open_bytes(self) -> Iterator[IO[bytes]]:
        """Its content, unpacked as it is read.

        Raises:
            UserError: if it cannot be read or unpacked.
        """
        with user_errors(self.where):
            try:
                with _open(self.path) as file:
                    yield file
            except (lzma.LZMAError, zlib.error) as error:  # which are no OSErrors
                raise UserError(f"{self.where} cannot be unpacked: {error}") from error

    @contextmanager
    def open_text(self, newline: str | None = "\n") -> Iterator[TextIO]:
        """Its text, in lines that end with ``newline`` (as `open` takes it) and keep it.

        Raises:
            UserError: if it cannot be read; naming the likely encoding, if it has another.
        """
        encoding = "utf-8-sig" if self.encoding in (None, "utf-8") else self.encoding
        with self.open_bytes() as file:
            try:
                yield io.TextIOWrapper(file, encoding=encoding, newline=newline)
            except UnicodeError as error:  # of UTF-16 without its mark no UnicodeDecodeError
                raise UserError(self._wrong_encoding()) from error

    def _wrong_encoding(self) -> str:
        encoding = self.encoding or "utf-8"
        first, sample = None, b""
        with self.open_bytes() as file:
            for number, line in enumerate(file, start=1):
                sample += b"" if line.isascii() else line
                first = first or (None if _decodes(line, encoding) else number)
                if len(sample) > _SAMPLE_BYTES and first:
                    break
        place = f" (line {first})" if first else ""
        found = likely_encodings(sample)
        if not found:
            return f"{self.where} is not {encoding.upper()}{place}; give `encoding`"
        others = ", ".join(f"or {name} ({word!r})" for name, word in found[1:])
        return (
            f"{self.where} is not {encoding.upper()}{place}; it seems to be {found[0][0]} "
            f"({found[0][1]!r}{' there' if place else ''}) {others}".rstrip()
            + f": give the one that reads right, as `encoding: {found[0][0]}`"
        )


def find_files(task: Task, folder: Path) -> dict[str, list[DataFile]]:
    """Split -> the files or folders of ``task.data_files``; relative paths start at ``folder``.

    Raises:
        UserError: if a pattern matches none.
    """
    found: dict[str, list[DataFile]] = {}
    for split, names in (task.data_files or {}).items():
        files = found.setdefault(split, [])
        for name in [names] if isinstance(names, str) else names:
            key = f"task.data_files.{split}"
            paths = [folder / name]
            if is_pattern(name) and not paths[0].exists():
                base, pattern = (
                    (Path(name).anchor, name) if Path(name).is_absolute() else ("", name)
                )
                start = Path(base) if base else folder
                paths = sorted(
                    start.glob(str(Path(pattern).relative_to(base) if base else pattern))
                )
                if not paths:
                    raise UserError(f"{key}: no file matches {str(folder / name)!r}")
            files += [DataFile(path, key, task.encoding) for path in paths]
    return found


def likely_encodings(sample: bytes) -> list[tuple[str, str]]:
    """Up to three encodings that bytes may have, the likeliest first, with a word as each reads it.

    The word is the first that is not plain ASCII. Short texts fit many encodings, of which the
    words tell a reader the right one.
    """
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return [("utf-16", sample.decode("utf-16", "ignore").split()[0])]
    found: dict[str, str] = {}
    for match in charset_normalizer.from_bytes(sample, cp_isolation=_ENCODINGS):
        text, name = sample.decode(match.encoding, "replace"), match.encoding
        if sample.decode("cp1252", "replace") == text:
            name = "cp1252"  # which most programs write, of those that read the sample alike
        word = re.search(r"\w*[^\W\x00-\x7f]\w*", text)
        found.setdefault(word[0][:30] if word else "", name)
    return [(name, word) for word, name in found.items()][:3]


def _open(path: Path) -> IO[bytes]:
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path)  # type: ignore[return-value]
        case ".xz":
            return lzma.open(path)
        case ".zst":
            return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True
