import numpy as np
import pytest

from hfbench.training.length_batches import LengthBatches


@pytest.mark.parametrize(("rows", "tokens"), [(1, 0), (4, 0), (4, 40), (2, 1000)])
def test_each_row_comes_once_and_batches_are_as_large_as_is_asked(rows, tokens):
    lengths = np.random.default_rng(0).integers(1, 30, 50)
    batches = LengthBatches(lengths, rows, tokens)
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert np.concatenate(drawn).tolist() == batches.order.tolist()
    assert sorted(batches.order.tolist()) == list(range(50))
    assert (np.diff(lengths[batches.order]) >= 0).all()
    for batch in drawn[:-1]:
        padded = len(batch) * lengths[batch].max()
        assert len(batch) == rows or (len(batch) > rows and padded <= tokens)


def test_no_rows_make_no_batch():
    assert list(LengthBatches(np.array([], dtype=int), 4, 100)) == []
