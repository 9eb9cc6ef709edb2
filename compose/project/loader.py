"""Loads a Compose project: files, variables, includes, extensions, merges, profiles. Reads files through ``ProjectFiles``."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compose.conversion import as_mapping
from compose.errors import ComposeFileError, Location
from compose.interpolation import InterpolationRules, interpolate
from compose.nodes import ListNode, MappingNode, Node, ScalarNode, node_of, plain
from compose.project import format as project_format
from compose.project.canonical import CanonicalProject
from compose.project.checks import PROJECT_NAME, check_project
from compose.project.extends import ExtendsResolver
from compose.project.files import ProjectFiles
from compose.project.merge import merge_mappings, merge_projects, replaced_paths, without_resets
from compose.project.model import Project, ProjectOptions
from compose.project.normalize import normalized_service, with_files, with_names, with_variables, without_unused
from compose.schema import validate
from compose.stack.canonical import StackPaths
from compose.variables import UnsetVariables, VariableUse, substitute_compose, used_variables
from covey.errors import InvalidArgumentError, TooLargeError

MAX_FILES = 64
_RULES = InterpolationRules(substitute_compose, {})


def load_project(options: ProjectOptions, files: ProjectFiles | None = None) -> Project:
    """The project that files describe.

    Raises:
        ComposeFileError: a file is not a Compose file or contradicts itself, with path and place.
        InvalidArgumentError: no file is found, or one cannot be read.
    """
    files = files or ProjectFiles()
    paths = files.compose_files(options)
    directory = options.directory or str(Path(paths[0]).parent)
    variables = files.variables(options, directory)
    documents = [document for path in paths for document in files.documents(path)]
    name = project_name(options, variables, documents, directory)
    unset: set[str] = set()
    content, disabled = load_content(options, name, files, unset)
    known = {**variables, "COMPOSE_PROJECT_NAME": name}
    content = content.with_items({**content.items, "name": node_of(name, content.location)})
    if options.normalized:
        content = with_names(content, name)
    if not options.all_resources:
        content = without_unused(content)
    return Project(name, directory, tuple(paths), known, content, disabled, options.all_resources, tuple(sorted(unset)))


def load_variables(options: ProjectOptions, files: ProjectFiles | None = None) -> dict[str, VariableUse]:
    """The variables that the files of a project and those that they include name, by name; the last use of each.

    Raises:
        ComposeFileError, InvalidArgumentError: as ``load_project``.
    """
    files = files or ProjectFiles()
    found: dict[str, VariableUse] = {}
    waiting = [(path, options.directory or str(Path(path).parent)) for path in files.compose_files(options)]
    seen: set[str] = set()
    while waiting:
        path, directory = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        if len(seen) > MAX_FILES:
            raise InvalidArgumentError(f"{path}: more than {MAX_FILES} files are included or extended")
        for document in files.documents(path):
            content = plain(document)
            found |= {use.name: use for text in _texts(content) for use in used_variables(text)}
            for entry in content.get("include") or ():
                listed = entry.get("path") if isinstance(entry, dict) else entry
                for each in listed if isinstance(listed, list) else [listed]:
                    other = str(Path(directory) / str(each))
                    waiting.append((other, str(Path(other).parent)))
    return found


def _texts(value: Any) -> Iterator[str]:
    """All texts in plain values, but not the keys."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)


def load_content(
    options: ProjectOptions, name: str, files: ProjectFiles, unset: set[str] | None = None
) -> tuple[MappingNode, Mapping[str, MappingNode]]:
    """What files describe, canonical and checked, without names of objects; and the services of profiles that are not enabled.

    Args:
        options: which files, variables and profiles.
        name: the value of COMPOSE_PROJECT_NAME in the files.
        files: reads them.
        unset: takes the names of variables that are used though they are not set.

    Raises:
        ComposeFileError, InvalidArgumentError: as ``load_project``.
    """
    paths = files.compose_files(options)
    directory = options.directory or str(Path(paths[0]).parent)
    variables = {**files.variables(options, directory), "COMPOSE_PROJECT_NAME": name}
    content = _Loader(files, options, set() if unset is None else unset).load(paths, directory, variables, ())
    content, disabled = _selected(content, enabled_profiles(options, variables))
    services: dict[str, Node] = {}
    for key, service in _services(content).items():
        found = as_mapping(service)
        if options.resolved_environment:
            found = with_files(found, variables, files.environment_file, files.label_file)
        if options.interpolated and (options.resolved_environment or options.normalized):
            found = with_variables(found, variables)
        services[key] = normalized_service(found, directory) if options.normalized else found
    content = content.with_items({**content.items, "services": MappingNode(services, content.location)})
    if options.consistent:
        check_project(content, disabled)
    return content, disabled


def project_name(
    options: ProjectOptions, variables: Mapping[str, str], contents: Sequence[MappingNode], directory: str
) -> str:
    """The name that was given, that of the environment, of the last file that has one, or of the directory.

    Raises:
        InvalidArgumentError: a given name has other characters than lower case letters, digits, ``-`` and ``_``.
    """
    named = [node for content in contents if isinstance(node := content.get("name"), ScalarNode) and node.text]
    in_file = substitute_compose(named[-1].text, variables) if named else ""
    given = options.name or variables.get("COMPOSE_PROJECT_NAME", "") or in_file
    if given:
        if not PROJECT_NAME.fullmatch(given):
            raise ComposeFileError(
                f'invalid project name "{given}": must consist only of lowercase alphanumeric characters, hyphens, and '
                "underscores as well as start with a letter or number",
                location=named[-1].location if named and given == in_file else None,
            )
        return given
    name = re.sub(r"[^a-z0-9_-]", "", Path(directory).name.lower()).lstrip("_-")
    if not name:
        raise InvalidArgumentError("project name must not be empty")
    return name


