"""How fast hfbench is beside the stock way of transformers and a bare PyTorch loop.

Each row is the same work done by two or three sides in turns, so that what slows the machine slows
them all; whether their losses are equal is checked in the same run. Nothing is downloaded: texts
and weights are generated. Writes a record for each row, and a table from the records:

    python recipes/benchmark_speed.py                                   # on the CPU
    python recipes/benchmark_speed.py --suite gpu --out results/speed
    python recipes/benchmark_speed.py --suite gpus                      # all GPUs of this host
    python recipes/benchmark_speed.py --rows finetune-tiny-gpt2 start-up
    python recipes/benchmark_speed.py --suite gpu --table-only
    python recipes/benchmark_speed.py --findings          # README.md and docs/speed.md's last table
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Measure the rows that were asked for; 1 if a check failed, else 0."""
    args = _parser().parse_args(arguments)
    if args.findings:
        return _write_findings(args.out)
    if args.suite == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    with tempfile.TemporaryDirectory() as caches:
        # new ones, so that a first run is one; they are read when the libraries are imported, below
        os.environ["HF_DATASETS_CACHE"] = str(Path(caches) / "datasets")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(caches) / "inductor")
        return _run(args)


def _write_findings(out: Path) -> int:
    from speed import marks
    from speed.findings import write_findings

    try:
        print(write_findings(out))
        if out.resolve() == marks.RECORDS:
            marks.PAGE.write_text(marks.page(), encoding="utf-8")
            print(marks.PAGE)
    except FileNotFoundError as error:
        print(f"there is no {error.filename}; measure that row first", file=sys.stderr)
        return 2
    return 0


def _run(args: argparse.Namespace) -> int:
    import torch
    from speed.measure import device
    from speed.records import save_record, write_table
    from speed.rows import Options, rows
    from speed.scaling import several_gpus

    from hfbench.system.environment import device_names

    options = Options(
        args.repetitions, args.steps, args.epochs, args.seeds, args.scripts, tuple(args.gpus)
    )
    known = rows(args.suite, options)
    unknown = [name for name in args.rows if name not in known]
    if unknown:
        print(f"no row {unknown[0]!r} in this suite: {', '.join(known)}", file=sys.stderr)
        return 2
    least = {"cpu": 0, "gpu": 1, "gpus": 2}[args.suite]
    if torch.cuda.device_count() < least and not args.table_only:
        number = f"{least} GPU{'s' if least > 1 else ''}"
        print(f"the suite {args.suite} needs {number} or more", file=sys.stderr)
        return 2
    if missing := sorted(set(args.gpus) - set(several_gpus(()))):
        print(f"--gpus {missing[0]}: can be {several_gpus(())} here", file=sys.stderr)
        return 2
    failed = []
    for name in [] if args.table_only else args.rows or known:
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            measured = known[name].measure(Path(folder))
        save_record(args.suite, name, measured.to_dict(), device_names(device()), args.out)
        print(write_table(args.suite, list(known), args.out))
        if measured.check and not measured.check.passed:
            failed.append(f"{name}: {measured.check.summary}")
    if args.table_only:
        print(write_table(args.suite, list(known), args.out))
    for failure in failed:
        print(failure, file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", choices=("cpu", "gpu", "gpus"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("results/speed"))
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only these")
    parser.add_argument("--repetitions", type=_positive, help="of each side, after one to warm up")
    parser.add_argument("--steps", type=_positive, help="of a run of training; tokens to generate")
    parser.add_argument("--epochs", type=_positive, default=50, help="of the row comparison")
    parser.add_argument("--seeds", type=_positive, help="of the row comparison")
    parser.add_argument(
        "--scripts",
        type=_positive,
        help="of the row comparison: run so many scripts, scale the time",
    )
    parser.add_argument(
        "--gpus",
        type=_positive,
        nargs="+",
        default=[],
        metavar="N",
        help="of the suite gpus: beside one, only on so many; by default on 2, 4, ...",
    )
    parser.add_argument("--table-only", action="store_true", help="from the records that there are")
    parser.add_argument("--findings", action="store_true", help="the pages from all records")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
