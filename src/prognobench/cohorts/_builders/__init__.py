"""From raw files to a cohort folder, one module a kind of raw data."""
