"""The command line. Imports nothing heavy: `aria --help` answers at once."""

import errno
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
import yaml
from pydantic import SecretStr
from pydantic.json_schema import GenerateJsonSchema

from aria_ray.config import RunConfig, load_config
from aria_ray.errors import AriaError
from aria_ray.records import Endpoint, Report
from aria_ray.rocm.visibility import check_environment
from aria_ray.session import prepare_environment, ray_session

if TYPE_CHECKING:  # imports Ray
    from aria_ray.stage import Run

DEFAULT_RECIPE = "laptop"
DEFAULT_OUT = Path("aria_llama_final_output")
ENDPOINT_OUT = Path("aria_endpoint_output")

app = typer.Typer(
    name="aria",
    help="Turn a base Llama into a served assistant that calls tools, and measure whether it is good enough.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECIPE] [SECTION.KEY=VALUE]...", help="A recipe's name or file, then overrides.", show_default=False
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Run directory.")]
OptionalOut = Annotated[
    Path | None,
    typer.Option(
        "--out", help=f"Run directory; {DEFAULT_OUT} if not given, {ENDPOINT_OUT} with --endpoint.", show_default=False
    ),
]
RequireReady = Annotated[bool, typer.Option("--require-ready", help="Exit 3 unless the verdict is 'production ready'.")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; new or empty.", show_default=False)],
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Your own tools: a module, a .py file, a file of JSON definitions, an OpenAPI document, mcp:COMMAND or the "
            "address of an MCP server. May be given several times.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a small project of your own that runs as it is.

    Tools, example requests and a recipe. With --from it is made from your tools, with the requests prepared for filling in.

    Next: the commands that it prints.
    """
    from aria_ray.init import write_project

    typer.echo(write_project(folder, sources or ()))


@app.command("run")
def run_all(
    arguments: Arguments = None,
    out: Out = DEFAULT_OUT,
    require_ready: RequireReady = False,
) -> None:
    """Run every stage and write the report.

    Dataset, training, validation on the live endpoint, report. Finished stages are reused.

    Next: `aria serve`.
    """
    run = _run(arguments, out)
    from aria_ray import pipeline

    _tell(pipeline.run_all(run), run.out, require_ready)


@app.command()
def generate(arguments: Arguments = None, out: Out = DEFAULT_OUT) -> None:
    """Make the dataset.

    Next: `aria train`.
    """
    run = _run(arguments, out)
    from aria_ray import pipeline

    pipeline.check(run, pipeline.DATASET)
    with ray_session():
        pipeline.make_dataset(run)
    typer.echo(f"The dataset is in {run.out}; read dataset/SAMPLES.md there. Next: `aria train` with the same recipe and --out")


@app.command()
def train(arguments: Arguments = None, out: Out = DEFAULT_OUT) -> None:
    """Train the adapter and merge it into the model. The dataset must be there.

    Next: `aria validate`, or `aria serve`.
    """
    run = _run(arguments, out)
    from aria_ray import pipeline

    pipeline.check(run, pipeline.DATASET, pipeline.TRAINING)
    run.required(pipeline.DATASET)
    pipeline.ready_base(run)
    with ray_session():
        pipeline.make_model(run)
    typer.echo(f"The model is {run.out / pipeline.MODEL}. Next: `aria validate` or `aria serve` with the same recipe and --out")


@app.command()
def serve(arguments: Arguments = None, out: Out = DEFAULT_OUT) -> None:
    """Serve the trained model until Ctrl-C. Training must be done.

    Next: `aria chat` in another terminal.
    """
    run = _run(arguments, out)
    from aria_ray import pipeline
    from aria_ray.serving.addresses import check_port
    from aria_ray.serving.deploy import metrics_addresses

    run.required(pipeline.TRAINING)
    check_port(run.config.serving)
    with ray_session(), pipeline.endpoint(run, run.out / pipeline.MODEL) as live:
        run.terminal.line(f"Metrics for Prometheus at {', '.join(metrics_addresses())}")
        run.terminal.line(f"Serving model '{live.model}' at {live.base_url}; Ctrl-C stops it.")
        signal.pause()


@app.command()
def validate(
    arguments: Arguments = None,
    out: OptionalOut = None,
    url: Annotated[
        str | None,
        typer.Option("--endpoint", help="Address of any OpenAI-compatible endpoint, ending in /v1. Needs no training."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Name of the model at that endpoint. Default: the first it lists.")
    ] = None,
    key_variable: Annotated[str | None, typer.Option("--key-env", help="Environment variable that holds its API key.")] = None,
    requests: Annotated[
        list[str] | None,
        typer.Option(
            "--requests",
            metavar="FILE",
            help="Judge on these example requests alone, for the recipe's dataset.tools. No load, and no dataset. May be given "
            "several times.",
            show_default=False,
        ),
    ] = None,
    require_ready: RequireReady = False,
) -> None:
    """Measure a live endpoint.

    That of the trained model, or any other with --endpoint.

    Next: open report.html in the run directory.
    """
    if url is None and (model or key_variable):
        raise AriaError("--model and --key-env say how to reach an --endpoint", "give its address, or leave them out")
    if requests and require_ready:
        raise AriaError("--require-ready needs every figure and --requests measures some of them", "leave one of the two out")
    run = _run(arguments, out or (ENDPOINT_OUT if url else DEFAULT_OUT))
    from aria_ray import pipeline

    live = _endpoint(url, model, key_variable) if url is not None else None
    if requests:
        _tell(*pipeline.ask_requests(run, requests, live), require_ready)
        return
    if live is not None:
        _tell(pipeline.measure_endpoint(run, live), run.out, require_ready)
        return
    pipeline.check(run, pipeline.DATASET, pipeline.TRAINING, pipeline.VALIDATION)
    run.required(pipeline.TRAINING)
    with ray_session():
        pipeline.measure_model(run)
    _tell(pipeline.make_report(run), run.out, require_ready)


@app.command()
def report(
    arguments: Arguments = None,
    out: Out = DEFAULT_OUT,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="A B", help="Two run directories: how B differs from A, beyond noise."),
    ] = None,
) -> None:
    """Write and print the report again.

    It is made from the finished stages. With --compare, two runs are compared instead.
    """
    if compare is not None:
        from aria_ray.report.compare import compare as compare_runs
        from aria_ray.report.compare import render_comparison

        typer.echo(render_comparison(compare_runs(*compare)))
        return
    run = _run(arguments, out)
    from aria_ray import pipeline
    from aria_ray.report import render_text

    typer.echo(render_text(pipeline.make_report(run)))


@app.command()
def plan(
    arguments: Arguments = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            "--hardware",
            help="mi300x, mi325x, h100, h200, or cpu (this machine, measured). Default: the recipe's.",
            show_default=False,
        ),
    ] = None,
    load_per_s: Annotated[float, typer.Option("--load", help="Target load (requests/s) used to size replicas.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate what hardware can do with a recipe.

    Memory, speed limits, attainable targets. Runs no model.

    Next: `aria doctor` on that hardware.
    """
    recipe, config = _resolve(arguments)
    from aria_ray.planning.plan import find_hardware
    from aria_ray.planning.plan import plan as make_plan

    made = make_plan(recipe, config, find_hardware(hardware, config), load_per_s)
    if as_json:
        typer.echo(json.dumps(asdict(made), indent=2))
        return
    from aria_ray.planning.render import render_plan

    typer.echo(render_plan(made))


@app.command()
def doctor(arguments: Arguments = None, out: Out = DEFAULT_OUT) -> None:
    """List what would stop a recipe, with the fix.

    On this machine, or on the cluster of RAY_ADDRESS. Exit 1 if anything would.

    Next: `aria run`.
    """
    _, config = _resolve(arguments)
    from rich.console import Console
    from rich.text import Text

    from aria_ray.doctor import examine

    console = Console(highlight=False)
    styles = {"ok": "green", "fails": "red", "unmeasured": "yellow"}
    failed = 0
    for finding in examine(config, out.absolute()):
        failed += finding.state == "fails"
        told = f" {finding.what}" + (f"; {finding.fix}" if finding.fix else "")
        console.print(Text.assemble((f"{finding.state:>10}", styles[finding.state]), told), soft_wrap=True)
    if failed:
        console.print(f"{failed} of these would stop the run")
        raise typer.Exit(1)


@app.command()
def chat(
    url: Annotated[str, typer.Option("--url", help="Address of the endpoint, ending in /v1.")] = "http://127.0.0.1:8000/v1",
    model: Annotated[str, typer.Option("--model", help="Name of the model at the endpoint.")] = "aria",
    key_variable: Annotated[
        str | None,
        typer.Option("--key-env", help="Environment variable that holds the API key. Default on this machine: ARIA_API_KEYS."),
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(
            "--tool",
            help="In place of the five default tools: a built-in one, or a source as in dataset.tools. Repeatable.",
        ),
    ] = None,
) -> None:
    """Talk to a live endpoint in the terminal. Thought, tool call, result and answer appear as they arrive."""
    from rich.console import Console

    from aria_ray.chat import DEFAULT_TOOLS
    from aria_ray.chat import chat as talk
    from aria_ray.serving.keys import KEYS_VARIABLE, is_loopback

    if key_variable is None and is_loopback(urlsplit(url).hostname or ""):
        key_variable = KEYS_VARIABLE  # the server's own: not to be sent to another machine unasked
    console = Console()
    endpoint = Endpoint(base_url=_address("--url", url), model=model, api_key=_key(key_variable))
    talk(endpoint, tool or DEFAULT_TOOLS, console, lambda prompt: console.input(prompt, markup=False))


@app.command()
def config(
    arguments: Arguments = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of recipes, for editors.")] = False,
) -> None:
    """Print the resolved configuration as YAML."""
    if schema:
        if arguments:
            raise AriaError("--schema is the same for every recipe", f"leave out {' '.join(arguments)}")
        typer.echo(json.dumps({"$schema": GenerateJsonSchema.schema_dialect, **RunConfig.model_json_schema()}, indent=2))
        return
    _, resolved = _resolve(arguments)
    typer.echo(yaml.safe_dump(resolved.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False)


@app.command("import")
def import_conversations(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A file, folder, glob, s3:// address or Hub id.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write: JSON Lines in OpenAI chat format.", show_default=False)
    ] = None,
) -> None:
    """Say what conversations a file holds, and convert them.

    Format, numbers of conversations, turns, calls and tools, and what would be left out and why.

    Next: `aria generate 'dataset.sources=[FILE]'`.
    """
    from aria_ray.dataset.conversations.importing import import_source

    for line in import_source(source, out):
        typer.echo(line)


requests_app = typer.Typer(help="Example requests: what people say, and what is to be called.", no_args_is_help=True)
app.add_typer(requests_app, name="requests")


@requests_app.command("check")
def check_requests(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON Lines or YAML, as in dataset.requests.")],
    tools: Annotated[
        list[str] | None,
        typer.Option("--tools", help="A source of tools, as in dataset.tools: the calls are checked against them. Repeatable."),
    ] = None,
) -> None:
    """Say what was understood of each example request, and what is wrong with them."""
    from aria_ray.requests.read import check_examples, read_requests
    from aria_ray.requests.told import told
    from aria_ray.tools.sources import read_tools

    placed = [item for file in files for item in read_requests(file, "FILE")]
    definitions = {name: tool.definition for name, tool in read_tools(tools or (), "--tools").items()}
    if definitions:
        check_examples(placed, definitions)
    for line in told(placed, definitions):
        typer.echo(line)


def main() -> None:
    """Run the command line. Bad input is one line and exit 2; anything else that goes wrong shows its traceback."""
    prepare_environment()
    # Modules of tools (`dataset.tools`) lie where one works, which Python's own commands look through and scripts do not.
    sys.path.append(str(Path.cwd()))
    try:
        app()
    except AriaError as error:
        typer.echo(f"aria: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        typer.echo(
            f"aria: no space left on the device of {error.filename or 'the output directory'}; free some and run again: "
            "finished stages are kept",
            err=True,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("aria: stopped", err=True)
        sys.exit(130)


def _endpoint(url: str, model: str | None, key_variable: str | None) -> Endpoint:
    """A live endpoint of somebody else's."""
    from aria_ray.validation.endpoint import find_endpoint

    address = _address("--endpoint", url)
    if key_variable and not _key(key_variable):
        raise AriaError(
            f"--key-env {key_variable}: no such environment variable is set", "export the key in it, or leave it out"
        )
    return find_endpoint(address, model, _key(key_variable))


def _address(option: str, url: str) -> str:
    """The URL, if it is one of a web server."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AriaError(f"{option} {url} must be an address such as http://127.0.0.1:8000/v1", "give one that begins with http")
    return url


def _key(variable: str | None) -> SecretStr | None:
    """The API key of an environment variable (its first, where it holds several), None where it is not set."""
    key = os.environ.get(variable or "", "").split(",")[0].strip()
    if not key.isascii():
        raise AriaError(f"the API key in {variable} has a character that no key has", "set it anew")
    return SecretStr(key) if key else None


def _tell(report: Report, out: Path, require_ready: bool) -> None:
    """Print a report, and exit with 3 if it had to be better."""
    from aria_ray.report import render_text

    typer.echo("\n" + render_text(report))
    typer.echo(f"Everything is in {out}. Next: open report.html there for the plots")
    if require_ready and report.verdict != "production ready":
        raise typer.Exit(3)


def _run(arguments: list[str] | None, out: Path) -> "Run":
    """The run that a command works on. An environment for which Ray's import raises is refused first."""
    recipe, config = _resolve(arguments)
    check_environment(os.environ)
    from aria_ray.stage import Run
    from aria_ray.terminal import Terminal

    return Run(config, recipe, out, Terminal())


def _resolve(arguments: list[str] | None) -> tuple[str, RunConfig]:
    """The recipe (the first argument unless it is an override) and its configuration."""
    given = list(arguments or ())
    recipe = given.pop(0) if given and "=" not in given[0] else DEFAULT_RECIPE
    return recipe, load_config(recipe, given)
