from dataclasses import astuple

import numpy as np

from hfbench.training.sampler import EpochSampler
from hfbench.training.seeds import derive_streams


def test_streams_of_all_seeds_differ_from_each_other():
    streams = [derive_streams(seed) for seed in range(500)]
    seeds = [value for s in streams for value in astuple(s)]
    assert len(set(seeds)) == len(seeds)
    assert derive_streams(7) == derive_streams(7)


def test_a_new_stream_leaves_the_others_as_they_were():
    children = np.random.SeedSequence(7).spawn(3)
    before = tuple(int(child.generate_state(1)[0]) for child in children)
    assert astuple(derive_streams(7))[:3] == before


def test_no_two_seeds_and_epochs_share_an_order():
    orders = {
        tuple(EpochSampler(50, 16, derive_streams(seed).order).order(epoch))
        for seed in range(20)
        for epoch in range(50)
    }
    assert len(orders) == 20 * 50


def test_stock_sampler_does_share_orders_between_consecutive_seeds():
    # the trap that EpochSampler avoids; if this fails, accelerate has mended it
    from accelerate.data_loader import SeedableRandomSampler

    def order(seed, epoch):
        sampler = SeedableRandomSampler(range(50), data_seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(seed=0, epoch=1) == order(seed=1, epoch=0)


def test_an_epoch_holds_each_example_once_and_then_ignored_rows():
    sampler = EpochSampler(num_examples=37, batch=16, seed=3)
    sampler.set_epoch(4)
    rows = list(sampler)
    assert len(rows) == len(sampler) == 48
    assert sorted(rows[:37]) == list(range(37))
    assert rows[37:] == [37] * 11


def test_rows_seen_are_the_rows_that_the_loader_draws():
    sampler = EpochSampler(num_examples=37, batch=16, seed=3)
    drawn = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        drawn += [list(sampler)[start : start + 16] for start in range(0, 48, 16)]
    for steps in range(1, 10):
        expected = [row for step in drawn[:steps] for row in step if row != 37]
        np.testing.assert_array_equal(sampler.rows_seen(steps), expected)
