"""What a process computes on its parts of a sharded model; whole trainings are in tests/flows."""

import copy

import pytest
import torch
import torch.distributed as dist
from support import probe
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from hfbench.training.sharded import AdamWOfParts, clip_parts


@pytest.fixture
def mesh(tmp_path):
    """Of one process, whose parts are the whole."""
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize("max_norm", [0.05, 100.0])
def test_parts_are_clipped_and_updated_as_distributed_tensors_are(mesh, max_norm):
    model = probe.build_model("custom")
    ids = torch.arange(40).reshape(4, 10) % model.config.vocab_size
    found = []
    for own in (True, False):
        sharded = fully_shard(copy.deepcopy(model), mesh=mesh)
        optimizer_class = AdamWOfParts if own else torch.optim.AdamW
        optimizer = optimizer_class(sharded.parameters(), lr=1e-2, fused=True)
        norms = []
        for _ in range(3):
            sharded(input_ids=ids, labels=ids[:, 0] % 2).loss.backward()
            if own:
                norms.append(clip_parts(sharded, max_norm).item())
            else:
                clip = torch.nn.utils.clip_grad_norm_
                norms.append(clip(sharded.parameters(), max_norm).full_tensor().item())
            optimizer.step()
            optimizer.zero_grad()
        weights = [parameter.full_tensor() for parameter in sharded.parameters()]
        found.append((norms, weights))
    (norms, weights), (expected_norms, expected_weights) = found
    assert 0.05 < min(norms) < max(norms) < 100  # one clips, the other does not
    assert norms == pytest.approx(expected_norms, rel=1e-5)
    torch.testing.assert_close(weights, expected_weights, atol=1e-6, rtol=1e-5)
