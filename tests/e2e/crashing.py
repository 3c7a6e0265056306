"""gatepost with a bug: presenting a password to the upstream raises an error that has the password in its words."""

from gatepost.cli.main import main
from gatepost.facts import Mechanism
from gatepost.sasl.exchange import Password
from gatepost.session import login
from gatepost.session.talk import Steps, Talk


def _present(talk: Talk, mechanism: Mechanism, password: Password) -> Steps[login.Outcome]:
    secret = password.secret.reveal().decode()
    try:
        int(secret)
    except ValueError as error:
        raise RuntimeError(f"cannot present {secret} by {mechanism}") from error
    yield talk.waits.login
    raise AssertionError("a password that is a number tests nothing")


login._present = _present  # noqa: SLF001  there is no other way in, and none is wanted
main()
