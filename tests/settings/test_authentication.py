"""Ways of logging in that contradict each other, or that lead nowhere."""

from itertools import pairwise

import pytest

from gatepost.facts import Mechanism
from gatepost.settings import STRENGTH, Represent
from settings_folder import Folder, upstream

LOOPBACK = ('address = "127.0.0.1:25"', 'tls = "never"')
REMOTE = ('address = "192.0.2.1:25"', 'tls = "never"')
ENCRYPTED = ('address = "192.0.2.1:25"', 'tls = "starttls"')
SERVICE = ('represent = "service"', 'service_user = "gatepost"', 'service_password_file = "secret"')
XCLIENT = ('represent = "xclient"',)
USERS = '[users]\nfile = "users.toml"\n'
CHECKING = USERS + "verify_passwords = true\n"
JWKS = '[tokens]\njwks_file = "keys.json"\nissuer = "https://id.example.org"\naudience = "smtp"\n'
INTROSPECTION = (
    '[tokens]\nintrospection_url = "https://id.example.org/ask"\naudience = "smtp"\n'
    'client_id = "gatepost"\nclient_secret_file = "secret"\n'
)
CREDENTIALS = (
    '[oauth]\ntoken_url = "https://id.example.org/token"\nclient_id = "gatepost"\n'
    'grant = "client_credentials"\nclient_secret_file = "secret"\n'
)
REFRESH = CREDENTIALS.replace("client_credentials", "refresh_token").replace('client_secret_file = "secret"\n', "")


def write(*lines: str, tables: str = "", listener: str = "", tls: str = "") -> str:
    """A file with this `[upstream]`, and more in the first listener, in `[tls]`, and at the end."""
    text = upstream(*lines).replace('name = "submission"', f'name = "submission"\n{listener}')
    return text.replace("[tls]", f"[tls]\n{tls}") + tables


def client_ca(text: str) -> str:
    return text.replace("[tls]", '[tls]\nclient_ca = "ca.pem"')


@pytest.mark.parametrize(
    "text",
    [
        write(*LOOPBACK, 'represent = "secret"', tables=USERS),
        write(*LOOPBACK, *SERVICE, tables=CHECKING + "learn = true\n"),
        write(*LOOPBACK, *SERVICE, tables=INTROSPECTION),
        write(*LOOPBACK, *XCLIENT, tables=JWKS),
        write(*LOOPBACK, *XCLIENT, tables=INTROSPECTION.replace("\nclient_id", '\nissuer = "a"\nclient_id')),
        write(*LOOPBACK, 'represent = "token"', tables=USERS + CREDENTIALS),
        write(*LOOPBACK, 'represent = "token"', tables=USERS + REFRESH),
        client_ca(write(*ENCRYPTED, 'represent = "certificate"', 'certificate = "cert.pem"', 'key = "key.pem"')),
        client_ca(write(*LOOPBACK, *XCLIENT, listener='mechanisms = ["EXTERNAL"]')),
        write(*LOOPBACK, 'relay = ["CRAM-MD5"]', listener='mechanisms = ["CRAM-MD5", "PLAIN"]'),
        write(*LOOPBACK, *XCLIENT, tables=USERS, listener='mechanisms = ["cram-md5", "Scram-SHA-1"]'),
        write(*LOOPBACK, listener='mechanisms = ["XOAUTH2", "OAUTHBEARER"]'),
        write(*LOOPBACK, tables='[[policies]]\nminimum = "PLAIN"\n'),
        write(*LOOPBACK, tables='[[policies]]\nminimum = "XOAUTH2"\nlisteners = ["submissions", "submission"]\n'),
    ],
)
def test_ways_that_lead_somewhere(folder: Folder, text: str) -> None:
    assert folder.load(text)


