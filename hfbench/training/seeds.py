"""Independent random streams of one run.

``Trainer`` draws everything from one seed and orders epoch ``e`` by ``seed + e``, so that seed 0's
second epoch is seed 1's first. Here every stream of a run has a seed of its own, derived by
``numpy.random.SeedSequence`` (O'Neill's mixing, as NumPy documents it), and the order of an epoch
is drawn from the pair (order seed, epoch): see `sampler.EpochSampler`.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Streams:
    """Seeds of one run's streams, each in [0, 2**32)."""

    init: int
    """New weights."""
    order: int
    """Order of the training examples in each epoch."""
    dropout: int
    """Everything drawn during training: dropout."""
    subset: int
    """Which training examples a learning curve's points have."""


def derive_streams(seed: int) -> Streams:
    """The streams of a run with this ``seed`` (>= 0); the same for every model."""
    children = np.random.SeedSequence(seed).spawn(4)  # one more leaves those before it as they are
    return Streams(*(int(child.generate_state(1)[0]) for child in children))


def shots_stream(seed: int) -> int:
    """Seed of the training examples that a prompt shows: one more stream beside `Streams`."""
    return int(np.random.SeedSequence(seed).spawn(5)[4].generate_state(1)[0])
