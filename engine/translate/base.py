"""Field tables of the structs that all objects share: annotations and drivers."""

from covey.objects import Annotations, Driver
from engine.translate.field_table import TEXT, TEXT_MAP, TEXT_MAP_ALWAYS, FieldTable, Row

ANNOTATIONS = FieldTable(
    Annotations,
    (
        Row(key="Name", field="name", codec=TEXT, always=True),
        Row(key="Labels", field="labels", codec=TEXT_MAP_ALWAYS, always=True),
    ),
)

DRIVER = FieldTable(
    Driver,
    (
        Row(key="Name", field="name", codec=TEXT),
        Row(key="Options", field="options", codec=TEXT_MAP),
    ),
)
