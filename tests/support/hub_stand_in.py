"""A small Hugging Face Hub for the tests: in this process, on loopback, failing where told to.

    with HubStandIn({"token": Account("ada")}) as hub:
        hub.add_repo("ada/model", {"config.json": b"{}"})
        hub.faults.append(Fault("POST", "/commit/", Refusal(500, "Internal Error")))
        subprocess.run([...], env=client_env(hub, "token", tmp_path))

It speaks what huggingface_hub 2 uses to create repos, to commit regular and LFS files, to list and
to download. Statuses, messages and headers are the Hub's where the client or a user reads them.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".parquet", ".bin")
LFS_ABOVE = 10 * 1000**2  # bytes


class Answer(NamedTuple):
    data: bytes
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 (never changed)


class Refusal(Exception):  # noqa: N818 (an answer like others, but for its status)
    """An answer other than success; the client tells its errors apart by ``code``."""

    def __init__(self, status, message, code="", headers=None, **body):
        super().__init__(message)
        said = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        data = json.dumps({"error": message, **body}).encode()
        self.answer = Answer(data, status, said | (headers or {}))


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that fit.

    The action is a `Refusal` (the answer); or ``"drop"`` (the connection, before the request does
    anything), ``"lose"`` (the connection, after it did), ``"kill"`` (the server), ``"corrupt"``
    (one byte of the answer); or a function, called before the request does anything.
    """

    method: str
    path_pattern: str
    """Searched for in path and query, as they are quoted."""
    action: Refusal | str | Callable[[], object]
    times: int = 1


class Account(NamedTuple):
    """Who a token belongs to, and what it may do."""

    name: str
    orgs: tuple[str, ...] = ()
    role: str = "write"  # of the token; or read, or fineGrained

    def owns(self, repo_id):
        return repo_id.split("/")[0] in (self.name, *self.orgs)

    def may_write(self, repo_id):
        return self.role != "read" and self.owns(repo_id)


class File:
    def __init__(self, data, lfs):
        self.data, self.lfs, self.sha256 = data, lfs, hashlib.sha256(data).hexdigest()
        head = "version https://git-lfs.github.com/spec/v1"
        pointer = f"{head}\noid sha256:{self.sha256}\nsize {len(data)}\n".encode()
        blob = pointer if lfs else data
        self.oid = _sha1(b"blob %d\0" % len(blob) + blob)
        self.facts = {"size": len(data), "oid": self.oid, "blobId": self.oid}
        if lfs:
            sizes = {"size": len(data), "pointerSize": len(pointer)}
            self.facts["lfs"] = {"oid": self.sha256, "sha256": self.sha256, **sizes}


class Commit(NamedTuple):
    sha: str
    parent: str | None
    title: str
    author: str
    files: dict[str, File]
    date: str


@dataclass
class Repo:
    id: str
    type: str
    private: bool = False
    gated: str | bool = False  # or auto, or manual
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)  # by full names, as refs/heads/main
    uploads: dict[str, bytes] = field(default_factory=dict)
    """LFS files by their sha256, whether or not a commit has them."""

    def resolve(self, revision):
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if ref in self.refs:
                return self.refs[ref]
        if revision in self.commits:
            return revision
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def at(self, revision):
        return self.commits[self.resolve(revision)].files

    def commit(self, ref, parent, files, title, author):
        """A new commit, to which ``ref`` then points."""
        oids = sorted((path, file.oid) for path, file in files.items())
        content = (self.type, self.id, parent, title, len(self.commits), oids)
        sha = _sha1(repr(content).encode())
        date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.commits[sha] = Commit(sha, parent, title, author, files, date)
        self.refs[ref] = sha
        return sha

    def history(self, revision):
        commits = [self.commits[self.resolve(revision)]]
        while commits[-1].parent:
            commits.append(self.commits[commits[-1].parent])
        return commits

    def refs_below(self, start):
        below = {ref: sha for ref, sha in self.refs.items() if ref.startswith(start)}
        return [{"name": r[len(start) :], "ref": r, "targetCommit": s} for r, s in below.items()]


