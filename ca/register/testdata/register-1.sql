-- A register of schema version 1, with a row in every table. Never change this file.
-- Every act on the register is one event: who did it, with which command, when.
-- The rows it made point to it.
CREATE TABLE events (
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,          -- seconds since 1970, UTC, as all times here
  asked_by TEXT NOT NULL,             -- user of the operating system
  command  TEXT NOT NULL,
  kind     TEXT NOT NULL,
  note     TEXT NOT NULL
);

-- One row for each certificate of an authority of this register. An authority
-- that got a new certificate for the same key has several.
CREATE TABLE authorities (
  id          INTEGER PRIMARY KEY,
  event       INTEGER NOT NULL REFERENCES events (id),
  name        TEXT NOT NULL,          -- of its files: ca/NAME-cert.pem
  subject     TEXT NOT NULL,
  key_id      TEXT NOT NULL,          -- SHA-256 of the SubjectPublicKeyInfo
  fingerprint TEXT NOT NULL UNIQUE,   -- SHA-256 of the certificate
  not_before  INTEGER NOT NULL,
  not_after   INTEGER NOT NULL,
  der         BLOB NOT NULL
);

-- What is NULL is unknown: of certificates taken over from another authority's
-- index or CRL, the serial number may be all there is.
CREATE TABLE certificates (
  id          INTEGER PRIMARY KEY,
  event       INTEGER NOT NULL REFERENCES events (id),
  authority   INTEGER NOT NULL REFERENCES authorities (id),
  serial      TEXT NOT NULL UNIQUE,   -- hexadecimal, lower case
  how         TEXT NOT NULL,
  holder      TEXT NOT NULL,          -- who has it, such as host:kvm1.example.com
  slot        TEXT NOT NULL,          -- which of the holder's identities, such as qemu/both
  subject     TEXT NOT NULL,
  names       TEXT NOT NULL,          -- alternative names, one per line
  key_type    TEXT NOT NULL,
  not_before  INTEGER,
  not_after   INTEGER,
  fingerprint TEXT,
  der         BLOB                    -- last, so that lists need not read it
);
CREATE UNIQUE INDEX certificates_fingerprint ON certificates (fingerprint);
CREATE INDEX certificates_holder ON certificates (holder, slot, id);

CREATE TABLE revocations (
  certificate INTEGER PRIMARY KEY REFERENCES certificates (id),
  event       INTEGER NOT NULL REFERENCES events (id),
  reason      INTEGER NOT NULL,       -- RFC 5280, 5.3.1
  at          INTEGER NOT NULL
);

CREATE TABLE crls (
  id          INTEGER PRIMARY KEY,
  event       INTEGER NOT NULL REFERENCES events (id),
  authority   INTEGER NOT NULL REFERENCES authorities (id),
  number      TEXT NOT NULL,          -- hexadecimal, lower case
  this_update INTEGER NOT NULL,
  next_update INTEGER,
  der         BLOB NOT NULL
);

-- Files that still have to reach their places: the journal of the package ca.
CREATE TABLE pending (
  id    INTEGER PRIMARY KEY,
  files TEXT NOT NULL                 -- JSON
);

CREATE TRIGGER events_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER events_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER authorities_update BEFORE UPDATE ON authorities BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER authorities_delete BEFORE DELETE ON authorities BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER certificates_update BEFORE UPDATE ON certificates BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER certificates_delete BEFORE DELETE ON certificates BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER revocations_update BEFORE UPDATE ON revocations BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER revocations_delete BEFORE DELETE ON revocations BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER crls_update BEFORE UPDATE ON crls BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER crls_delete BEFORE DELETE ON crls BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;

INSERT INTO events VALUES (1, 1795348800, 'alice', 'virtls init', 'create', 'CN=CA');
INSERT INTO events VALUES (2, 1795348801, 'alice', 'virtls apply', 'issue', '2 certificates');
INSERT INTO authorities VALUES (1, 1, 'ca', 'CN=CA', '11', '22', 1795348500, 2110708800, x'30');
INSERT INTO certificates VALUES (1, 2, 1, '4f01', 'apply', 'host:kvm1.example.com', 'qemu/both', 'CN=kvm1.example.com', 'kvm1.example.com', 'p256', 1795348500, 1826884800, '33', x'30');
INSERT INTO certificates VALUES (2, 2, 1, '4f02', 'apply', 'host:kvm2.example.com', 'qemu/both', 'CN=kvm2.example.com', 'kvm2.example.com', 'p256', 1795348500, 1826884800, '44', x'30');
INSERT INTO revocations VALUES (2, 2, 1, 1795348802);
INSERT INTO crls VALUES (1, 2, 1, '01', 1795348800, 1797940800, x'30');
INSERT INTO pending VALUES (1, '{"content":"","paths":["ca/ca-crl.pem"]}');
PRAGMA application_id = 1986622068;
PRAGMA user_version = 1;