PROVERS = "[users], [tokens] or tls.client_ca to prove users"
HOW = "upstream.represent with it: how a user proven here is known there"


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        (write(*LOOPBACK, tables=USERS), [f"users: found a table, expected {HOW}"]),
        (write(*LOOPBACK, tables=CHECKING), [f"users: found a table, expected {HOW}"]),
        (write(*LOOPBACK, tables=JWKS), [f"tokens: found a table, expected {HOW}"]),
        (
            write(*LOOPBACK, tables=USERS + JWKS),
            [f"users: found a table, expected {HOW}", f"tokens: found a table, expected {HOW}"],
        ),
        (write(*LOOPBACK, *XCLIENT), [f'upstream.represent: found "xclient", expected {PROVERS}']),
        (write(*LOOPBACK, *SERVICE), [f'upstream.represent: found "service", expected {PROVERS}']),
        (
            write(*LOOPBACK, 'represent = "secret"'),
            ['users: found nothing, expected a table while upstream.represent is "secret"'],
        ),
        (
            client_ca(write(*LOOPBACK, 'represent = "secret"')),
            ['users: found nothing, expected a table while upstream.represent is "secret"'],
        ),
        (
            write(*LOOPBACK, 'represent = "token"', tables=JWKS),
            ['oauth: found nothing, expected a table while upstream.represent is "token"'],
        ),
        (
            write(*ENCRYPTED, 'represent = "certificate"', tables=USERS),
            ['upstream.represent: found "certificate", expected upstream.certificate and upstream.key with it'],
        ),
    ],
)
def test_what_the_way_to_represent_users_needs(folder: Folder, text: str, complaints: list[str]) -> None:
    assert folder.complaints(text) == complaints


@pytest.mark.parametrize(
    ("represent", "mechanisms", "able"),
    [
        ("secret", '"XOAUTH2"', '"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN" or "LOGIN"'),
        ("service", '"LOGIN", "CRAM-MD5"', '"SCRAM-SHA-256", "SCRAM-SHA-1" or "PLAIN"'),
        ("token", '"PLAIN"', '"OAUTHBEARER" or "XOAUTH2"'),
        ("certificate", '"PLAIN"', '"EXTERNAL"'),
    ],
)
def test_users_can_be_represented_by_a_mechanism_that_is_allowed(
    folder: Folder, represent: str, mechanisms: str, able: str
) -> None:
    lines = [f'represent = "{represent}"', f"mechanisms = [{mechanisms}]"]
    lines += SERVICE[1:] if represent == "service" else []
    lines += ['certificate = "cert.pem"', 'key = "key.pem"'] if represent == "certificate" else []
    text = write(*ENCRYPTED, *lines, tables=USERS + (CREDENTIALS if represent == "token" else ""))
    # What a listener names leads nowhere then, which is the same mistake and not said again.
    assert folder.complaints(text.replace("bind", 'mechanisms = ["SCRAM-SHA-256"]\nbind', 1)) == [
        f"upstream.mechanisms: found none for upstream.represent, expected {able} among them"
    ]


def test_xclient_is_no_mechanism_and_needs_none(folder: Folder) -> None:
    text = write(*LOOPBACK, *XCLIENT, 'mechanisms = ["EXTERNAL"]', tables=USERS)
    assert folder.load(text).upstream.represent is Represent.XCLIENT


@pytest.mark.parametrize("name", ["service_user", "service_password_file"])
def test_a_service_account_has_a_name_and_a_password(folder: Folder, name: str) -> None:
    lines = [line for line in SERVICE if not line.startswith(f"{name} ")]
    assert folder.complaints(write(*LOOPBACK, *lines, tables=USERS)) == [
        f'upstream.{name}: found nothing, expected a value while upstream.represent is "service"'
    ]


def test_a_service_account_that_nobody_is_represented_by(folder: Folder) -> None:
    unused = 'found a value, expected nothing unless upstream.represent is "service"'
    assert folder.complaints(write(*LOOPBACK, *XCLIENT, *SERVICE[1:], tables=USERS)) == [
        f"upstream.service_user: {unused}",
        f"upstream.service_password_file: {unused}",
    ]


def test_what_was_not_checked_teaches_nothing(folder: Folder) -> None:
    assert folder.complaints(write(*LOOPBACK, *XCLIENT, tables=USERS + "learn = true\n")) == [
        "users.learn: found true, expected users.verify_passwords = true with it, for what was not checked teaches"
    ]


ONE_OF = "expected one of jwks_url, jwks_file and introspection_url"


