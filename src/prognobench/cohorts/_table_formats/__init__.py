"""The kinds of file a table may be, one module each."""
