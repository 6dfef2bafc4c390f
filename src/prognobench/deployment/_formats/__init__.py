"""What a model can be exported to: one module a format."""
