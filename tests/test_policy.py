"""What a listener demands, what it offers, and which arguments it takes."""

from ipaddress import ip_network

import pytest

from gatepost.facts import AuthResult, Channel, Mechanism, Refusal
from gatepost.policy import BEFORE_LOGIN, BEFORE_TLS, NEVER, Policy, Standing, Upstream
from gatepost.sasl.plan import SERVER, Means
from gatepost.settings import (
    STRENGTH,
    Address,
    Auth,
    LimitSettings,
    ListenerSettings,
    ListenerTls,
    PolicySettings,
    Represent,
)
from gatepost.settings.ways import Ways
from gatepost.wire import commands
from gatepost.wire.capabilities import read
from gatepost.wire.commands import Verb

RICH = (
    b"legacy",
    b"PIPELINING",
    b"SIZE 1000000",
    b"VRFY",
    b"ETRN",
    b"AUTH PLAIN LOGIN",
    b"STARTTLS",
    b"8BITMIME",
    b"DSN",
    b"SMTPUTF8",
    b"REQUIRETLS",
    b"LIMITS RCPTMAX=5000 MAILMAX=10",
    b"XCLIENT NAME ADDR",
    b"BURL",
    b"X-OWN",
)


def policy(auth: Auth = Auth.REQUIRED, **limits: int) -> Policy:
    listener = ListenerSettings(name="x", bind=(Address("127.0.0.1", 0),), tls=ListenerTls.STARTTLS, auth=auth)
    return Policy(listener, LimitSettings.model_validate(limits), b"mx.example")


def upstream(*lines: bytes, encrypted: bool = False, guarded: bool = True) -> Upstream:
    return Upstream(read(lines or RICH), encrypted=encrypted, guarded=guarded)


def refusal(it: Policy, line: bytes, channel: Channel = Channel.TLS, behind: Upstream | None = None) -> Refusal | None:
    command = commands.parse(line + b"\r\n")
    return it.envelope_refusal(command, commands.envelope(command), behind or upstream(), channel)


@pytest.mark.parametrize("verb", Verb)
def test_what_a_submission_listener_demands(verb: Verb) -> None:
    it = policy()
    clear = it.refusal(verb, Channel.CLEAR, logged_in=False)
    secured = it.refusal(verb, Channel.TLS, logged_in=False)
    assert clear is (None if verb in BEFORE_TLS | NEVER else Refusal.TLS_REQUIRED)
    assert secured is (None if verb in BEFORE_LOGIN | NEVER else Refusal.AUTH_REQUIRED)
    assert it.refusal(verb, Channel.TLS, logged_in=True) is None


@pytest.mark.parametrize("verb", Verb)
def test_port_25_demands_nothing(verb: Verb) -> None:
    assert policy(Auth.OPTIONAL).refusal(verb, Channel.CLEAR, logged_in=False) is None
    off = policy(Auth.OFF).refusal(verb, Channel.TLS, logged_in=False)
    assert off is (Refusal.AUTH_DISABLED if verb is Verb.AUTH else None)


def test_the_offer_is_what_both_can_do() -> None:
    offer = policy().offer(upstream(), Channel.TLS, starttls=False, mechanisms=(Mechanism.PLAIN, Mechanism.LOGIN))
    assert offer == [
        b"mx.example",
        b"PIPELINING",
        b"SIZE 1000000",
        b"VRFY",
        b"ETRN",
        b"8BITMIME",
        b"DSN",
        b"SMTPUTF8",
        b"LIMITS RCPTMAX=1000 MAILMAX=10",
        b"AUTH PLAIN LOGIN",
    ]


def test_a_poor_upstream_leaves_pipelining_and_starttls() -> None:
    offer = policy().offer(upstream(b"legacy", b"HELP"), Channel.CLEAR, starttls=True, mechanisms=())
    assert offer == [b"mx.example", b"PIPELINING", b"HELP", b"STARTTLS"]


