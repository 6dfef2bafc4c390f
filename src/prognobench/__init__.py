"""Compare pretrained image models, and ways to adapt them, on the prognosis of one's own patients."""

__version__ = "0.1.0"
