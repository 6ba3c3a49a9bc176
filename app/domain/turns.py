"""Who goes next where only so many may: fair among mirrors, so that a long backfill does not starve a short one. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping


def fair_turns(waiting: Iterable[tuple[str, str]], in_flight: Mapping[str, int], free: int) -> list[str]:
    """At most `free` of the runs that wait, (mirror, run) in the order in which they came.

    Each turn is the mirror's that has the fewest in flight, then of the one whose run waits longest.
    """
    queues: dict[str, deque[tuple[int, str]]] = defaultdict(deque)
    for place, (mirror, run) in enumerate(waiting):
        queues[mirror].append((place, run))
    held, chosen = Counter(in_flight), list[str]()
    while queues and len(chosen) < free:
        mirror = min(queues, key=lambda each: (held[each], queues[each][0]))
        chosen.append(queues[mirror].popleft()[1])
        held[mirror] += 1
        if not queues[mirror]:
            del queues[mirror]
    return chosen
