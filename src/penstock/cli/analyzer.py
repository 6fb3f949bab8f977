"""`penstock analyzer`: one simulated analyzer."""

import click
import msgspec

from penstock.cli.event_loop import run
from penstock.cli.program import program
from penstock.services.distributor.config import Simulation
from penstock.services.distributor.simulated import start_analyzer
from penstock.services.listening import CannotListen
from penstock.services.stop_signal import stop_signal

__all__ = ["command"]


EXAMPLES = """\b
Examples:
  penstock analyzer --port 9000 &
  penstock analyzer --port 9001 --failure-rate 0.2 &
  penstock distribute --analyzer a=http://127.0.0.1:9000/packets@60 \\
                      --analyzer b=http://127.0.0.1:9001/packets@40
"""


@click.command("analyzer", epilog=EXAMPLES, short_help="Serve a simulated analyzer for a distributor.")
@click.option("--host", metavar="HOST", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=9000,
    show_default=True,
    help="Port to listen on, 0 for a free one.",
)
@click.option(
    "--processing-time",
    type=click.FloatRange(0, 60),
    default=0.1,
    show_default=True,
    metavar="SECONDS",
    help="How long a delivery takes.",
)
@click.option(
    "--failure-rate",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="How many packets fail.",
)
@click.option("--seed", type=int, metavar="N", help="Makes the failures the same in every run.")
def command(host: str, port: int, processing_time: float, failure_rate: float, seed: int | None) -> None:
    """Serve one simulated analyzer, for a distributor to deliver to.

    POST /fail makes it ill, POST /heal well again, GET /stats tells what it has seen.
    """
    settings = {"processing_time": processing_time, "failure_rate": failure_rate, "seed": seed}
    try:
        simulation = msgspec.convert(settings, Simulation)
    except msgspec.ValidationError as error:  # nan lies in every FloatRange
        raise click.ClickException(str(error)) from None
    try:
        run(serve(simulation, host, port))
    except CannotListen as error:
        raise click.ClickException(str(error)) from None


async def serve(simulation: Simulation, host: str, port: int) -> None:
    runner, url = await start_analyzer(simulation, host, port)
    click.echo(f"analyzer takes packets at {url}")
    click.echo(f"  try        {program()} distribute --analyzer a={url}@1")
    click.echo("Ctrl-C stops it.")
    await stop_signal()
    await runner.cleanup()