@pytest.mark.parametrize(
    ("table", "complaints"),
    [
        ("[tokens]\n", [f"tokens: found none of them, {ONE_OF}"]),
        (JWKS + 'jwks_url = "https://id.example.org"\n', [f"tokens: found jwks_url and jwks_file, {ONE_OF}"]),
        (INTROSPECTION + 'jwks_url = "http:"\nissuer = "a"\n', ["tokens: found jwks_url and intro"]),
        ("[tokens]\njwks_url = 5\nissuer = 'a'\naudience = 'b'\n", ["tokens.jwks_url: found the whole number 5"]),
        (
            '[tokens]\njwks_file = "keys.json"\n',
            [
                "tokens.issuer: found nothing, expected what `iss` must be, with jwks_url or jwks_file",
                "tokens.audience: found nothing, expected what `aud` must be, with jwks_url or jwks_file",
            ],
        ),
        (JWKS.replace('"smtp"', '""'), ["tokens.audience: found nothing, expected what `aud` must be"]),
        (
            '[tokens]\nintrospection_url = "https://id.example.org/ask"\nscope = "smtp"\n',
            [
                "tokens.client_id: found nothing, expected a value with introspection_url",
                "tokens.client_secret_file: found nothing, expected a value with introspection_url",
            ],
        ),
        (INTROSPECTION.replace('"gatepost"', '""'), ["tokens.client_id: found nothing, expected a value with"]),
        (
            JWKS + 'client_id = "gatepost"\nclient_secret_file = "secret"\n',
            [
                "tokens.client_id: found a value, expected nothing without introspection_url",
                "tokens.client_secret_file: found a value, expected nothing without introspection_url",
            ],
        ),
    ],
)
def test_what_checking_tokens_needs(folder: Folder, table: str, complaints: list[str]) -> None:
    found = [one for one in folder.complaints(write(*LOOPBACK, *XCLIENT, tables=table)) if '"http:"' not in one]
    assert len(found) == len(complaints)
    for one, beginning in zip(found, complaints, strict=True):
        assert one.startswith(beginning)


@pytest.mark.parametrize("lines", ["", 'audience = ""\n', 'scope = ""\nissuer = "https://id.example.org"\n'])
def test_introspection_needs_what_a_token_was_made_for(folder: Folder, lines: str) -> None:
    table = INTROSPECTION.replace('audience = "smtp"\n', lines)
    expected = "what `aud` must contain, or tokens.scope, with introspection_url: else a token for anything is good"
    assert folder.complaints(write(*LOOPBACK, *XCLIENT, tables=table)) == [
        f"tokens.audience: found nothing, expected {expected}"
    ]


def test_introspection_by_scope_alone(folder: Folder) -> None:
    table = INTROSPECTION.replace("audience", "scope")
    assert folder.load(write(*LOOPBACK, *XCLIENT, tables=table))


CHECKS = CHECKING + "verifications = 4\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            write(*LOOPBACK, *XCLIENT, tables=INTROSPECTION + 'algorithms = ["PS512"]\n'),
            "tokens.algorithms: found a value, expected nothing with introspection_url",
        ),
        (
            write(*LOOPBACK, *XCLIENT, tables=JWKS + 'ca = "ca.pem"\n'),
            "tokens.ca: found a value, expected nothing with jwks_file",
        ),
        (
            write(*LOOPBACK, *XCLIENT, tables=USERS + "verifications = 2\n"),
            "users.verifications: found a value, expected nothing without verify_passwords = true",
        ),
        (
            write(*LOOPBACK, tls='client_identity = "email"'),
            "tls.client_identity: found a value, expected nothing without client_ca",
        ),
    ],
)
def test_a_key_without_effect_is_a_mistake(folder: Folder, text: str, complaint: str) -> None:
    assert folder.complaints(text) == [complaint]


@pytest.mark.parametrize(
    "text",
    [
        write(*LOOPBACK, *XCLIENT, tables=INTROSPECTION + 'ca = "ca.pem"\n'),
        write(*LOOPBACK, *XCLIENT, tables=JWKS + 'algorithms = ["PS512"]\n'),
        write(*LOOPBACK, *XCLIENT, tables=CHECKS),
        client_ca(write(*LOOPBACK, *XCLIENT, tls='client_identity = "email"')),
    ],
)
def test_the_same_keys_where_they_have_one(folder: Folder, text: str) -> None:
    assert folder.load(text)


