"""The verbs about one model. Heavy imports are inside them, as in `cli.app`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from hfbench.cli.results import say_written
from hfbench.system.quiet import quiet_libraries
from hfbench.system.terminal import SPEECH, Console, show, tell


def check(
    model: Annotated[
        str,
        typer.Argument(
            help="A Hub id, a local folder, or package.module:ConfigClass of your own.",
            metavar="MODEL",
        ),
    ],
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the code that comes with MODEL.")
    ] = False,
) -> None:
    """Check that a model is a good citizen of transformers and can be compared fairly.

    Exit code 1 if something makes a comparison unfair, 3 if the model is only broken for others.
    """
    quiet_libraries()
    from hfbench.checks import find_checked_model, run_checks
    from hfbench.checks.report import as_values, exit_code, format_report

    checked = find_checked_model(model, trust_remote_code=trust_remote_code)
    found = run_checks(checked, show_progress=not (SPEECH.json or SPEECH.quiet))
    tell(as_values(checked, found))
    show(format_report(checked, found))
    if exit_code(found):
        raise SystemExit(exit_code(found))


def convert(
    source: Annotated[
        str, typer.Argument(help="Hub id or folder of a GPT-2 or a custom GPT.", metavar="SRC")
    ],
    destination: Annotated[Path, typer.Argument(help="A new folder.", metavar="DST")],
) -> None:
    """Make a custom GPT of a GPT-2, or a GPT-2 of a custom GPT, with equal logits."""
    quiet_libraries()
    from hfbench.models.convert import convert

    made = convert(source, destination)
    lines = (
        f"{source} ({made.source_class}) -> {destination} ({made.class_name})",
        f"{made.parameters:,} parameters; "
        + ("tokenizer copied" if made.has_tokenizer else "the source has no tokenizer"),
        f"largest difference of logits on {made.probe_tokens} random tokens after reloading: "
        f"{made.difference:.2g} (largest logit: {made.largest_logit:.3g})",
    )
    for line in lines:
        show(line)
    tell({"source": source, "destination": destination, **vars(made)})


def generate(
    model: Annotated[
        str, typer.Argument(help="A language model: a Hub id or a local folder.", metavar="MODEL")
    ],
    prompt: Annotated[list[str], typer.Option(help="A text to continue; may be given again.")],
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to generate, at most.")] = 10,
    top: Annotated[int, typer.Option(help="Most probable tokens to show at each step.")] = 6,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw each token; otherwise take the most probable.")
    ] = False,
    temperature: Annotated[float, typer.Option(help="Divides the logits before a draw.")] = 1.0,
    top_k: Annotated[
        int, typer.Option(help="Draw from this many most probable tokens; 0: all.")
    ] = 0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the fewest tokens with this probability together.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the code that comes with the model.")
    ] = False,
    grammar: Annotated[
        Literal["pets"] | None,
        typer.Option(help="Show the exact next word of this built-in corpus beside the model's."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Also write Markdown, CSV and a figure to here.", metavar="FOLDER"),
    ] = None,
) -> None:
    """Continue prompts and show the most probable tokens of each step, with raw probabilities."""
    quiet_libraries()
    from hfbench.generation import generate as generation
    from hfbench.generation.table import print_generations, write_generations

    loaded, tokenizer = generation.load_language_model(model, trust_remote_code=trust_remote_code)
    generations = generation.generate(
        loaded,
        tokenizer,
        prompt,
        max_new_tokens=max_new_tokens,
        top=top,
        do_sample=sample,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    next_words = []
    if grammar:
        from hfbench.generation.next_words import compare_next_words

        next_words = [compare_next_words(loaded, tokenizer, text) for text in prompt]
    print_generations(generations, Console(), next_words)
    for one in generations:
        tell(dataclasses.asdict(one))
    if output:
        from hfbench.generation.plot import write_generation_plot

        paths = write_generations(generations, output, next_words)
        say_written(paths + write_generation_plot(generations, output))
