"""All that ever happened, and every question about it. A balance is a sum over the whole list."""

from dataclasses import dataclass

from tests.oracle.words import Crossing, EntryView, Event, HoldView, Terms


@dataclass(frozen=True)
class History:
    """All that ever happened, and every question about it."""

    events: tuple[Event, ...] = ()

    def and_then(self, *events: Event) -> "History":
        return History((*self.events, *events))

    def until(self, position: int) -> "History":
        return History(tuple(event for event in self.events if event.position <= position))

    def event(self, position: int) -> Event | None:
        return next((event for event in self.events if event.position == position), None)

    # Accounts.

    def terms(self, account: int) -> Terms | None:
        said = [event.terms for event in self.events if event.terms and event.terms.account == account]
        return said[-1] if said else None

    def terms_for(self, account: int, tenant: int) -> Terms | None:
        """The account's terms, as far as this tenant may know that it exists. Nobody may know a clearing account."""
        terms = self.terms(account)
        if terms is None or terms.tenant != tenant or terms.kind == "clearing":
            return None
        return terms

    def clearing(self, shard: int, tenant: int, asset: str) -> int | None:
        """The account that carries the other side of what a tenant moves to and from another shard."""
        wanted = ("clearing", _clearing_owner(shard), tenant, asset)
        for account in self.accounts():
            terms = self.terms(account)
            if terms and (terms.kind, terms.owner, terms.tenant, terms.asset) == wanted:
                return account
        return None

    def accounts(self) -> list[int]:
        return sorted({event.terms.account for event in self.events if event.terms})

    def balance(self, account: int) -> int:
        return sum(amount for event in self.events for name, amount in event.entries if name == account)

    def held(self, account: int) -> int:
        for_holds = sum(
            self.remaining(hold)
            for hold in self.holds()
            if hold.reservation and hold.reservation.payer == account
        )
        for_sagas = sum(
            part.amount
            for saga in self.open_sagas()
            if saga.crossing and saga.crossing.operation != "hold_captured"
            for part in saga.crossing.debits
            if part.account == account
        )
        for_promises = sum(
            amount
            for promise in self.open_promises()
            for name, amount in promise.entries
            if name == account and amount > 0
        )
        return for_holds + for_sagas + for_promises

    def available(self, account: int) -> int:
        return self.balance(account) - self.held(account)

    # Holds.

    def holds(self) -> list[Event]:
        return [event for event in self.events if event.reservation]

    def captured(self, hold: int) -> int:
        return sum(
            -amount
            for event in self.events
            if event.hold == hold
            for _, amount in event.entries
            if amount < 0
        )

    def end_of_hold(self, hold: int) -> str | None:
        """How a hold ended."""
        ends = [event.ends_hold for event in self.events if event.hold == hold and event.ends_hold]
        return ends[0] if ends else None

    def is_being_captured(self, hold: int) -> bool:
        return any(saga.hold == hold for saga in self.open_sagas())

    def remaining(self, hold: Event) -> int:
        assert hold.reservation
        if self.end_of_hold(hold.position):
            return 0
        return hold.reservation.amount - self.captured(hold.position)

    # Sagas that began here.

    def sagas(self) -> list[Event]:
        return [event for event in self.events if event.crossing]

    def open_sagas(self) -> list[Event]:
        return [saga for saga in self.sagas() if self.end_of_saga(saga.position) is None]

    def end_of_saga(self, saga: int) -> Event | None:
        kinds = {"transfer_finalized", "transfer_released"}
        return next((one for one in self.events if one.refers_to == saga and one.kind in kinds), None)

    def was_given_up(self, saga: int) -> Event | None:
        return self._follower(saga, "transfer_given_up")

    def was_settled(self, saga: int) -> Event | None:
        return self._follower(saga, "transfer_settled")

    def _follower(self, saga: int, kind: str) -> Event | None:
        return next((one for one in self.events if one.refers_to == saga and one.kind == kind), None)

    # What was promised to sagas of other shards.

    def promise(self, saga: int) -> Event | None:
        return self._follower(saga, "transfer_promised")

    def end_of_promise(self, saga: int) -> Event | None:
        return self._follower(saga, "transfer_confirmed") or self._follower(saga, "transfer_revoked")

    def open_promises(self) -> list[Event]:
        return [
            event
            for event in self.events
            if event.kind == "transfer_promised" and not self.end_of_promise(event.refers_to or 0)
        ]

    # What is undone.

    def left_to_reverse(self, original: Event) -> int:
        undone = sum(
            moved(event)
            for event in self.events
            if event.kind == "reversal" and event.refers_to == original.position
        )
        on_its_way_or_gone = sum(
            reserved(saga.crossing)
            for saga in self.sagas()
            if saga.crossing
            and (saga.crossing.operation, saga.crossing.about) == ("reversal", original.position)
            and not self._was_released(saga)
        )
        return moved(original) - undone - on_its_way_or_gone

    def _was_released(self, saga: Event) -> bool:
        end = self.end_of_saga(saga.position)
        return end is not None and end.kind == "transfer_released"

    # What the log should say of each event.

    def entry_views(self, event: Event) -> list[EntryView]:
        before, after = self.until(event.position - 1), self.until(event.position)
        touched = [account for account, _ in event.entries]
        touched += [
            account
            for account in after.reserving(event)
            if account not in touched and before.held(account) != after.held(account)
        ]
        views = []
        for account in touched:
            terms = before.terms(account)
            assert terms
            bound = None
            if after.available(account) < before.available(account):
                bound = terms.min_balance
            if after.balance(account) > before.balance(account):
                bound = terms.max_balance
            views.append(
                EntryView(
                    account=account,
                    position=event.position,
                    amount=after.balance(account) - before.balance(account),
                    balance=after.balance(account),
                    held=after.held(account) - before.held(account),
                    held_after=after.held(account),
                    bound=bound,
                    asset=terms.asset,
                )
            )
        return views

    def reserving(self, event: Event) -> list[int]:
        """Whose money the hold or the saga sets aside that an event is about."""
        placed = event if event.reservation else self.event(event.hold or 0)
        accounts = [placed.reservation.payer] if placed and placed.reservation else []
        begun = event if event.crossing else self.event(event.refers_to or 0)
        if begun and begun.crossing and event.kind.startswith("transfer_"):
            accounts += [part.account for part in begun.crossing.debits if part.account not in accounts]
        promise = self.promise(event.refers_to or 0)
        if promise and event.kind == "transfer_confirmed":
            accounts += [account for account, amount in promise.entries if amount > 0]
        return accounts

    def hold_view(self, event: Event) -> HoldView | None:
        placed = event if event.reservation else self.event(event.hold or 0)
        if placed is None or placed.reservation is None:
            return None
        after = self.until(event.position)
        status = after.end_of_hold(placed.position)
        if status is None:
            status = "capturing" if after.is_being_captured(placed.position) else "open"
        return HoldView(
            hold=placed.position,
            position=event.position,
            payer=placed.reservation.payer,
            payee=placed.reservation.payee,
            amount=placed.reservation.amount,
            captured=after.captured(placed.position),
            status=status,
            expires_at=placed.reservation.expires_at,
        )


def _clearing_owner(shard: int) -> str:
    # The first shard has the number 1, and is the one that is modelled.
    return f"clearing with shard {shard + 1}"


def clearing_terms(account: int, shard: int, tenant: int, asset: str, lowest: int) -> Terms:
    """What is agreed about a clearing account when it is opened."""
    return Terms(account, tenant, _clearing_owner(shard), asset, "clearing", "open", lowest, None, None)


def moved(event: Event) -> int:
    """How much a transaction moved."""
    return sum(amount for _, amount in event.entries if amount > 0)


def reserved(crossing: Crossing) -> int:
    """How much was set aside for another shard."""
    return sum(part.amount for part in crossing.debits)
