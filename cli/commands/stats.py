"""``covey stats``: CPU, memory, network and disk use of containers."""

import shutil
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, DaemonError, path_segment
from cli.command import command, option
from cli.completion import complete
from cli.format import table
from cli.format.units import human_binary_size, human_size, short_id

HEADERS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
TABLE = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
PERIOD_SECONDS = 1.0
MAX_PARALLEL = 16
HOME, CLEAR_ALL, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


@command()
@click.argument("containers", nargs=-1, metavar="[CONTAINER...]", shell_complete=complete("running container"))
@option("-a", "--all", "all_", is_flag=True, help="Show all containers (default shows just running)")
@options.format_option
@option("--no-stream", is_flag=True, help="Disable streaming stats and only pull the first result")
@options.trunc_option
def stats(containers: tuple[str, ...], all_: bool, form: str, no_stream: bool, no_trunc: bool) -> int:
    """Display a live stream of container(s) resource usage statistics."""
    daemon = options.client()
    before: dict[str, Any] = {}
    screen = _Screen() if not no_stream and sys.stdout.isatty() and (not form or form.startswith("table")) else None
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        while True:
            refs = containers or tuple(item["Id"] for item in daemon.get("/containers/json", {"all": all_}))
            sampled, failed = _sample(daemon, pool, refs, strict=bool(containers))
            if not before and sampled:
                time.sleep(PERIOD_SECONDS)
                before = sampled
                sampled, failed = _sample(daemon, pool, refs, strict=bool(containers))
            listed = [stats_row(ref, before.get(ref, {}), now, trunc=not no_trunc) for ref, now in sampled.items()]
            if screen:
                screen.show(table.render(listed, HEADERS, TABLE, form))
            else:
                output.print_rows(listed, HEADERS, TABLE, form)
            if no_stream or failed:
                return int(failed)
            before = sampled
            time.sleep(PERIOD_SECONDS)


class _Screen:
    """Draws a table over the one before. Lines that do not fit the terminal are cut."""

    def __init__(self) -> None:
        self._drawn = False

    def show(self, text: str) -> None:
        size = shutil.get_terminal_size()
        lines = text.splitlines()[: size.lines - 1]
        drawn = "".join(f"{line[: size.columns]}{CLEAR_LINE}\n" for line in lines)
        sys.stdout.write(f"{'' if self._drawn else CLEAR_ALL}{HOME}{drawn}{CLEAR_BELOW}")
        sys.stdout.flush()
        self._drawn = True


def _sample(
    daemon: DaemonClient, pool: ThreadPoolExecutor, refs: tuple[str, ...], *, strict: bool
) -> tuple[dict[str, Any], bool]:
    """One sample of each container. ``strict`` reports missing containers; otherwise they have just been removed."""
    query = {"stream": "false", "one-shot": "true"}
    jobs = {ref: pool.submit(daemon.get, f"/containers/{path_segment(ref)}/stats", query) for ref in refs}
    result, failed = {}, False
    for ref, job in jobs.items():
        try:
            result[ref] = job.result()
        except DaemonError as error:
            if strict:
                failed = True
                output.print_error(error)
    return result, failed


def stats_row(ref: str, before: Mapping[str, Any], now: Mapping[str, Any], *, trunc: bool) -> dict[str, Any]:
    memory = now.get("memory_stats") or {}
    used = _memory_used(memory)
    limit = memory.get("limit", 0)
    networks = (now.get("networks") or {}).values()
    identifier = str(now.get("id", ref))
    return {
        "Container": ref if not trunc or len(ref) != 64 else short_id(ref),
        "ID": short_id(identifier) if trunc else identifier,
        "Name": str(now.get("name", "")).removeprefix("/"),
        "CPUPerc": f"{_cpu_percent(before.get('cpu_stats') or {}, now.get('cpu_stats') or {}, before, now):.2f}%",
        "MemUsage": f"{human_binary_size(used)} / {human_binary_size(limit)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{human_size(sum(n['rx_bytes'] for n in networks), 3)} / {human_size(sum(n['tx_bytes'] for n in networks), 3)}",
        "BlockIO": " / ".join(human_size(_block_io_bytes(now, word), 3) for word in ("read", "write")),
        "PIDs": str((now.get("pids_stats") or {}).get("current", 0)),
    }


def _cpu_percent(
    old: Mapping[str, Any], new: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]
) -> float:
    """CPU usage between two samples, in per cent of one CPU."""
    used = (new.get("cpu_usage") or {}).get("total_usage", 0) - (old.get("cpu_usage") or {}).get("total_usage", 0)
    host = new.get("system_cpu_usage", 0) - old.get("system_cpu_usage", 0)
    if not old or used <= 0:
        return 0.0
    if host > 0:
        return float(100 * used / host * (new.get("online_cpus") or 1))
    from cli.format.units import parse_time

    elapsed = parse_time(str(now.get("read", ""))) - parse_time(str(before.get("read", "")))
    return 100 * used / elapsed if elapsed > 0 else 0.0


def _memory_used(memory: Mapping[str, Any]) -> int:
    """Memory usage without reclaimable page cache."""
    counters = memory.get("stats") or {}
    cache = counters.get("total_inactive_file", counters.get("inactive_file", 0))
    usage = int(memory.get("usage", 0))
    return usage - cache if cache < usage else usage


def _block_io_bytes(now: Mapping[str, Any], word: str) -> int:
    entries = (now.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    return sum(int(entry["value"]) for entry in entries if str(entry.get("op", "")).lower() == word)
