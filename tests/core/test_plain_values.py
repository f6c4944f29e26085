"""What JSON can hold, from what the package computes."""

import torch

from lopsided.core.plain_values import plain


def test_plain_takes_torch_values():
    assert plain({"loss": torch.tensor(2.0), "rows": torch.eye(2)}) == {"loss": 2.0, "rows": [[1.0, 0.0], [0.0, 1.0]]}
