"""Where kernels are tested: interpreted on a CPU, or on a device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from swapper.kernels import dispatch


@pytest.fixture(
    params=[
        pytest.param(
            "cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="the gpu tests do it"),
        ),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with dispatch.using("triton"):
        yield str(request.param)
