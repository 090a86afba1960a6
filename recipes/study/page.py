"""Write the study's page: every number and table on it is read from the records.

    python recipes/study/page.py results/study

renders page.md.jinja, beside this script, to README.md in the folder that holds the results of
study.yaml, as_it_was.yaml, sizes.yaml and why.yaml. What has not run yet is named on it. In the
template, `study` is a `Study`.
"""

import argparse
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from study_findings import Study

from hfbench.cli.script import exit_on_user_error
from hfbench.evidence import markdown
from hfbench.system.files import atomic

TEMPLATE = Path(__file__).with_name("page.md.jinja")


def render(template: str, results: Path) -> str:
    """The page as Markdown; a name that the template does not know is an error."""
    environment = Environment(undefined=StrictUndefined)
    page = environment.from_string(template).render(study=Study(results))
    return markdown.fill(page)


def main() -> None:
    """Write the page beside the results that it tells of."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="the folder with a folder for each recipe")
    args = parser.parse_args()
    with exit_on_user_error():
        path = args.results / "README.md"
        text = render(TEMPLATE.read_text("utf-8"), args.results)
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"Findings in {path}")


if __name__ == "__main__":
    main()