def enabled_profiles(options: ProjectOptions, variables: Mapping[str, str]) -> frozenset[str]:
    """The profiles that were given, or those of COMPOSE_PROFILES."""
    listed = options.profiles or tuple(variables.get("COMPOSE_PROFILES", "").split(","))
    return frozenset(item.strip() for item in listed if item.strip())


def _services(content: MappingNode) -> Mapping[str, Node]:
    services = content.get("services")
    return services.items if isinstance(services, MappingNode) else {}


def _selected(content: MappingNode, profiles: frozenset[str]) -> tuple[MappingNode, dict[str, MappingNode]]:
    """The project with the services of enabled profiles, and the others."""
    enabled: dict[str, Node] = {}
    disabled: dict[str, MappingNode] = {}
    for name, service in _services(content).items():
        assert isinstance(service, MappingNode)  # noqa: S101 — canonical
        listed = plain(service.items["profiles"]) if "profiles" in service.items else []
        if listed and "*" not in profiles and not profiles & set(listed):
            disabled[name] = service
        else:
            enabled[name] = service
    section = content.get("services")
    kept = MappingNode(enabled, (section or content).location)
    return content.with_items({**content.items, "services": kept}), disabled


class _Loader:
    """Loads files with their includes; counts them, so that includes end."""

    def __init__(self, files: ProjectFiles, options: ProjectOptions, unset: set[str]) -> None:
        self._files = files
        self._options = options
        self._unset = unset
        self._count = 0

    def load(
        self,
        paths: Sequence[str],
        directory: str,
        variables: Mapping[str, str],
        chain: tuple[str, ...],
        place: Location | None = None,
    ) -> MappingNode:
        """The merged canonical content of files of one directory, with what they include; ``place`` includes them."""
        result: MappingNode | None = None
        for path in paths:
            if path in chain:
                listed = "\n include ".join([*chain[chain.index(path) :], path])
                raise ComposeFileError(f"include cycle detected:\n{listed}", location=place, path="include")
            for raw in self._read(path, variables):
                included = self._includes(raw, directory, variables, (*chain, path))
                content = self._extended(self._canonical(raw, directory), path, variables)
                result = content if result is None else merge_projects(result, content, replaced_paths(raw))
                if included is not None:
                    result = merge_mappings(included, result)
        assert result is not None  # noqa: S101 — at least one path
        return result

    def _read(self, path: str, variables: Mapping[str, str]) -> list[MappingNode]:
        """The documents of a file, each of which overrides those before it."""
        self._count += 1
        if self._count > MAX_FILES:
            raise InvalidArgumentError(f"{path}: more than {MAX_FILES} files are included or extended")
        documents = self._files.documents(path)
        if not self._options.interpolated:
            return list(documents)
        known = UnsetVariables(variables, self._unset)
        return [interpolate(raw, known, _RULES) for raw in documents]

    def _extended(self, content: MappingNode, path: str, variables: Mapping[str, str]) -> MappingNode:
        services = content.get("services")
        if not isinstance(services, MappingNode):
            return content

        def other(file: str, node: Node) -> Mapping[str, Node]:
            try:
                loaded = self._read(file, variables)
            except (InvalidArgumentError, TooLargeError) as error:
                if isinstance(error, ComposeFileError) and error.location:
                    raise
                raise ComposeFileError(error.message, location=node.location) from error
            folder = str(Path(file).parent)
            content = self._canonical(loaded[0], folder)
            for raw in loaded[1:]:
                content = merge_projects(content, self._canonical(raw, folder), replaced_paths(raw))
            return _services(content)

        resolver = ExtendsResolver(path, services.items, other)
        resolved = services.with_items({name: resolver.resolve(name) for name in services.items})
        return content.with_items({**content.items, "services": resolved})

    def _includes(
        self, raw: MappingNode, directory: str, variables: Mapping[str, str], chain: tuple[str, ...]
    ) -> MappingNode | None:
        include = raw.get("include")
        result: MappingNode | None = None
        for item in include.items if isinstance(include, ListNode) else ():
            value = plain(item)
            entry = value if isinstance(value, dict) else {"path": value}
            content = self._included(entry, directory, variables, chain, item)
            result = content if result is None else merge_mappings(result, content)
        return result

    def _included(
        self,
        entry: Mapping[str, object],
        directory: str,
        variables: Mapping[str, str],
        chain: tuple[str, ...],
        node: Node,
    ) -> MappingNode:
        """One entry of ``include``, with its own directory and variables."""
        listed = entry.get("path")
        if not listed:
            raise ComposeFileError("an entry of include needs a path", location=node.location, path="include")
        paths = [str(Path(directory) / str(item)) for item in (listed if isinstance(listed, list) else [listed])]
        own = entry.get("project_directory")
        inner = str(Path(directory) / str(own)) if own else str(Path(paths[0]).parent)
        env = entry.get("env_file")
        env_files = [
            str(Path(directory) / str(item)) for item in (env if isinstance(env, list) else [env] if env else [])
        ]
        try:
            known = self._files.dotenv(inner, env_files, variables)
            return self.load(paths, inner, {**known, **variables}, chain, node.location)
        except (InvalidArgumentError, TooLargeError) as error:
            if isinstance(error, ComposeFileError) and error.location:
                raise
            raise ComposeFileError(error.message, location=node.location) from error

    def _canonical(self, raw: MappingNode, directory: str) -> MappingNode:
        content = without_resets(raw)
        validate(content, project_format.PROJECT, 0)
        paths = StackPaths(directory, str(Path.home()))
        return CanonicalProject(paths, resolved=self._options.resolved_paths).convert(content)
