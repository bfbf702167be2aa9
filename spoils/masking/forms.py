"""What is a secret by its own form: URLs with passwords, keys, and the tokens of known services. Pure."""

import re
from collections.abc import Iterator

Span = tuple[int, int]


def _form(signs: str, *parts: str) -> tuple[tuple[str, ...], re.Pattern[str]]:
    return tuple(signs.split("|")), re.compile("".join(parts))


# Between two arguments of a command, as one types it and as a list of Python or JSON.
_BETWEEN = r"(?: |[\"'],\s{0,20}[\"'])"

# Each is looked for where one of its signs, in small letters, is in the text.
_FORMS = (
    # A URL's user and password. It begins at "://", not at the scheme, since looking for the scheme's start takes
    # quadratic time on a long word. A password may hold "/" and "@" though it should not; the last "@" ends it.
    _form(
        "://",
        r"(?<=://)(?P<secret>[^\s/@:\"'<>?#]{0,400}:(?!\d{1,5}(?:[/?#]|$))[^\s\"'<>]{0,400}",
        r"|[^\s/@\"'<>?#]{1,800}@[^\s/\"'<>?#]{0,400}|[^\s/@\"'<>?#]{1,800})@",
    ),
    _form("%3a%2f", r"(?i:(?<=%3A%2F%2F)(?P<secret>[^\s/@:%]*+%3A[^\s/@:]{0,400}?)%40)"),
    # Of services that Apprise knows, whose hosts are tokens.
    _form(
        "://",
        r"\b(?:tgram|slack|pover|pbul|discord|gotifys?|ntfys?|msteams|mmosts?|rockets?|matrixs?|zulip|wxteams|workflows?",
        r"|mailgun|sendgrid|twilio|sns|ses|ifttt|pagerduty|opsgenie|join|prowl|pushed|pushy|barks?|signals?|whatsapp)",
        r"://(?P<secret>[^\s\"'<>]++)",
    ),
    # A connection without its scheme: user:password@host:5432.
    _form("@", r"(?<![\w/@:.%+-])[\w.%+-]{1,64}+:(?P<secret>[^\s/@:\"'<>,;]{1,200})@[\w.-]{1,255}:\d{2,5}\b"),
    _form("hook", r"(?:hooks\.slack\.com/\w+/|/webhooks/\d+/|/webhookb2/)(?P<secret>[^\s\"'<>?]++)"),
    _form(
        "bearer|basic|apikey|digest|negotiate",
        r"\b(?i:Bearer|Basic|Digest|ApiKey|Negotiate)[ \t]+",
        # A long word is one where it has a digit, a sign, or a capital within: "Authentication" is none.
        r"(?P<secret>(?=[\w.~+/=-]*?(?:[\d=]|[a-z][A-Z]))[\w.~+/=-]{12,}|[A-Za-z0-9+/]{2,}={1,2})",
    ),
    _form("digest", r"\bDigest [^\n]{0,400}?\bresponse=(?P<secret>\"[^\"\n]*\"|[^\s,]+)"),
    _form(
        "private key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?P<secret>(?s:.*?))(?=-----END|\Z)",
    ),
    # JSON in base64, as a JWT begins with.
    _form("eyj", r"\b(?P<secret>eyJ[\w+/=-]{10,}(?:\.[\w-]*){0,4})"),
    _form(
        "ghp_|gho_|ghu_|ghs_|ghr_|_pat_|_live_|_test_|whsec_|xox|glpat-|npm_|pypi-|shpat_|spl_",
        r"\b(?P<secret>gh[opusr]_\w{20,}|github_pat_\w{20,}|[sr]k_(?:live|test)_\w{8,}|whsec_[\w+/=]{16,}",
        r"|xox[a-z]-[\w-]{10,}|glpat-[\w-]{16,}|npm_\w{30,}|pypi-[\w-]{40,}|shpat_\w{20,}|spl_[\w-]{40,})",
    ),
    _form(
        "akia|asia|aiza|ya29.|sk-|sg.|hf_|dop_v1_|hrku-",
        r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|sk-[A-Za-z0-9]{20,}",
        r"|sk-(?:proj|ant|or|svcacct)-[\w-]{16,}|SG\.[\w-]{16,}\.[\w-]{16,}|hf_[A-Za-z0-9]{20,}|dop_v1_\w{32,}",
        r"|HRKU-[\w-]{20,})",
    ),
    _form(":aa", r"(?<!\d)(?P<secret>\d{8,10}:AA[\w-]{30,})"),  # Telegram's
    # On the command lines of curl, mysql and their like, and of sqlplus in a URL. Numbers alone are a time, or ids.
    _form(
        "-u|--user|--proxy-user",
        r"(?<![\w-])(?:-u|-U|--user|--proxy-user)(?:[ =]|[\"']\s*,\s*)[\"']?(?!\d+:\d+\b)",
        r"[^\s:\"']{1,100}:(?P<secret>[^\s\"']+)",
    ),
    _form("curl", r"\bcurl\b[^\n|;&]{0,200}?[ \"']-u(?!\d+:\d+\b)[^\s:\"']{1,100}:(?P<secret>[^\s\"']+)"),
    _form(
        "mysql|mariadb|mycli|xtrabackup",
        r"\b(?:mysql|mariadb|mycli|xtrabackup)[\w-]{0,20}+[^\n|;&]{0,200}?[ \"']-p",
        r"(?P<secret>\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'-][^\s\"']*)",
    ),
    _form(
        "sshpass|mongo|docker|podman|redis-cli",
        rf"\b(?:(?:sshpass|mongo\w{{0,20}}+|(?:docker|podman){_BETWEEN}login)\b",
        rf"[^\n|;&]{{0,200}}?[ \"']-p(?:{_BETWEEN})?",
        rf"|redis-cli\b[^\n|;&]{{0,200}}?[ \"']-a(?:{_BETWEEN})?)",
        r"(?P<secret>\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'-][^\s\"']*)",
    ),
    _form(":thin:", r":thin:[^\s/@]{1,100}/(?P<secret>[^\s@]{1,200})@"),
    # What PostgreSQL and libpq say. A whole row has no names.
    _form("identified by", r"(?i:identified by)\s+(?P<secret>\"[^\"\n]*\"|'[^'\n]*')"),
    _form("host name", r"\bhost name \"(?P<secret>[^\"@\n]{1,400})@"),
    _form("failing row", r"\bFailing row contains \((?P<secret>(?s:.*?))(?=\)\.?(?:\r?\n|\Z)|\Z)"),
)
SHORTEST = 13
"""No word of fewer characters is one by itself."""
SIGNS = tuple(dict.fromkeys(sign for signs, _ in _FORMS for sign in signs))
"""Without one of these, in small letters, nothing is found."""


def found(text: str, lowered: str) -> Iterator[Span]:
    """Where the secrets in `text` are; `lowered` is the same in small letters."""
    for signs, pattern in _FORMS:
        if any(sign in lowered for sign in signs):
            for one in pattern.finditer(text):
                yield one.span("secret")
