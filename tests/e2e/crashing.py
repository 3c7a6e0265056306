"""gatepost with a bug: presenting a password to the upstream raises an error that has the password in its words."""

from gatepost.cli.main import main
from gatepost.sasl.exchange import Password
from gatepost.session import login
from gatepost.session.represent import Attempt, Outcome, Shown
from gatepost.session.talk import Steps, Talk


def _present(talk: Talk, attempt: Attempt, shown: Shown) -> Steps[Outcome]:
    assert isinstance(shown, Password)
    secret = shown.secret.reveal().decode()
    try:
        int(secret)
    except ValueError as error:
        raise RuntimeError(f"cannot present {secret} by {attempt.mechanism}") from error
    yield talk.waits.login
    raise AssertionError("a password that is a number tests nothing")


setattr(login, "present", _present)  # noqa: B010  there is no other way in, and none is wanted
main()