@pytest.mark.parametrize(
    ("line", "stated"),
    [
        (b"SIZE 1000000", b"SIZE 70000"),
        (b"SIZE 66000", b"SIZE 66000"),
        (b"SIZE", b"SIZE 70000"),
        (b"HELP", b"SIZE 70000"),
    ],
)
def test_our_own_size_lowers_the_upstreams(line: bytes, stated: bytes) -> None:
    offer = policy(message_bytes=70_000).offer(upstream(b"x", line), Channel.TLS, starttls=False, mechanisms=())
    assert stated in offer


@pytest.mark.parametrize(
    ("line", "stated"),
    [
        (b"LIMITS RCPTMAX=5000 MAILMAX=10", b"LIMITS RCPTMAX=1000 MAILMAX=10"),
        (b"LIMITS rcptmax=1001", b"LIMITS RCPTMAX=1000"),
        (b"LIMITS RCPTMAX=1000", b"LIMITS RCPTMAX=1000"),
        (b"LIMITS RCPTMAX=50 RCPTDOMAINMAX=5000", b"LIMITS RCPTMAX=50 RCPTDOMAINMAX=5000"),
        (b"LIMITS RCPTMAX=99999999999999999999", b"LIMITS RCPTMAX=1000"),
        (b"LIMITS RCPTMAX=x RCPTMAX", b"LIMITS RCPTMAX=x RCPTMAX"),
        (b"LIMITS", b"LIMITS"),
    ],
)
def test_our_own_recipients_lower_the_upstreams_limits(line: bytes, stated: bytes) -> None:
    offer = policy().offer(upstream(b"x", line), Channel.TLS, starttls=False, mechanisms=())
    assert offer == [b"mx.example", b"PIPELINING", stated]


@pytest.mark.parametrize("line", [b"X-OWN", b"XCLIENT NAME", b"XFORWARD NAME", b"BURL", b"TURN", b"ATRN", b"STARTTLS"])
def test_an_extension_that_is_not_carried_is_withheld(line: bytes) -> None:
    offer = policy().offer(upstream(b"x", line), Channel.TLS, starttls=False, mechanisms=())
    assert offer == [b"mx.example", b"PIPELINING"]


def test_auth_of_the_old_form_leads_on_and_is_offered_in_the_new_one() -> None:
    behind = upstream(b"x", b"AUTH=LOGIN")
    mechanisms = policy().mechanisms(behind, Standing())
    assert mechanisms == (Mechanism.PLAIN, Mechanism.LOGIN)
    offer = policy().offer(behind, Channel.TLS, starttls=False, mechanisms=mechanisms)
    assert offer == [b"mx.example", b"PIPELINING", b"AUTH PLAIN LOGIN"]


def test_requiretls_needs_tls_on_both_legs_and_a_proven_upstream() -> None:
    good = upstream(encrypted=True)
    for behind, channel, offered in (
        (good, Channel.TLS, True),
        (good, Channel.CLEAR, False),
        (upstream(), Channel.TLS, False),
        (upstream(encrypted=True, guarded=False), Channel.TLS, False),
        (upstream(b"x", b"SIZE", encrypted=True), Channel.TLS, False),
    ):
        offer = policy().offer(behind, channel, starttls=False, mechanisms=())
        assert (b"REQUIRETLS" in offer) is offered
        refused = refusal(policy(), b"MAIL FROM:<a@b> REQUIRETLS", channel, behind)
        assert refused is (None if offered else Refusal.REQUIRETLS_IMPOSSIBLE)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"MAIL FROM:<a@b>", None),
        (b"MAIL FROM:<> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x AUTH=<>", None),
        ("MAIL FROM:<ü@b> SMTPUTF8".encode(), None),
        (b"RCPT TO:<a@b> NOTIFY=NEVER ORCPT=rfc822;a@b", None),
        (b"RCPT TO:<a@b> SIZE=1000", Refusal.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b> NOTIFY=NEVER", Refusal.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b> BODY=BINARYMIME", Refusal.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b> body=BinaryMime", Refusal.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b> SIZE=000000000000000000001", Refusal.PARAMETER_SYNTAX),  # 21 digits
        (b"MAIL FROM:<a@b> MT-PRIORITY=3", Refusal.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b> X-OWN=1", Refusal.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b> SIZE=x", Refusal.PARAMETER_SYNTAX),
        (b"MAIL FROM:<a@b> SIZE", Refusal.PARAMETER_SYNTAX),
    ],
)
def test_parameters_belong_to_extensions_that_were_offered(line: bytes, expected: Refusal | None) -> None:
    assert refusal(policy(), line) is expected


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("auth", Auth)
@pytest.mark.parametrize("guarded", [True, False])
def test_who_sent_a_message_is_said_where_one_can_log_in(channel: Channel, auth: Auth, *, guarded: bool) -> None:
    """AUTH= of MAIL (RFC 4954 section 5)."""
    taken = channel is Channel.TLS and auth is not Auth.OFF and guarded
    refused = refusal(policy(auth), b"MAIL FROM:<a@b> AUTH=a@b", channel, upstream(guarded=guarded))
    assert refused is (None if taken else Refusal.PARAMETER_UNKNOWN)


