"""A classifier for the metrics that need one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metrics.fed_metrics import CLASSES, DIM


@pytest.fixture
def head():
    torch.manual_seed(1)
    return nn.Linear(DIM, CLASSES)
