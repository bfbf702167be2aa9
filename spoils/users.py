"""The people of SPOILS_USERS, who log in by a name and a password of their own. Pure."""

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

PersonRole = Literal["admin", "viewer"]
NAME = re.compile(r"[\w.@+-]{1,64}")
RESERVED = {"admin", "viewer", "nobody", "api"}
"""What the audit log writes for those without a name of their own."""
# As `spoils hash-password` writes it. The bounds keep a check below a second and 128 MiB.
_HASH = re.compile(r"scrypt:(16384|32768|65536|131072):8:[1-4]\$[A-Za-z0-9]{8,64}\$[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a login of their own."""

    name: str
    role: PersonRole
    password_hash: str


def parse_users(text: str) -> tuple[User, ...]:
    """The users of `anna:admin:<hash> ben:viewer:<hash>`; spaces, line breaks or commas separate them.

    Raises ValueError with a sentence that shows no hash.
    """
    users: list[User] = []
    for number, entry in enumerate(re.split(r"[\s,]+", text.strip(" ,\n\r\t")), start=1):
        name, _, rest = entry.partition(":")
        role, _, password_hash = rest.partition(":")
        if not NAME.fullmatch(name) or role not in get_args(PersonRole) or not _HASH.fullmatch(password_hash):
            raise ValueError(
                f"entry {number} is not name:admin:hash or name:viewer:hash, with a hash of `spoils hash-password`"
            )
        if name.lower() in RESERVED:
            raise ValueError(
                f"entry {number} has a reserved name. Choose another than {', '.join(sorted(RESERVED))}"
            )
        if name in (user.name for user in users):
            raise ValueError(f"it has {name} twice")
        users.append(User(name, cast(PersonRole, role), password_hash))
    return tuple(users)
