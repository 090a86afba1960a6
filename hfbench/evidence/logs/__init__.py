"""Other tools' logs: of each example of a task what score a model got, whoever ran it.

lm-evaluation-harness (``--log_samples``) and inspect_ai are read, without either being installed.
Logs may be anybody's: sizes are limited, links are not followed, and nothing in them is run.
"""

from hfbench.evidence.logs.logged import LoggedRun
from hfbench.evidence.logs.matched import JudgedTask, judge_logs
from hfbench.evidence.logs.read import read_logs

__all__ = ["JudgedTask", "LoggedRun", "judge_logs", "read_logs"]