def test_an_address_in_utf8_needs_an_upstream_that_knows_it() -> None:
    behind = upstream(b"x", b"8BITMIME")
    for line in ("MAIL FROM:<ü@b>", "RCPT TO:<ü@b>"):
        assert refusal(policy(), line.encode(), Channel.TLS, behind) is Refusal.ADDRESS_NOT_ASCII


def test_our_own_size_is_checked_also_where_the_upstream_has_none() -> None:
    it = policy(message_bytes=70_000)
    assert refusal(it, b"MAIL FROM:<a@b> SIZE=70001", Channel.TLS, upstream(b"x", b"HELP")) is Refusal.MESSAGE_TOO_BIG
    assert refusal(it, b"MAIL FROM:<a@b> SIZE=70000", Channel.TLS, upstream(b"x", b"HELP")) is None


def test_a_verb_whose_extension_is_missing_is_not_relayed() -> None:
    assert policy().extension_refusal(Verb.BDAT, upstream()) is Refusal.NOT_IMPLEMENTED
    assert policy().extension_refusal(Verb.ETRN, upstream()) is None
    assert policy().extension_refusal(Verb.VRFY, upstream(b"x")) is None


# --- mechanisms ------------------------------------------------------------------------------------------------------

PROVING = Means(
    Ways(
        represent=Represent.XCLIENT,
        users=True,
        verify_passwords=True,
        tokens=True,
        client_ca=True,
    )
)
XCLIENT = upstream(b"legacy", b"XCLIENT LOGIN")


def proving(*policies: PolicySettings, mechanisms: tuple[Mechanism, ...] | None = None) -> Policy:
    listener = policy().listener.model_copy(update={"mechanisms": mechanisms})
    return Policy(listener, LimitSettings(), b"mx.example", PROVING, policies)


def test_the_strongest_is_offered_first_and_cram_md5_only_where_it_is_listed() -> None:
    offered = proving().mechanisms(XCLIENT, Standing(certified=True))
    assert offered == tuple(mechanism for mechanism in SERVER if mechanism is not Mechanism.CRAM_MD5)
    assert [STRENGTH[mechanism] for mechanism in offered] == sorted(map(STRENGTH.__getitem__, offered), reverse=True)
    listed = proving(mechanisms=(Mechanism.PLAIN, Mechanism.CRAM_MD5)).mechanisms(XCLIENT, Standing())
    assert listed == (Mechanism.CRAM_MD5, Mechanism.PLAIN)


@pytest.mark.parametrize("standing", [Standing(), Standing(certified=True), Standing(Mechanism.SCRAM_SHA_1)])
@pytest.mark.parametrize("behind", [XCLIENT, upstream(b"legacy")])
@pytest.mark.parametrize("auth", Auth)
def test_what_is_offered_is_what_nothing_is_said_against(standing: Standing, behind: Upstream, auth: Auth) -> None:
    it = Policy(policy(auth).listener, LimitSettings(), b"mx.example", PROVING)
    offered = it.mechanisms(behind, standing)
    assert set(offered) == {each for each in Mechanism if it.objection(each, behind, standing) is None}
    assert bool(offered) is (auth is not Auth.OFF and behind is XCLIENT)
    assert (Mechanism.EXTERNAL in offered) is (bool(offered) and standing.certified)
    assert Mechanism.XCLIENT not in offered


