"""One of the processes of a run that the tests start; not a test itself."""

import dataclasses
import os
import warnings
from pathlib import Path

import numpy as np

import lopsided as lp
from lopsided.data import load_data
from lopsided.training import build_network, train


def main(devices: int, result: str) -> None:
    data = load_data("digits", "20x2,7x3")  # 61 samples: parts of 31 and 30 of the one batch
    data = dataclasses.replace(data, inputs=data.inputs.double(), test_inputs=data.test_inputs.double())
    arrays = {}
    for name, batch_size, epochs, head, strategy in (
        ("step", None, 1, "linear", None),
        ("run", 21, 5, "linear", None),
        ("fixed", 21, 3, "etf", None),
        ("shown", 21, 3, "linear", "15x5"),
    ):
        network = build_network("mlp", data.input_shape, 5, hidden=(), dim=6, head=head).double()
        ran = train(
            network,
            data,
            lambda_w=0.03,
            lambda_h=0.003,
            lambda_b=0.02,
            loss=lp.CrossEntropy(weights=[1, 1, 3, 3, 3]),
            epochs=epochs,
            batch_size=batch_size,
            sampling_strategy=strategy,
            feature_penalty_per="sample",
            optimizer="sgd",
            learning_rate=0.05,
            ramp=0.0,
            flip=True,
            accelerator="cpu",
            devices=devices,
        )
        arrays |= {f"{name} {key}": value.numpy() for key, value in network.state_dict().items()}
        arrays[f"{name} objectives"] = np.array([row["objective"] for row in ran.history])
        arrays[f"{name} batches"] = np.array([row["batch_objective"] for row in ran.history[1:]])
    np.savez(result, **arrays)


def one_of_two(rank: int, port: int, result: Path) -> None:
    """The same as one of two processes that find each other as torchrun has them do."""
    place = {"WORLD_SIZE": 2, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in place.items()}
    warnings.simplefilter("error")
    main(2, str(result))
