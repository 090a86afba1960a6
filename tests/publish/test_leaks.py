"""Nothing private goes up: planted anywhere, it is found, and the secret itself is not told."""

import getpass
import socket
from pathlib import Path

import pytest

from hfbench.errors import UserError
from hfbench.publish.leaks import find_leaks, refuse_leaks, shorten_paths
from hfbench.records.record_file import load_record

TOKEN = "hf_" + "PlantedToken0123456789abcdefghij"


@pytest.fixture
def record(tmp_path, write_record):
    write_record(tmp_path, "m", 0, [True] * 4)
    return load_record(tmp_path / "records" / "m--seed0.json")


@pytest.mark.parametrize(
    ("text", "shortened"),
    [
        ("/home/alice/reviews.csv", "…/reviews.csv"),
        ("/home/alice smith/my reviews.csv", "…/my reviews.csv"),
        ("~/data/reviews.csv", "…/reviews.csv"),
        (r"C:\Users\alice\reviews.csv", "…/reviews.csv"),
        ("no file '/scratch/alice/a.csv', and no other", "no file '…/a.csv', and no other"),
        ("open /opt/x/y (errno 2)", "open …/y (errno 2)"),
        ("https://huggingface.co/a/b", "https://huggingface.co/a/b"),
        ("nyu-mll/glue", "nyu-mll/glue"),
        ("data/reviews.csv", "data/reviews.csv"),
        ("1/2 and/or x / y", "1/2 and/or x / y"),
    ],
)
def test_absolute_paths_are_shortened_and_nothing_else(record, text, shortened):
    planted = record.model_copy(update={"settings": {"models": [{"x": [text]}]}})
    assert shorten_paths(planted).settings == {"models": [{"x": [shortened]}]}


def test_a_mirrors_address_is_not_told(record):
    for endpoint, told in [
        ("http://hub.corp.example:8080", "a mirror of the Hub"),
        ("https://huggingface.co", "https://huggingface.co"),
    ]:
        environment = {**record.environment, "hub_endpoint": endpoint}
        planted = record.model_copy(update={"environment": environment})
        assert shorten_paths(planted).environment["hub_endpoint"] == told


def test_a_record_without_paths_stays_as_it_is(record):
    assert shorten_paths(record) == record


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "README.md", "a/b.json"])
@pytest.mark.parametrize(
    ("secret", "what"),
    [
        (TOKEN, "a Hugging Face token"),
        ("ghp_" + "a1" * 18, "a GitHub token"),
        ("AKIA" + "ABCDEFGH12345678", "an AWS key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("planted-value-of-a-variable", "the value of the environment variable MY_API_KEY"),
    ],
)
def test_a_token_is_found_in_the_bytes_of_any_file(tmp_path, monkeypatch, name, secret, what):
    monkeypatch.setenv("MY_API_KEY", "planted-value-of-a-variable")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x00\xff harmless " + secret.encode() + b" \x00")
    with pytest.raises(UserError) as refusal:
        refuse_leaks(tmp_path, "user/name")
    assert f"{name}: {what}" in str(refusal.value)
    assert secret not in str(refusal.value)


def test_the_token_in_use_is_found_whatever_it_looks_like(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "odd-looking-token")
    path = tmp_path / "config.json"
    path.write_text('{"x": "odd-looking-token"}')
    assert list(find_leaks(path, "u/n")) == ["the value of your Hugging Face token"]


@pytest.mark.parametrize(
    "planted", ["/home/alice/x", "/Users/alice/x", "/scratch/jobs/x", str(Path.cwd() / "x")]
)
def test_a_path_is_found(tmp_path, planted):
    path = tmp_path / "config.json"
    path.write_text(f'{{"_name_or_path": "{planted}"}}')
    assert any(leak.startswith("the path ") for leak in find_leaks(path, "u/n"))


def test_names_are_found_where_they_are_no_word_of_a_vocabulary(tmp_path, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "alicex")
    monkeypatch.setattr(socket, "gethostname", lambda: "node-17.corp")
    text = '{"by": "alicex", "on": "node-17"}'
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text(text)
    found = list(find_leaks(tmp_path / "config.json", "u/n"))
    assert found == ["this machine's name (node-17)", "your user name (alicex)"]
    assert list(find_leaks(tmp_path / "tokenizer.json", "u/n")) == []
    # who publishes under that name tells it anyway
    assert "your user name (alicex)" not in list(find_leaks(tmp_path / "config.json", "alicex/n"))


def test_what_is_clean_passes(tmp_path):
    (tmp_path / "README.md").write_text("See https://huggingface.co/a/b and/or data/x.csv, 1/2.\n")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 64)
    refuse_leaks(tmp_path, "user/name")
