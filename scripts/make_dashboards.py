"""Writes the Grafana dashboards in deploy/observability/dashboards; a test compares those committed with these.

A panel is a title, a unit, and its queries, each with a legend. Two or three stand beside each other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "observability" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "[$__rate_interval]"
WIDTH, HEIGHT = 24, 8

Query = tuple[str, str]
Panel = tuple[str, str, list[Query]]


def quantiles(metric: str, by: str = "", where: str = "") -> list[Query]:
    """Median and 99th percentile of a histogram."""
    also, legend = (f", {by}", f" {{{{{by}}}}}") if by else ("", "")
    return [
        (
            f"histogram_quantile({q}, sum by (le{also}) (rate({metric}_bucket{where}{RATE})))",
            f"p{round(q * 100)}{legend}",
        )
        for q in (0.5, 0.99)
    ]


def rate(metric: str, by: str, where: str = "") -> list[Query]:
    """Events a second, by a label."""
    return [(f"sum by ({by}) (rate({metric}{where}{RATE}))", f"{{{{{by}}}}}")]


FLEET: list[list[Panel]] = [
    [
        (
            "Parts that work",
            "short",
            [("fedaffect_fleet_up", "{{part}}"), ("fedaffect_fleet_gate_up", "gate")],
        ),
        (
            "Devices",
            "short",
            [
                ("fedaffect_fleet_devices", "{{status}}"),
                ("fedaffect_fleet_devices_online", "online"),
                ("fedaffect_fleet_devices_consenting", "consenting"),
            ],
        ),
        ("Devices heard of within", "short", [("fedaffect_fleet_devices_heard", "{{within}}")]),
    ],
    [
        ("Rounds an hour", "short", [("sum by (outcome) (increase(fedaffect_fleet_rounds_total[1h]))", "{{outcome}}")]),
        ("Seconds of a round", "s", quantiles("fedaffect_fleet_round_seconds", where='{outcome="committed"}')),
        (
            "Open runs: rounds",
            "short",
            [
                ('fedaffect_fleet_run_rounds_committed{run=~"$run"}', "{{run}} committed"),
                ('fedaffect_fleet_run_rounds_wanted{run=~"$run"}', "{{run}} wanted"),
            ],
        ),
    ],
    [
        (
            "What devices did, an hour",
            "short",
            [("sum by (outcome) (increase(fedaffect_fleet_updates_total[1h]))", "{{outcome}}")],
        ),
        (
            "Updates that were not counted, an hour",
            "short",
            [("sum by (reason) (increase(fedaffect_fleet_updates_rejected_total[1h]))", "{{reason}}")],
        ),
        ("Devices in open rounds", "short", [("fedaffect_fleet_open_round_devices", "{{state}}")]),
    ],
    [
        ("Bytes of rounds", "Bps", rate("fedaffect_fleet_update_bytes_total", "direction")),
        (
            "Check-ins a second",
            "reqps",
            [(f'sum by (status) (rate(fedaffect_fleet_requests_total{{route="/v1/device"}}{RATE}))', "{{status}}")],
        ),
        ("Seconds of a request, p99", "s", quantiles("fedaffect_fleet_request_seconds", "route")[1:]),
    ],
    [
        ("Gate: requests a second", "reqps", rate("fedaffect_gate_requests_total", "api")),
        ("Gate: refused", "reqps", rate("fedaffect_gate_refused_total", "reason")),
        ("Gate: seconds of a request, p99", "s", quantiles("fedaffect_gate_request_seconds", "api")[1:]),
    ],
    [
        (
            "Gate: bytes",
            "Bps",
            [
                (f"sum(rate(fedaffect_gate_received_bytes_total{RATE}))", "from devices and runs"),
                (f"sum(rate(fedaffect_gate_sent_bytes_total{RATE}))", "to them"),
            ],
        ),
        ("Gate: requests that are served or wait", "short", [("fedaffect_gate_requests_open", "{{api}}")]),
        ("Gate: answers that are errors", "reqps", rate("fedaffect_gate_requests_total", "status", '{status=~"5.."}')),
    ],
    [
        ("Rollouts", "short", [("fedaffect_fleet_rollouts", "{{state}}")]),
        (
            "Staged bundle",
            "percentunit",
            [
                ("fedaffect_fleet_rollout_ratio", "devices that get it"),
                ("fedaffect_fleet_rollout_metric_change", "mean change of their figures"),
            ],
        ),
        ("Devices that compared the staged bundle", "short", [("fedaffect_fleet_rollout_devices", "{{result}}")]),
    ],
    [
        (
            "Audit log, an hour",
            "short",
            [("sum by (action) (increase(fedaffect_fleet_audit_entries_total[1h])) > 0", "{{action}}")],
        ),
        ("Refused requests", "reqps", rate("fedaffect_fleet_requests_total", "status", '{status=~"4..|5.."}')),
        (
            "Certificates end in",
            "s",
            [("fedaffect_fleet_certificate_expiry_timestamp_seconds - time()", "{{certificate}}")],
        ),
    ],
    [
        (
            "Driver of runs",
            "short",
            [
                ("fedaffect_fleet_driver_failing", "devices and runs that fail"),
                ("fedaffect_fleet_driver_restarts", "restarts"),
                ("fedaffect_fleet_driver_idle_seconds", "seconds since it looked"),
            ],
        ),
        (
            "Disk",
            "bytes",
            [("fedaffect_fleet_disk_free_bytes", "left"), ("fedaffect_fleet_disk_bytes", "in all")],
        ),
    ],
]

PRIVACY: list[list[Panel]] = [
    [
        ("ε spent by open runs", "short", [('fedaffect_fleet_run_epsilon_spent{run=~"$run"}', "{{run}}")]),
        ("ε budget of open runs", "short", [('fedaffect_fleet_run_epsilon_budget{run=~"$run"}', "{{run}}")]),
        (
            "Share of the budget",
            "percentunit",
            [
                (
                    'fedaffect_fleet_run_epsilon_spent{run=~"$run"} / fedaffect_fleet_run_epsilon_budget{run=~"$run"}',
                    "{{run}}",
                )
            ],
        ),
    ],
    [
        ("Lifetime ε of devices, by quantile", "short", [("fedaffect_fleet_device_epsilon", "{{quantile}}")]),
        ("Devices that spent any", "short", [("fedaffect_fleet_devices_charged", "devices")]),
        (
            "Agreement and refusals",
            "short",
            [
                ("fedaffect_fleet_devices_consenting", "consenting devices"),
                ('increase(fedaffect_fleet_updates_total{outcome="refused"}[1h])', "refusals an hour"),
            ],
        ),
    ],
    [
        (
            "Charges and sums that do not fit, a day",
            "short",
            [
                (
                    "sum by (action) (increase("
                    'fedaffect_fleet_audit_entries_total{action=~"privacy.refused|sum.liar"}[1d]))',
                    "{{action}}",
                )
            ],
        ),
        ("Simulations: ε", "short", [('fedaffect_simulation_epsilon_spent{run=~"$simulation"}', "{{run}}")]),
    ],
]

SERVING: list[list[Panel]] = [
    [
        ("Requests a second", "reqps", rate("fedaffect_requests_total", "method")),
        ("Outcomes other than OK", "reqps", rate("fedaffect_requests_total", "outcome", '{outcome!="OK"}')),
        ("Seconds to an answer", "s", quantiles("fedaffect_request_seconds", where='{method=~"predict.*"}')),
    ],
    [
        ("Seconds waiting for the model", "s", quantiles("fedaffect_queue_seconds")),
        ("Seconds in the model", "s", quantiles("fedaffect_compute_seconds", "model_version")),
        ("Requests in a batch", "short", quantiles("fedaffect_batch_size")),
    ],
    [
        (
            "Queue",
            "short",
            [
                ("fedaffect_queue_depth", "waiting"),
                ("fedaffect_batch_budget", "in a batch, at most"),
                ("fedaffect_in_flight", "being answered"),
                ("fedaffect_streams", "streams"),
            ],
        ),
        ("Wait of a request that came now", "s", [("fedaffect_queue_wait_seconds", "wait")]),
        ("Refusals", "reqps", rate("fedaffect_refusals_total", "reason")),
    ],
    [
        ("Replies from memory", "reqps", [(f"rate(fedaffect_repeated_total{RATE})", "repeated")]),
        ("Version", "short", [('count by (version) (fedaffect_build_info{job="fedaffect-cloud"})', "{{version}}")]),
    ],
]

SIMULATION: list[list[Panel]] = [
    [
        (
            "Rounds",
            "short",
            [
                ('fedaffect_simulation_round{run=~"$simulation"}', "{{run}}"),
                ('fedaffect_simulation_rounds_wanted{run=~"$simulation"}', "{{run}} wanted"),
            ],
        ),
        ("Seconds of a round", "s", [('fedaffect_simulation_round_seconds{run=~"$simulation"}', "{{run}}")]),
        ("Seconds to the end", "s", [('fedaffect_simulation_eta_seconds{run=~"$simulation"}', "{{run}}")]),
    ],
    [
        (
            "UAR on the development split",
            "percentunit",
            [('fedaffect_simulation_dev_uar{run=~"$simulation"}', "{{run}}")],
        ),
        ("Training loss", "short", [('fedaffect_simulation_train_loss{run=~"$simulation"}', "{{run}}")]),
        (
            "Clients",
            "short",
            [
                ('fedaffect_simulation_clients{run=~"$simulation"}', "{{run}} counted"),
                ('fedaffect_simulation_failures{run=~"$simulation"}', "{{run}} failed"),
            ],
        ),
    ],
    [
        (
            "Client updates a second",
            "short",
            [('fedaffect_simulation_updates_per_second{run=~"$simulation"}', "{{run}}")],
        ),
        (
            "Bytes of a round",
            "bytes",
            [
                ('fedaffect_simulation_update_bytes_up{run=~"$simulation"}', "{{run}} up"),
                ('fedaffect_simulation_update_bytes_down{run=~"$simulation"}', "{{run}} down"),
            ],
        ),
        (
            "ε",
            "short",
            [
                ('fedaffect_simulation_epsilon_spent{run=~"$simulation"}', "{{run}} spent"),
                ('fedaffect_simulation_epsilon_budget{run=~"$simulation"}', "{{run}} budget"),
            ],
        ),
    ],
]

OURS = '{job=~"fedaffect-.*"}'
COST: list[list[Panel]] = [
    [
        (
            "Processor cores in use",
            "short",
            [
                *rate("process_cpu_seconds_total", "job", OURS),
                (f"sum(rate(fedaffect_gate_process_cpu_seconds_total{RATE}))", "fedaffect-fleet: gate"),
            ],
        ),
        (
            "Memory",
            "bytes",
            [
                (f"sum by (job) (process_resident_memory_bytes{OURS})", "{{job}}"),
                ("sum(fedaffect_gate_process_resident_memory_bytes)", "fedaffect-fleet: gate"),
            ],
        ),
        (
            "Bytes that leave, a second",
            "Bps",
            [
                (f"sum(rate(fedaffect_fleet_sent_bytes_total{RATE}))", "service: bundles, answers"),
                (f'sum(rate(fedaffect_fleet_update_bytes_total{{direction="down"}}{RATE}))', "rounds: models"),
            ],
        ),
    ],
    [
        (
            "Cost a month, processor",
            "currencyUSD",
            [(f"sum by (job) (rate(process_cpu_seconds_total{OURS}{RATE})) * 730 * $core_hour", "{{job}}")],
        ),
        (
            "Cost a month, memory",
            "currencyUSD",
            [(f"sum by (job) (process_resident_memory_bytes{OURS}) / 1e9 * 730 * $gb_hour", "{{job}}")],
        ),
        (
            "Cost a month, bytes that leave",
            "currencyUSD",
            [
                (
                    f"(sum(rate(fedaffect_fleet_sent_bytes_total{RATE})) + "
                    f'sum(rate(fedaffect_fleet_update_bytes_total{{direction="down"}}{RATE}))) '
                    "/ 1e9 * 730 * 3600 * $gb_out",
                    "out",
                )
            ],
        ),
    ],
    [
        (
            "Processor seconds a prediction",
            "s",
            [
                (
                    'sum(rate(process_cpu_seconds_total{job="fedaffect-cloud"}[5m])) / '
                    'sum(rate(fedaffect_requests_total{method=~"predict.*",outcome="OK"}[5m]))',
                    "seconds",
                )
            ],
        ),
        (
            "Bytes an update that counted",
            "bytes",
            [
                (
                    "sum(increase(fedaffect_fleet_update_bytes_total[1h])) / "
                    'sum(increase(fedaffect_fleet_updates_total{outcome="answered"}[1h]))',
                    "bytes",
                )
            ],
        ),
        ("Open files", "short", [(f"sum by (job) (process_open_fds{OURS})", "{{job}}")]),
    ],
]


def variables(rows: list[list[Panel]]) -> list[dict[str, Any]]:
    """The variables that a dashboard's queries use."""
    said = json.dumps(rows)
    found: list[dict[str, Any]] = [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    ]
    for name, metric in (
        ("run", "fedaffect_fleet_run_rounds_wanted"),
        ("simulation", "fedaffect_simulation_rounds_wanted"),
    ):
        if f"${name}" in said:
            found.append(
                {
                    "name": name,
                    "label": "Run",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": f"label_values({metric}, run)",
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                }
            )
    for name, label, value in (
        ("core_hour", "Price of a core and hour", "0.04"),
        ("gb_hour", "Price of a GB of memory and hour", "0.005"),
        ("gb_out", "Price of a GB that leaves", "0.09"),
    ):
        if f"${name}" in said:
            found.append({"name": name, "label": label, "type": "textbox", "query": value, "current": {"value": value}})
    return found


