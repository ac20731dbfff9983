"""How a build stands in a few words, and what it waits for: for lists, refusals, queues. Pure."""

from auto_build.core.qa import Standing
from auto_build.core.view import Label, View


def describe(view: View) -> str:
    """Return in a few words how a build stands."""
    if view.merged:
        return f"merged into {view.merged}"
    if view.discarded:
        return "discarded"
    words = _reviewed(view) if view.finished else _unfinished(view)
    return f"parked, {words}" if view.parked else words


def _unfinished(view: View) -> str:
    failed = view.count(Label.FAILED)
    more = f", {failed} failed" if failed else ""
    return f"unfinished, {view.done} of {len(view.rows)} chunks landed{more}"


def _reviewed(view: View) -> str:
    last = view.qa.last
    found = len(view.qa.open)
    findings = f"{found} finding{'' if found == 1 else 's'}"
    match view.standing:
        case Standing.NONE | Standing.SKIPPED:
            return "finished, waiting for your approval"
        case Standing.APPROVED:
            return f"approved at {last.commit[:10] if last else ''}, waiting to be merged"
        case Standing.VOID:
            return "approved, and changed since"
        case Standing.REJECTED:
            return f"rejected with {findings}"
        case Standing.FIXING:
            return f"rejected with {findings}, which are to be mended"
        case Standing.REVIEWING:
            return "finished, and its review was cut off"
        case Standing.STOPPED:
            return f"not approved: {view.qa.stopped}"


def is_through(view: View, *, reviewed: bool) -> bool:
    """Say whether running a build once more could add nothing; `reviewed` says that reviews are on.

    What was rejected, or changed since it was approved, can be gone on with.
    """
    if view.merged:
        return True
    ends = {Standing.APPROVED, Standing.SKIPPED} | (set() if reviewed else {Standing.NONE})
    return view.finished and view.standing in ends
