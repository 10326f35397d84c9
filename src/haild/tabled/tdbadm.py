"""`python -m haild.tabled.tdbadm`: looks into the database of tabled and loads users (tabled.md 2.2)."""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TextIO

from haild.daemon import secrets
from haild.daemon.errors import StartError
from haild.daemon.options import ArgpParser, add_config
from haild.tabled import configuration
from haild.tabled.encryption.keyring import Keyring, WrongKeyError, new_master
from haild.tabled.encryption.keys import root_key
from haild.tabled.metadata import bodies, schema, users, witness
from haild.tabled.metadata.claim import database_file, held
from haild.tabled.metadata.port import DamagedRecordError
from haild.tabled.s3 import acl, sessions
from haild.tabled.s3.errors import S3Error


def _parser() -> argparse.ArgumentParser:
    parser = ArgpParser("tdbadm", "tabled database administration", "0.5.2")
    add_config(parser, configuration.DEFAULT_FILE)
    parser.add_argument("-t", "--tdb", type=Path, metavar="DIR")
    modes = {
        "users": ("-u", "load users from standard input"),
        "list-users": ("-U", "list users"),
        "list-buckets": ("-B", "list buckets"),
        "list-acls": ("-A", "list ACL records"),
        "list-objects": ("-O", "list objects"),
        "list-all": ("-a", "list everything"),
        "rotate-keys": ("-R", "make a new master key, and wrap the keys of encrypted bodies by it"),
    }
    modes |= {
        "session": ("-S", "make temporary credentials for --user, print them as environment"),
        "put-policy": ("-P", "give --user the policy --name, from standard input"),
        "delete-policy": ("-D", "take the policy --name from --user"),
        "list-policies": ("-L", "list policies of users"),
    }
    parser.add_argument("--user", default="", metavar="USER")
    parser.add_argument("--name", default="", metavar="NAME", help="of a policy")
    parser.add_argument("--seconds", type=int, default=3600, metavar="N", help="that temporary credentials last")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="limits temporary credentials")
    for name, (letter, text) in modes.items():
        parser.add_argument(letter, f"--{name}", dest="mode", action="store_const", const=name, help=text)
    return parser


def main(arguments: list[str] | None = None, source: TextIO | None = None, sink: TextIO | None = None) -> int:
    """Do what the options say; returns the exit status."""
    options = _parser().parse_args(arguments)
    source, sink = source or sys.stdin, sink or sys.stdout
    try:
        configured = configuration.directory_of(options.config)
        if options.mode is None:
            raise StartError("no mode given; see --help")
        directory = options.tdb or configured
        if directory is None:
            raise StartError("no database directory known; see -t")
        if not directory.is_dir():
            raise StartError(f"{directory} is not a directory")
        _prepare(directory)
        if options.mode == "rotate-keys":
            return _rotate(directory, configuration.root_key_of(options.config))
        if options.mode in ("session", "put-policy", "delete-policy"):
            if not options.user or (options.mode != "session" and not options.name):
                raise StartError(
                    f"--{options.mode} needs --user" + ("" if options.mode == "session" else " and --name")
                )
            with contextlib.closing(schema.connect(database_file(directory))) as connection:
                schema.create(connection)
                if not connection.execute("SELECT 1 FROM users WHERE name = ?", (options.user,)).fetchone():
                    raise StartError(f"there is no user {options.user}; see --list-users")
                return _change(options, connection, configuration.root_key_of(options.config), source, sink)
        return _run(options.mode, directory, source, sink)
    except StartError as error:
        sys.stderr.write(f"tdbadm: {error}\n")
    except WrongKeyError as error:
        sys.stderr.write(f"tdbadm: the root key is not the one of these metadata: {error}\n")
    except (sqlite3.Error, schema.DatabaseVersionError, OSError) as error:
        sys.stderr.write(f"tdbadm: database: {error}\n")
    return 1


def _prepare(directory: Path) -> None:
    """See that all metadata are there, and that their log is not taken for lost. Raises StartError."""
    if lost := witness.missing(directory):
        raise StartError(f"{lost}; {witness.advice(directory)}")
    if not held(directory):  # then the log is written back when we close the database
        witness.expect_no_log(directory)


