"""The one list of names that say what is a secret. Pure."""

import re
import unicodedata
from functools import lru_cache

LONGEST_NAME = 100
"""Only so much of a name's end is read: a client may send a thousand keys of 60 KB."""

# Of a name's parts in small letters, joined by "_": user_pwd, db_pass, signing_key, x_api_key. Short words count as a
# part of their own, since "compass" and "spin" are no secrets.
_SECRET = re.compile(
    r"pass_?w(or|_?r)?d|passw?rd|passwort|kennwort|contrasena|mot_?de_?passe|pass_?(phrase|code|key)|seed_?phrase|mnemonic"
    r"|secret(?!ar)|token(?!i[sz])|authori[sz]ation|credential|cookie|signature|bearer|se?ss(ion)?_?id|[cx]srf|oauth"
    r"|private_?(key|pem)|connection_?string|conn_?str|saml_?(response|request|assertion)|code_?verifier|security_?answer"
    r"|(^|_)(pass|pw|pwd|pswd|psw|pword|mdp|senha|auth|pin|otp|totp|cvv|cvc|dsn|jwt|jwk|psk|hmac|sig|pat|pem|sid|id_rsa"
    r"|assertion"
    r"|(api|priv|private|access|encryption|signing|decryption|master|account|shared|ssh|hmac|crypto|storage|service|license"
    r"|webhook|consumer|auth|root|admin|server|app|client|session|subscription|deploy|cipher|aes|rsa|tls|ssl|jwt|vault"
    r"|stripe|openai|anthropic|sendgrid|mailgun|twilio|datadog|github|gitlab|google|maps|aws|gcp|azure)_?keys?"
    r"|(recovery|backup|verification|confirmation|security|auth|access|login|mfa|fa|sms|reset|unlock|pin|otp|one_time)_?codes?"
    r"|(db|user|usr|my|smtp|imap|pop|mail|ftp|ssh|http|proxy|admin|root|redis|pg|mysql|sql|ldap|key|store|bind)"
    r"(pass|pwd|pw|auth))(_|$)"
)
# Facts about a secret: tokens_used, token_type, password_changed_at, max_tokens.
_ABOUT = re.compile(
    r"_(used|usage|counts?|limit|left|total|length|types?|kind|status|state|enabled|required|policy|strength|rate|ttl|age"
    r"|expiry|algorithm|method|endpoint|consent|per_[a-z]+|((expires?|changed|created|updated|issued|rotated|reset)_)?(at|on|in))$"
    r"|(^|_)(max|min|prompt|completion|input|output|total|cached|reasoning|used|num)_(new_)?tokens$"
)
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# Letters that look like those of ASCII, one for one, so that places in a text stay what they are.
_CYRILLIC = ("аеорсухіјѕԁԝкмтвАВЕКМНОРСТХЅІЈ", "aeopcyxijsdwkmtbABEKMHOPCTXSIJ")
_GREEK = ("οαεικνρτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧı", "oaeiknptuxABEZHIKMNOPTYXi")
_SAME = {
    point: unicodedata.normalize("NFKD", chr(point))[0]
    for point in (0xA0, *range(0xC0, 0x250), *range(0x2000, 0x200B), *range(0xFF01, 0xFF5F), *range(0x1D400, 0x1D800))
    if unicodedata.normalize("NFKD", chr(point))[0].isascii()
}  # fmt: skip
_LOOKALIKES: dict[int, int | str] = {**_SAME, **str.maketrans(*_CYRILLIC), **str.maketrans(*_GREEK)}
UNSEEN = "\u00ad\u0300-\u036f\u200b-\u200f\u2060\ufeff"
"""Characters that take no place of their own on a screen, as in a class of `re`."""
_UNSEEN = re.compile(f"[{UNSEEN}]")


def plain(text: str) -> str:
    """The text with letters of ASCII for those that look like them, of the same length."""
    return text if text.isascii() else text.translate(_LOOKALIKES)


def secret(key: object) -> bool:
    """Whether the value under this name is a secret.

    >>> secret("smtpPass"), secret("compass"), secret("tokens_used")
    (True, False, False)
    """
    return _is_secret(str(key)[-LONGEST_NAME:])


# Nearly all are the fields of a few classes.
@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    parts = "_".join(_PARTS.findall(_UNSEEN.sub("", plain(name)))).lower()
    return _SECRET.search(parts) is not None and _ABOUT.search(parts) is None
