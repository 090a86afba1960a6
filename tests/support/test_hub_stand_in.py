"""The stand-in, as the real client sees it; its process is another, as this one is offline."""

import http.client
import json
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from support import hub_stand_in as stand_in
from support.hub_stand_in import Account, Fault, HubStandIn

TOKENS = {
    "ada": Account("ada", orgs=("lab",)),
    "reader": Account("ada", role="read"),
    "bob": Account("bob"),
}
WEIGHTS = b"weights" * 50_000
CLIENT = """
import json
from pathlib import Path
from huggingface_hub import CommitOperationAdd as Add, CommitOperationDelete as Delete, HfApi
from huggingface_hub.errors import HfHubHTTPError

WEIGHTS = b"weights" * 50_000
said = {}
api, reader, bob = HfApi(), HfApi(token="reader"), HfApi(token="bob")
nobody, wrong = HfApi(token=False), HfApi(token="wrong")

def error(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except HfHubHTTPError as refusal:
        return [type(refusal).__name__, refusal.response.status_code, refusal.server_message]
    except Exception as other:
        return [type(other).__name__]
"""
PUBLISH = """
said["me"] = api.whoami()
said["url"] = api.create_repo("ada/m", private=True)
said["exists"] = error(api.create_repo, "ada/m")
api.create_repo("ada/m", exist_ok=True)
api.create_repo("lab/space", repo_type="space", space_sdk="static")
start = api.model_info("ada/m").sha
files = [Add("model.safetensors", WEIGHTS), Add("README.md", b"# m"), Add("a/b/c.txt", b"c")]
said["commit"] = api.create_commit("ada/m", files, commit_message="all", parent_commit=start).oid
said["stale"] = error(
    api.create_commit, "ada/m", [Add("new", b"")], commit_message="late", parent_commit=start
)
said["unchanged"] = api.upload_file(
    repo_id="ada/m", path_in_repo="model.safetensors", path_or_fileobj=WEIGHTS
).oid

info = api.model_info("ada/m", files_metadata=True)
said["info"] = [info.sha, info.private, info.gated]
said["siblings"] = {s.rfilename: [s.size, bool(s.lfs)] for s in info.siblings}
folder = Path(api.snapshot_download("ada/m"))
said["downloaded"] = {
    p.relative_to(folder).as_posix(): p.read_bytes() == WEIGHTS or p.read_text()
    for p in folder.rglob("*") if p.is_file()
}
said["missing"] = error(api.hf_hub_download, "ada/m", "none.txt")
said["folder"] = [e.path for e in api.list_repo_tree("ada/m", "a")]
said["paths"] = [e.path for e in api.get_paths_info("ada/m", ["README.md", "a", "none"])]

api.create_branch("ada/m", branch="try/this")
api.create_tag("ada/m", tag="v1")
gone = [Delete("a/"), Delete("README.md")]
said["less"] = api.create_commit("ada/m", gone, commit_message="-", revision="try/this").oid
said["half"] = error(
    api.create_commit, "ada/m", [Add("new", b""), Delete("none")], commit_message="x"
)

said["reads only"] = error(
    reader.upload_file, repo_id="ada/m", path_in_repo="x", path_or_fileobj=b"x"
)
said["creates nothing"] = error(reader.create_repo, "ada/n")
said["another's name"] = error(bob.create_repo, "ada/bobs")
said["another's repo"] = error(
    bob.upload_file, repo_id="lab/open", path_in_repo="x", path_or_fileobj=b"x"
)
said["private"] = [error(who.model_info, "ada/m") for who in (reader, bob, nobody)]
said["gated"] = [  # whoever may comes last: after that it is in the cache
    error(who.hf_hub_download, "lab/gated", "x.bin") for who in (bob, nobody, api)
]
said["unknown"] = [error(wrong.model_info, "lab/open"), error(wrong.whoami)]

pr = bob.create_commit(
    "lab/open", [Add("w.bin", WEIGHTS)], commit_message="have mine", create_pr=True
)
said["pr"] = [pr.pr_url, pr.pr_revision, pr.oid]
refs = api.list_repo_refs("lab/open", include_pull_requests=True)
said["pr refs"] = [r.ref for r in refs.branches + refs.pull_requests]
print(json.dumps(said))
"""
MISFORTUNES = """
def upload(path, data=WEIGHTS):
    return error(api.upload_file, repo_id="ada/m", path_in_repo=path, path_or_fileobj=data)

said["busy and dropped"] = upload("first.bin")
head = api.model_info("ada/m").sha
said["in between"] = error(
    api.create_commit, "ada/m", [Add("mine", b"")], commit_message="m", parent_commit=head
)
said["lost"] = upload("lost.txt", b"")
said["corrupt"] = Path(api.hf_hub_download("ada/m", "first.bin")).read_bytes() == WEIGHTS
said["killed"] = upload("second.bin", WEIGHTS + b"2")
said["dead"] = error(api.whoami)
print(json.dumps(said))
"""
AGAIN = """
api.upload_file(repo_id="ada/m", path_in_repo="second.bin", path_or_fileobj=WEIGHTS + b"2")
print(json.dumps(said))
"""


