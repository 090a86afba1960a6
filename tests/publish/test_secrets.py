"""A token that is in use, or in an address, is in nothing that is written, printed or logged."""

import base64
import io
import json
import logging
import shutil
import sys
import time
from urllib.parse import quote

import huggingface_hub
import pytest

from hfbench.cli import app as cli
from hfbench.execution.compare import compare
from hfbench.recipe.load import load_recipe
from hfbench.system.redaction import HIDDEN, redact, redact_output
from hfbench.training.trainer import FairTrainer

TOKEN = "hf_" + "PlantedTokenOfAda0123456789abcdef"  # the account's at the stand-in
PASSWORD = "planted-password/of+bob"
ADDRESS = f"http://bob:{quote(PASSWORD, safe='')}@mirror"


def forms(secret):
    """The secret as bytes, in the forms in which it might travel."""
    found = [secret, quote(secret, safe=""), secret.encode().hex(), secret[::-1]]
    for start in range(3):  # base64 depends on where in a text of three bytes a secret begins
        encoded = base64.b64encode(b" " * start + secret.encode()).decode()
        found.append(encoded[4 if start else 0 : -4])
    return [form.encode() for form in found]


SECRETS = [form for secret in (TOKEN, PASSWORD) for form in forms(secret)]


def told(*places):
    """Which texts (or folders, with all files in them) hold a secret, and in which form."""
    contents = {}
    for number, place in enumerate(places):
        if isinstance(place, str):
            contents[f"text {number}"] = place.encode()
        else:
            contents |= {str(p): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    return [(name, form) for name, text in contents.items() for form in SECRETS if form in text]


def test_the_search_finds_each_form(tmp_path):
    for secret in (TOKEN, PASSWORD):
        for start in ("", "a", "ab", "bob:"):
            header = base64.b64encode(f"{start}{secret}".encode()).decode()
            assert told(f"Basic {header}")
        (tmp_path / "x.json").write_text(json.dumps({"url": f"http://bob:{quote(secret, '')}@h"}))
        assert told(tmp_path)


@pytest.fixture
def logs():
    """All that any library logs, down to DEBUG, as a handler would show it."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    libraries = [
        logging.getLogger(name) for name in ("huggingface_hub", "transformers", "datasets")
    ]
    before = [(library, library.level, library.propagate) for library in libraries]
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for library in libraries:
        library.setLevel(logging.DEBUG)
        library.propagate = True
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
    for library, level, propagate in before:
        library.setLevel(level)
        library.propagate = propagate


@pytest.fixture
def call(monkeypatch, capfd, logs, tmp_path):
    """Run a command line: its exit code and all that could be read of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client tries again at once
    factory, hook = logging.getLogRecordFactory(), sys.excepthook
    monkeypatch.setattr("hfbench.cli.run.quiet_libraries", redact_output)  # not quiet at all

    def run(*line):
        monkeypatch.setattr(sys, "argv", ["hfbench", *map(str, line)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capfd.readouterr()
        return left.value.code or 0, said.out + said.err + logs.getvalue()

    yield run
    logging.setLogRecordFactory(factory)
    sys.excepthook = hook


@pytest.fixture
def addressed(hub, reach, monkeypatch):
    """The stand-in, at an address with a user's name and password."""
    basic = base64.b64encode(f"bob:{PASSWORD}".encode()).decode()  # the client sends this instead
    hub.tokens[f"Basic {basic}"] = hub.tokens[TOKEN]
    address = hub.endpoint.replace("://", f"://bob:{quote(PASSWORD, safe='')}@")
    reach(address)
    # the client's own, which was made when it was imported
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", address)
    return address


VERBS = [
    ["generate", "ada/m", "--prompt", "x"],
    ["check", "ada/m"],
    ["convert", "ada/m", "converted"],
    ["table", "hf://datasets/ada/m"],
    ["verify", "ada/m"],
    ["compare", "tiny.yaml"],
    ["plan", "tiny.yaml"],
    ["push", "tiny", "--repo-id", "ada/m"],
    ["push", "tiny", "tuned", "--repo-id", "ada/m"],
]


@pytest.mark.parametrize(
    "status", [500, *(pytest.param(s, marks=pytest.mark.slow) for s in (401, 404))]
)
def test_no_verb_that_fails_tells_a_secret(
    addressed, call, hub, faults, write_recipe, results, tmp_path, status
):
    """The Hub's answer repeats what it was sent, as some servers do."""
    shutil.copytree(results, tmp_path / "tiny")
    write_recipe(task={"dataset_name": "ada/m", "validation_size": 0.5})
    answer = faults.Refusal(status, f"no: {TOKEN} at {addressed}/x?token={TOKEN}")
    hub.faults.append(faults.Fault("GET", ".", answer, times=10**6))
    hub.faults.append(faults.Fault("HEAD", ".", answer, times=10**6))
    for line in VERBS:
        code, said = call(*line)
        assert code in (1, 2), line
        assert "error: " in said
        assert told(said) == [], line
    assert told(tmp_path / "tiny") == []
    assert HIDDEN in said


def test_no_verb_that_succeeds_tells_a_secret(
    addressed, call, hub, results, write_recipe, tmp_path
):
    base = next(path for path in results.parents[1].iterdir() if path.name == "base")
    hub.add_repo("ada/base", {path.name: path.read_bytes() for path in base.iterdir()})
    write_recipe(
        models=[{"name": "tuned", "model_name_or_path": "ada/base"}], seeds=[0], save_models=True
    )
    for line in (["compare", "tiny.yaml"], ["table", "results/tiny"], ["report", "results/tiny"]):
        code, said = call(*line)
        assert code == 0, said[-2000:]
        assert told(said, tmp_path / "results") == [], line
    (path,) = (tmp_path / "results").rglob("tuned--seed0.json")
    endpoint = json.loads(path.read_text("utf-8"))["environment"]["hub_endpoint"]
    assert endpoint == f"http://{HIDDEN}@127.0.0.1:{hub.port}"
    assert "HTTP Request" in said or "GET" in said  # the libraries did log what they asked for


def test_a_failed_cells_record_and_tables_do_not_tell(
    reach, call, write_recipe, tmp_path, monkeypatch
):
    def train(self, **kwargs):
        raise RuntimeError(f"GET {ADDRESS}/x: {TOKEN} is not allowed")

    monkeypatch.setattr(FairTrainer, "train", train)
    write_recipe(seeds=[0])
    code, said = call("compare", "tiny.yaml")
    assert code == 1
    assert told(said, tmp_path / "results") == []
    assert f"http://{HIDDEN}@mirror/x: {HIDDEN} is not allowed" in said
    assert call("report", "results/tiny")[0] == 0
    assert told(tmp_path / "results") == []


def test_a_token_of_a_login_is_hidden_whatever_it_looks_like(reach, tmp_path, monkeypatch):
    reach("http://127.0.0.1:9")
    (tmp_path / "token").write_text("odd-looking-token")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("MY_API_KEY", "a value/of a key")
    assert redact("odd-looking-token, a%20value%2Fof%20a%20key.") == f"{HIDDEN}, {HIDDEN}."
    assert redact(f"see {tmp_path}/token") == f"see {tmp_path}/token"  # where it lies is no secret


@pytest.mark.parametrize(
    "text",
    ["https://huggingface.co/a/b", "me@example.org", "http://h/a?b=c@d", "TOKENIZERS", "hf_short"],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_an_exceptions_text_in_a_log_and_a_traceback_is_hidden(call, logs, capfd):
    redact_output()
    try:
        raise ValueError(f"{ADDRESS} and {TOKEN}")
    except ValueError as error:
        logging.getLogger("x").exception("it failed with %s", TOKEN)
        sys.excepthook(type(error), error, error.__traceback__)
    said = capfd.readouterr().err
    for text in (logs.getvalue(), said):
        assert f"ValueError: http://{HIDDEN}@mirror and {HIDDEN}" in text
        assert told(text) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"description": f"use {TOKEN}"},
        {
            "task": {
                "dataset_name": f"http://bob:{quote(PASSWORD, safe='')}@h/a",
                "validation_size": 2,
            }
        },
        {"models": [{"name": "m", "model_name_or_path": "a/b", "config": {"x": [TOKEN]}}]},
        {"description": "odd-looking-secret"},
    ],
)
def test_a_recipe_that_holds_a_secret_is_refused(call, write_recipe, monkeypatch, changes):
    monkeypatch.setenv("MY_SECRET", "odd-looking-secret")
    code, said = call("plan", write_recipe(**changes))
    assert code == 2
    assert "holds" in said
    assert "A secret never belongs into a recipe" in said
    assert told(said) == []
    assert "odd-looking" not in said


def test_the_weights_and_records_of_a_comparison_hold_no_token(reach, write_recipe, tmp_path):
    reach("http://127.0.0.1:9")
    recipe = load_recipe(write_recipe(seeds=[0], save_models=True))
    compare(recipe, tmp_path / "results")
    assert told(tmp_path / "results") == []
