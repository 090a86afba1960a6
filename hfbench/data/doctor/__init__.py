"""The doctor: what is odd about data, before anything is trained on them; without torch.

`diagnose` is for who asks (``hfbench data``), `alarms` for a comparison, which prints only what
would make its numbers worthless.
"""

from hfbench.data.doctor.diagnosis import Diagnosis, alarms, diagnose
from hfbench.data.doctor.finding import Finding, Severity

__all__ = ["Diagnosis", "Finding", "Severity", "alarms", "diagnose"]
