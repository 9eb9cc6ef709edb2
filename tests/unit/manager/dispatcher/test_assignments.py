"""Assignments of nodes: only what a node needs, and diffs that lead from one set to the next."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.objects import (
    Annotations,
    ContainerSpec,
    Driver,
    Endpoint,
    EndpointSpec,
    Network,
    NetworkAttachment,
    NetworkAttachmentConfig,
    NetworkSpec,
    Node,
    NodeDescription,
    NodeSpec,
    NodeStatus,
    Object,
    Platform,
    PortConfig,
    Secret,
    SecretReference,
    SecretSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
    VirtualIP,
    WireGuardDescription,
    replace,
)
from covey.objects.assignment import AssignmentKind as Kind
from covey.objects.assignment import NetworkEndpoint, NodeEndpoint, VirtualService
from covey.states import EndpointMode, NodeState, PublishMode, TaskState
from manager.dispatcher.assignment_cache import AssignmentCache, SentAssignments
from manager.dispatcher.assignment_wire import MAX_CHANGES_PER_MESSAGE, encode_change, split_into_messages
from manager.dispatcher.assignments import AssignmentSet, difference
from manager.store import Action, Change, View
from manager.store.schema import BY_KIND

NODES = ("n1", "n2", "n3")
NETWORKS = ("net1", "net2")
STATES = (TaskState.NEW, TaskState.PENDING, TaskState.ASSIGNED, TaskState.RUNNING, TaskState.FAILED, TaskState.ORPHANED)


def put(view: View, *items: Object) -> View:
    for item in items:
        view = view.put(BY_KIND[type(item)], item.id, item)
    return view


def node(name: str, state: NodeState = NodeState.READY, addr: str = "", hostname: str = "") -> Node:
    return Node(
        id=name,
        status=NodeStatus(state=state, addr=addr or f"192.0.2.{name[1:]}"),
        description=NodeDescription(hostname=hostname),
    )


def task(
    name: str,
    where: str = "n1",
    state: TaskState = TaskState.RUNNING,
    desired: TaskState = TaskState.RUNNING,
    secret: str = "",
    network: str = "",
    hostname: str = "",
) -> Task:
    references = (SecretReference(secret_id=secret, secret_name=secret),) if secret else ()
    return Task(
        id=name,
        spec=TaskSpec(
            container=ContainerSpec(image="i", secrets=references, hostname=hostname),
            networks=(NetworkAttachmentConfig(target=network),) if network else (),
        ),
        service_id="s1",
        slot=1,
        node_id=where,
        service_annotations=Annotations(name="web"),
        status=TaskStatus(state=state, message="said by the agent", timestamp_ns=7),
        desired_state=desired,
        networks=(NetworkAttachment(network_id=network, address="10.0.0.5/24"),) if network else (),
    )


def secret(name: str) -> Secret:
    return Secret(id=name, spec=SecretSpec(annotations=Annotations(name=name), data=b"data"))


def network(name: str) -> Network:
    return Network(id=name, vni=4097)


def assigned(view: View, node_id: str) -> AssignmentSet:
    """Everything that the node must know, from a cache that has seen no commit."""
    return AssignmentCache(view).assignments_of(node_id).all_items()


INGRESS = NetworkSpec(annotations=Annotations(name="ingress"), ingress=True)
PUBLISHED = EndpointSpec(ports=(PortConfig(target_port=80, published_port=8080),))


def on_mesh(item: Node, address: str, key: str = "") -> Node:
    """The node with an address on the ingress network and a tunnel key; empty for none."""
    attachments = (NetworkAttachment(network_id="mesh", address=address, mac="02:42:0a:00:00:04"),) if address else ()
    wireguard = WireGuardDescription(public_key=key, port=51820) if key else None
    return replace(item, attachments=attachments, description=replace(item.description, wireguard=wireguard))


WORLD = put(View.empty(), *(node(n) for n in NODES), *(network(n) for n in NETWORKS), secret("x"), secret("y"))


def kinds(items: object) -> list[tuple[Kind, str]]:
    return sorted(items)  # type: ignore[call-overload, no-any-return]


def test_secrets_go_only_to_nodes_with_tasks_that_should_run() -> None:
    view = put(
        WORLD,
        task("t1", "n1", secret="x"),
        task("t2", "n2", desired=TaskState.SHUTDOWN, secret="x"),
        task("t3", "n3", state=TaskState.FAILED, secret="y"),
    )
    assert kinds(assigned(view, "n1")) == [(Kind.TASK, "t1"), (Kind.SECRET, "x")]
    assert kinds(assigned(view, "n2")) == [(Kind.TASK, "t2")]
    assert kinds(assigned(view, "n3")) == [(Kind.TASK, "t3")]


def test_a_task_is_sent_once_it_is_assigned_and_without_its_reported_status() -> None:
    view = put(WORLD, task("t1", state=TaskState.PENDING), task("t2", state=TaskState.RUNNING))
    sent = assigned(view, "n1")
    assert kinds(sent) == [(Kind.TASK, "t2")]
    item = sent[Kind.TASK, "t2"]
    assert isinstance(item, Task)
    assert item.status == TaskStatus(state=TaskState.ASSIGNED)
    later = put(view, task("t2", state=TaskState.STARTING))
    assert difference(sent, assigned(later, "n1")) == []


def test_endpoints_go_only_to_nodes_on_the_network_and_are_ready_only_while_they_run() -> None:
    view = put(
        WORLD,
        task("t1", "n1", network="net1"),
        task("t2", "n2", state=TaskState.STARTING, network="net1"),
        task("t3", "n3", network="net2"),
    )
    sent = assigned(view, "n1")
    endpoints = {i.task_id: i for (kind, _), i in sent.items() if kind is Kind.ENDPOINT}  # type: ignore[union-attr]
    assert {name: endpoint.ready for name, endpoint in endpoints.items()} == {"t1": True, "t2": False}  # type: ignore[union-attr]
    assert endpoints["t2"].host == "192.0.2.2"  # type: ignore[union-attr]
    assert endpoints["t2"].address == "10.0.0.5"  # type: ignore[union-attr]
    down = assigned(put(view, node("n1", NodeState.DOWN)), "n2")
    assert not down[Kind.ENDPOINT, "t1/net1"].ready  # type: ignore[union-attr]
    leaving = put(view, task("t1", "n1", desired=TaskState.SHUTDOWN, network="net1"))
    assert not assigned(leaving, "n2")[Kind.ENDPOINT, "t1/net1"].ready  # type: ignore[union-attr]


def test_a_virtual_service_is_sent_once_it_has_its_vip_and_without_one_with_dnsrr() -> None:
    spec = ServiceSpec(
        annotations=Annotations(name="web"), task=TaskSpec(networks=(NetworkAttachmentConfig(target="net1"),))
    )
    service = Service(id="s1", spec=spec)
    view = put(WORLD, task("t1", network="net1"), service)
    assert (Kind.VIRTUAL_SERVICE, "s1/net1") not in assigned(view, "n1")
    endpoint = Endpoint(virtual_ips=(VirtualIP(network_id="net1", address="10.0.0.2/24"),))
    given_vip = assigned(put(view, replace(service, endpoint=endpoint)), "n1")
    assert given_vip[Kind.VIRTUAL_SERVICE, "s1/net1"].address == "10.0.0.2"  # type: ignore[union-attr]
    rr = replace(service, spec=replace(spec, endpoint=EndpointSpec(mode=EndpointMode.DNSRR)))
    assert assigned(put(view, rr), "n1")[Kind.VIRTUAL_SERVICE, "s1/net1"].address == ""  # type: ignore[union-attr]


def test_objects_that_others_depend_on_come_first_and_are_removed_last() -> None:
    full = assigned(put(WORLD, task("t1", secret="x", network="net1")), "n1")
    coming = [change.kind for change in difference({}, full)]
    assert coming == [Kind.NETWORK, Kind.SECRET, Kind.ENDPOINT, Kind.TASK]
    assert [change.kind for change in difference(full, {})] == coming[::-1]


def test_a_change_of_a_secret_affects_only_nodes_that_have_it() -> None:
    view = put(WORLD, task("t1", "n1", secret="x"), task("t2", "n2", secret="y"))
    cache = AssignmentCache(view)
    sent = SentAssignments()
    sent.advance(cache.assignments_of("n1"))
    labelled = replace(secret("x"), spec=SecretSpec(annotations=Annotations(name="x", labels={"a": "b"}), data=b"data"))
    after = put(view, labelled)
    assert cache.apply_changes(after, [Change(Action.UPDATE, secret("x"), labelled)]) == {"n1"}
    [(change, _, _)] = sent.advance(cache.assignments_of("n1")).changes
    assert (change.kind, change.item) == (Kind.SECRET, labelled)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Object]]:
    """Batches of objects to store; a task may come again on another network or in another state."""
    random_tasks = st.builds(
        task,
        name=st.sampled_from(["t1", "t2", "t3", "t4", "t5"]),
        where=st.sampled_from(["", *NODES]),
        state=st.sampled_from(STATES),
        desired=st.sampled_from([TaskState.RUNNING, TaskState.SHUTDOWN]),
        secret=st.sampled_from(["", "x", "y", "gone"]),
        network=st.sampled_from(["", "mesh", *NETWORKS]),
        hostname=st.sampled_from(["", "on-{{.Node.Hostname}}"]),
    )
    random_nodes = st.builds(
        lambda mesh, key, **facts: on_mesh(node(**facts), mesh, key),
        mesh=st.sampled_from(["", "10.0.0.4/24"]),
        key=st.sampled_from(["", "key"]),
        name=st.sampled_from(NODES),
        state=st.sampled_from([NodeState.READY, NodeState.DOWN]),
        addr=st.sampled_from(["", "192.0.2.99"]),
        hostname=st.sampled_from(["east", "west"]),
    )
    services = st.builds(
        lambda net, vip: Service(
            id="s1",
            spec=ServiceSpec(
                annotations=Annotations(name="web"), task=TaskSpec(networks=(NetworkAttachmentConfig(target=net),))
            ),
            endpoint=Endpoint(
                spec=PUBLISHED, ports=PUBLISHED.ports, virtual_ips=(VirtualIP(network_id=net, address=vip),)
            )
            if vip
            else None,
        ),
        net=st.sampled_from([*NETWORKS, "mesh"]),
        vip=st.sampled_from(["", "10.0.0.2/24"]),
    )
    secrets = st.builds(lambda data: Secret(id="x", spec=SecretSpec(data=data)), st.sampled_from([b"a", b"b"]))
    networks = st.builds(
        lambda vni, options: Network(id="net1", vni=vni, spec=NetworkSpec(driver=Driver(options=options))),
        st.sampled_from([0, 4097]),
        st.sampled_from([{}, {"encrypted": ""}]),
    )
    meshes = st.builds(lambda allocated: Network(id="mesh", allocated=allocated, spec=INGRESS), st.booleans())
    return draw(
        st.lists(
            st.lists(st.one_of(random_tasks, random_nodes, services, secrets, networks, meshes), max_size=4), max_size=8
        )
    )


@given(histories(), st.randoms(use_true_random=False))
def test_diffs_applied_in_turn_give_the_complete_set_and_the_cache_agrees_with_one_from_scratch(
    history: list[list[Object]], chance: random.Random
) -> None:
    view, cache = WORLD, AssignmentCache(WORLD)
    held: dict[str, dict[object, object]] = {name: {} for name in NODES}
    sent = {name: SentAssignments() for name in NODES}
    for name in NODES:
        advance(sent[name], cache, name, held[name])
    slow: set[str] = set()
    for batch in history:
        changes = []
        for item in batch:
            schema = BY_KIND[type(item)]
            before = view.state(schema).objects.get(item.id)
            if isinstance(item, Task | Network | Node | Service) and before is not None and chance.random() < 0.2:
                view = view.put(schema, item.id, None)
                changes.append(Change(Action.REMOVE, before, None))
                continue
            view = view.put(schema, item.id, item)
            changes.append(Change(Action.UPDATE if before else Action.CREATE, before, item))
        if chance.random() < 0.1:
            cache.reset(view)  # as after a lag
            dirty = set(NODES)
        else:
            dirty = cache.apply_changes(view, changes)
        for name in NODES:
            want = assigned(view, name)
            assert cache.assignments_of(name).all_items() == want
            if chance.random() < 0.3:
                continue  # this session is slow
            told = advance(sent[name], cache, name, held[name])
            assert not told or name in dirty | slow, "a node that must be told something is dirty"
            assert held[name] == want
        slow = {name for name in NODES if held[name] != assigned(view, name)}


def advance(sent: SentAssignments, cache: AssignmentCache, name: str, held: dict[object, object]) -> int:
    """Applies the update of a session to what its agent holds. Returns the number of changes."""
    complete, changes = sent.advance(cache.assignments_of(name))
    if complete:
        held.clear()
    for change, _, _ in changes:
        if change.item is None:
            del held[change.kind, change.id]
        else:
            held[change.kind, change.id] = change.item
    return len(changes)


@given(st.integers(0, 3 * MAX_CHANGES_PER_MESSAGE))
def test_messages_hold_everything_once_and_in_order(count: int) -> None:
    changes = difference({}, {(Kind.SECRET, f"{n:04}"): secret("x") for n in range(count)})
    messages = split_into_messages(map(encode_change, changes))
    assert [change.id for message in messages for change in message.changes] == [change.id for change in changes]
    assert all(len(message.changes) <= MAX_CHANGES_PER_MESSAGE for message in messages)
    assert messages


@pytest.mark.parametrize(
    ("written", "known_as"),
    [
        ("db", "db"),
        ("{{.Service.Name}}-{{.Task.Slot}}-{{.Node.Hostname}}", "web-1-east"),
        ("{{.Node.Platform.Architecture}}.{{.Node.Labels.zone}}", "amd64.a"),
        ("{{.Unheard}}", ""),
    ],
)
def test_a_container_is_known_by_the_hostname_that_it_has_and_not_by_its_template(written: str, known_as: str) -> None:
    east = Node(
        id="n1",
        spec=NodeSpec(annotations=Annotations(labels={"zone": "a"})),
        description=NodeDescription(hostname="east", platform=Platform(architecture="amd64", os="linux")),
    )
    view = put(View.empty(), east, network("net1"), task("t1", network="net1", hostname=written))
    endpoint = assigned(view, "n1")[Kind.ENDPOINT, "t1/net1"]
    assert isinstance(endpoint, NetworkEndpoint)
    assert endpoint.hostname == known_as


def test_a_node_that_is_renamed_changes_the_names_of_its_containers() -> None:
    before, after = node("n1", hostname="east"), node("n1", hostname="west")
    view = put(View.empty(), before, network("net1"), task("t1", network="net1", hostname="{{.Node.Hostname}}"))
    cache = AssignmentCache(view)
    sent = SentAssignments()
    sent.advance(cache.assignments_of("n1"))
    view = put(view, after)
    assert cache.apply_changes(view, [Change(Action.UPDATE, before, after)]) == {"n1"}
    assert [change.id for change, _, _ in sent.advance(cache.assignments_of("n1")).changes] == ["t1/net1"]
    assert cache.assignments_of("n1").all_items() == assigned(view, "n1")


def test_an_alias_is_the_services_and_leads_to_no_single_task() -> None:
    """Seen as: a stack's short name answered with the virtual address and with the addresses of dead tasks beside it."""
    attachment = NetworkAttachmentConfig(target="net1", aliases=("short",))
    joined = task("t1", network="net1")
    joined = replace(joined, networks=(replace(joined.networks[0], aliases=("short",)),))
    web = Service(
        id="s1",
        spec=ServiceSpec(annotations=Annotations(name="web"), task=TaskSpec(networks=(attachment,))),
        endpoint=Endpoint(virtual_ips=(VirtualIP(network_id="net1", address="10.0.0.2/24"),)),
    )
    sent = assigned(put(View.empty(), node("n1"), network("net1"), web, joined), "n1")
    assert sent[Kind.ENDPOINT, "t1/net1"].aliases == ()
    assert sent[Kind.VIRTUAL_SERVICE, "s1/net1"].aliases == ("short",)


