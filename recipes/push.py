"""Publish a trained model, or the results, of a comparison on the Hub; `hfbench push` as a script.

python recipes/push.py results/local/quickstart gpt-nano --repo-id user/name [--dry-run]
python recipes/push.py results/local/quickstart --repo-id user/name [--space] [--dry-run]
"""

import typer

from hfbench.cli.publish import push
from hfbench.cli.script import exit_on_user_error

if __name__ == "__main__":
    with exit_on_user_error():
        typer.run(push)