def test_tokens_are_obtained_only_to_represent_users(folder: Folder) -> None:
    assert folder.complaints(write(*LOOPBACK, *XCLIENT, tables=USERS + CREDENTIALS)) == [
        'oauth: found a table, expected nothing unless upstream.represent is "token"'
    ]


def test_what_obtaining_tokens_needs(folder: Folder) -> None:
    token = (*LOOPBACK, 'represent = "token"')
    assert folder.complaints(write(*token, tables=JWKS + REFRESH)) == [
        'oauth.grant: found "refresh_token", expected [users] with it, which holds each user\'s refresh token'
    ]
    assert folder.complaints(write(*token, tables=USERS + REFRESH.replace("refresh_token", "client_credentials"))) == [
        'oauth.client_secret_file: found nothing, expected a file while oauth.grant is "client_credentials"'
    ]


CHALLENGES = "with it [users] and upstream.represent, or its name in upstream.relay"


@pytest.mark.parametrize(
    ("mechanism", "lines", "needed"),
    [
        ("SCRAM-SHA-256", (), CHALLENGES),
        ("SCRAM-SHA-1", ('relay = ["CRAM-MD5", "SCRAM-SHA-256"]',), CHALLENGES),
        ("CRAM-MD5", (), CHALLENGES),
        ("EXTERNAL", (), "with it tls.client_ca and upstream.represent"),
        ("PLAIN", ('mechanisms = ["XOAUTH2"]',), "with it a mechanism for passwords in upstream.mechanisms, or"),
        ("XOAUTH2", ('mechanisms = ["PLAIN"]',), 'with it "OAUTHBEARER" or "XOAUTH2" in upstream.mechanisms, or'),
    ],
)
def test_a_mechanism_that_leads_nowhere(folder: Folder, mechanism: str, lines: tuple[str, ...], needed: str) -> None:
    text = write(*LOOPBACK, *lines, listener=f'mechanisms = ["{mechanism}"]')
    (found,) = folder.complaints(text)
    assert found.startswith(f'listeners[0].mechanisms[0]: found "{mechanism}", expected {needed}')


def test_clients_with_certificates_need_a_way_to_be_represented(folder: Folder) -> None:
    (found,) = folder.complaints(client_ca(write(*LOOPBACK, listener='mechanisms = ["EXTERNAL"]')))
    assert found.startswith('listeners[0].mechanisms[0]: found "EXTERNAL"')


def test_clients_with_certificates_need_authorities(folder: Folder) -> None:
    (found,) = folder.complaints(write(*LOOPBACK, *XCLIENT, tables=USERS, listener='mechanisms = ["EXTERNAL"]'))
    assert found.startswith('listeners[0].mechanisms[0]: found "EXTERNAL"')


def test_a_mechanism_named_badly_hides_no_other(folder: Folder) -> None:
    found = folder.complaints(write(*LOOPBACK, listener='mechanisms = ["PLAN", "PLAIN", "EXTERNAL", "PLAIN"]'))
    assert [one.partition(":")[0] for one in found] == [f"listeners[0].mechanisms[{place}]" for place in (0, 3, 2)]


def test_the_same_mechanism_twice(folder: Folder) -> None:
    lines = ('mechanisms = ["PLAIN", "plain"]', 'relay = ["CRAM-MD5", "SCRAM-SHA-1", "CRAM-MD5"]')
    assert folder.complaints(write(*LOOPBACK, *lines, listener='mechanisms = ["LOGIN", "PLAIN", "login"]')) == [
        'listeners[0].mechanisms[2]: found "LOGIN", expected a mechanism other than in listeners[0].mechanisms[0]',
        'upstream.mechanisms[1]: found "PLAIN", expected a mechanism other than in upstream.mechanisms[0]',
        'upstream.relay[2]: found "CRAM-MD5", expected a mechanism other than in upstream.relay[0]',
    ]


def test_the_same_login_twice(folder: Folder) -> None:
    logins = "".join(f'[[upstream.logins]]\nclient = "{name}"\nupstream = "c"\n' for name in ("a", "b", "A"))
    assert folder.complaints(write(*LOOPBACK, tables=logins)) == [
        'upstream.logins[2].client: found "A", expected a login other than that of upstream.logins[0]'
    ]