def _run(mode: str, directory: Path, source: TextIO, sink: TextIO) -> int:
    if mode == "users":
        try:
            users.insert(database_file(directory), secrets.lenient(source))
        except sqlite3.IntegrityError as error:
            sys.stderr.write(f"db put: {error.sqlite_errorcode}\n")
            return 1
        return 0
    connection = schema.connect(database_file(directory))
    try:
        schema.create(connection)
        if mode == "list-all":
            _list_all(connection, sink)
        elif mode == "list-policies":
            _policies(connection, sink)
        else:
            _LISTS[mode](connection, sink)
    finally:
        connection.close()
    return 0


def _change(
    options: argparse.Namespace, connection: sqlite3.Connection, configured: str, source: TextIO, sink: TextIO
) -> int:
    """Make a session of a user, or change a policy of a user. Raises StartError for what makes no sense."""
    user, name = options.user, options.name
    try:
        if options.mode == "session":
            policy = options.policy.read_text(encoding="utf-8") if options.policy else ""
            seconds = sessions.duration(str(options.seconds), 3600)
            session = sessions.new(user, time.time() + seconds, policy)
            root = root_key(configured, Path(_file_of(connection)).parent)
            token = _masters(connection, root).token(session.to_bytes())
            sink.write(f"AWS_ACCESS_KEY_ID={session.key}\nAWS_SECRET_ACCESS_KEY={session.secret}\n")
            sink.write(f"AWS_SESSION_TOKEN={token}\n")
        elif options.mode == "put-policy":
            text = source.read()
            sessions.check_policy(text)
            connection.execute("INSERT OR REPLACE INTO userpolicies VALUES (?, ?, ?)", (user, name, text))
        elif not connection.execute("DELETE FROM userpolicies WHERE user = ? AND name = ?", (user, name)).rowcount:
            raise StartError(f"{user} has no policy {name}; see --list-policies")
    except S3Error as error:
        raise StartError(error.message) from None
    return 0


def _file_of(connection: sqlite3.Connection) -> str:
    return str(connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()[0])


def _masters(connection: sqlite3.Connection, root: bytes) -> Keyring:
    """The master keys; the first one is made where there is none. Raises WrongKeyError."""
    if not connection.execute("SELECT 1 FROM masterkeys").fetchone():
        connection.execute("INSERT OR IGNORE INTO masterkeys VALUES (1, ?)", (new_master(root, 1),))
    return Keyring.unwrap(root, dict(connection.execute("SELECT number, wrapped FROM masterkeys")))


def _policies(db: sqlite3.Connection, sink: TextIO) -> None:
    rows = db.execute("SELECT user, name, text FROM userpolicies ORDER BY user, name")
    _write(sink, "username\tname\tpolicy", ("\t".join((u, n, " ".join(t.split()))) for u, n, t in rows))


def _rotate(directory: Path, configured: str) -> int:
    """Make a new master key and wrap the key of every body by it, while tabled runs or not.

    A tabled that runs uses the new key for the next body. The last key stays, for what it has just wrapped by it;
    older ones go, once nothing uses them.
    """
    root = root_key(configured, directory)
    connection = schema.connect(database_file(directory))
    try:
        schema.create(connection)
        wrapped = dict(connection.execute("SELECT number, wrapped FROM masterkeys"))
        Keyring.unwrap(root, wrapped)
        number = max(wrapped, default=0) + 1
        wrapped[number] = new_master(root, number)
        connection.execute("INSERT INTO masterkeys (number, wrapped) VALUES (?, ?)", (number, wrapped[number]))
        count = _rewrap(connection, Keyring.unwrap(root, wrapped))
        used = {cipher.partition("/")[0] for (cipher,) in connection.execute("SELECT cipher FROM bodies")}
        old = [(n,) for n in wrapped if n < number - 1 and str(n) not in used]
        connection.executemany("DELETE FROM masterkeys WHERE number = ?", old)
    finally:
        connection.close()
    sys.stderr.write(f"{count} records\n")
    return 0