# --- the ingress network and encrypted networks ---


def test_every_node_is_told_of_the_ingress_network_its_nodes_and_published_services() -> None:
    mesh = Network(id="mesh", allocated=True, spec=INGRESS)
    published = task("t1", "n1", network="mesh")
    web = Service(
        id="s1",
        spec=ServiceSpec(annotations=Annotations(name="web"), endpoint=PUBLISHED),
        endpoint=Endpoint(
            spec=PUBLISHED, ports=PUBLISHED.ports, virtual_ips=(VirtualIP(network_id="mesh", address="10.0.0.9/24"),)
        ),
    )
    view = put(WORLD, mesh, published, web, on_mesh(node("n2"), "10.0.0.4/24", "key"))
    sent = assigned(view, "n3")
    assert kinds(sent) == [
        (Kind.NETWORK, "mesh"),
        (Kind.ENDPOINT, "t1/mesh"),
        (Kind.VIRTUAL_SERVICE, "s1/mesh"),
        (Kind.NODE_ENDPOINT, "n2/mesh"),
    ]
    service = sent[Kind.VIRTUAL_SERVICE, "s1/mesh"]
    assert isinstance(service, VirtualService)
    assert (service.address, service.ports) == ("10.0.0.9", PUBLISHED.ports)
    assert sent[Kind.NODE_ENDPOINT, "n2/mesh"] == NodeEndpoint(
        id="n2/mesh", network_id="mesh", node_id="n2", host="192.0.2.2", address="10.0.0.4", mac="02:42:0a:00:00:04"
    )
    unpublished = replace(web, spec=replace(web.spec, endpoint=None), endpoint=Endpoint())
    assert (Kind.VIRTUAL_SERVICE, "s1/mesh") not in assigned(put(view, unpublished), "n3")


