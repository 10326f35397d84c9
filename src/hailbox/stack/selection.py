"""Which replicas a word of the user means: a replica (`chunkd-2`) or all of a service (`chunkd`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hailbox.engine.port import Container, ContainerState
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT, Profile
from hailbox.model.errors import NotWorkingError, StackDownError, UnknownServiceError
from hailbox.observe import Observed


def of_profile(profile: Profile) -> dict[str, str]:
    """The replicas that a profile has: the service by replica name."""
    return {replica.name: replica.service for replica in profile.replicas}


def of_observed(observed: Observed, *, one_shot: bool = False) -> dict[str, str]:
    """The replicas that have a container: the service by replica name; with `one_shot` also that one."""
    found = {
        container.labels[names.REPLICA]: container.labels.get(names.SERVICE, "")
        for container in observed.containers
        if names.REPLICA in container.labels and names.HELPER not in container.labels
    }
    return {name: found[name] for name in sorted(found) if one_shot or name != ONE_SHOT}


def chosen(stack: str, known: Mapping[str, str], words: Iterable[str]) -> list[str]:
    """The replicas among `known` (service by replica) that `words` mean, each once; all if there are no words.

    Raises UnknownServiceError for a word that means none.
    """
    found: dict[str, None] = {}
    wanted = list(words)
    for word in wanted:
        meant = [name for name, service in known.items() if word in (name, service)]
        if not meant:
            listed = ", ".join(dict.fromkeys([*filter(None, known.values()), *known]))
            remedy = f"it has: {listed}" if listed else f"run: hailbox --stack {stack} up"
            raise UnknownServiceError(f"stack {stack} has no service or replica {word!r}", remedy)
        found |= dict.fromkeys(meant)
    return list(found) if wanted else list(known)


def one(stack: str, known: Mapping[str, str], word: str) -> str:
    """The one replica among `known` that `word` means. Raises UnknownServiceError if it means none or several."""
    found = chosen(stack, known, [word])
    if len(found) > 1:
        raise UnknownServiceError(
            f"{word!r} means several replicas of stack {stack}", f"choose one of: {', '.join(found)}"
        )
    return found[0]


def containers(observed: Observed, words: Sequence[str], *, one_shot: bool = False) -> list[Container]:
    """The containers of the replicas that `words` mean, by name; all if there are no words.

    Raises StackDownError, UnknownServiceError.
    """
    known = of_observed(observed, one_shot=one_shot)
    if observed.down and any(word not in known for word in words):
        raise stack_down(observed.stack)
    replicas = chosen(observed.stack, known, words)
    return [container for name in replicas for container in observed.of(name)]


def running(observed: Observed, word: str) -> Container:
    """The running container of the one replica that `word` means.

    Raises StackDownError, UnknownServiceError, NotWorkingError.
    """
    if observed.down:
        raise stack_down(observed.stack)
    replica = one(observed.stack, of_observed(observed), word)
    container = observed.of(replica)[0]
    if container.state is not ContainerState.RUNNING:
        raise NotWorkingError(
            f"{replica} does not run: its container is {container.state.value}",
            f"bring it up first: hailbox --stack {observed.stack} up",
        )
    return container


def stack_down(stack: str) -> StackDownError:
    """The error for a stack none of whose services has a container."""
    return StackDownError(
        f"stack {stack} is down: none of its services has a container", f"start it with: hailbox --stack {stack} up"
    )