class HubStandIn:
    """The server, as a context manager, and the tests' view of what it holds.

    Args:
        tokens: the accounts, by their tokens.
        port: 0 for any; the one of a stopped stand-in keeps its endpoint.
        state: of a stopped stand-in, to go on with.
    """

    def __init__(self, tokens=None, *, port=0, state=None):
        self.state = state or State()
        self.tokens, self.repos = self.state.tokens, self.state.repos
        self.tokens.update(tokens or {})
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str, int]] = []
        """Method, path with query, and status: 0 where the connection was dropped."""
        self.connections: list[socket.socket] = []
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.hub = self
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Answer nothing any more, not on open connections either."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def add_repo(self, repo_id, files, repo_type="model", *, private=False, gated=False):
        """A repo as the Hub makes it, with ``files`` in a second commit, whose sha it gives."""
        with self.state.lock:
            self.state.add(Repo(repo_id, repo_type, private, "auto" if gated is True else gated))
            return self.commit(repo_id, files, repo_type, title="the test's own")

    def commit(
        self, repo_id, files, repo_type="model", *, revision="main", delete=(), title="another's"
    ):
        """Commit without a client, as somebody else would; gives the sha."""
        with self.state.lock:
            repo, ref = self.repos[repo_type, repo_id], f"refs/heads/{revision}"
            new = {path: File(data, _is_lfs(path, len(data))) for path, data in files.items()}
            old = {path: file for path, file in repo.at(ref).items() if path not in delete}
            repo.uploads |= {file.sha256: file.data for file in new.values() if file.lfs}
            return repo.commit(ref, repo.refs[ref], old | new, title, repo_id.split("/")[0])

    def files(self, repo_id, repo_type="model", revision="main"):
        """The bytes of every file, by its path."""
        with self.state.lock:
            at = self.repos[repo_type, repo_id].at(revision)
            return {path: at[path].data for path in sorted(at)}

    def history(self, repo_id, repo_type="model", revision="main"):
        """The commits, the newest first; the last one is the Hub's own."""
        with self.state.lock:
            return self.repos[repo_type, repo_id].history(revision)

    def next_fault(self, method, path):
        with self.state.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path_pattern, path):
                    fault.times -= 1
                    return fault.action
        return None