def test_a_service_has_all_its_ports_on_the_networks_where_its_tasks_are() -> None:
    """SRV records name them, those in host mode too; the routing mesh needs those in ingress mode."""
    own = PortConfig(name="own", target_port=81, published_port=8081, publish_mode=PublishMode.HOST)
    spec = EndpointSpec(ports=(*PUBLISHED.ports, own))
    vips = (VirtualIP(network_id="net1", address="10.0.1.9/24"), VirtualIP(network_id="mesh", address="10.0.0.9/24"))
    joins = TaskSpec(networks=(NetworkAttachmentConfig(target="net1"),))
    web = Service(
        id="s1",
        spec=ServiceSpec(task=joins, endpoint=spec),
        endpoint=Endpoint(spec=spec, ports=spec.ports, virtual_ips=vips),
    )
    mesh = Network(id="mesh", allocated=True, spec=INGRESS)
    sent = assigned(put(WORLD, network("net1"), mesh, web, task("t1", "n1", network="net1")), "n1")
    found = {item.network_id: item.ports for item in sent.values() if isinstance(item, VirtualService)}
    assert found == {"net1": spec.ports, "mesh": PUBLISHED.ports}


def test_nodes_of_an_encrypted_network_are_told_each_others_keys_and_others_are_not() -> None:
    sealed = Network(id="net1", vni=4097, spec=NetworkSpec(driver=Driver(options={"encrypted": ""})))
    view = put(WORLD, sealed, task("t1", "n1", network="net1"), task("t2", "n2", network="net1"), task("t3", "n3"))
    view = put(view, on_mesh(node("n1"), "", "key1"), on_mesh(node("n3"), "", "key3"))
    sent = assigned(view, "n2")
    nodes = {item.node_id: item.wireguard for item in sent.values() if isinstance(item, NodeEndpoint)}
    assert nodes == {"n1": WireGuardDescription(public_key="key1", port=51820), "n2": None}
    assert kinds(assigned(view, "n3")) == [(Kind.TASK, "t3")]


