"""Runs the steps of a plan: each as soon as those before it have succeeded, several at a time.

Invariant: after a failure no step begins that depends on it; steps that have begun are waited for.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from cli.compose.steps import Step
from covey.errors import CoveyError

UNLIMITED = 50


def run_steps(steps: Sequence[Step], perform: Callable[[Step], None], *, parallel: int = -1) -> None:
    """Run steps; ``parallel`` is how many at a time, -1 the usual limit.

    Raises:
        CoveyError: that of the first required step that failed, after the running ones ended.
    """
    waiting = {step.key: step for step in steps}
    done: set[str] = set()
    running: dict[Future[None], Step] = {}
    failure: CoveyError | None = None
    with ThreadPoolExecutor(parallel if parallel > 0 else UNLIMITED) as pool:
        while waiting or running:
            ready = [step for step in waiting.values() if step.after <= done] if failure is None else []
            for step in ready:
                del waiting[step.key]
                running[pool.submit(perform, step)] = step
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                step = running.pop(future)
                error = future.exception()
                if error is None or (isinstance(error, CoveyError) and not step.required):
                    done.add(step.key)
                elif isinstance(error, CoveyError):
                    failure = failure or error
                else:
                    raise error
    if failure is not None:
        raise failure