def test_a_policy_for_a_listener_that_is_not_there(folder: Folder) -> None:
    policies = '[[policies]]\nminimum = "PLAIN"\nlisteners = ["smtp", "SMTP", "submission", "submision"]\n'
    names = 'the name of a listener: "submission", "submissions"'
    assert folder.complaints(write(*LOOPBACK, tables=policies))[1:] == [
        f'policies[0].listeners[0]: found "smtp", expected {names}',
        f'policies[0].listeners[3]: found "submision", expected {names}',
    ]


RELAYED = ('relay = ["SCRAM-SHA-1", "CRAM-MD5"]',)


def test_a_policy_for_users_whom_a_relayed_login_hides(folder: Folder) -> None:
    policies = (
        '[[policies]]\nminimum = "SCRAM-SHA-1"\n[[policies]]\nminimum = "SCRAM-SHA-1"\nusers = ["*@example.com"]\n'
    )
    assert folder.complaints(write(*LOOPBACK, *RELAYED, tables=policies)) == [
        'policies[1].users: found users, expected no users while upstream.relay has "CRAM-MD5", which hides who logs in'
    ]


def test_a_policy_for_users_whom_every_relayed_login_satisfies(folder: Folder) -> None:
    policies = '[[policies]]\nminimum = "CRAM-MD5"\nusers = ["*@example.com"]\n'
    assert folder.load(write(*LOOPBACK, *RELAYED, tables=policies))


def test_the_order_of_strength() -> None:
    order = ["LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "EXTERNAL"]
    assert all(STRENGTH[Mechanism(weak)] < STRENGTH[Mechanism(strong)] for weak, strong in pairwise(order))
    assert STRENGTH[Mechanism.PLAIN] == STRENGTH[Mechanism.LOGIN]
    assert STRENGTH[Mechanism.XOAUTH2] == STRENGTH[Mechanism.OAUTHBEARER]
    assert set(Mechanism) - set(STRENGTH) == {Mechanism.XCLIENT, Mechanism.OTHER}


ONLY_SCRAM = 'mechanisms = ["SCRAM-SHA-256", "CRAM-MD5"]'
ONLY_TOKENS = 'mechanisms = ["XOAUTH2"]'


@pytest.mark.parametrize(
    "text",
    [
        write(*REMOTE, ONLY_SCRAM),
        write(*REMOTE, ONLY_SCRAM, 'represent = "secret"', tables=CHECKING),
        write(*REMOTE, ONLY_SCRAM.replace('"CRAM-MD5"', '"EXTERNAL"'), *SERVICE, tables=CHECKING + JWKS),
        write(*REMOTE, 'mechanisms = ["EXTERNAL"]', *XCLIENT, tables=CHECKING + JWKS),
        write(*REMOTE, *XCLIENT, tables=CHECKING + JWKS),
        write(*REMOTE, ONLY_SCRAM, 'relay = ["CRAM-MD5"]'),
        client_ca(
            write(
                'address = "192.0.2.1:25"',
                'tls = "opportunistic"',
                'certificate = "cert.pem"',
                'key = "key.pem"',
                'represent = "certificate"',
                tables=CHECKING + JWKS,
            )
        ),
    ],
)
def test_an_unproven_channel_is_good_for_what_hands_no_credential_over(folder: Folder, text: str) -> None:
    assert folder.load(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (write(*REMOTE, 'mechanisms = ["SCRAM-SHA-256", "LOGIN"]'), "passwords"),
        (write(*REMOTE, 'mechanisms = ["SCRAM-SHA-256", "XOAUTH2"]'), "tokens"),
        (write(*REMOTE, *XCLIENT, tables=CHECKING), "tokens"),
        (write(*REMOTE, *XCLIENT, tables=USERS + JWKS), "passwords"),
        (write(*REMOTE, *SERVICE, tables=CHECKING + JWKS), "passwords"),
        (write(*REMOTE, 'represent = "secret"', tables=CHECKING + JWKS), "passwords"),
        (write(*REMOTE, 'represent = "token"', tables=CHECKING + JWKS + CREDENTIALS), "tokens"),
        (write(*REMOTE, 'represent = "token"', ONLY_TOKENS, tables=CHECKING + CREDENTIALS), "tokens"),
    ],
)
def test_an_unproven_channel_is_refused_where_a_credential_would_cross_it(folder: Folder, text: str, what: str) -> None:
    (found,) = folder.complaints(text)
    assert found.startswith(
        f'upstream.tls: found "never", so {what} would cross to 192.0.2.1:25 in the clear, expected'
    )


