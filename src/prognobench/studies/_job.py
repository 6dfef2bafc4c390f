"""One cell of the grid, and the key that names its result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from prognobench.frame import canonical_json, sha256_bytes, sha256_json

# Raised whenever the same identity would give another result; older records stay readable.
SCHEMA = 1
_USUAL_SEED = 42  # goes without saying in a job's title


# Slots: a study may have a hundred thousand of them.
@dataclass(frozen=True, slots=True)
class JobWords:
    """What tables and people call a job: task × model × strategy × regime × split × seed under a protocol.

    Attributes
    ----------
    cohort, task, model, strategy, regime, shots, draw, validation, repeat, fold, test_center, seed
        The words in tables, with `protocol`; `None` where a key does not apply. Controls that look at no image have the
        model `none`, those of random weights the architecture.
    test_cohorts
        The cohorts whose films are tested, each a row of `fold_metrics.csv` as `test_cohort`.
    kind
        `probe`, `adapter`, `backbone` or `control`.
    weights
        Id of the weights, `None` where there are none.
    architecture
        The model of the control `random` that belongs to this job's model.
    n_train, n_val, n_test
        Films in each part.
    """

    cohort: str
    task: str
    test_cohorts: tuple[str, ...]
    model: str
    strategy: str
    regime: str
    shots: int | None
    draw: int | None
    validation: str
    repeat: int
    fold: int
    test_center: str | None
    seed: int
    protocol: str
    kind: str
    weights: str | None
    architecture: str | None
    n_train: int
    n_val: int
    n_test: int

    @property
    def title(self) -> str:
        """What a person calls the job."""
        who = f"{self.model} · {self.strategy}"
        if self.kind == "control":
            who = f"control {self.strategy}" if self.weights is None else f"control {self.strategy} of {self.model}"
        shots = "" if self.shots is None else f" {self.shots} shot{'s' if self.shots > 1 else ''}"
        draw = f" draw {self.draw}" if self.draw else ""
        tested = "" if self.test_cohorts == (self.cohort,) else f" → {', '.join(self.test_cohorts)}"
        repeat = f" of repeat {self.repeat}" if self.repeat else ""
        seed = "" if self.seed == _USUAL_SEED else f" · seed {self.seed}"
        fold = f"fold {self.fold}" if self.test_center is None else f"center {self.test_center} tested"
        fold += f"{repeat}{seed}"
        return f"{self.cohort}{tested} · {self.task} · {who} · {self.regime}{shots}{draw} · {fold}"

    @property
    def reads_features(self) -> bool:
        """Whether its head reads the features of a frozen backbone, which jobs share."""
        return self.kind == "probe" or (self.kind == "control" and self.weights is not None)

    def words(self) -> dict[str, Any]:
        """Return the words as JSON can say them."""
        return {name: getattr(self, name) for name in _word_names()}


@dataclass(frozen=True, slots=True)
class Job(JobWords):
    """A job that can be done; a list of jobs is the study.

    Attributes
    ----------
    fragments
        The canonical JSON of the identity, key by key (see `identity_fragments`): jobs of a study share most of them.
    """

    fragments: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Canonical JSON of all that changes the result, and of nothing else."""
        return "{" + ",".join(self.fragments) + "}"

    @property
    def key(self) -> str:
        """The name of the job's record: the SHA-256 of its identity."""
        return sha256_bytes(self.identity.encode("ascii"))

    @property
    def is_drawn(self) -> bool:
        """Whether its seed can change the result, and so stands in its key."""
        return bool(self.fragment("seed"))

    @property
    def details(self) -> dict[str, Any]:
        """The identity as a mapping; read anew each time, since a hundred thousand of them would fill the memory."""
        details: dict[str, Any] = json.loads(self.identity)
        return details

    def fragment(self, name: str) -> str:
        """Return one key of the identity with its value, as canonical JSON; an empty text where it has no such key."""
        begin = f"{_key_text(name)}:"
        return next((fragment for fragment in self.fragments if fragment.startswith(begin)), "")

    def value(self, name: str) -> Any:
        """Return one value of the identity, or None, without reading the rest."""
        text = self.fragment(name)
        return json.loads(text[len(_key_text(name)) + 1 :]) if text else None

    def to_json(self) -> dict[str, Any]:
        """Return what `job.json` holds: key, words and identity."""
        return {"key": self.key, "words": self.words(), "identity": self.details}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Job:
        """Read `job.json` back; words of later versions are passed over, those of none are None."""
        return cls(**_words(content["words"]), fragments=identity_fragments(content["identity"]))


@dataclass(frozen=True, slots=True)
class ListedJob(JobWords):
    """A job as the plan in a results folder lists it: by its words and its key, without what the key is made of.

    Attributes
    ----------
    key
        The name of the job's record.
    """

    key: str

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ListedJob:
        """Read an entry of a plan back."""
        return cls(**_words(content["words"]), key=str(content["key"]))


def _words(content: dict[str, Any]) -> dict[str, Any]:
    words = {name: content.get(name) for name in _word_names()}
    # The first records tested one cohort and named it in the singular.
    words["test_cohorts"] = tuple(words["test_cohorts"] or [content["test_cohort"]])
    return words


@cache
def _word_names() -> tuple[str, ...]:
    return tuple(one.name for one in fields(JobWords))


def identity_fragments(identity: Mapping[str, Any], shared: dict[str, str] | None = None) -> tuple[str, ...]:
    """Return the canonical JSON of an identity, cut at its keys.

    Parameters
    ----------
    identity
        All that changes the result.
    shared
        Fragments of other jobs, to be used again; new ones are added.
    """
    kept = {} if shared is None else shared
    texts = (f"{_key_text(key)}:{canonical_json(identity[key])}" for key in sorted(identity))
    return tuple(kept.setdefault(text, text) for text in texts)


def joined(*parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fragments of an identity that was written in parts; no key may stand in two of them."""
    # Keys are letters and underscores, so that their fragments sort as they do.
    return tuple(sorted(fragment for part in parts for fragment in part))


@cache
def _key_text(key: str) -> str:
    return canonical_json(key)


def job_key(identity: dict[str, Any]) -> str:
    """Return the key of an identity, as read from a plan or from a record."""
    return sha256_json(identity)
