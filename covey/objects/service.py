"""Services: the desired state of a number of equal tasks, with the policies for their updates."""

from covey.objects.autoscale import Autoscale, AutoscaleStatus
from covey.objects.base import Annotations, Meta, Struct
from covey.objects.endpoint import Endpoint, EndpointSpec
from covey.objects.job_schedule import JobSchedule, JobStatus, ScheduleStatus
from covey.objects.rollout import RolloutOptions
from covey.objects.task import TaskSpec
from covey.states import DependencyCondition, ServiceMode, UpdateFailureAction, UpdateOrder, UpdateState


class UpdateConfig(Struct, frozen=True, kw_only=True):
    """``parallelism`` 0 means all at once; ``max_failure_ratio`` in [0, 1]."""

    parallelism: int = 1
    delay_ns: int = 0
    failure_action: UpdateFailureAction = UpdateFailureAction.PAUSE
    monitor_ns: int = 5_000_000_000
    max_failure_ratio: float = 0.0
    order: UpdateOrder = UpdateOrder.STOP_FIRST


class ServiceDependency(Struct, frozen=True, kw_only=True):
    """``service`` is the name of another service. ``restart``: the tasks are replaced after an update of it. ``optional``: a service that
    does not exist is not waited for.
    """

    service: str = ""
    condition: DependencyCondition = DependencyCondition.STARTED
    restart: bool = False
    optional: bool = False


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """``replicas`` applies to REPLICATED, ``max_concurrent`` and ``total_completions`` to jobs. ``service_networks`` says that the
    task's networks were given for the service, as clients of API 1.24 do; they are shown where they were given.
    ``depends_on`` is what the label `covey.depends-on` says; ``schedule`` and ``autoscale`` come from labels
    too, and ``rollout``.
    """

    annotations: Annotations = Annotations()
    task: TaskSpec = TaskSpec()
    mode: ServiceMode = ServiceMode.REPLICATED
    replicas: int = 1
    max_concurrent: int = 0
    total_completions: int = 0
    update: UpdateConfig | None = None
    rollback: UpdateConfig | None = None
    endpoint: EndpointSpec | None = None
    service_networks: bool = False
    depends_on: tuple[ServiceDependency, ...] = ()
    schedule: JobSchedule | None = None
    autoscale: Autoscale | None = None
    rollout: RolloutOptions = RolloutOptions()


class UpdateStatus(Struct, frozen=True, kw_only=True):
    """``rebalancing``: tasks move to other nodes and keep their spec. ``awaits_promotion``: paused after the canaries. ``promoted``: all
    other tasks may follow the canaries.
    """

    state: UpdateState = UpdateState.UNKNOWN
    started_at_ns: int = 0
    completed_at_ns: int = 0
    message: str = ""
    rebalancing: bool = False
    awaits_promotion: bool = False
    promoted: bool = False


class Service(Struct, frozen=True, kw_only=True):
    """``spec_version`` is the ``meta.version`` at which the part of the spec that tasks are made from last changed; tasks carry a copy.
    ``version_before_spec`` is the version of the service before its present spec: a client that read a later version has seen this spec.
    ``waiting_for`` says which dependency its tasks wait for. ``dependency_versions`` are the versions, by name, of the dependencies with
    ``restart`` that its tasks were started with. ``job_status`` is the present run and set in jobs only.
    """

    id: str
    meta: Meta = Meta()
    spec: ServiceSpec = ServiceSpec()
    version_before_spec: int = 0
    previous_spec: ServiceSpec | None = None
    spec_version: int = 0
    previous_spec_version: int = 0
    endpoint: Endpoint | None = None
    update_status: UpdateStatus | None = None
    waiting_for: str = ""
    dependency_versions: dict[str, str] = {}
    job_status: JobStatus | None = None
    schedule_status: ScheduleStatus | None = None
    autoscale_status: AutoscaleStatus | None = None
