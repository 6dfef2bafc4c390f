import pytest


@pytest.fixture(autouse=True)
def one_thread(request):
    """Tiny networks gain nothing from a second thread, and wait for it long where other programs are at work."""
    if request.node.get_closest_marker("torch") is None or request.node.get_closest_marker("slow"):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