def test_a_task_that_stops_drains_and_is_neither_ready_nor_gone() -> None:
    stopping = task("t1", network="net1", desired=TaskState.SHUTDOWN)
    endpoint = assigned(put(WORLD, stopping), "n1")[Kind.ENDPOINT, "t1/net1"]
    assert isinstance(endpoint, NetworkEndpoint)
    assert (endpoint.ready, endpoint.draining, endpoint.mac) == (False, True, "02:42:0a:00:00:05")


def test_a_change_of_one_endpoint_is_encoded_once_for_all_nodes() -> None:
    tasks = [task(f"t{number}", NODES[number % 3], network="net1") for number in range(30)]
    view = put(WORLD, *tasks)
    cache, sessions = AssignmentCache(view), [SentAssignments() for _ in NODES]
    for name, sent in zip(NODES, sessions, strict=True):
        sent.advance(cache.assignments_of(name))
    ended = task("t7", NODES[1], TaskState.FAILED, network="net1")
    view = put(view, ended)
    assert cache.apply_changes(view, [Change(Action.UPDATE, tasks[7], ended)]) == set(NODES)
    messages = [
        encoded.wire
        for name, sent in zip(NODES, sessions, strict=True)
        for encoded in sent.advance(cache.assignments_of(name)).changes
        if encoded.change.kind is Kind.ENDPOINT
    ]
    assert [message.id for message in messages] == ["t7/net1"] * 3
    assert len({id(message) for message in messages}) == 1


