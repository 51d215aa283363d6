"""Large requests in work are bounded, for each tenant and for all, and what has ended makes room."""

from typing import NoReturn

import pytest

from tallystick.domain import limits
from tallystick.ledger.errors import OverloadedError
from tallystick.service.admission import Admission

OF_TENANT = limits.QUEUE_COMMANDS_PER_TENANT_MAX
OF_ALL = limits.QUEUE_COMMANDS_MAX


def refuse() -> NoReturn:
    raise OverloadedError("too much")


@pytest.fixture
def admission() -> Admission:
    return Admission(lambda: 1, refuse)


def test_a_tenant_has_a_bound_and_another_one_has_its_own(admission: Admission) -> None:
    with admission.taken_on(1, OF_TENANT):
        with pytest.raises(OverloadedError), admission.taken_on(1, 1):
            pass
        with admission.taken_on(2, OF_TENANT):
            pass
    with admission.taken_on(1, 1):
        pass


def test_all_together_have_a_bound(admission: Admission) -> None:
    tenants = OF_ALL // OF_TENANT
    blocks = [admission.taken_on(tenant, OF_TENANT) for tenant in range(tenants)]
    for block in blocks:
        block.__enter__()
    with pytest.raises(OverloadedError), admission.taken_on(tenants, 1):
        pass
    blocks[0].__exit__(None, None, None)
    with admission.taken_on(tenants, 1):
        pass


def test_what_failed_makes_room_too(admission: Admission) -> None:
    with pytest.raises(ValueError, match="a bug"), admission.taken_on(1, OF_TENANT):
        raise ValueError("a bug")
    with admission.taken_on(1, OF_TENANT):
        pass


def test_more_shards_more_room() -> None:
    with Admission(lambda: 2, refuse).taken_on(1, 2 * OF_TENANT):
        pass
