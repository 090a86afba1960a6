"""The stand-in of the Hub in reach of the client of this process and of those of others."""

import huggingface_hub
import pytest
import transformers
from support import hub_stand_in as stand_in

TOKEN = "hf_" + "PlantedTokenOfAda0123456789abcdef"
TOKENS = {
    TOKEN: stand_in.Account("ada", orgs=("lab",)),
    "hf_readOnly000000000000": stand_in.Account("ada", role="read"),
    "hf_tokenOfBob00000000000": stand_in.Account("bob"),
}


@pytest.fixture
def reach(monkeypatch, tmp_path):
    """A function that points the client, here and in processes started from here, to a Hub."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    constants = huggingface_hub.constants  # read from the environment when it was imported
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf_home" / "hub"))

    def point(endpoint):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", endpoint)  # made when imported
        template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        # made once, its client keeps the endpoint, and asks a stand-in that is gone five times
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None, raising=False)
        huggingface_hub.close_session()

    yield point
    huggingface_hub.close_session()


@pytest.fixture
def hub(reach):
    """The stand-in, in reach, with an account for each kind of token."""
    with stand_in.HubStandIn(TOKENS) as running:
        reach(running.endpoint)
        yield running


@pytest.fixture
def faults():
    """What the stand-in can do wrong: `Fault`, `Refusal`, `HubStandIn`, and a rate limit."""
    stand_in.limit = lambda seconds: stand_in.Refusal(
        429, "Too many requests", headers={"Retry-After": str(seconds)}
    )
    return stand_in
