"""Explanations and dry runs of services in JSON. Pure."""

from typing import Any

from covey.explanation import FilterRefusal, NodeTasks, ServiceDryRun, ServiceExplanation, Suggestion, WaitingTasks
from engine.translate.service import write_spec


def write_explanation(found: ServiceExplanation) -> dict[str, Any]:
    return {
        "ServiceID": found.service_id,
        "Name": found.name,
        "Desired": found.desired,
        "Running": found.running,
        "Waiting": [_waiting(item) for item in found.waiting],
        "Notes": list(found.notes),
    }


def write_dry_run(found: ServiceDryRun, warnings: list[str]) -> dict[str, Any]:
    return {
        "Before": None if found.before is None else write_spec(found.before),
        "After": write_spec(found.after),
        "Nodes": [_node(item) for item in found.nodes],
        "Explanation": write_explanation(found.explanation),
        "Warnings": warnings or None,
    }


def _waiting(item: WaitingTasks) -> dict[str, Any]:
    return {
        "Cause": item.cause,
        "Count": item.count,
        "Tasks": list(item.tasks),
        "Reason": item.reason,
        "Refusals": [_refusal(refusal) for refusal in item.refusals],
        "Suggestions": [_suggestion(suggestion) for suggestion in item.suggestions],
        "Near": list(item.near),
    }


def _refusal(item: FilterRefusal) -> dict[str, Any]:
    return {
        "Filter": item.filter,
        "Count": item.count,
        "Sentence": item.sentence,
        "Detail": item.detail,
        "Nodes": list(item.nodes),
    }


def _suggestion(item: Suggestion) -> dict[str, Any]:
    return {"Text": item.text, "Command": item.command, "Places": item.places}


def _node(item: NodeTasks) -> dict[str, Any]:
    return {
        "NodeID": item.node_id,
        "Hostname": item.hostname,
        "Added": item.added,
        "Kept": item.kept,
        "Old": item.old,
    }
