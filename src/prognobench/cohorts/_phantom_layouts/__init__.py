"""The phantom's films in the folders, files and names of raw cohorts, one module a layout."""
