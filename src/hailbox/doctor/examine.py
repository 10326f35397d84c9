"""`doctor` and `status --why`."""

from __future__ import annotations

from collections.abc import Sequence

from hailbox.commands.result import StackResult
from hailbox.commands.status import see
from hailbox.context import Context
from hailbox.diagnosis import roots
from hailbox.doctor import host
from hailbox.doctor.report import Check, Examination, Report, findings
from hailbox.model.errors import EngineDeniedError, EngineUnreachableError, HailboxError, HostError
from hailbox.observe import Observed, observe, present


def why(context: Context) -> Examination:
    """How the stack is, and the roots of its trouble. Raises UnknownStackError."""
    seen = see(context, present(context.engine, context.stack))
    errors = roots.find(seen.case)
    return Examination(Report(context.stack, (), findings(errors), seen.result), tuple(errors))


def doctor(context: Context) -> Examination:
    """How the stack and the host are, and the roots of their trouble. Does not raise what it can report."""
    checks: list[Check] = []
    errors: list[HailboxError] = []
    late: list[HailboxError] = []
    result = None
    try:
        for check, error in host.examine(context):
            checks.append(check)
            errors += [error] if error else []
        observed = observe(context.engine, context.stack)
        for check, error in (host.insisted_ports(context, observed), host.own_images(context, observed)):
            checks.append(check)
            errors += [error] if error else []
        if observed.record:
            result, found = _stack(context, observed, checks)
            # A service that refuses us for our clock only repeats what the host's check has found.
            known = {error.code for error in errors if isinstance(error, HostError)}
            errors += [error for error in found if error.code not in known]
        else:
            checks.append(Check("stack", True, f"there is no stack {context.stack}"))
        # Other stacks' remains are the least of the troubles.
        check, error = host.leftovers(context.engine)
        checks.append(check)
        late += [error] if error else []
    except (EngineUnreachableError, EngineDeniedError) as error:
        checks.append(Check("engine", False, error.problem))
        errors.append(error)
    errors += late
    return Examination(Report(context.stack, tuple(checks), findings(errors), result), tuple(errors))


def _stack(
    context: Context, observed: Observed, checks: list[Check]
) -> tuple[StackResult | None, Sequence[HailboxError]]:
    """How the replicas are, and what is wrong; appends a check. Raises EngineUnreachableError, EngineDeniedError."""
    try:
        seen = see(context, observed)
        found = roots.find(seen.case)
    except (EngineUnreachableError, EngineDeniedError):
        raise
    except HailboxError as error:
        checks.append(Check("stack", False, "the engine does not let us look"))
        return None, [error]
    result = seen.result
    working = sum(replica.working for replica in result.replicas)
    detail = "down" if result.down else f"{working} of {len(result.replicas)} replicas work"
    checks.append(Check("stack", not found, detail))
    return result, found
