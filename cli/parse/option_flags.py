"""Flags of services that write a label `covey.NAME`, because Docker has no field for them: name without the prefix, help, value. Pure."""

HOOKS: tuple[tuple[str, str, str], ...] = (
    (
        "hook.post-start",
        "Command to run in a container once it has started; the task runs when it has ended",
        "command",
    ),
    ("hook.pre-stop", "Command to run in a container before it is stopped", "command"),
)
PRIVILEGES: tuple[tuple[str, str, str], ...] = (
    ("devices", "Devices of the host, PATH[:PATH_IN_CONTAINER][:PERMISSIONS] separated by ;", "list"),
    ("privileged", "Give the containers all of the host's devices and capabilities (true, false)", "bool"),
)
SCHEDULE: tuple[tuple[str, str, str], ...] = (
    ("schedule", 'When a job runs: a cron line such as "*/5 * * * *"', "cron"),
    ("schedule.timezone", "Time zone of the schedule, such as Europe/Berlin (default UTC)", "zone"),
    (
        "schedule.concurrency",
        'When the run before still goes on ("forbid", "allow", "replace") (default "forbid")',
        "policy",
    ),
    ("schedule.history", "Ended runs whose tasks are kept (default 3)", "int"),
    ("schedule.missed", 'Runs that no manager could begin in time ("skip", "run-once") (default "skip")', "policy"),
    ("schedule.deadline", "How late a missed run may begin (default no limit)", "duration"),
)
AUTOSCALE: tuple[tuple[str, str, str], ...] = (
    ("autoscale.min", "Fewest replicas (default 1)", "int"),
    ("autoscale.max", "Most replicas; turns autoscaling on", "int"),
    ("autoscale.cpu", "CPU use to aim at, as a percentage of the reservation or else the limit", "percent"),
    ("autoscale.memory", "Memory use to aim at, as a percentage of the reservation or else the limit", "percent"),
    ("autoscale.prometheus.url", "Prometheus server to ask, such as http://prometheus:9090", "url"),
    ("autoscale.prometheus.query", "Query whose value is shared by the replicas", "promql"),
    ("autoscale.prometheus.target", "Value of the query for one replica to aim at", "number"),
    ("autoscale.cooldown.up", "Time after a change before replicas are added (default 30s)", "duration"),
    ("autoscale.cooldown.down", "Time after a change before replicas are removed (default 5m)", "duration"),
    (
        "autoscale.stabilization",
        "Time for which fewer replicas must do before some are removed (default 2m)",
        "duration",
    ),
)
