"""`fedaffect server serve`: both faces of the cloud in one process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click

from fedaffect.edge.errors import ConfigError
from fedaffect.server.environment import FLEET_VARIABLE, REGISTRY_VARIABLE


@click.command()
@click.option(
    "--model",
    metavar="FOLDER|default|registry",
    default="registry",
    show_default=True,
    help="A model folder, the model that comes with fedaffect, or what `server models` says, followed as it changes "
    "(the default model where nothing is registered).",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Compute in this process, or as Ray Serve deployments on several machines.",
)
@click.option("--ray-settings", type=click.Path(path_type=Path), help="JSON: cluster, replicas, GPU fractions.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Without API keys only loopback is taken.")
@click.option("--rest-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: a free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="0: a free one.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="PEM chain of the server; TLS on both faces.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM private key that belongs to it.")
@click.option("--client-ca", type=click.Path(path_type=Path), help="PEM authorities of clients: mutual TLS.")
@click.option(
    "--cors",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    help="A page of another host whose scripts may call this server, such as https://app.example; may be repeated.",
)
@click.option(
    "--database",
    "--registry",
    "registry_url",
    metavar="URL",
    envvar=REGISTRY_VARIABLE,
    help="sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME; the server's data folder if not given "
    f"(${REGISTRY_VARIABLE}).",
)
@click.option(
    "--fleet",
    "fleet_path",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=FLEET_VARIABLE,
    help="Folder of the fleet that the page watches; that in the data folder, if there is one.",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where run folders of simulations lie, for the page to show.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1.")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16", "int8"]), default="fp32", show_default=True, help="Of products."
)
@click.option("--compile", "compiled", is_flag=True, help="torch.compile; the first request of each shape waits.")
@click.option("--random-init", is_flag=True, help="Untrained weights, for benchmarks; every reply says so.")
@click.option("--transcribe", is_flag=True, help="Find the words in sounds for callers who ask for it.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="Bundle's folder that pages run in the browser; the newest on offer, or this machine's own, if not given.",
)
@click.option(
    "--keep-sessions",
    "keep_days",
    metavar="DAYS",
    type=click.FloatRange(min=0, max=36_500),
    default=30.0,
    show_default=True,
    help="For how long sessions that people chose to keep are kept; 0 keeps none and deletes those that are there.",
)
@click.option(
    "--uploads",
    metavar="FOLDER|none",
    help="Where films lie while they are sent, so that a server that is started again goes on with them, for at most "
    "ten minutes, or with complete ones for an hour; `uploads` beside the database if not given. With `none`, they lie "
    "in files without a name, and what lies in that usual folder is deleted.",
)
@click.option("--drain-s", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Time to finish in.")
@click.option("--max-body-mb", type=click.FloatRange(min=0.001), default=32.0, show_default=True, help="Of a request.")
@click.option("--deadline-ms", type=click.FloatRange(min=1), default=10_000, show_default=True, help="Unless asked.")
def serve(**given: Any) -> None:
    """Answer over gRPC and REST.

    \b
    On this machine, without keys:
      fedaffect server serve --model default
      curl -F text='I could not be happier' http://127.0.0.1:8080/v1/predict
    For others, with a key and TLS:
      fedaffect server keys create phone --scope predict
      fedaffect server serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
      curl -H 'Authorization: Bearer fa_...' -F audio=@clip.wav https://HOST:8080/v1/predict
    The page's views of fleet and research, with an account of one's own:
      fedaffect server users add ada --role operator

    SIGTERM finishes what is under way and exits with 0; SIGHUP looks at once for new keys and model versions.
    The log goes to stderr, one JSON object a line, and never holds media or words.
    """  # noqa: D301
    # Ray starts its processes by fork, of which gRPC would tell in the log; none of them goes on with our gRPC.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # Here, not above: FastAPI and gRPC take a second to import, which `--help` need not wait for.
    from fedaffect.server.console.console import fleet_of
    from fedaffect.server.console.mounting import console_beside
    from fedaffect.server.json_log import log_to_stderr
    from fedaffect.server.serving.app import Listen, ServerTls
    from fedaffect.server.serving.gateway.limits import Limits
    from fedaffect.server.serving.openers import Computing
    from fedaffect.server.serving.run import ServeConfig, run_server

    certificate, key, authority = given["tls_cert"], given["tls_key"], given["client_ca"]
    if (certificate is None) != (key is None):
        raise ConfigError("TLS wants both --tls-cert and --tls-key")
    if authority is not None and certificate is None:
        raise ConfigError("--client-ca checks the clients' certificates over TLS; give --tls-cert and --tls-key too")
    tls = ServerTls(certificate, key, authority) if certificate is not None else None
    computing = Computing(
        engine=given["engine"],
        device=given["device"],
        precision=given["precision"],
        compile=given["compiled"],
        random_init=given["random_init"],
        transcribe=given["transcribe"],
        ray_settings=given["ray_settings"],
    )
    config = ServeConfig(
        model=given["model"],
        listen=Listen(given["host"], given["rest_port"], given["grpc_port"], tls, given["origins"]),
        registry_url=given["registry_url"],
        computing=computing,
        drain_s=given["drain_s"],
        keep_days=given["keep_days"],
        bundle=given["bundle"],
        uploads=Path(given["uploads"]) if given["uploads"] not in {None, "none"} else None,
        keep_uploads=given["uploads"] != "none",
        limits=Limits(body_bytes=int(given["max_body_mb"] * 2**20), default_deadline_ms=given["deadline_ms"]),
    )
    log_to_stderr()
    sys.exit(asyncio.run(run_server(config, console_beside(given["runs"], fleet_of(given["fleet_path"])))))
