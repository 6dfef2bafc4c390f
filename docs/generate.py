"""Write the generated parts of docs/ anew, from the schemas, cards and presets that the program itself uses.

Each page holds a line `<!-- generated: NAME -->` before and `<!-- end -->` behind what is written here; the text around
them is written by hand. `tests/docs` fails where a page is not as this program would write it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from prognobench.cohorts import CohortSpec, FilmRecipe, builders, cohort_cards, film_recipe
from prognobench.cohorts._dicom import ALLOWED_TAGS
from prognobench.cohorts._recipes import recipe_names, step_kinds
from prognobench.evaluation._simulated import (
    ERROR_HOLDS,
    PREFERENCE,
    TRUTHS,
    default_interval,
    holds,
    simulated,
)
from prognobench.evaluation._weighted import WEIGHTED
from prognobench.models import model_cards
from prognobench.protocols import REGIMES, VALIDATIONS, Protocol, protocol_names, resolve_protocol
from prognobench.strategies import matrix_lines, matrix_rows, parse_strategies, strategy_cards
from prognobench.studies import StudySpec

DOCS = Path(__file__).parent
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write every page."""
    for path in sorted(DOCS.glob("*.md")):
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


def renewed(page: str) -> str:
    """Return a page with its generated parts as they should be."""
    return _BLOCK.sub(lambda match: match[1] + "\n" + GENERATORS[match[2]]() + "\n" + match[3], page)


def reference(schema: type[BaseModel]) -> str:
    """Return one table of keys for a document, and one for each document inside it."""
    return "\n".join("\n".join(_table(name, inner)) + "\n" for name, inner in _documents(schema, ""))


def options(name: str) -> str:
    """Return the options of a builder."""
    return "\n".join(_table("", builders()[name].options))


def card(name: str) -> str:
    """Return what is published of a cohort, and what its builder decides."""
    told = cohort_cards()[name]
    lines = [f"**{told.proved}**", "", f"{told.title}: {told.citation}. Files: <{told.source}>, {told.license}."]
    if not told.source.startswith("http"):
        lines[-1] = lines[-1].replace(f"<{told.source}>", told.source)
    lines += ["", "| task | what is predicted | films | patients | positive films | assumed |", "|---" * 6 + "|"]
    for task in told.tasks:
        both = (*task.negative, *task.positive)
        counts = [sum(one.films for one in both), sum(one.patients for one in both)]
        counts.append(sum(one.films for one in task.positive))
        told_counts = " | ".join(f"{count:,}" for count in counts)
        lines.append(f"| `{task.name}` | {task.outcome} | {told_counts} | {task.assumed} |")
    lines += ["", f"Counts from {told.counts_from}.", "", "What the publications leave open is decided so:", ""]
    return "\n".join([*lines, *(f"- {decision}" for decision in told.decisions)])


def recipes() -> str:
    """Return the presets of the films' preprocessing, its keys and its steps."""
    lines = ["| preset | contrast | steps | bits |", "|---|---|---|---|"]
    for name in recipe_names():
        recipe = film_recipe(name)
        steps = ", ".join(f"`{step.step}`" for step in recipe.steps)
        lines.append(f"| `{name}` | `{recipe.contrast}` | {steps} | {recipe.bits} |")
    lines += ["", *_table("", FilmRecipe), "", "| step | what it does | keys |", "|---|---|---|"]
    for kind in step_kinds():
        keys = {key: field for key, field in kind.model_fields.items() if key != "step"}
        told = ", ".join(f"`{key}` ({_default(field)})" for key, field in keys.items())
        (name,) = get_args(kind.model_fields["step"].annotation)
        lines.append(f"| `{name}` | {_one_line(kind.__doc__)} | {told} |")
    return "\n".join(lines)


def tags() -> str:
    """Return the allow-list of DICOM tags."""
    return "\n".join(
        ["| tag | column |", "|---|---|", *(f"| `{tag}` | `{column}` |" for tag, column in ALLOWED_TAGS.items())]
    )


def protocols() -> str:
    """Return the values of the presets side by side."""
    presets = {name: resolve_protocol(name) for name in protocol_names()}
    lines = [f"| key | {' | '.join(f'`{name}`' for name in presets)} | meaning |", "|---" * (len(presets) + 2) + "|"]
    for key, field in Protocol.model_fields.items():
        if key == "name":
            continue
        values = [_value(getattr(preset, key)) or "none" for preset in presets.values()]
        lines.append(f"| `{key}` | {' | '.join(values)} | {_one_line(field.description)} |")
    parts = [part for part in _documents(Protocol, "") if part[0]]
    return "\n".join([*lines, *("\n" + "\n".join(_table(name, schema)) for name, schema in parts)])


