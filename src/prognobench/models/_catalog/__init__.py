"""The cards, one module a family: each holds `CARDS`, and is found by being here."""
