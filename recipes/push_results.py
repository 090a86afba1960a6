"""Publish the records, tables and report of a comparison as a data set of the Hub.

python recipes/push_results.py results/local/quickstart --repo-id user/name [--space] [--dry-run]
"""

import typer

from hfbench.cli.publish import push_results
from hfbench.cli.script import exit_on_user_error

if __name__ == "__main__":
    with exit_on_user_error():
        typer.run(push_results)
