"""In which encoding a file of text is."""

import codecs

from hfbench.data.files import DataFile, likely_encodings

# the longer first: that of UTF-32 begins with that of UTF-16
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_PIECE = 1 << 20
_SAMPLE_BYTES = 1 << 16


def find_encoding(file: DataFile) -> str:
    """``utf-8`` (``utf-8-sig`` with a byte order mark) where it is that, else the likeliest.

    Raises:
        UserError: if the file cannot be read or unpacked.
    """
    with file.open_bytes() as content:
        start = content.read(4)
        for mark, name in _MARKS.items():
            if start.startswith(mark):
                return name
    if decodes(file, "utf-8"):
        return "utf-8"
    sample = b""
    with file.open_bytes() as content:
        for line in content:
            sample += b"" if line.isascii() else line
            if len(sample) > _SAMPLE_BYTES:
                break
    found = likely_encodings(sample)
    return found[0][0] if found else "latin-1"  # in which every byte is a character


def decodes(file: DataFile, encoding: str) -> bool:
    """Whether the whole file can be read as ``encoding``, which Python knows."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with file.open_bytes() as content:
        while piece := content.read(_PIECE):
            try:
                decoder.decode(piece)
            except UnicodeError:
                return False
        try:
            decoder.decode(b"", final=True)
        except UnicodeError:
            return False
    return True
