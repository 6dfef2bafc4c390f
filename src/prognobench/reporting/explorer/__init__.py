"""The explorer: a study's results in the browser, while it runs and afterwards.

It is Dash, which the extra `explore` brings; without it `explore` says so, and all else works.
"""

from ._serve import explore, explorer_app

__all__ = ["explore", "explorer_app"]
