"""The logs of a folder or file, of whichever tool."""

from pathlib import Path

from hfbench.errors import UserError
from hfbench.evidence.logs.inspect_ai import is_inspect_log, read_inspect_log
from hfbench.evidence.logs.lm_eval import read_lm_eval, samples_files
from hfbench.evidence.logs.logged import LoggedRun, files_below


def read_logs(place: Path) -> list[LoggedRun]:
    """All runs in a folder and below it, or in one file.

    Raises:
        UserError: if there is none, or one cannot be read.
    """
    if not place.exists():
        raise UserError(f"there is no file or folder {str(place)!r}")
    try:
        found = [place] if place.is_file() else files_below(place, (".json", ".eval"))
        runs = [run for path in found if is_inspect_log(path) for run in read_inspect_log(path)]
        runs += [run for path in samples_files(place) for run in read_lm_eval(path)]
    except OSError as error:
        raise UserError(f"{place}: cannot be read: {error}") from None
    if not runs:
        raise UserError(
            f"{place}: no logs with the scores of single examples: of lm-evaluation-harness "
            "samples_<task>_<time>.jsonl, which `--log_samples` writes; of inspect_ai .eval or "
            ".json"
        )
    return runs