def validations() -> str:
    """Return the ways to split, each with its other names and its keys."""
    return "\n".join(
        _kind(key, kind, kind.aliases and f"Also written {', '.join(f'`{name}`' for name in kind.aliases)}.")
        for key, kind in VALIDATIONS.items()
    )


def regimes() -> str:
    """Return the regimes, each with how a study asks for it and its keys."""
    return "\n".join(_kind(key, family, f"Written `{family.example}`.") for key, family in REGIMES.items())


def models() -> str:
    """Return the cards of the backbones."""
    lines = [
        "| model | architecture (timm) | parameters | in the paper | GFLOPs a film | pretraining | licence | weights |"
    ]
    lines.append("|---" * 8 + "|")
    for card in model_cards().values():
        sources = "<br>".join(f"`{source.id}` ({source.kind})" for source in card.weights)
        numbers = f"{card.parameters:,} | {card.paper_parameters} | {card.gflops:.2f}"
        names = ", ".join(f"`{name}`" for name in (card.id, *card.aliases))
        lines.append(
            f"| {names} | `{card.architecture}` | {numbers} | {card.pretraining} | {card.license} | {sources} |"
        )
    return "\n".join(lines)


def strategies() -> str:
    """Return the cards of the strategies and their settings."""
    lines = ["| strategy | name | what is trained | source |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {c.title} | {c.summary} | {c.source} |" for c in strategy_cards().values()]
    for name in strategy_cards():
        settings = type(parse_strategies([name])[0]).Settings
        if settings.model_fields:
            lines += ["", *_table(name, settings)]
    return "\n".join(lines)


def matrix() -> str:
    """Return what each strategy trains on each backbone, or why it cannot."""
    lines = ["| model | strategy | variant | trained (rank 4 / 8 / 16) | proved | refused because |", "|---" * 6 + "|"]
    for line in matrix_lines(matrix_rows()):
        numbers = f"{line['trained']} | {line['proved']} | {line['reason']}"
        lines.append(f"| `{line['model']}` | `{line['strategy']}` | {line['variant']} | {numbers} |")
    return "\n".join(lines)


def simulated_intervals() -> str:
    """Return the coverage of the intervals, in % of the simulated studies, with what is off in brackets."""
    lines = ["| studies | metric | " + " | ".join(f"`{method}`" for method in PREFERENCE) + " | default |"]
    lines.append("|---" * 6 + "|")
    for design in simulated()["designs"]:
        for metric in WEIGHTED:
            shares = [design["coverage"][metric].get(method, {}).get(TRUTHS[method]) for method in PREFERENCE]
            cells = ["" if share is None else _percent(share, holds(share)) for share in shares]
            default = default_interval(design["validation"], metric)
            told = "extreme" if design["extreme"] else f"`{default}`" if default else "none"
            lines.append(f"| {design['name']} | `{metric}` | {' | '.join(cells)} | {told} |")
    return "\n".join(lines)


