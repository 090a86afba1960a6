"""Records as somebody might write them who knows hfbench."""

import json
from pathlib import Path
from typing import Any

from hfbench.records.record_file import checksum


def write_by_hand(path: Path, values: dict[str, Any]) -> None:
    """A record with these values and the checksum that fits them."""
    values = {key: value for key, value in values.items() if key != "checksum"}
    path.write_text(json.dumps(values | {"checksum": checksum(values)}), encoding="utf-8")


def forget_hash(path: Path) -> None:
    """Of a record: that it knows its predictions, as those from before did not."""
    values = json.loads(path.read_text(encoding="utf-8"))
    write_by_hand(path, values | {"predictions_hash": None})
