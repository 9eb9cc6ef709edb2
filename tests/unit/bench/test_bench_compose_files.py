"""The Compose files of the benchmark load as projects and as stacks."""

from cli.stack.loader import load_stack
from compose.project.loader import load_project
from compose.project.model import ProjectOptions
from tests.bench.compose_files import large_services, small_services
from tests.bench.stacks import DEPLOY_OPTIONS


def test_a_large_file_is_a_project_and_a_stack_without_notices(tmp_path, capsys):
    file = tmp_path / "compose.yaml"
    file.write_text(large_services(3))
    project = load_project(ProjectOptions(files=(str(file),), environment={}, name="x", directory=str(tmp_path)))
    assert list(project.content.get("services").items) == ["service0", "service1", "service2"]
    stack = load_stack("x", [str(file)], {"TAG": "2"})
    assert [service.name for service in stack.services] == ["x_service0", "x_service1", "x_service2"]
    assert stack.services[2].spec["TaskTemplate"]["ContainerSpec"]["Image"] == "registry.example.com/team/app:2"
    assert capsys.readouterr().err == ""


def test_services_of_a_deployed_file_have_no_virtual_address(tmp_path):
    file = tmp_path / "stack.yaml"
    file.write_text(small_services(2, "app:1", DEPLOY_OPTIONS))
    stack = load_stack("x", [str(file)], {})
    assert [service.spec["EndpointSpec"]["Mode"] for service in stack.services] == ["dnsrr", "dnsrr"]