def simulated_means() -> str:
    """Return what the simulated studies found on average, and the truth about all patients."""
    lines = ["| studies | " + " | ".join(f"`{metric}`" for metric in WEIGHTED) + " |", "|---" * 7 + "|"]
    for design in simulated()["designs"]:
        found = [design["estimates"][metric] for metric in WEIGHTED]
        cells = [f"{one['made_again']:.3f} ({one['all_patients']:.3f})" for one in found]
        lines.append(f"| {design['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def simulated_tests() -> str:
    """Return the errors of the tests, in % of the simulated studies."""
    tests = ("p_bootstrap", "p_permutation", "p_corrected_t")
    lines = ["| studies | no difference between | " + " | ".join(f"`{test}`" for test in tests) + " |"]
    lines.append("|---" * 5 + "|")
    for row in simulated()["tests"]:
        errors = [row["error"].get(test) for test in tests]
        cells = ["" if error is None else _percent(error, error <= ERROR_HOLDS) for error in errors]
        lines.append(f"| {row['name']} | {row['null']} | {' | '.join(cells)} |")
    lines += ["", "| Wilcoxon over | blocks | `p_wilcoxon` |", "|---|---|---|"]
    for row in simulated()["tasks"]:
        lines.append(f"| {row['name']} | {row['blocks']} | {_percent(row['error'], row['error'] <= ERROR_HOLDS)} |")
    return "\n".join(lines)


def simulated_choices() -> str:
    """Return how far the winner's scores are off, and how often their intervals hold the truth."""
    lines = [
        "| studies | the winner's true MCC | naive is off by | corrected is off by | naive holds | corrected holds |"
    ]
    lines.append("|---" * 6 + "|")
    for row in simulated()["choices"]:
        held = [_percent(row["coverage"][which], holds(row["coverage"][which])) for which in ("naive", "corrected")]
        off = [f"{row['bias'][which]:+.3f}" for which in ("naive", "corrected")]
        lines.append(f"| {row['name']} | {row['truth']:.3f} | {' | '.join(off)} | {' | '.join(held)} |")
    return "\n".join(lines)


def _percent(share: float, held: bool) -> str:
    return f"{100 * share:.1f}" if held else f"({100 * share:.1f})"


def _kind(key: str, kind: type[BaseModel], written: Any) -> str:
    summary = _one_line((kind.__doc__ or "").split("\n\n")[0])
    told = f" {written}" if written else ""
    table = "\n".join(_table("", kind)) + "\n" if kind.model_fields else ""
    return f"#### `{key}`\n\n{summary}{told}\n\n{table}"


def example_plugin() -> str:
    """Return the package that the tests install, prove and run."""
    source = DOCS.parent / "tests" / "plugin" / "example_plugin" / "__init__.py"
    return f"```python\n{source.read_text(encoding='utf-8')}```"


def _documents(schema: type[BaseModel], name: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield name, schema
    for key, field in schema.model_fields.items():
        for inner in _inside(field.annotation):
            # Protocols and ways to split have pages of their own; a regime without settings has nothing to tell.
            if inner is not Protocol and inner not in VALIDATIONS.values() and inner.model_fields:
                yield from _documents(inner, f"{name}.{key}".strip("."))


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inside(part)


def _table(name: str, schema: type[BaseModel]) -> list[str]:
    lines = [f"#### `{name}`", ""] if name else []
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, field in schema.model_fields.items():
        default = "**required**" if field.is_required() else _default(field)
        lines.append(f"| `{key}` | {_type(field.annotation)} | {default} | {_one_line(field.description)} |")
    return lines


def _default(field: Any) -> str:
    if field.default_factory is not None and field.default_factory_takes_validated_data:
        return ""
    value = field.default if field.default is not PydanticUndefined else field.default_factory()
    if isinstance(value, BaseModel):
        return f"`{value.name}`" if isinstance(value, Protocol) else ""
    if isinstance(value, tuple) and value and not isinstance(value[0], str | int):
        return f"`[{', '.join(item.name for item in value)}]`"
    return _value(value)


def _value(value: Any) -> str:
    if value is None or value in ((), [], {}):
        return ""
    if isinstance(value, BaseModel):
        return "; ".join(f"{key}: {_value(inner)}" for key, inner in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_value(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in parts if part is not NoneType))
    if origin in (list, tuple):
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return f"mapping of names to {_type(parts[1])}"
    words = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}
    return words.get(annotation, "see below" if isinstance(annotation, type) and annotation.__module__ else "")


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def bench_machine() -> str:
    """Return what the measured figures are of."""
    found = measured()
    machine, peak = found["machine"], found["machine"]["gemm_gflops_a_second"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, Python {machine['python']}, "
        f"{versions}. Its matrix products (2,048 × 2,048): {peak['fp32']:.0f} · 10⁹ operations a second in float32, "
        f"{peak['bf16']:.0f} in bfloat16. The whole command took {found['minutes']:.0f} minutes."
    )


def bench_steps() -> str:
    """Return how fast training steps are, beside the rivals."""
    peak = measured()["machine"]["gemm_gflops_a_second"]["bf16"]
    lines = ["| model | strategy | plain loop, float32 | plain loop, autocast | HF Trainer, bf16 | prognobench |"]
    lines[0] += " × float32 | × autocast | × Trainer | share of the bf16 peak | of it in products |"
    lines.append("|---|---|" + "---:|" * 9)
    for row in measured()["steps"]:
        speed, times = row["films_a_second"], row["times_as_fast_as"]
        cells = [f"{each:.1f}" for each in speed.values()] + [f"{each:.2f}" for each in times.values()]
        share = f"{100 * row['gflops_a_second'] / peak:.0f} %"
        products = f"{100 * row['profile']['matrix products and convolutions']:.0f} %"
        lines.append(f"| `{row['model']}` | `{row['strategy']}` | {' | '.join(cells)} | {share} | {products} |")
    return "\n".join(lines)


def bench_grid() -> str:
    """Return what a grid of linear probes takes beside one pass, the evaluation online and scikit-learn."""
    rows = measured()["grid"]
    lines = ["| | " + " | ".join(f"{row['films']:,} films" for row in rows) + " |", "|---|" + "---:|" * len(rows)]

    def line(name: str, value: Callable[[dict[str, Any]], str]) -> None:
        lines.append(f"| {name} | " + " | ".join(value(row) for row in rows) + " |")

    line("the whole study of 130 jobs", lambda row: f"{row['seconds']:.0f} s")
    line("films sent through the backbone", lambda row: f"{row['forwards']:,}")
    line("one bare pass, float32", lambda row: f"{row['one_pass_seconds']:.0f} s" + _said(row["one_pass_extrapolated"]))
    line("share of 1.2 passes and 1 s for 1,000 heads", lambda row: f"{100 * row['share_of_what_is_allowed']:.0f} %")
    line("online evaluation, 10 epochs: films sent through", lambda row: f"{row['online_forwards']:,}")
    for precision in ("float32", "autocast"):
        line(
            f"the same, {precision}, extrapolated",
            lambda row, of=precision: (  # type: ignore[misc]
                f"{row['online_seconds_extrapolated'][of]:,.0f} s, "
                f"{row['times_as_fast_as_online'][of]:.0f} times as long"
            ),
        )
    line("solving all heads here", lambda row: f"{row['heads']['heads']:,}: {row['heads']['prognobench']:.1f} s")
    line("by scikit-learn, extrapolated from one fold", lambda row: f"{row['heads']['scikit_learn']:.1f} s")
    line("most memory of a worker", lambda row: f"{row['peak_memory_bytes'] / 2**20:,.0f} MiB")
    return "\n".join(lines)


def _said(extrapolated: bool) -> str:
    return ", extrapolated" if extrapolated else ""


def bench_engine() -> str:
    """Return what the engine adds to a tiny job."""
    found = measured()["engine"]
    lines = [f"| {found['jobs']:,} jobs, milliseconds each | least busy tenth | median | mean |", "|---|" + "---:|" * 3]
    for name, values in {**found["milliseconds"], "**what the engine adds**": found["overhead_milliseconds"]}.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values.values()) + " |")
    return "\n".join(lines)


