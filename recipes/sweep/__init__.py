"""Every architecture of transformers through hfbench; see `sweep`."""

from pathlib import Path

OUTCOMES = Path(__file__).with_name("outcomes.json")