def test_what_one_listener_accepts_is_enough_to_refuse_an_unproven_channel(folder: Folder) -> None:
    only = 'mechanisms = ["XOAUTH2"]\n'
    text = write(*REMOTE, *XCLIENT, tables=USERS + JWKS, listener=only)
    assert len(folder.complaints(text)) == 1  # the other listener takes passwords, which nobody checks here
    assert folder.load(text.replace('name = "submissions"', f'name = "submissions"\n{only}'))


EVERYTHING_WRONG = (
    client_ca(
        upstream(
            *REMOTE,
            'represent = "service"',
            'relay = ["CRAM-MD5"]',
            'mechanisms = ["LOGIN"]',
            'certificate = "cert.pem"',
        )
    ).replace('name = "submission"', 'name = "submission"\nmechanisms = ["SCRAM-SHA-1", "PLAIN", "PLAIN"]')
    + """
[tokens]
jwks_url = "http://id.example.org"
client_id = "a"
[users]
learn = true
file = "none"
[oauth]
token_url = "x"
grant = "client_credentials"
[[policies]]
minimum = "PLAIN"
listeners = ["smtp"]
[[policies]]
minimum = "EXTERNAL"
users = ["a", ""]
"""
)


def test_every_contradiction_is_reported_at_once_and_none_hides_another(folder: Folder) -> None:
    keys = [one.partition(": ")[0] for one in folder.complaints(EVERYTHING_WRONG)]
    assert sorted(keys) == sorted(
        [
            "upstream.tls",
            "upstream.certificate",
            "upstream.key",
            "upstream.mechanisms",
            "upstream.service_user",
            "upstream.service_password_file",
            "listeners[0].mechanisms[2]",
            "tokens.jwks_url",
            "tokens.client_id",
            "tokens.issuer",
            "tokens.audience",
            "users.file",
            "users.learn",
            "oauth",
            "oauth.token_url",
            "oauth.client_id",
            "oauth.client_secret_file",
            "policies[0].listeners[0]",
            "policies[1].users",
            "policies[1].users[1]",
        ]
    )


@pytest.mark.parametrize("name", ["users", "tokens", "policies", "listeners"])
def test_what_is_no_table_is_no_contradiction_too(folder: Folder, name: str) -> None:
    text = client_ca(write(*LOOPBACK, *XCLIENT))
    text = text.replace("[[listeners]]", "[[unknown]]") if name == "listeners" else text
    assert [one for one in folder.complaints(f"{name} = 1\n{text}") if "unknown" not in one] == [
        f"{name}: found the whole number 1, expected {WHAT[name]}"
    ]


WHAT = {
    "users": "a table",
    "tokens": "a table",
    "policies": "a list of tables",
    "listeners": "a list of one or more tables",
}


@pytest.mark.parametrize("template", ["{local}", "{domain}", "x-{local}@new.example"])
def test_a_policy_for_users_needs_a_template_that_keeps_them_apart(folder: Folder, template: str) -> None:
    text = write(*LOOPBACK, f'login_template = "{template}"', tables=FOR_USERS)
    (complaint,) = folder.complaints(text)
    assert complaint.startswith(f'policies[1].users: found users, while upstream.login_template is "{template}"')


@pytest.mark.parametrize("template", ["{login}", "{domain}/{local}", "x-{login}"])
def test_a_template_that_keeps_users_apart(folder: Folder, template: str) -> None:
    assert folder.load(write(*LOOPBACK, f'login_template = "{template}"', tables=FOR_USERS))


FOR_USERS = '[[policies]]\nminimum = "PLAIN"\n[[policies]]\nminimum = "XOAUTH2"\nusers = ["*@example.org"]\n'
