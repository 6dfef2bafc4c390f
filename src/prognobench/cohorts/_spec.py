"""What a user writes in `cohort.yaml`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from prognobench.frame import Document, Location

Role = Literal["acquisition", "demographic", "clinical", "outcome"]


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _any_number(value: Any) -> Any:
    return [] if value is None else _one_or_many(value)


Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
Values = Annotated[list[str], BeforeValidator(_one_or_many), Field(min_length=1)]
ColumnNames = Annotated[list[Text], BeforeValidator(_any_number)]


class Columns(Document):
    """Which column of the table holds what; `image` and `patient` are required."""

    image: Text
    """The image file, relative to `images`, with `/` between folders."""
    patient: Text
    """The patient's id; films of one patient are never split."""
    center: Text | None = None
    """The hospital."""
    view: Text | None = None
    """The projection, such as AP or PA; it has the role acquisition."""
    sex: Text | None = None
    """It has the role demographic."""
    age: Text | None = None
    """It has the role demographic."""


class Roles(Document):
    """What the other columns are; a column without a role is never used as a predictor."""

    acquisition: ColumnNames = Field(default_factory=list)
    """Known when the film is taken, about the taking."""
    demographic: ColumnNames = Field(default_factory=list)
    """Who the patient is."""
    clinical: ColumnNames = Field(default_factory=list)
    """Known when the film is taken, about the patient."""
    outcome: ColumnNames = Field(default_factory=list)
    """Known later; never a predictor."""


class TaskSpec(Document):
    """One outcome: the column that holds it, the spellings of its classes, the rows it is about.

    Examples
    --------
    >>> TaskSpec(label="went_icu", positive="Y", negative=["N"]).positive
    ['Y']
    """

    label: Text
    """The column that holds the outcome; a row whose cell is blank or not listed is left out of the task."""
    positive: Values
    """What the cell says, as spelled, for the positive class: one value or a list."""
    negative: Values
    """The same for the negative class."""
    where: dict[Text, Values] = Field(default_factory=dict)
    """Columns with the values that a row must have to count; by default every row counts."""

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> TaskSpec:
        shared = [value for value in self.positive if value in self.negative]
        if shared:
            raise ValueError(f"{_quoted(shared)} is both positive and negative. Keep each value in one of the two")
        if "" in self.positive or "" in self.negative:
            raise ValueError("an empty text is a blank label, which leaves the row out. Remove it from the list")
        return self


class CohortSpec(Document):
    """A cohort as `cohort.yaml` describes it; `docs/` has the reference of each key."""

    name: Name
    """The cohort's name in records and tables."""
    manifest: Text
    """The table, one row an image: CSV or TSV in UTF-8, XLSX or Parquet, relative to this file."""
    sheet: Text | None = None
    """The sheet of a workbook, where it has several."""
    images: Text = "."
    """The root of the image column, relative to this file; nothing outside it is read."""
    columns: Columns
    """Which column of the table holds what."""
    roles: Roles = Roles()
    """What the other columns are."""
    tasks: Annotated[dict[Name, TaskSpec], Field(min_length=1)]
    """The outcomes, each under its name."""
    on_bad_image: Literal["error", "exclude"] = "error"
    """Whether a film that is missing, unreadable or of one gray value stops everything or is left out and counted."""
    on_duplicate: Literal["group", "keep_first", "error", "allow"] = "group"
    """Patients who share a byte-identical film: one group, later rows left out, an error, or nothing is done."""
    near_duplicates: Literal["group", "report", "error"] = "group"
    """Patients who share a film that was encoded again, resized, brightened or cropped a little: one group, told by
    the audit alone, or an error."""
    synthetic: bool = False
    """Whether its films show no person; such a cohort is called synthetic wherever it is shown."""

    def columns_of(self, role: Role) -> tuple[str, ...]:
        """Return the table's columns of a role, those that `columns` implies first.

        The view is of role acquisition, sex and age are of role demographic, whether or not `roles` repeats them.
        """
        implied = {"acquisition": [self.columns.view], "demographic": [self.columns.sex, self.columns.age]}
        named = [column for column in implied.get(role, []) if column is not None]
        return tuple(dict.fromkeys([*named, *getattr(self.roles, role)]))


def contradictions(spec: CohortSpec) -> list[tuple[Location, str, str]]:
    """Return where a document contradicts itself, what is wrong and what to do, in the order of the roles."""
    found: list[tuple[Location, str, str]] = []
    role_of: dict[str, Role] = {}
    roles: tuple[Role, ...] = ("acquisition", "demographic", "clinical", "outcome")
    for role in roles:
        for column in spec.columns_of(role):
            if column in role_of:
                what = f"the column '{column}' is both of role {role_of[column]} and of role {role}"
                found.append((("roles", role), what, "Give each column one role"))
            role_of.setdefault(column, role)
    for key in ("image", "patient"):
        column = getattr(spec.columns, key)
        if role_of.get(column, "outcome") != "outcome":
            what = f"the {key} column '{column}' is of role {role_of[column]} and would be a predictor"
            found.append((("roles", role_of[column]), what, "Remove it from the roles"))
    for name, task in spec.tasks.items():
        if role_of.get(task.label, "outcome") != "outcome":
            what = (
                f"the label '{task.label}' of task '{name}' is of role {role_of[task.label]} and would predict itself"
            )
            found.append((("tasks", name, "label"), what, "Give it the role outcome"))
    return found


def referenced_columns(spec: CohortSpec) -> list[tuple[Location, str]]:
    """Return every mention of a table's column with its place in the document."""
    mentions: list[tuple[Location, str]] = []
    for key, column in spec.columns:
        if column is not None:
            mentions.append((("columns", key), column))
    for role, columns in spec.roles:
        mentions += [(("roles", role, index), column) for index, column in enumerate(columns)]
    for name, task in spec.tasks.items():
        mentions.append((("tasks", name, "label"), task.label))
        mentions += [(("tasks", name, "where", column), column) for column in task.where]
    return mentions


def _quoted(values: list[str]) -> str:
    return ", ".join(f"'{value}'" for value in dict.fromkeys(values))
