"""`penstock analyzer`: one simulated analyzer."""

import click
import msgspec

from penstock.cli.event_loop import run
from penstock.services.distributor.config import Simulation
from penstock.services.distributor.simulated import start_analyzer
from penstock.services.stop_signal import stop_signal

__all__ = ["command"]


@click.command("analyzer")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9000,
    show_default=True,
    help="Port to listen on, 0 for a free one.",
)
@click.option(
    "--processing-time",
    type=float,
    default=0.1,
    show_default=True,
    metavar="SECONDS",
    help="How long a delivery takes.",
)
@click.option(
    "--failure-rate",
    type=float,
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="How many packets fail, 0 to 1.",
)
@click.option("--seed", type=int, help="Makes the failures the same in every run.")
def command(host: str, port: int, processing_time: float, failure_rate: float, seed: int | None) -> None:
    """Serve one simulated analyzer, for a distributor to deliver to.

    POST /fail makes it ill, POST /heal well again, GET /stats tells what it has seen.
    """
    settings = {"processing_time": processing_time, "failure_rate": failure_rate, "seed": seed}
    try:
        simulation = msgspec.convert(settings, Simulation)
    except msgspec.ValidationError as error:
        raise click.ClickException(str(error)) from None
    try:
        run(serve(simulation, host, port))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from None


async def serve(simulation: Simulation, host: str, port: int) -> None:
    runner, url = await start_analyzer(simulation, host, port)
    click.echo(f"analyzer takes packets at {url}")
    await stop_signal()
    await runner.cleanup()
