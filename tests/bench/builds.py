"""Benchmark of builds: a Dockerfile of five stages with everything cached, by Covey and by the classic builder of Docker."""

from pathlib import Path

from covey.errors import CoveyError
from tests.bench.engine_pair import SMALL, Engine, Pair
from tests.bench.figures import Figure, Target, ratio_of

DOCKERFILE = f"""FROM {SMALL} AS base
WORKDIR /src
RUN echo base > base.txt
FROM base AS dependencies
COPY dependencies.txt .
RUN sort dependencies.txt > dependencies.out
FROM base AS compiler
COPY --from=dependencies /src/dependencies.out .
COPY main.txt .
RUN cat dependencies.out main.txt > app
FROM base AS tester
COPY --from=compiler /src/app .
RUN test -s app && echo passed > report
FROM {SMALL}
COPY --from=compiler /src/app /app
COPY --from=tester /src/report /report
ENV MODE=production
EXPOSE 8080
CMD ["cat", "/app"]
"""
CACHED_STEPS = sum(1 for line in DOCKERFILE.splitlines() if not line.startswith("FROM"))
TAG = "covey-bench-built:1"
CLASSIC = {"DOCKER_BUILDKIT": "0"}


def builds(pair: Pair, rounds: int) -> list[Figure]:
    """Seconds of a build whose steps are all cached, and their ratio to Docker's."""
    folder = pair.folder / "build"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "dependencies.txt").write_text("two\none\n")
    (folder / "main.txt").write_text("main\n")
    command = ("docker", "build", "--tag", TAG, folder)
    for engine in (pair.covey, pair.docker):
        _build(engine, *command)
        cached = _build(engine, *command).count("---> Using cache")
        if cached != CACHED_STEPS:
            raise CoveyError(f"{engine.host.name} took {cached} of {CACHED_STEPS} steps from its cache")
    ours, theirs = pair.times(lambda engine: engine.run_seconds(*command, environment=CLASSIC), 2 * rounds + 1)
    name = "build of 5 stages, all cached"
    return [Figure(name, "s", ours, Target(1.5)), ratio_of(f"{name}, beside the classic builder", 1.0, ours, theirs)]


def _build(engine: Engine, *command: str | Path) -> str:
    return engine.run(*command, environment=CLASSIC)
