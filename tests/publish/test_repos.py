"""What can go wrong between here and the Hub, each with its message; nothing is half-published."""

import socket
import time
from pathlib import Path

import pytest

from hfbench.api import load_tasks
from hfbench.errors import HubError, RecordError, UserError
from hfbench.publish import results
from hfbench.publish.repos import look_at, upload
from hfbench.publish.results import fetch_results

WEIGHTS = b"weights" * 10_000


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "staged"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "README.md").write_text("# m\n")
    (folder / "sub" / "x.yaml").write_text("a: 1\n")
    return folder


@pytest.fixture
def at_once(monkeypatch):
    """The client tries again at once, not after half a minute."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def publish(folder, repo_id="ada/m", stale=(), **options):
    destination = look_at(repo_id, "model", **{"private": None, **options})
    return upload(destination, folder, "publish", list(stale))


def published(hub, repo_id="ada/m", **where):
    return set(hub.files(repo_id, **where)) - {".gitattributes"}


def test_a_push_is_one_commit_of_just_these_files(hub, folder):
    commit = publish(folder)
    assert published(hub) == {"model.safetensors", "README.md", "sub/x.yaml"}
    assert hub.files("ada/m")["model.safetensors"] == WEIGHTS
    assert hub.history("ada/m")[0].title == "publish"
    assert len(hub.history("ada/m")) == 2  # the Hub's own and this
    assert commit.url == f"{hub.endpoint}/ada/m"
    assert look_at("ada/m", "model", private=None).private  # unless said otherwise
    # the same again changes nothing
    assert publish(folder).oid == commit.oid


def test_visibility_is_a_choice_and_stays_what_it_was(hub, folder):
    publish(folder, "ada/open", private=False)
    assert look_at("ada/open", "model", private=None).visibility == "PUBLIC (it exists)"
    assert look_at("ada/new", "model", private=None).visibility == "private (to be created)"
    with pytest.raises(UserError, match="ada/open exists and is public, not private"):
        publish(folder, "ada/open", private=True)


def test_what_an_earlier_push_left_goes_and_what_others_wrote_stays(hub, folder):
    old = {"model-00001-of-00002.safetensors": b"old", "notes.md": b"by hand"}
    hub.add_repo("ada/m", old)
    publish(folder, stale=["model-00001-of-00002.safetensors", "never-there.py"])
    assert published(hub) == {"model.safetensors", "README.md", "sub/x.yaml", "notes.md"}


def test_a_branch_is_made_and_main_stays(hub, folder):
    hub.add_repo("ada/m", {"old": b""})
    publish(folder, revision="try/this")
    assert published(hub) == {"old"}
    assert "model.safetensors" in published(hub, revision="try/this")


def test_to_anothers_repo_a_change_is_proposed(hub, folder):
    hub.add_repo("bob/m", {"old": b""})
    commit = publish(folder, "bob/m", create_pr=True)
    assert "/discussions/1" in commit.url
    assert published(hub, "bob/m") == {"old"}
    assert "model.safetensors" in published(hub, "bob/m", revision=commit.branch)


@pytest.mark.parametrize(
    ("repo_id", "message"),
    [
        ("m", "write it as user/name"),
        ("ada/m/n", "--repo-id 'ada/m/n'"),
        ("ada/..", "--repo-id 'ada/..'"),
        ("ada/a--b", "--repo-id 'ada/a--b'"),
        ("ada/m.git", "--repo-id 'ada/m.git'"),
        ("ada/m\n", "--repo-id 'ada/m"),
        ("ada/" + "m" * 100, "--repo-id 'ada/mmm"),
        ("../../etc", "--repo-id '../../etc'"),
        ("bob/m", "bob/m belongs to 'bob', and you are 'ada' (of lab): take a name of your own"),
    ],
)
def test_a_name_that_cannot_be_is_refused_before_anything(hub, folder, repo_id, message):
    with pytest.raises(UserError) as refusal:
        publish(folder, repo_id)
    assert message in str(refusal.value)
    assert not [entry for entry in hub.log if entry[0] == "POST"]


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "there is no token of the Hub here: log in with `hf auth login`"),
        ("hf_nobodys0000000000000", "does not accept your token"),
        ("hf_readOnly000000000000", "your token may only read: take one that may write"),
    ],
)
def test_a_token_that_does_not_suffice_is_a_clear_error(hub, folder, monkeypatch, token, message):
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UserError) as refusal:
        publish(folder)
    assert message in str(refusal.value)
    assert "hf auth login" in str(refusal.value)
    assert not token or token not in str(refusal.value)
    assert ("model", "ada/m") not in hub.repos


def test_a_token_that_may_not_write_here_is_a_clear_error(hub, folder, faults):
    said = "you don't have the rights to create a model under this namespace"
    hub.faults.append(faults.Fault("POST", "/api/repos/create", faults.Refusal(403, said)))
    with pytest.raises(UserError, match=r"may not write here \(.*rights to create.*hf auth login"):
        publish(folder)


def test_without_a_network_it_says_so(hub, folder, reach, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    reach(f"http://127.0.0.1:{port}")
    with pytest.raises(HubError, match=rf"http://127.0.0.1:{port} cannot be reached"):
        publish(folder)
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        publish(folder)


def test_a_rate_limit_says_when(hub, folder, faults):
    hub.faults.append(faults.Fault("POST", "/commit/", faults.limit(120)))
    with pytest.raises(HubError, match="rate limit is reached; run the same command in 120 sec"):
        publish(folder)
    assert published(hub) == set()
    publish(folder)
    assert "model.safetensors" in published(hub)


def test_a_rate_limit_on_the_way_is_waited_for(hub, folder, faults, at_once):
    hub.faults.append(faults.Fault("POST", "/preupload/", faults.limit(1), times=2))
    publish(folder)
    assert "model.safetensors" in published(hub)


def test_a_commit_that_came_in_between_is_not_overwritten(hub, folder, faults):
    hub.add_repo("ada/m", {"README.md": b"# theirs\n"})
    commit = lambda: hub.commit("ada/m", {"README.md": b"# newer\n"})  # noqa: E731
    hub.faults.append(faults.Fault("POST", "/preupload/", commit))
    with pytest.raises(HubError, match="was changed by somebody else meanwhile"):
        publish(folder)
    assert hub.files("ada/m")["README.md"] == b"# newer\n"
    publish(folder)
    assert hub.files("ada/m")["README.md"] == b"# m\n"


def test_a_server_that_dies_half_way_leaves_nothing_and_a_second_push_completes(
    hub, folder, faults, at_once
):
    hub.faults.append(faults.Fault("PUT", "/", "kill"))
    with pytest.raises(HubError, match=r"cannot be reached.*Nothing is half-published"):
        publish(folder)
    assert published(hub) == set()
    with faults.HubStandIn(port=hub.port, state=hub.state) as again:
        publish(folder)
        assert published(again) == {"model.safetensors", "README.md", "sub/x.yaml"}


def test_an_answer_that_is_lost_may_be_asked_for_again(hub, folder, faults):
    hub.faults.append(faults.Fault("POST", "/commit/", "lose"))
    with pytest.raises(HubError, match="run the same command again"):
        publish(folder)
    publish(folder)
    assert len(hub.history("ada/m")) == 2  # the commit had arrived, and there is no second


def test_a_problem_of_the_hubs_own_is_said_to_be_one(hub, folder, faults):
    hub.faults.append(faults.Fault("POST", "/commit/", faults.Refusal(503, "Maintenance")))
    with pytest.raises(HubError, match=r"problem of its own.*Maintenance"):
        publish(folder)
    assert published(hub) == set()


@pytest.mark.parametrize(
    "name",
    ["records/../../../evil.json", "records//etc/evil.json", r"records\..\..\evil.json"],
)
def test_a_hub_that_names_files_elsewhere_writes_nothing_there(hub, tmp_path, name):
    """Git has no such names; a server that means ill may give them."""
    hub.add_repo("ada/r", {name: b"{}", "records/a.json": b"{}"}, "dataset")
    folder = tmp_path / "a" / "b" / "c"
    with pytest.raises(HubError, match="is not a file in it"):
        fetch_results("hf://datasets/ada/r", folder)
    outside = [path for path in tmp_path.rglob("evil.json") if folder not in path.parents]
    assert outside == []
    assert not Path("/etc/evil.json").exists()


def test_what_is_wrong_with_a_file_of_the_hub_is_said_of_its_address(hub):
    hub.add_repo("ada/r", {"records/a--seed0.json": b"{"}, "dataset")
    with pytest.raises(RecordError) as refusal:
        load_tasks("hf://datasets/ada/r")
    assert str(refusal.value).startswith("hf://datasets/ada/r/records/a--seed0.json: ")


def test_results_that_are_too_large_are_not_fetched_unseen(hub, tmp_path, monkeypatch):
    hub.add_repo("ada/r", {"records/a.json": b"{}" * 50, "models/large.bin": b"0" * 999}, "dataset")
    fetch_results("hf://datasets/ada/r", tmp_path / "a")
    for limit, value in (("_MOST_FILES", 0), ("_MOST_BYTES", 99)):
        with monkeypatch.context() as patch:
            patch.setattr(results, limit, value)
            with pytest.raises(HubError) as refusal:
                fetch_results("hf://datasets/ada/r", tmp_path / limit)
        assert "1 files with 100 bytes, and at most" in str(refusal.value)
        assert not (tmp_path / limit).exists()
