"""From `cohort.yaml` to films, groups and tasks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prognobench.cohorts import describe, load_cohort
from prognobench.cohorts import _survey as survey_module
from prognobench.frame import InputError, sha256_file

from .conftest import TABLE, YAML  # isort: skip

Write = Callable[..., Path]
