import io
import json
import logging
import os
import unicodedata

import pytest
from rich.progress import Progress
from rich.table import Table

from hfbench.cli.app import main
from hfbench.system.redaction import redact_output
from hfbench.system.terminal import Console, clean, show

OSC_52 = "\x1b]52;c;ZXZpbA==\x07"  # fills the clipboard
HOSTILE = [
    OSC_52,
    "\x1b[2Ka",
    "a\rb",
    "\x9b31m",
    "a\u202eb",
    "\u2066",
    "\x7f",
    "\u2028",
    "\x00",
    "\ud800",
]


BIDIRECTIONAL = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


def is_safe(text):
    """By Unicode's own classes, and not by the list of the code."""
    return not any(
        (unicodedata.category(char) in ("Cc", "Zl", "Zp") and char not in "\n\t")
        or unicodedata.bidirectional(char) in BIDIRECTIONAL
        or char in "\u200e\u200f\u061c"
        or unicodedata.category(char) == "Cs"  # half of a surrogate pair
        for char in text
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_a_command_to_the_terminal_becomes_a_picture(text):
    assert not is_safe(text)
    assert is_safe(clean(text))
    assert clean("Ärger\tim\nWald 森 😀 \u0301") == "Ärger\tim\nWald 森 😀 \u0301"


def test_every_character_that_is_unsafe_is_replaced():
    every = "".join(map(chr, range(0x11000)))
    assert is_safe(clean(every))
    kept = "".join(char for char in every if is_safe(char))
    assert clean(kept) == kept


def test_a_console_shows_its_own_commands_alone():
    """Colours of ours are escape sequences, too."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system="standard")
    table = Table("[bold]name[/bold]", *HOSTILE[:3])
    table.add_row(*HOSTILE[3:7])
    console.print(table)
    console.print(*HOSTILE, markup=False)
    with Progress(console=console) as bars:
        bars.add_task(OSC_52, total=1)
    shown = console.file.getvalue()
    assert "\x1b[1m" in shown
    assert "\x1b]52" not in shown
    assert "\u202e" not in shown
    assert "\x9b" not in shown


def test_log_records_are_clean(caplog):
    redact_output()
    logging.getLogger("hfbench.tests").warning("a label: %s", OSC_52)
    assert caplog.messages == ["a label: ␛]52;c;ZXZpbA==␇"]


def test_labels_of_data_reach_the_screen_as_text(tmp_path, monkeypatch, capsys):
    labels = [OSC_52, "\u202egen"] * 12
    rows = [{"text": f"text {row}", "label": label} for row, label in enumerate(labels)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "r.yaml").write_text(
        "name: r\ntask: {data_files: {train: train.jsonl}, validation_size: 8}\n"
        "models: [{name: floor, control: majority}]\nseeds: [0]\n"
    )
    recipe = str(tmp_path / "r.yaml")
    for arguments in (["data", recipe], ["compare", recipe, "--results-dir", str(tmp_path)]):
        monkeypatch.setattr("sys.argv", ["hfbench", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        shown = "".join(capsys.readouterr())
        assert "␛]52" in shown
        assert is_safe(shown)
    monkeypatch.setattr("sys.argv", ["hfbench", "data", recipe, "--json"])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr().out
    assert is_safe(shown)
    assert OSC_52 in json.loads(shown)["splits"]["train"]["classes"]


def test_an_error_is_text_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["hfbench", "table", str(tmp_path / OSC_52)])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr().err
    assert (end.value.code, is_safe(shown)) == (2, True)
    assert "␛]52" in shown


def test_what_nobody_reads_any_more_ends_nothing():
    """As in `hfbench compare ... | head -1`."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as file:
        console = Console(file=file)
        console.print("read")
        assert os.read(read, 100) == b"read\n"
        os.close(read)
        for _ in range(2):
            console.print("not read")
            show("nor this", file)