def _rewrap(connection: sqlite3.Connection, keyring: Keyring) -> int:
    """Wrap the keys of all bodies by the newest master key, a thousand at a time; returns how many changed."""
    count, after = 0, -1
    statement = "SELECT body, cipher FROM bodies WHERE body > ? AND cipher != '' ORDER BY body LIMIT 1000"
    while rows := connection.execute(statement, (after,)).fetchall():
        after = rows[-1][0]
        new = [(keyring.rewrap(body, cipher), body, cipher) for body, cipher in rows]
        changed = [(text, body, cipher) for text, body, cipher in new if text != cipher]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("UPDATE bodies SET cipher = ? WHERE body = ? AND cipher = ?", changed)
        connection.execute("COMMIT")
        count += len(changed)
    return count


def _write(sink: TextIO, header: str, rows: Iterator[str]) -> None:
    sink.write(f"{header}\n")
    count = 0
    for row in rows:
        sink.write(f"{row}\n")
        count += 1
    sink.flush()
    sys.stderr.write(f"{count} records\n")


def _users(db: sqlite3.Connection, sink: TextIO) -> None:
    rows = db.execute("SELECT name, password FROM users ORDER BY name")
    _write(sink, "username\tpassword", ("\t".join(row) for row in rows))


def _buckets(db: sqlite3.Connection, sink: TextIO) -> None:
    rows = db.execute("SELECT name, owner, created FROM buckets ORDER BY name")
    _write(sink, "name\towner\ttime_created", (f"{name}\t{owner}\t{int(created)}" for name, owner, created in rows))


def _acls(db: sqlite3.Connection, sink: TextIO) -> None:
    def rows() -> Iterator[str]:
        found = db.execute(
            "SELECT name, '', acl FROM buckets UNION ALL SELECT bucket, key, acl FROM objects"
            " WHERE current = 1 AND marker = 0 ORDER BY 1, 2"
        )
        for bucket, key, text in found:
            listed = acl.from_text(text)
            yield f"{bucket}\t{listed.owner}\t{','.join(acl.PERMISSIONS)}\t{key}"
            for grantee in dict.fromkeys(grantee for grantee, _ in listed.grants):
                permissions = ",".join(p for g, p in listed.grants if g == grantee)
                yield f"{bucket}\t{grantee}\t{permissions}\t{key}"

    _write(sink, "bucket\tgrantee\tperm\tkey", rows())


def _objects(db: sqlite3.Connection, sink: TextIO) -> None:
    def lines() -> Iterator[str]:
        rows = db.execute(
            f"SELECT {schema.OBJECT_COLUMNS} FROM objects WHERE current = 1 AND marker = 0 ORDER BY bucket, key"  # noqa: S608
        )
        for row in rows:
            try:
                record = schema.object_from(row)
            except DamagedRecordError as error:
                sys.stderr.write(f"tdbadm: {error}\n")
                record = error.record
            body = record.segments[0].body if record.segments else 0
            found = bodies.find(db, body)
            nodes = [str(node) for node in (found.nodes if found else ())]
            places = ",".join([*nodes, "0", "0", "0"][:3])
            yield f"{record.bucket}\t{record.owner}\t{record.etag}\t{body:X}\t{places} {len(record.headers)}"
            yield f"key: {record.key}"
            for number, (name, value) in enumerate(record.headers.items(), 1):
                yield f"str{number}: {name}: {value}"
            yield "===="

    sink.write("bucket\towner\tmd5\tsize|addr\tn_str\n")
    count = 0
    for line in lines():
        sink.write(f"{line}\n")
        count += line == "===="
    sink.flush()
    sys.stderr.write(f"{count} records\n")


_LISTS: Final[dict[str, Callable[[sqlite3.Connection, TextIO], None]]] = {
    "list-users": _users,
    "list-buckets": _buckets,
    "list-acls": _acls,
    "list-objects": _objects,
}


def _list_all(db: sqlite3.Connection, sink: TextIO) -> None:
    headings = ("Users:", "Buckets:", "ACLs:", "Objects:")
    for heading, write in zip(headings, _LISTS.values(), strict=True):
        sink.write(f"{heading}\n")
        write(db, sink)
        sink.write("\n")
    facts = dict(db.execute("SELECT name, value FROM facts"))
    used = int(facts["next_body"]) > int(facts["first_body"])
    sink.write(f"ObjectCount: {facts['next_body'] if used else '-'}\n")


if __name__ == "__main__":
    sys.exit(main())
