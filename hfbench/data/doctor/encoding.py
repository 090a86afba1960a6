"""In which encoding a file of text is."""

import codecs
from pathlib import Path

import charset_normalizer

# the longer first: that of UTF-32 begins with that of UTF-16
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_PIECE = 1 << 20
_SAMPLE = 1 << 15


def find_encoding(path: Path) -> str:
    """``utf-8`` (``utf-8-sig`` with a byte order mark) where it is that, else the likeliest.

    Bytes of other encodings mean something in several of them; of those that give the same text
    that of Windows is named, which most such files come from.
    """
    with path.open("rb") as file:
        start = file.read(4)
        for mark, name in _MARKS.items():
            if start.startswith(mark):
                return name
        file.seek(0)
        decoder, place = codecs.getincrementaldecoder("utf-8")(), 0
        while piece := file.read(_PIECE):
            try:
                decoder.decode(piece)
            except UnicodeDecodeError:
                file.seek(place)
                return _guess(file.read(_PIECE))
            place += len(piece)
    return "utf-8"


def decodes(path: Path, encoding: str) -> bool:
    """Whether the whole file can be read as ``encoding``, which Python knows."""
    with path.open("r", encoding=encoding, newline="") as file:
        try:
            while file.read(_PIECE):
                pass
        except UnicodeError:
            return False
    return True


def _guess(data: bytes) -> str:
    """Of a piece that is not UTF-8, by what stands around its first bytes beyond ASCII."""
    first = next((place for place, byte in enumerate(data) if byte > 0x7F), 0)
    found = charset_normalizer.from_bytes(data[max(0, first - _SAMPLE) : first + _SAMPLE]).best()
    if found is None:
        return "latin-1"  # in which every byte is a character
    return "cp1252" if "cp1252" in found.could_be_from_charset else found.encoding