def client_env(hub, token, home):
    """The environment of a process whose Hub is ``hub`` and whose caches are in ``home``."""
    other = ("HF_", "HUGGING", "TRANSFORMERS_OFFLINE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(other)}
    kept |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    kept |= {"OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    return kept | ({"HF_TOKEN": token} if token else {})


class State:
    """What the Hub knows, and a method a route; `lock` is held while one runs."""

    def __init__(self):
        self.tokens: dict[str, Account] = {}
        self.repos: dict[tuple[str, str], Repo] = {}
        """By type and id."""
        self.lock = threading.RLock()

    def answer(self, request, url):
        for methods, pattern, name in _ROUTES:
            found = re.fullmatch(pattern, url)
            if found and request.command in methods.split():
                named = {key: unquote(value) for key, value in found.groupdict("").items()}
                if "repo_id" in named:
                    kind, repo_id = named.pop("kind") or "model", named.pop("repo_id")
                    named["repo"] = self._visible(request.account, kind, repo_id)
                return getattr(self, name)(request, **named)
        raise Refusal(404, f"the stand-in has no {request.command} {url}")

    def add(self, repo):
        files = {".gitattributes": "".join(f"*{s} filter=lfs -text\n" for s in LFS_SUFFIXES)}
        if repo.type == "space":
            files["README.md"] = f"---\ntitle: {repo.id}\nsdk: {repo.sdk or 'static'}\n---\n"
        first = {path: File(text.encode(), lfs=False) for path, text in files.items()}
        repo.commit("refs/heads/main", None, first, "initial commit", "system")
        self.repos[repo.type, repo.id] = repo

    def _visible(self, account, kind, repo_id):
        repo = self.repos.get((kind, repo_id))
        if repo and (not repo.private or self._may_read(account, repo)):
            return repo
        if account is None:
            raise Refusal(401, "Invalid username or password.", "RepoNotFound")
        raise Refusal(404, "Repository not found", "RepoNotFound")

    def _may_read(self, account, repo):
        return account is not None and account.owns(repo.id)

    def _check_writer(self, request, repo, *, as_pr=False):
        account = request.user()
        if account.role == "read":
            raise Refusal(403, "Forbidden: you must use a write token to upload to a repository.")
        if not account.may_write(repo.id) and not as_pr:
            message = "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request"
            raise Refusal(403, message)
        return account

    def whoami(self, request):
        account = request.user()
        orgs = [{"type": "org", "name": org, "roleInOrg": "write"} for org in account.orgs]
        auth = {"type": "access_token", "accessToken": {"role": account.role}}
        return {"type": "user", "name": account.name, "orgs": orgs, "auth": auth}

    def validate_yaml(self, request):
        return {"errors": [], "warnings": []}

    def create(self, request):
        asked, account = request.json(), request.user()
        owner, kind = asked.get("organization") or account.name, asked.get("type", "model")
        repo = Repo(f"{owner}/{asked['name']}", kind, sdk=asked.get("sdk"))
        repo.private = asked.get("visibility") == "private" or bool(asked.get("private"))
        if not account.may_write(repo.id):
            message = f"You don't have the rights to create a {kind} under the namespace"
            raise Refusal(403, f'{message} "{owner}"')
        if (kind, repo.id) in self.repos:
            message = f"You already created this {kind} repo"
            raise Refusal(409, message, url=request.url(repo), name=repo.id)
        self.add(repo)
        return {"url": request.url(repo), "name": repo.id, "id": repo.id}

    def info(self, request, repo, revision="main"):
        commit = repo.commits[repo.resolve(revision)]
        facts = {"id": repo.id, "author": repo.id.split("/")[0], "sha": commit.sha}
        facts |= {"private": repo.private, "gated": repo.gated, "disabled": False, "sdk": repo.sdk}
        facts |= {"downloads": 0, "likes": 0, "tags": [], "lastModified": commit.date}
        blobs = "blobs" in request.query
        facts["siblings"] = [
            {"rfilename": path, **(file.facts if blobs else {})}
            for path, file in sorted(commit.files.items())
        ]
        return facts

    def refs(self, request, repo):
        lists = {"branches": "refs/heads/", "tags": "refs/tags/", "converts": "refs/convert/"}
        lists |= {"pullRequests": "refs/pr/"} if request.asks("include_prs") else {}
        return {name: repo.refs_below(start) for name, start in lists.items()}

    def tree(self, request, repo, revision, path):
        below, deep = f"{path}/" if path else "", request.asks("recursive")
        rows = [row for name, row in _listing(repo.at(revision)) if name.startswith(below)]
        if path and not rows:
            raise Refusal(404, f'{path} does not exist on "{revision}"', "EntryNotFound")
        return [row for row in rows if deep or "/" not in row["path"][len(below) :]]

    def paths_info(self, request, repo, revision):
        asked = parse_qs(request.body.decode()).get("paths", [])
        return [row for name, row in _listing(repo.at(revision)) if name in asked]

    def resolve(self, request, repo, revision, path):
        if repo.gated and not self._may_read(request.account, repo):
            message = f"Access to {repo.type} {repo.id} is restricted"
            raise Refusal(403 if request.account else 401, message, "GatedRepo")
        sha = repo.resolve(revision)
        file, headers = repo.at(sha).get(path), {"X-Repo-Commit": sha}
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", headers)
        headers |= {"ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
        # the Hub redirects to another host for LFS files, with these headers; on one host the
        # client would follow, and lose X-Repo-Commit
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.data))}
        return _part(file.data, request.headers.get("Range", ""), headers)

    def branch(self, request, repo, name):
        start = request.json().get("startingPoint", "main")
        return self._add_ref(request, repo, f"refs/heads/{name}", start)

    def tag(self, request, repo, revision):
        return self._add_ref(request, repo, f"refs/tags/{request.json()['tag']}", revision)

    def _add_ref(self, request, repo, ref, start):
        self._check_writer(request, repo)
        if ref in repo.refs:
            raise Refusal(409, f"Reference already exists: {ref}")
        repo.refs[ref] = repo.resolve(start)
        return {}

    def preupload(self, request, repo, revision):
        self._check_writer(request, repo, as_pr=request.asks("create_pr"))
        there, modes = repo.at(revision), []
        for asked in request.json()["files"]:
            lfs, old = _is_lfs(asked["path"], asked["size"]), there.get(asked["path"])
            mode = {"uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            mode["oid"] = old and (old.sha256 if lfs else old.oid)
            modes.append({"path": asked["path"], **mode})
        return {"files": modes}

    def lfs_batch(self, request, repo):
        asked, objects = request.json(), []
        # for a pull request the client names no branch here
        self._check_writer(request, repo, as_pr="ref" not in asked)
        for wanted in asked["objects"]:
            link = {"href": f"{request.endpoint}/upload/{repo.type}/{repo.id}/{wanted['oid']}"}
            actions = {"actions": {"upload": link}}
            objects.append(wanted | ({} if wanted["oid"] in repo.uploads else actions))
        return {"transfer": "basic", "objects": objects}

    def lfs_put(self, request, kind_, of, oid):
        """No token comes with it: the Hub signs such an address."""
        if hashlib.sha256(request.body).hexdigest() != oid:
            raise Refusal(400, "the sha256 does not match")
        self.repos[kind_, of].uploads[oid] = request.body
        return {}

    def commit(self, request, repo, revision):
        as_pr = request.asks("create_pr")
        account = self._check_writer(request, repo, as_pr=as_pr)
        header, *changes = [json.loads(line) for line in request.body.splitlines()]
        title, wanted = header["value"]["summary"], header["value"].get("parentCommit")
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        parent = repo.resolve(ref)
        if as_pr:  # it may start from any commit
            ref = f"refs/pr/{1 + len(repo.refs_below('refs/pr/'))}"
            parent = repo.resolve(wanted or parent)
        elif wanted not in (None, parent):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.at(parent))
        for change in changes:
            _apply(files, repo.uploads, change["key"], **change["value"])
        sha, url = repo.commit(ref, parent, files, title, account.name), request.url(repo)
        discussion = {"pullRequestUrl": f"{url}/discussions/{ref.split('/')[-1]}"} if as_pr else {}
        return {"commitOid": sha, "commitUrl": f"{url}/commit/{sha}", **discussion}


