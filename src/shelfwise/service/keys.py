"""API keys: made once, shown once, kept as a digest, and what their roles allow.

A key holds 256 random bits, so a plain SHA-256 keeps it as safe as a slow hash would.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa

from shelfwise.errors import KeyMissingError, KeyRoleError, NotFoundError, UsageError
from shelfwise.service.store import Store, keys

Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may
PREFIX = "sw"


@dataclass(frozen=True)
class Key:
    """What is kept of a key; times in seconds since 1970."""

    key_id: str
    name: str
    role: Role
    created: float
    expires: float | None
    revoked: float | None


def make_key(store: Store, name: str, role: str, days: float | None = None) -> str:
    """A new key, to be shown this once. Raises UsageError for a role or a time that is none."""
    if role not in ROLES:
        raise UsageError(f"no role {role!r}", hint=f"choose one of {', '.join(ROLES)}")
    if days is not None and days <= 0:
        raise UsageError(f"a key that is valid for {days:g} days", hint="give a number above 0")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    now = time.time()
    row = {
        "key_id": key_id,
        "name": name,
        "role": role,
        "digest": _digest(secret),
        "created": now,
        "expires": None if days is None else now + 86_400 * days,
    }
    with store.writing() as connection:
        connection.execute(sa.insert(keys).values(**row))
    return f"{PREFIX}_{key_id}_{secret}"


def list_keys(store: Store) -> list[Key]:
    """All keys ever made, the oldest first."""
    columns = [keys.c[name] for name in ("key_id", "name", "role", "created", "expires", "revoked")]
    with store.reading() as connection:
        return [Key(*row) for row in connection.execute(sa.select(*columns).order_by(keys.c.created))]


def revoke_key(store: Store, key_id: str) -> None:
    """End a key. Raises NotFoundError."""
    with store.writing() as connection:
        ended = sa.update(keys).where(keys.c.key_id == key_id, keys.c.revoked.is_(None)).values(revoked=time.time())
        if not connection.execute(ended).rowcount:
            raise NotFoundError(f"no key {key_id!r} is in use", hint="list them: shelfwise keys list")


def role_of(store: Store, token: str) -> tuple[str, Role]:
    """The id and role of a key. Raises KeyMissingError for one that is not known, expired or revoked."""
    prefix, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    with store.reading() as connection:
        row = connection.execute(sa.select(keys).where(keys.c.key_id == key_id)).mappings().first()
    # Compared in any case, so that time does not tell which ids there are.
    same = hmac.compare_digest(_digest(secret), row["digest"] if row else _digest(""))
    ended = row is not None and (
        row["revoked"] is not None or (row["expires"] is not None and row["expires"] <= time.time())
    )
    if prefix != PREFIX or row is None or not same or ended:
        raise KeyMissingError("this key is not known, or no longer valid", hint="ask for a new one")
    return key_id, row["role"]


def demand(role: Role, needed: Role) -> None:
    """Raise KeyRoleError unless a role covers what is needed."""
    if ROLES.index(role) < ROLES.index(needed):
        raise KeyRoleError(f"a key with the role {role!r} may not do this", hint=f"use one with the role {needed!r}")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
