"""What a refusal's code looks like to a program that prints it."""

import json

import pytest

from tallystick import RefusalCode, Refused
from tallystick.domain.outcomes import refuse


@pytest.mark.parametrize("code", list(RefusalCode))
def test_a_code_is_its_stable_name_wherever_it_is_printed(code: RefusalCode) -> None:
    name = code.name.lower()
    assert str(code) == f"{code}" == "{}".format(code) == "%s" % code == code.text == name  # noqa: UP031, UP032
    assert f"{code:>30}" == name.rjust(30)


def test_a_code_stays_the_number_that_the_log_keeps() -> None:
    assert int(refuse(RefusalCode.INSUFFICIENT_FUNDS).code) == 80
    assert isinstance(refuse(RefusalCode.INSUFFICIENT_FUNDS), Refused)
    assert json.dumps(refuse(RefusalCode.INSUFFICIENT_FUNDS).code) == "80"