_ID, _REVISION = r"(?P<repo_id>[^/]+(?:/[^/]+)??)", r"(?P<revision>[^/]+)"
_REPO, _PAGE = rf"/api/(?P<kind>\w+)s/{_ID}", rf"/(?:(?P<kind>dataset|space)s/)?{_ID}"
_ROUTES = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/validate-yaml", "validate_yaml"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", rf"{_REPO}/branch/(?P<name>[^/]+)", "branch"),
    ("POST", rf"{_REPO}/tag/{_REVISION}", "tag"),
    ("POST", rf"{_REPO}/preupload/{_REVISION}", "preupload"),
    ("POST", rf"{_REPO}/commit/{_REVISION}", "commit"),
    ("POST", rf"{_PAGE}\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/upload/(?P<kind_>\w+)/(?P<of>.+)/(?P<oid>\w+)", "lfs_put"),
    ("GET", rf"{_REPO}/refs", "refs"),
    ("GET", rf"{_REPO}/tree/{_REVISION}(?:/(?P<path>.+))?", "tree"),
    ("POST", rf"{_REPO}/paths-info/{_REVISION}", "paths_info"),
    ("GET HEAD", rf"{_REPO}/revision/{_REVISION}", "info"),
    ("GET HEAD", rf"{_PAGE}/resolve/{_REVISION}/(?P<path>.+)", "resolve"),
    ("GET HEAD", _REPO, "info"),
]


