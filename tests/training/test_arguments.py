"""What is missing on this machine is known before a cell runs."""

import pytest

from hfbench.errors import UserError
from hfbench.training.arguments import training_arguments
from hfbench.training.seeds import derive_streams


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"report_to": "nonsense"}, "report_to: there is no 'nonsense'"),
        ({"report_to": ["tensorbord"]}, "did you mean 'tensorboard'"),
        ({"report_to": "kubeflow"}, "kubeflow is not installed; pip install kubeflow"),
        ({"optim": "galore_adamw"}, "You need to install `galore_torch`"),
    ],
)
def test_what_the_trainer_would_miss_is_said_before(values, says, tmp_path):
    with pytest.raises(UserError, match=r"models\.a\.training_arguments: ") as refusal:
        training_arguments(values, derive_streams(0), tmp_path, "models.a.training_arguments")
    assert says in str(refusal.value)