def bench_memory() -> str:
    """Return what a worker holds, by kind of work and number of films."""
    found = measured()["memory"]
    counts = list(found[0]["bytes"])
    head = "| MiB at most | " + " | ".join(f"{int(count):,} films" for count in counts) + " |"
    lines = [head, "|---|" + "---:|" * len(counts)]
    for row in found:
        lines.append(
            f"| {row['work']} | " + " | ".join(f"{row['bytes'][count] / 2**20:,.0f}" for count in counts) + " |"
        )
    return "\n".join(lines)


def bench_precision() -> str:
    """Return the paired differences in MCC between bfloat16 and float32."""
    lines = ["| model | strategy | seeds | MCC, float32 | MCC, bfloat16 | difference (95 % interval) | times as fast |"]
    lines.append("|---|---|" + "---:|" * 5)
    for row in json.loads((DOCS / "measured" / "precision.json").read_text(encoding="utf-8")):
        found, half = row["difference"], row["half_width"]
        between = f"{found - half:+.3f} to {found + half:+.3f}"
        lines.append(
            f"| `{row['model']}` | `{row['strategy']}` | {row['seeds']} | {row['mcc_fp32']:.3f} | "
            f"{row['mcc_bf16']:.3f} | {found:+.3f} ({between}) | {row['times_as_fast']:.1f} |"
        )
    return "\n".join(lines)


@cache
def measured() -> dict[str, Any]:
    """Read what `make bench` measured last."""
    found: dict[str, Any] = json.loads((DOCS / "measured" / "bench.json").read_text(encoding="utf-8"))
    return found


GENERATORS: dict[str, Callable[[], str]] = {
    "cohort-keys": lambda: reference(CohortSpec),
    "study-keys": lambda: reference(StudySpec),
    "protocols": protocols,
    "validations": validations,
    "regimes": regimes,
    "models": models,
    "strategies": strategies,
    "matrix": matrix,
    "example-plugin": example_plugin,
    "simulated-intervals": simulated_intervals,
    "simulated-means": simulated_means,
    "simulated-tests": simulated_tests,
    "simulated-choices": simulated_choices,
    "bench-machine": bench_machine,
    "bench-steps": bench_steps,
    "bench-grid": bench_grid,
    "bench-engine": bench_engine,
    "bench-memory": bench_memory,
    "bench-precision": bench_precision,
    "film-recipes": recipes,
    "dicom-tags": tags,
    **{f"build-{name}": partial(options, name) for name in builders()},
    **{f"card-{name}": partial(card, name) for name in cohort_cards()},
}

if __name__ == "__main__":
    main()