def _apply(files, uploads, key, path, content=None, oid=None, **_):
    """Change ``files`` as one line of a commit says."""
    if key == "file":
        files[path] = File(base64.b64decode(content), lfs=False)
    elif key == "lfsFile":
        if oid not in uploads:
            raise Refusal(400, "LFS pointer pointed to a file that does not exist")
        files[path] = File(uploads[oid], lfs=True)
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
    elif key == "deletedFolder":
        for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
            del files[name]


def _is_lfs(path, size):
    return path.endswith(LFS_SUFFIXES) or size > LFS_ABOVE


def _listing(files):
    """Every folder and file, with what the Hub says of it."""
    folders = {str(f) for path in files for f in PurePosixPath(path).parents} - {"."}
    rows = {f: {"type": "directory", "path": f, "oid": _sha1(f.encode())} for f in folders}
    rows |= {path: {"type": "file", "path": path, **file.facts} for path, file in files.items()}
    return sorted(rows.items())


def _sha1(data):
    return hashlib.sha1(data).hexdigest()


def _part(data, wanted, headers):
    """Of ``data``, what the Range header ``wanted`` asks for."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    if not found:
        return Answer(data, headers=headers)
    start, end = int(found[1]), int(found[2] or len(data) - 1) + 1
    if start >= len(data):
        raise Refusal(416, "Range not satisfiable", "", {"Content-Range": f"bytes */{len(data)}"})
    part = data[start:end]
    headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
    return Answer(part, 206, headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def process_request(self, connection, address):
        self.hub.connections.append(connection)
        super().process_request(connection, address)

    def handle_error(self, *_):
        """A client that went away is nobody's error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets

    def log_message(self, *_):
        """The tests have ``hub.log``."""

    def handle_request(self):
        hub, size = self.server.hub, int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        if len(body) < size:  # the client went away: what it began to say is not done
            self.close_connection = True
            return
        action = hub.next_fault(self.command, self.path)
        if action == "kill":
            hub.stop()
        try:
            answer = None if action in ("kill", "drop") else self._answer(body, action)
        except Refusal as refusal:
            answer = refusal.answer
        except Exception as error:  # the stand-in's own: the client would wait for ever
            answer = Refusal(500, repr(error)).answer
        self._send(None if action == "lose" else answer)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    def _answer(self, body, action):
        if isinstance(action, Refusal):
            raise action
        if callable(action):
            action()
        state, url = self.server.hub.state, urlsplit(self.path)
        self.body, self.query = body, parse_qs(url.query)
        self.endpoint, self.account = self.server.hub.endpoint, self._account(state.tokens)
        with state.lock:
            answer = state.answer(self, url.path)
        if not isinstance(answer, Answer):
            answer = Answer(json.dumps(answer).encode())
        if action != "corrupt":
            return answer
        flipped = bytearray(answer.data)
        flipped[len(flipped) // 2] ^= 1
        return answer._replace(data=bytes(flipped))

    def _account(self, tokens):
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return tokens.get(token)

    def json(self):
        return json.loads(self.body)

    def asks(self, name):
        return self.query.get(name, ["false"])[0].lower() in ("true", "1")

    def user(self):
        if self.account is None:
            raise Refusal(401, "Invalid username or password.")
        return self.account

    def url(self, repo):
        return f"{self.endpoint}/{'' if repo.type == 'model' else f'{repo.type}s/'}{repo.id}"

    def _send(self, answer):
        """None drops the connection."""
        self.server.hub.log.append((self.command, self.path, answer.status if answer else 0))
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": len(answer.data)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.data)
