"""Invariants of the allocator: no address twice, none lost, and an index that followed all changes equals one built from the view."""

import ipaddress
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from covey.objects import (
    IPAM,
    Annotations,
    Cluster,
    EndpointSpec,
    IPAMConfig,
    Network,
    NetworkSpec,
    PortConfig,
    replace,
)
from covey.states import EndpointMode, NodeState, TaskState
from covey.task_predicates import has_ended
from manager.allocator.index import AllocationIndex
from manager.allocator.node_addresses import RELEASE_NS
from manager.allocator.planner import AllocatorPlanner
from tests.support.planning import NOW, Ids, applied, changed, execute, in_state, node, removed, service, task, view_of

SUBNETS = ["", "", "10.0.1.0/29", "192.168.4.0/28"]


class Allocating(RuleBasedStateMachine):
    """Networks, services and tasks come and go; the allocator plans whenever it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.view = view_of(Cluster(id="cluster", default_address_pool=("10.0.0.0/22",), subnet_size=29))
        self.planner = AllocatorPlanner()
        self.planner.reset(self.view)
        self.ids = Ids()

    def create(self, item) -> None:
        self.view = execute(self.view, [lambda tx: tx.create(item)], NOW)
        self.planner.observe(None, item)

    def update(self, item) -> None:
        tables = (self.view.networks, self.view.services, self.view.tasks, self.view.nodes)
        before = next(table.get(item.id) for table in tables if item.id in table)
        self.view = changed(self.view, item)
        self.planner.observe(before, item)

    def drop(self, item) -> None:
        self.view = removed(self.view, item)
        self.planner.observe(item, None)

    @rule(subnet=st.sampled_from(SUBNETS), ipv6=st.booleans(), ingress=st.booleans())
    def add_network(self, subnet: str, ipv6: bool, ingress: bool) -> None:  # noqa: FBT001 - drawn values
        taken = [
            config.subnet for item in self.view.networks for config in (*item.ipam.configs, *item.spec.ipam.configs)
        ]
        if subnet and any(
            ipaddress.ip_network(subnet).overlaps(ipaddress.ip_network(other)) for other in taken if other
        ):
            return  # the control API refuses it
        if ingress and self.view.networks.ingress() is not None:
            return  # and so is a second ingress network
        key = self.ids()
        ipam = IPAM(configs=(IPAMConfig(subnet=subnet),)) if subnet else IPAM()
        self.create(
            Network(id=key, spec=NetworkSpec(annotations=Annotations(name=key), ipam=ipam, ipv6=ipv6, ingress=ingress))
        )

    @precondition(lambda self: len(self.view.networks))
    @rule(data=st.data(), mode=st.sampled_from(EndpointMode))
    def add_service(self, data, mode: EndpointMode) -> None:
        networks = data.draw(
            st.lists(
                st.sampled_from([item.id for item in self.view.networks if not item.spec.ingress] or [""]),
                max_size=2,
                unique=True,
            )
        )
        networks = [target for target in networks if target]
        self.create(service(self.ids(), networks=networks, endpoint=self.draw_endpoint(data, mode)))

    def draw_endpoint(self, data, mode: EndpointMode) -> EndpointSpec:
        if mode is EndpointMode.DNSRR or self.view.networks.ingress() is None:
            return EndpointSpec(mode=mode)
        count = data.draw(st.integers(0, 2))
        asked = data.draw(st.lists(st.sampled_from([0, 8080, 8081, 30000]), min_size=count, max_size=count))
        ports = {
            number or -at: PortConfig(target_port=80 + at, published_port=number) for at, number in enumerate(asked, 1)
        }
        return EndpointSpec(mode=mode, ports=tuple(ports.values()))

    @rule(state=st.sampled_from(NodeState))
    def add_node(self, state: NodeState) -> None:
        self.create(node(self.ids(), state=state))

    @precondition(lambda self: len(self.view.nodes))
    @rule(data=st.data(), state=st.sampled_from(NodeState), away=st.booleans())
    def change_or_remove_node(self, data, state: NodeState, away: bool) -> None:  # noqa: FBT001 - drawn values
        item = data.draw(st.sampled_from(list(self.view.nodes)))
        if data.draw(st.booleans()):
            self.drop(item)
        else:
            since = NOW - RELEASE_NS if away else NOW
            self.update(replace(item, status=replace(item.status, state=state, changed_at_ns=since)))

    @precondition(lambda self: len(self.view.services))
    @rule(data=st.data(), count=st.integers(1, 4))
    def add_tasks(self, data, count: int) -> None:
        of = data.draw(st.sampled_from(list(self.view.services)))
        for _ in range(count):
            self.create(task(of, 1, id=self.ids(), state=TaskState.NEW, node_id=""))

    @precondition(lambda self: len(self.view.tasks))
    @rule(data=st.data(), state=st.sampled_from([TaskState.RUNNING, TaskState.FAILED, TaskState.SHUTDOWN]))
    def move_task(self, data, state: TaskState) -> None:
        item = data.draw(st.sampled_from(list(self.view.tasks)))
        if item.status.state < state and item.status.state >= TaskState.PENDING:
            self.update(in_state(item, state))

    @precondition(lambda self: len(self.view.tasks))
    @rule(data=st.data())
    def end_or_delete_task(self, data) -> None:
        item = data.draw(st.sampled_from(list(self.view.tasks)))
        if has_ended(item):
            self.drop(item)
        else:
            self.update(replace(item, desired_state=TaskState.SHUTDOWN))

    @precondition(lambda self: len(self.view.services))
    @rule(data=st.data())
    def change_or_remove_service(self, data) -> None:
        item = data.draw(st.sampled_from(list(self.view.services)))
        if data.draw(st.booleans()):
            self.drop(item)
        else:
            mode = data.draw(st.sampled_from(EndpointMode))
            self.update(replace(item, spec=replace(item.spec, endpoint=self.draw_endpoint(data, mode))))

    @precondition(lambda self: len(self.view.networks))
    @rule(data=st.data())
    def remove_network(self, data) -> None:
        item = data.draw(st.sampled_from(list(self.view.networks)))
        live = [other for other in self.view.tasks.by_network(item.id) if not has_ended(other)]
        used = self.view.services if item.spec.ingress else self.view.services.by_network(item.id)
        if not live and not any(True for _ in used):
            self.drop(item)

    @rule()
    def plan(self) -> None:
        plan = self.planner.plan(self.view, NOW)
        self.view = applied(self.view, plan)
        for step in plan.steps:
            for item in step.items():
                self.planner.observe(None, item)

    @rule()
    def elect(self) -> None:
        self.planner = AllocatorPlanner()
        self.planner.reset(self.view)

    @invariant()
    def no_address_is_held_twice(self) -> None:
        holders = [vip for item in self.view.services if item.endpoint for vip in item.endpoint.virtual_ips]
        holders += [given for item in self.view.tasks if not has_ended(item) for given in item.networks]
        holders += [given for item in self.view.nodes for given in item.attachments]
        held = [
            (each.network_id, text.partition("/")[0])
            for each in holders
            for text in (each.address, each.address6)
            if text
        ]
        held += [(item.id, config.gateway) for item in self.view.networks if item.vni for config in item.ipam.configs]
        assert max(Counter(held).values(), default=1) == 1

    @invariant()
    def every_address_lies_in_its_network(self) -> None:
        for item in self.view.tasks:
            for given in item.networks:
                network = self.view.networks.get(given.network_id)
                if network is not None:
                    subnets = [config.subnet for config in network.ipam.configs]
                    given_in = [
                        str(ipaddress.ip_interface(text).network) for text in (given.address, given.address6) if text
                    ]
                    assert given_in == subnets

    @invariant()
    def no_two_services_have_one_port(self) -> None:
        held = [port.published_port for item in self.view.services if item.endpoint for port in item.endpoint.ports]
        assert len(set(held)) == len(held)

    @invariant()
    def no_two_networks_overlap_or_share_a_vxlan_id(self) -> None:
        ready = [item for item in self.view.networks if item.vni]
        assert len({item.vni for item in ready}) == len(ready)
        subnets = [ipaddress.ip_network(item.ipam.configs[0].subnet) for item in ready]
        assert not any(one.overlaps(other) for at, one in enumerate(subnets) for other in subnets[at + 1 :])

    def teardown(self) -> None:
        """Left alone it comes to rest, with nothing in reach ungiven, and knows what a new leader would know."""
        for _ in range(20):
            before = self.view
            self.plan()
            if self.view is before:
                break
        assert not self.planner.plan(self.view, NOW).steps
        for item in self.view.tasks:
            of = self.view.services.get(item.service_id)
            if of and of.endpoint and item.endpoint and not has_ended(item) and item.desired_state is TaskState.RUNNING:
                assert item.endpoint == of.endpoint or item.endpoint.spec.mode is not of.endpoint.spec.mode
        fresh = AllocatorPlanner()
        fresh.reset(self.view)
        assert self.planner.index.address_holders() == AllocationIndex.from_view(self.view).address_holders()
        assert not fresh.plan(self.view, NOW).steps, "a new leader would give what this one did not"


Allocating.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAllocating = Allocating.TestCase