def run_client(hub, script, home):
    env = stand_in.client_env(hub, "ada", home)
    command = [sys.executable, "-c", CLIENT + script]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A hub after one client did a bit of everything, and what the client says of it."""
    with HubStandIn(TOKENS) as hub:
        hub.add_repo("lab/open", {"README.md": b""})
        hub.add_repo("lab/gated", {"x.bin": b"x"}, gated=True)
        yield SimpleNamespace(hub=hub, said=run_client(hub, PUBLISH, tmp_path_factory.mktemp("a")))


def test_what_is_committed_is_listed_and_downloaded(published):
    hub, said = published.hub, published.said
    assert said["me"]["name"] == "ada"
    assert said["me"]["orgs"][0]["name"] == "lab"
    assert said["me"]["auth"]["accessToken"]["role"] == "write"
    assert said["url"] == f"{hub.endpoint}/ada/m"
    assert said["exists"][:2] == ["HfHubHTTPError", 409]
    files = hub.files("ada/m")
    assert files == {
        ".gitattributes": files[".gitattributes"], "README.md": b"# m", "a/b/c.txt": b"c",
        "model.safetensors": WEIGHTS,
    }  # fmt: skip
    assert said["info"] == [said["commit"], True, False]
    assert said["siblings"] == {p: [len(files[p]), p == "model.safetensors"] for p in files}
    assert said["downloaded"] == {p: b == WEIGHTS or b.decode() for p, b in files.items()}
    assert said["missing"][:2] == ["RemoteEntryNotFoundError", 404]
    assert (said["folder"], said["paths"]) == (["a/b"], ["README.md", "a"])
    assert "README.md" in hub.files("lab/space", "space")


def test_a_commit_is_all_or_nothing_and_onto_what_it_names(published):
    hub, said = published.hub, published.said
    assert said["stale"][:2] == ["HfHubHTTPError", 412]
    assert said["half"][:2] == ["RemoteEntryNotFoundError", 404]
    assert said["unchanged"] == said["commit"]
    assert [c.title for c in hub.history("ada/m")] == ["all", "initial commit"]
    new, first = hub.history("ada/m")
    assert (new.sha, new.parent, new.author) == (said["commit"], first.sha, "ada")
    assert set(hub.files("ada/m", revision="try/this")) == {".gitattributes", "model.safetensors"}
    assert hub.history("ada/m", revision="try/this")[0].sha == said["less"]
    assert hub.files("ada/m", revision="v1") == hub.files("ada/m")
    assert len([path for method, path, _ in hub.log if method == "PUT"]) == 2  # ada's and bob's


def test_who_may_not_is_refused_in_the_hubs_words(published):
    hub, said = published.hub, published.said
    write_token = "Forbidden: you must use a write token to upload to a repository."
    assert said["reads only"] == ["HfHubHTTPError", 403, write_token]
    namespace = 'You don\'t have the rights to create a model under the namespace "ada"'
    refused = ["HfHubHTTPError", 403, namespace]
    assert said["creates nothing"] == said["another's name"] == refused
    assert said["another's repo"][1] == 403
    assert "create_pr=1" in said["another's repo"][2]
    assert said["private"][0] is None
    kinds = [kind[:2] for kind in said["private"][1:]]
    assert kinds == [["RepositoryNotFoundError", 404], ["RepositoryNotFoundError", 401]]
    kinds = [kind[:2] for kind in said["gated"][:2]]
    assert kinds == [["GatedRepoError", 403], ["GatedRepoError", 401]]
    assert said["gated"][2] is None
    assert [kind[1] for kind in said["unknown"]] == [401, 401]
    assert {repo_id for _, repo_id in hub.repos} == {"ada/m", "lab/space", "lab/open", "lab/gated"}


def test_a_pull_request_is_a_branch_of_its_own(published):
    hub, said = published.hub, published.said
    url, revision, oid = said["pr"]
    assert (url, revision) == (f"{hub.endpoint}/lab/open/discussions/1", "refs/pr/1")
    assert said["pr refs"] == ["refs/heads/main", "refs/pr/1"]
    assert "w.bin" not in hub.files("lab/open")
    assert hub.files("lab/open", revision=revision)["w.bin"] == WEIGHTS
    change, base = hub.history("lab/open", revision=revision)[:2]
    assert (change.sha, change.author, base) == (oid, "bob", hub.history("lab/open")[0])


def test_faults_come_in_order_and_a_new_server_goes_on_with_what_there_was(tmp_path):
    with HubStandIn(TOKENS) as hub:
        hub.add_repo("ada/m", {})
        busy = stand_in.Refusal(429, "Too Many Requests", headers={"Retry-After": "0"})
        hub.faults += [
            Fault("POST", "/lfs/objects/batch$", busy),
            Fault("PUT", "/upload/", "drop"),
            Fault("POST", "/commit/main", lambda: None),  # the first goes well
            Fault("POST", "/commit/main", lambda: hub.commit("ada/m", {"theirs": b"t"})),
            Fault("POST", "/commit/main", "lose"),
            Fault("GET", r"/resolve/.*/first\.bin$", "corrupt"),
            Fault("POST", "/commit/main", "kill"),
        ]
        said = run_client(hub, MISFORTUNES, tmp_path)
    assert said["busy and dropped"] is None
    assert [status for _, path, status in hub.log if path.endswith("/batch")] == [429, 200, 200]
    assert [status for method, _, status in hub.log if method == "PUT"] == [0, 200, 200]
    assert said["in between"][:2] == ["HfHubHTTPError", 412]
    assert said["lost"] == said["killed"] == ["RemoteProtocolError"]
    assert said["corrupt"] is False
    assert said["dead"] == ["ConnectError"]
    assert [fault.times for fault in hub.faults] == [0] * 7
    assert set(hub.files("ada/m")) == {".gitattributes", "first.bin", "theirs", "lost.txt"}

    with HubStandIn(port=hub.port, state=hub.state) as second:
        assert second.endpoint == hub.endpoint
        run_client(second, AGAIN, tmp_path)
    assert second.files("ada/m")["second.bin"] == WEIGHTS + b"2"
    assert not [path for method, path, _ in second.log if method == "PUT"]  # it had arrived


def test_a_stopped_server_hangs_up_on_open_connections():
    with HubStandIn() as hub:
        connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=10)
        connection.request("POST", "/api/validate-yaml", b"{}")
        assert connection.getresponse().read()
        hub.stop()
        assert connection.sock.recv(1) == b""


def test_half_a_request_does_nothing():
    with HubStandIn() as hub, socket.create_connection(("127.0.0.1", hub.port)) as connection:
        connection.sendall(b"POST /api/validate-yaml HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
        assert hub.log == []
