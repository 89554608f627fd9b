"""What is done to whom and when, as pure data: the same seed, the same schedule.

Four tracks go on side by side: workers, routers, liaison and broker. Each is a row of scenes
with pauses between; the pauses of the shorter tracks are stretched until all end together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, auto
from random import Random
from typing import Final

WORKERS: Final = ("w0", "w1", "w2")
ROUTERS: Final = ("r0", "r1")
LIAISON: Final = "liaison"
BROKER: Final = "broker"

SESSION_SECONDS: Final = 6.0
"""Session timeout of routers and workers: whoever is silent longer is replaced."""
START_SECONDS: Final = 5.0
"""A worker has joined this long after its start, on two busy cores."""
WARM_UP_SECONDS: Final = 2.0
LONG_AWAY_SECONDS: Final = 60.0
LONG_RUN_KILLS: Final = 100
"""From so many kills on, the broker is away for a minute once."""


class Deed(StrEnum):
    """What happens to one process."""

    KILL = auto()
    STOP = auto()
    START = auto()
    FREEZE = auto()
    FREEZE_IN_CHECKPOINT = auto()
    THAW = auto()


class Kind(StrEnum):
    """What a scene tries."""

    KILL = auto()
    """kill -9 and start again."""
    RESTART = auto()
    """SIGTERM and start again."""
    REBALANCE = auto()
    """Workers come and go: 1 -> 3 -> 2; they go by SIGTERM and by kill -9."""
    ZOMBIE = auto()
    """A worker frozen past its session timeout, replaced, and thawed."""
    OVERLAP = auto()
    """The same for the router: for a moment two of them write."""
    BROKER_RESTART = auto()
    """kill -9 of the broker, and start again."""
    BROKER_AWAY = auto()
    """A broker that does not answer for a while."""


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One deed; `at` in seconds from the begin."""

    at: float
    deed: Deed
    target: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Schedule:
    """All steps in order of time, and how long it goes on."""

    steps: tuple[Step, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Quota:
    """How many scenes of each kind."""

    kills: int
    restarts: int
    rebalances: int
    zombies: int
    overlaps: int
    broker_restarts: int
    broker_aways: int


def quota_of(kills: int) -> Quota:
    """At least one of each, more with more kills."""
    return Quota(
        kills=kills,
        restarts=max(3, kills // 8),
        rebalances=max(1, kills // 20),
        zombies=max(1, kills // 20),
        overlaps=max(1, kills // 33),
        broker_restarts=max(1, kills // 25),
        broker_aways=max(1, kills // 50),
    )


def make_schedule(seed: int, kills: int) -> Schedule:
    """The schedule of this seed, with so many kills of workers, routers and liaison together."""
    rng = Random(seed)
    quota = quota_of(kills)
    tracks = [
        _workers(rng, quota),
        _routers(rng, quota),
        _liaison(rng, quota),
        _broker(rng, quota, long_away=kills >= LONG_RUN_KILLS),
    ]
    seconds = max(track.seconds for track in tracks)
    steps = [step for track in tracks for step in track.stretched(seconds)]
    return Schedule(tuple(sorted(steps)), round(seconds, 2))


def share(total: int, place: int, of: int) -> int:
    """A fair share: those at the front take what does not divide."""
    return total // of + (place < total % of)


@dataclass(frozen=True)
class _Scene:
    """Steps from its begin on, how long it takes, and the pause before it."""

    steps: tuple[Step, ...]
    seconds: float
    pause: float


@dataclass
class _Track:
    """Scenes one after another."""

    scenes: list[_Scene] = field(default_factory=list)

    def add(self, kind: Kind, pause: float, *deeds: tuple[float, Deed, str]) -> None:
        steps = tuple(Step(at, deed, target, kind) for at, deed, target in deeds)
        self.scenes.append(_Scene(steps, max(step.at for step in steps), pause))

    @property
    def seconds(self) -> float:
        return WARM_UP_SECONDS + sum(scene.seconds + scene.pause for scene in self.scenes)

    def stretched(self, seconds: float) -> list[Step]:
        """Steps with their times, the pauses drawn out so that all takes so long."""
        pauses = sum(scene.pause for scene in self.scenes)
        wider = 1 + (seconds - self.seconds) / pauses if pauses else 1
        steps, at = [], WARM_UP_SECONDS
        for scene in self.scenes:
            at += scene.pause * wider
            steps += [
                Step(round(at + step.at, 2), step.deed, step.target, step.kind)
                for step in scene.steps
            ]
            at += scene.seconds
        return steps


def _shuffled(rng: Random, scenes: Sequence[tuple[Callable[[], None], int]]) -> None:
    """Plays each scene so many times, in an order drawn."""
    row = [play for play, times in scenes for _ in range(times)]
    rng.shuffle(row)
    for play in row:
        play()


class _Crew:
    """The workers: who is up, who comes and who goes."""

    def __init__(self, rng: Random, track: _Track) -> None:
        self._rng = rng
        self._track = track
        self._up = [WORKERS[0]]
        self._gracefully = bool(rng.randrange(2))
        self._in_checkpoint = True

    def killed(self) -> None:
        victim = self._rng.choice(self._up)
        down = self._rng.uniform(0.1, 0.8)
        self._add(Kind.KILL, (0.0, Deed.KILL, victim), (down, Deed.START, victim))

    def restarted(self) -> None:
        victim = self._rng.choice(self._up)
        self._add(Kind.RESTART, (0.0, Deed.STOP, victim), (0.1, Deed.START, victim))

    def rebalanced(self) -> None:
        """To one, to three, to two."""
        at, deeds = 0.0, []
        while len(self._up) > 1:
            deeds.append(self._leave(at))
            at += self._rng.uniform(1, SESSION_SECONDS + 2)
        for slot in [slot for slot in WORKERS if slot not in self._up]:
            deeds.append((at, Deed.START, slot))
            self._up.append(slot)
            at += self._rng.uniform(0.2, 3)
        at += START_SECONDS
        deeds.append(self._leave(at))
        self._add(Kind.REBALANCE, *deeds, settle=SESSION_SECONDS)

    def frozen(self) -> None:
        at, deeds = 0.0, []
        victim = self._rng.choice(self._up)
        if len(self._up) == 1:
            other = next(slot for slot in WORKERS if slot != victim)
            deeds.append((at, Deed.START, other))
            self._up.append(other)
            at += START_SECONDS + 2
        deed = Deed.FREEZE_IN_CHECKPOINT if self._in_checkpoint else Deed.FREEZE
        self._in_checkpoint = not self._in_checkpoint
        deeds.append((at, deed, victim))
        at += SESSION_SECONDS + self._rng.uniform(3, 6)
        deeds.append((at, Deed.THAW, victim))
        self._add(Kind.ZOMBIE, *deeds, settle=START_SECONDS)

    def _leave(self, at: float) -> tuple[float, Deed, str]:
        """One goes: by SIGTERM and by kill -9 in turns."""
        leaver = self._rng.choice(self._up)
        self._up.remove(leaver)
        self._gracefully = not self._gracefully
        return at, Deed.STOP if self._gracefully else Deed.KILL, leaver

    def _add(self, kind: Kind, *deeds: tuple[float, Deed, str], settle: float = 0.0) -> None:
        self._track.add(kind, self._rng.uniform(1.5, 6.5) + settle / 2, *deeds)


def _workers(rng: Random, quota: Quota) -> _Track:
    track = _Track()
    crew = _Crew(rng, track)
    _shuffled(
        rng,
        [
            (crew.killed, share(quota.kills, 0, 3)),
            (crew.restarted, share(quota.restarts, 0, 3)),
            (crew.rebalanced, quota.rebalances),
            (crew.frozen, quota.zombies),
        ],
    )
    return track


def _routers(rng: Random, quota: Quota) -> _Track:
    track = _Track()
    first, second = ROUTERS

    def killed() -> None:
        down = rng.uniform(0.1, 0.8)
        track.add(Kind.KILL, rng.uniform(1, 5), (0.0, Deed.KILL, first), (down, Deed.START, first))

    def restarted() -> None:
        track.add(
            Kind.RESTART, rng.uniform(1, 5), (0.0, Deed.STOP, first), (0.1, Deed.START, first)
        )

    def overlapped() -> None:
        """The first is thawed when the second writes; then the second goes for good."""
        thawed = 3 + SESSION_SECONDS + rng.uniform(2, 4)
        track.add(
            Kind.OVERLAP,
            rng.uniform(2, 5),
            (0.0, Deed.START, second),
            (3.0, Deed.FREEZE, first),
            (thawed, Deed.THAW, first),
            (thawed + 3, rng.choice([Deed.STOP, Deed.KILL]), second),
        )

    _shuffled(
        rng,
        [
            (killed, share(quota.kills, 1, 3)),
            (restarted, share(quota.restarts, 1, 3)),
            (overlapped, quota.overlaps),
        ],
    )
    return track


def _liaison(rng: Random, quota: Quota) -> _Track:
    track = _Track()

    def ended(kind: Kind, deed: Deed) -> Callable[[], None]:
        def play() -> None:
            down = rng.uniform(0.1, 0.8)
            track.add(kind, rng.uniform(1, 4), (0.0, deed, LIAISON), (down, Deed.START, LIAISON))

        return play

    _shuffled(
        rng,
        [
            (ended(Kind.KILL, Deed.KILL), share(quota.kills, 2, 3)),
            (ended(Kind.RESTART, Deed.STOP), share(quota.restarts, 2, 3)),
        ],
    )
    return track


def _broker(rng: Random, quota: Quota, *, long_away: bool) -> _Track:
    track = _Track()
    aways = [LONG_AWAY_SECONDS] if long_away else []

    def restarted() -> None:
        down = rng.uniform(0.5, 3)
        track.add(
            Kind.BROKER_RESTART,
            rng.uniform(8, 15),
            (0.0, Deed.KILL, BROKER),
            (down, Deed.START, BROKER),
        )

    def away() -> None:
        seconds = aways.pop() if aways else rng.uniform(4, 9)
        track.add(
            Kind.BROKER_AWAY,
            rng.uniform(8, 15),
            (0.0, Deed.FREEZE, BROKER),
            (seconds, Deed.THAW, BROKER),
        )

    _shuffled(rng, [(restarted, quota.broker_restarts), (away, quota.broker_aways)])
    return track
