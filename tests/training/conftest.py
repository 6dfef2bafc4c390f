"""What tests of training share."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Compute with one thread: results depend on their number in the last bits."""
    import torch

    from prognobench.training import use_threads

    before = torch.get_num_threads()
    use_threads(1)
    yield
    use_threads(before)