def dashboard(name: str, title: str, rows: list[list[Panel]]) -> dict[str, Any]:
    """One dashboard in Grafana's JSON."""
    panels = []
    for y, row in enumerate(rows):
        for x, (heading, unit, queries) in enumerate(row):
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "timeseries",
                    "title": heading,
                    "datasource": SOURCE,
                    "gridPos": {"x": x * WIDTH // len(row), "y": y * HEIGHT, "w": WIDTH // len(row), "h": HEIGHT},
                    "fieldConfig": {"defaults": {"unit": unit}},
                    "targets": [
                        {"refId": chr(65 + number), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
                        for number, (expr, legend) in enumerate(queries)
                    ],
                }
            )
    return {
        "uid": f"fedaffect-{name}",
        "title": f"fedaffect: {title}",
        "tags": ["fedaffect"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": variables(rows)},
        "panels": panels,
    }


DASHBOARDS = {
    "fleet": ("fleet", FLEET),
    "privacy": ("privacy", PRIVACY),
    "serving": ("serving", SERVING),
    "simulation": ("simulation", SIMULATION),
    "cost": ("cost", COST),
}


def made() -> dict[str, str]:
    """Each dashboard's text, by its file's name."""
    return {
        f"{name}.json": json.dumps(dashboard(name, title, rows), indent=1, ensure_ascii=False) + "\n"
        for name, (title, rows) in DASHBOARDS.items()
    }


if __name__ == "__main__":
    for file, text in made().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
