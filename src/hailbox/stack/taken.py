"""What has a name that the stack needs, and is not the stack's: told before anything is changed."""

from __future__ import annotations

from hailbox.context import Context
from hailbox.model import names
from hailbox.model.errors import NameTakenError, NetworkTwiceError
from hailbox.observe import Observed
from hailbox.stack.plan import Plan


def refuse(context: Context, planned: Plan, observed: Observed) -> None:
    """Raise NameTakenError or NetworkTwiceError if anything else has the name of a container or of the network.

    Volumes of our names without labels are taken for the stack's; see `observe`.
    """
    ours = {container.id for container in observed.containers}
    wanted = {names.container(context.stack, replica) for replica in planned.digests}
    up = f"then run: hailbox --stack {context.stack} up; no data is lost by that"
    for container in context.engine.containers({}):
        if container.name in wanted and container.id not in ours:
            raise NameTakenError(
                f"the container {container.name} (image {container.image}) is not the stack's, and has the name of "
                "one that the stack needs",
                f"give it another name: docker rename {container.name} OTHER-NAME; or remove it, if nothing needs "
                f"it: docker rm {container.name}; {up}",
            )
    network = names.project(context.stack)
    known = {found.id for found in observed.networks}
    for found in context.engine.networks({}):
        if found.name == network and found.id not in known:
            raise NetworkTwiceError(
                f"the network {network} ({found.id[:12]}) is not the stack's, and has the name of the one that the "
                "stack needs",
                f"remove it, if nothing needs it: docker network rm {found.id[:12]}; {up}",
            )