def test_a_session_that_is_too_far_behind_gets_a_complete_set() -> None:
    view = put(WORLD, task("t1", network="net1"))
    cache, slow = AssignmentCache(view, max_log=3), SentAssignments()
    slow.advance(cache.assignments_of("n1"))
    for state in [TaskState.STARTING, TaskState.RUNNING] * 3:
        before, after = view.tasks.get("t1"), task("t1", state=state, network="net1")
        view = put(view, after)
        cache.apply_changes(view, [Change(Action.UPDATE, before, after)])
    update = slow.advance(cache.assignments_of("n1"))
    assert update.complete
    assert {(change.kind, change.id): change.item for change, _, _ in update.changes} == assigned(view, "n1")


def test_a_new_tunnel_key_reaches_the_other_nodes_of_an_encrypted_network() -> None:
    sealed = Network(id="net1", vni=4097, spec=NetworkSpec(driver=Driver(options={"encrypted": ""})))
    view = put(WORLD, sealed, task("t1", "n1", network="net1"), task("t2", "n2", network="net1"), task("t3", "n3"))
    cache, sent = AssignmentCache(view), SentAssignments()
    for name in NODES:
        cache.assignments_of(name)
    sent.advance(cache.assignments_of("n2"))
    before, after = node("n1"), on_mesh(node("n1"), "", "fresh")
    view = put(view, after)
    assert cache.apply_changes(view, [Change(Action.UPDATE, before, after)]) == {"n1", "n2"}
    [(change, _, _)] = sent.advance(cache.assignments_of("n2")).changes
    assert isinstance(change.item, NodeEndpoint)
    assert change.item.wireguard == WireGuardDescription(public_key="fresh", port=51820)
