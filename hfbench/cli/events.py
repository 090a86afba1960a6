"""A comparison that runs, as lines of JSON: `--json`."""

from hfbench.execution.progress import Ended, Header, View
from hfbench.records.schema import FailedRecord, FinishedRecord
from hfbench.system.terminal import tell


class Events(View):
    """An object a line, each with its ``event``: begin, start, end, message."""

    def begin(self, header: Header) -> None:
        """See `View`."""
        tell(
            {
                "event": "begin",
                "recipe": header.recipe,
                "cells": header.cells,
                "finished_before": header.kept,
                "side_by_side": header.jobs,
                "expected_seconds": header.seconds,
                "results": header.folder,
            }
        )

    def start(self, name: str) -> None:
        """See `View`."""
        tell({"event": "start", "cell": name})

    def end(self, ended: Ended) -> None:
        """See `View`."""
        record = ended.record
        tell(
            {
                "event": "end",
                "cell": ended.name,
                "number": ended.number,
                "of": ended.total,
                "status": record.status,
                "seconds": record.cell_seconds,
                "metrics": record.metrics if isinstance(record, FinishedRecord) else None,
                "failure": record.failure.text if isinstance(record, FailedRecord) else None,
                "run_by_another_process": not ended.is_ours,
            }
        )

    def say(self, message: str) -> None:
        """See `View`."""
        tell({"event": "message", "text": message})
