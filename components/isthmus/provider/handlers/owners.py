"""What the handlers share that keep something where others are, too."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from isthmus.errors import Problem, StoreError
from isthmus.owner import ForeignOwnerError, owner_of, owner_of_urn
from isthmus.plugin.handler import Context
from isthmus.plugin.schema import Property
from isthmus.plugin.values import UNKNOWN, is_known
from isthmus.provider.handlers.stores import open_store

OWNER: Final = Property("string", "whose it is, organisation/project/stack; written on what is made", required=False)
# Where an update of it alone would do more than write a mark.
OWNER_UNCOMPARED: Final = replace(OWNER, compared=False)


def owner(values: Mapping[str, Any], context: Context) -> str:
    """Whose a resource is, by its inputs or its state."""
    return str(values.get("owner") or owner_of_urn(context.urn))


def own_names(values: Mapping[str, Any], context: Context) -> frozenset[str]:
    """The owner, and what it is called by now where its stack was renamed: a state has the former name, the URN the new one."""
    organisation = owner(values, context).partition("/")[0]
    _, project, stack = owner_of_urn(context.urn).split("/", 2)
    return frozenset({owner(values, context), owner_of(organisation, project, stack)})


def prefix_owner_problems(inputs: Mapping[str, Any], old_inputs: Mapping[str, Any], context: Context) -> list[Problem]:
    """Whether the prefix is somebody else's, asked before anything is written; a store that does not answer is no problem of this kind."""
    from isthmus.release import owners

    if not is_known([inputs["store"], inputs["bucket"], inputs["prefix"]]) or inputs.get("owner") is UNKNOWN:
        return []
    try:
        owners.ensure_own(open_store(inputs), inputs["prefix"], {owner(inputs, context), owner(old_inputs, context)})
    except ForeignOwnerError as error:
        return [Problem("prefix", str(error))]
    except StoreError:
        return []
    return []
