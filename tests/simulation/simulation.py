"""The scheduler: from a seed it chooses what happens next, again and again, and looks at the books each time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tallystick.domain.commands import Command, ExpireHold
from tallystick.domain.holds import HOLDING
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import Outcome, Posted
from tallystick.domain.sagas import SagaState, SagaStatus, Stage, Step
from tests.simulation.customers import START_US, Customers, Request, open_shards
from tests.simulation.driving import PRODUCT, Attempt, Conduct, SplitAttempt
from tests.simulation.invariants import check_end, check_step
from tests.simulation.shard import Shard
from tests.simulation.violation import Violation

_TICKS_MIN: Final = 40
_TICKS_MAX: Final = 220
_PROCESSES: Final = 3
# A step of a split saga is one for each of its shards.
_STEPS_TO_END_MAX: Final = 3 + 3 * 4
_ENDED: Final = {
    Stage.FINALIZED: SagaStatus.FINALIZED,
    Stage.RELEASED: SagaStatus.RELEASED,
    Stage.SETTLED: SagaStatus.SETTLED,
}


@dataclass(eq=False)
class Message:
    """A command on its way to a shard, and who waits for its answer, if anybody still does."""

    shard: int
    command: Command
    attempt: Attempt | SplitAttempt | None = None
    step: Step | None = None
    request: Request | None = None


@dataclass(eq=False)
class Process:
    """A server. When it crashes it forgets what it drove; what it sent may arrive all the same."""

    attempts: list[Attempt | SplitAttempt] = field(default_factory=list)


class Simulation:
    """One run. The same seed is the same run, to the last byte."""

    def __init__(
        self, seed: int, conduct: Conduct = PRODUCT, tell: Callable[[str], None] | None = None
    ) -> None:
        self.random = Random(seed)
        self.conduct = conduct
        self.tell = tell
        self.now_us = START_US
        self.shards = open_shards(self.random.choice((2, 2, 3, 3, 4)))
        # Clocks of nodes may be far apart.
        self.skew_us = {number: self.random.choice((0, 0, 7, 600_000_000)) for number in self.shards}
        self.customers = Customers(self.random, self.shards)
        self.processes = [Process() for _ in range(_PROCESSES)]
        self.under_way: list[Message] = []
        self.late: list[Message] = []
        self.past: list[Message] = []
        self.steps = 0

    def run(self) -> int:
        """Let things happen, then let everything end. Returns how many commands were decided.

        Raises:
            Violation: something that must never be so was so.
        """
        actions: tuple[tuple[Callable[[], None], int], ...] = (
            (self._ask, 12),
            (self._ask_again, 2),
            (self._send, 22),
            (self._deliver, 26),
            (self._deliver_batch, 6),
            (self._deliver_again, 4),
            (self._delay, 3),
            (self._lose, 2),
            (self._time_out, 4),
            (self._recover, 5),
            (self._give_up, 5),
            (self._crash, 2),
            (self._change, 5),
            (self._expire, 2),
            (self._wait, 4),
        )
        names, weights = zip(*actions, strict=True)
        for action in self.random.choices(names, weights, k=self.random.randint(_TICKS_MIN, _TICKS_MAX)):
            action()
        self._end()
        return self.steps

    # What may happen.

    def _ask(self) -> None:
        if request := self.customers.ask():
            self.under_way.append(Message(request.shard, request.command, request=request))

    def _ask_again(self) -> None:
        if self.customers.requests:
            request = self.random.choice(self.customers.requests)
            self.under_way.append(Message(request.shard, request.command, request=request))

    def _send(self) -> None:
        """A driver takes the next step of one of its sagas."""
        ready = [one for one in self._attempts() if not one.waits and one.step is not None]
        if ready:
            self._send_step(self.random.choice(ready))

    def _send_step(self, attempt: Attempt | SplitAttempt) -> None:
        self.under_way.append(Message(attempt.shard, attempt.command(), attempt, attempt.step))
        attempt.ask()

    def _deliver(self) -> None:
        if self.under_way:
            self._arrive([self._take(self.under_way)])

    def _deliver_batch(self) -> None:
        """Several commands to one shard share a batch."""
        if not self.under_way:
            return
        first = self._take(self.under_way)
        others = [message for message in self.under_way if message.shard == first.shard][:3]
        for message in others:
            self.under_way.remove(message)
        self._arrive([first, *others])

    def _deliver_again(self) -> None:
        """A message comes a second time, long after; or one that was thought lost comes at last."""
        if self.late and self.random.random() < 0.5:
            self._arrive([self._take(self.late)])
        elif self.past:
            message = self.random.choice(self.past)
            self._arrive([Message(message.shard, message.command)])

    def _delay(self) -> None:
        if self.under_way:
            self.late.append(self._take(self.under_way))

    def _lose(self) -> None:
        if self.under_way:
            self._take(self.under_way)

    def _time_out(self) -> None:
        waiting = [one for one in self._attempts() if one.waits]
        if waiting:
            attempt = self.random.choice(waiting)
            attempt.time_out()
            self._tell_caller(attempt)

    def _recover(self) -> None:
        """Some process finds open sagas in a log, and drives what it does not drive already."""
        process = self.random.choice(self.processes)
        shard = self.random.choice(list(self.shards.values()))
        for saga in shard.open_sagas:
            if self.random.random() < 0.8:
                self._drive(process, shard, saga)

    def _give_up(self) -> None:
        """An operator asks for the money back, perhaps of a saga that is being driven at the same moment."""
        shard = self.random.choice(list(self.shards.values()))
        if shard.open_sagas:
            saga = self.random.choice(shard.open_sagas)
            self._drive(self.random.choice(self.processes), shard, saga, give_up=True)
            self._drive(self.random.choice(self.processes), shard, saga)

    def _crash(self) -> None:
        process = self.random.choice(self.processes)
        for attempt in process.attempts:
            attempt.forgotten = True
        process.attempts.clear()

    def _change(self) -> None:
        shard, command = self.customers.change()
        self._arrive([Message(shard, command)])

    def _expire(self) -> None:
        shard = self.random.choice(list(self.shards.values()))
        for hold in list(shard.holds.values()):
            if hold.status in HOLDING and hold.expires_at_us <= self._clock_us(shard):
                identifier = make_identifier(shard.number, hold.hold)
                self._arrive([Message(shard.number, ExpireHold(tenant=1, hold=identifier))])

    def _wait(self) -> None:
        self.now_us += self.random.choice((1, 5, 50))

    # How it happens.

    def _clock_us(self, shard: Shard) -> int:
        return self.now_us + self.skew_us[shard.number]

    def _take(self, messages: list[Message]) -> Message:
        return messages.pop(self.random.randrange(len(messages)))

    def _attempts(self) -> list[Attempt | SplitAttempt]:
        return [attempt for process in self.processes for attempt in process.attempts]

    def _drive(self, process: Process, shard: Shard, saga: SagaState, *, give_up: bool = False) -> None:
        known = [(one.home, one.saga.saga, one.give_up) for one in process.attempts]
        if (shard.number, saga.saga, give_up) not in known:
            process.attempts.append(self._attempt(shard, saga, give_up=give_up))

    def _attempt(self, shard: Shard, saga: SagaState, *, give_up: bool = False) -> Attempt | SplitAttempt:
        if saga.terms.is_split:
            return SplitAttempt(shard.number, saga, give_up=give_up)
        return Attempt(self.conduct, shard.number, saga, give_up=give_up)

    def _arrive(self, messages: list[Message]) -> None:
        """A shard decides a batch; then each answer comes back, or is lost."""
        shard = self.shards[messages[0].shard]
        outcomes = self._decide(shard, [message.command for message in messages])
        self.past += messages
        for message, outcome in zip(messages, outcomes, strict=True):
            is_lost = self.random.random() < 0.15
            if not is_lost:
                self._answer(shard, message, outcome)

    def _decide(self, shard: Shard, commands: list[Command]) -> list[Outcome]:
        self.steps += len(commands)
        try:
            outcomes = shard.decide(commands, self._clock_us(shard))
        except Exception as error:
            # Nothing that a driver or a customer asks may be more than a shard's rules can answer.
            raise Violation(f"{error!r}: {commands}") from error
        if self.tell:
            for command, outcome in zip(commands, outcomes, strict=True):
                self.tell(f"shard {shard.number}: {command}\n    {outcome}")
        check_step(self.shards, (shard,))
        return outcomes

    def _answer(self, shard: Shard, message: Message, outcome: Outcome) -> None:
        if message.request is not None:
            message.request.answers.append(outcome)
            if isinstance(outcome, Posted) and self.random.random() < 0.8:
                saga = shard.sagas.get(outcome.position)
                if saga is not None and not saga.has_ended:
                    self._drive(self.random.choice(self.processes), shard, saga)
        attempt = message.attempt
        if attempt is not None and message.step is not None and not attempt.forgotten:
            attempt.follow(message.step, outcome, shard.number, shard.sagas)
            self._tell_caller(attempt)

    def _tell_caller(self, attempt: Attempt | SplitAttempt) -> None:
        """Whoever asked for it hears how it ended. From then on that is the answer."""
        if attempt.step is not None or attempt.stage not in _ENDED:
            return
        for process in self.processes:
            if attempt in process.attempts:
                process.attempts.remove(attempt)
        for request in self.customers.requests:
            if request.shard == attempt.home and any(
                isinstance(answer, Posted) and answer.position == attempt.saga.saga
                for answer in request.answers
            ):
                request.told.append(_ENDED[attempt.stage])

    # How it ends.

    def _end(self) -> None:
        """Recovery finishes everything, whatever still arrives before and after. Then the books are checked."""
        self._crash_all()
        self._arrive_late(self.under_way)
        self._recover_all()
        self._arrive_late(self.late)
        self._arrive_late([Message(one.shard, one.command) for one in self.past])
        # Captures of one hold take turns: each round at least one more of them gets its answer.
        for _ in range(2 + len(self.customers.requests)):
            self._recover_all()
            self._retry_all()
            if not any(shard.open_sagas for shard in self.shards.values()):
                break
        check_end(self.shards, self.customers.requests)

    def _crash_all(self) -> None:
        for process in self.processes:
            for attempt in process.attempts:
                attempt.forgotten = True
            process.attempts.clear()

    def _arrive_late(self, messages: Iterable[Message]) -> None:
        remaining = list(messages)
        self.random.shuffle(remaining)
        for message in remaining:
            self._arrive([message])

    def _retry_all(self) -> None:
        """Everybody asks again with the same key, and notes the answer."""
        for request in self.customers.requests:
            shard = self.shards[request.shard]
            request.answers += self._decide(shard, [request.command])

    def _recover_all(self) -> None:
        """Drive every saga to its end. Each needs a few steps, and no more."""
        for shard in self.shards.values():
            for saga in shard.open_sagas:
                attempt = self._attempt(shard, saga)
                for _ in range(_STEPS_TO_END_MAX):
                    if (step := attempt.step) is not None:
                        there = self.shards[attempt.shard]
                        (outcome,) = self._decide(there, [attempt.command()])
                        attempt.follow(step, outcome, there.number, there.sagas)
                if attempt.step is not None:
                    raise Violation(f"stays {attempt.stage}: {saga}")
                self._tell_caller(attempt)


def simulate(seed: int, conduct: Conduct = PRODUCT, tell: Callable[[str], None] | None = None) -> int:
    """Run one seed; returns how many commands were decided.

    Raises:
        Violation: something that must never be so was so.
    """
    return Simulation(seed, conduct, tell).run()
