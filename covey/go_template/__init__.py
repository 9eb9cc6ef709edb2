"""Go's text/template: ``--format`` of the command line, and templates of services, secrets and configs. Pure.

Invariant: parsing and rendering are bounded (``limits``), so that a template of a client cannot hold up a manager or an agent.

``Template`` is parsed once with the functions that it may call, and rendered for each value. What Go refuses when it parses (unknown
functions, undefined variables, open blocks) is refused when a ``Template`` is made. Not supported: ``define``, ``template``, ``block``,
``break``, ``continue`` and methods.
"""

from covey.go_template.functions import BUILTINS
from covey.go_template.limits import DEFAULT_LIMITS, Limits
from covey.go_template.template import Template
from covey.go_template.values import ABSENT, GoStruct, go_text

__all__ = ["ABSENT", "BUILTINS", "DEFAULT_LIMITS", "GoStruct", "Limits", "Template", "go_text"]