@pytest.mark.parametrize(
    ("mechanism", "standing", "behind", "objection"),
    [
        (Mechanism.OTHER, Standing(), XCLIENT, AuthResult.MECHANISM_REFUSED),
        (Mechanism.XCLIENT, Standing(), XCLIENT, AuthResult.MECHANISM_REFUSED),
        (Mechanism.CRAM_MD5, Standing(), XCLIENT, AuthResult.MECHANISM_REFUSED),
        (Mechanism.EXTERNAL, Standing(), XCLIENT, AuthResult.MECHANISM_REFUSED),
        (Mechanism.PLAIN, Standing(Mechanism.CRAM_MD5), XCLIENT, AuthResult.WEAK),
        (Mechanism.SCRAM_SHA_1, Standing(Mechanism.SCRAM_SHA_1), XCLIENT, None),
        (Mechanism.PLAIN, Standing(), upstream(b"legacy"), AuthResult.IMPOSSIBLE),
        (Mechanism.PLAIN, Standing(), None, None),  # it will be seen when the upstream is reached
    ],
)
def test_why_a_mechanism_may_not_be_used(
    mechanism: Mechanism, standing: Standing, behind: Upstream | None, objection: AuthResult | None
) -> None:
    assert proving().objection(mechanism, behind, standing) is objection


def at_least(minimum: Mechanism, *, networks: tuple[str, ...] = (), users: tuple[str, ...] = ()) -> PolicySettings:
    return PolicySettings(minimum=minimum, networks=tuple(map(ip_network, networks)), users=users)


@pytest.mark.parametrize(
    ("address", "users", "minimum"),
    [
        ("192.0.2.7", (), None),
        ("10.1.2.3", (), Mechanism.SCRAM_SHA_1),
        ("2001:db8::1", (), Mechanism.CRAM_MD5),
        ("192.0.2.7", ("bob",), None),
        ("192.0.2.7", ("bob@example.com",), Mechanism.SCRAM_SHA_256),
        ("192.0.2.7", ("BOB@EXAMPLE.COM",), Mechanism.SCRAM_SHA_256),
        ("192.0.2.7", ("bob@example.com.eve.example",), None),
        ("192.0.2.7", ("eve", "bob@example.com"), Mechanism.SCRAM_SHA_256),
        ("10.1.2.3", ("root",), Mechanism.EXTERNAL),  # the strongest of those that fit
        ("10.1.2.3", ("eve",), Mechanism.SCRAM_SHA_1),
        ("192.0.2.7", ("root",), None),  # for one network only
        ("192.0.2.7", ("",), Mechanism.SCRAM_SHA_256),  # who is not known may be anybody
        ("10.1.2.3", ("",), Mechanism.EXTERNAL),
    ],
)
def test_the_least_for_an_address_and_a_user(address: str, users: tuple[str, ...], minimum: Mechanism | None) -> None:
    it = proving(
        at_least(Mechanism.SCRAM_SHA_1, networks=("10.0.0.0/8",)),
        at_least(Mechanism.CRAM_MD5, networks=("2001:db8::/32",)),
        at_least(Mechanism.SCRAM_SHA_256, users=("*@example.com",)),
        at_least(Mechanism.EXTERNAL, networks=("10.0.0.0/8", "2001:db8::/32"), users=("root", "admin")),
    )
    assert it.minimum(address, users) is minimum


def test_who_is_relayed_is_offered_without_being_listed() -> None:
    relaying = Means(Ways(relay=(Mechanism.CRAM_MD5,)))
    it = Policy(policy().listener, LimitSettings(), b"mx.example", relaying)
    assert it.mechanisms(upstream(b"legacy", b"AUTH CRAM-MD5"), Standing()) == (
        Mechanism.CRAM_MD5,
        Mechanism.PLAIN,
        Mechanism.LOGIN,
    )
