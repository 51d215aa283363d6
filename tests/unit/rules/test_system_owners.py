"""System owners, such as `@fees`: their account is opened by the first command that needs it."""

from tests.unit.rules.notation import posted, refused, transfer


def test_the_first_transfer_opens_the_account() -> None:
    posted(
        "alice 100 USD",
        transfer("alice", "@fees", 3),
        """
        alice    97 USD
        @fees     3 USD
        """,
    )


def test_a_system_owner_may_be_overdrawn() -> None:
    posted(
        "alice 0 USD",
        transfer("@bank-in", "alice", 100),
        """
        @bank-in -100 USD
        alice     100 USD
        """,
    )


def test_what_is_refused_opens_nothing() -> None:
    refused("alice 0 USD", transfer("alice", "@fees", 3), "insufficient_funds source")


def test_an_identifier_that_another_account_has_is_not_taken_away() -> None:
    refused(
        """
        alice   100 USD
        mallory   0 USD, identifier of @fees
        """,
        transfer("alice", "@fees", 3),
        "identifier_taken",
    )
