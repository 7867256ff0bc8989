-- Where the log stands. epoch counts openings: whoever opened last may write.
CREATE TABLE head (
	id     INTEGER PRIMARY KEY CHECK (id = 1),
	cursor INTEGER NOT NULL, -- last number drawn
	at     INTEGER NOT NULL, -- time of the last commit, ms; 0: none yet
	epoch  INTEGER NOT NULL,
	viewed INTEGER NOT NULL  -- the views below have read the feed up to here
) STRICT;
INSERT INTO head VALUES (1, 0, 0, 0, 0);

-- What never changes of a message. seq is the cursor of its first line.
CREATE TABLE messages (
	seq         INTEGER PRIMARY KEY,
	id          BLOB    NOT NULL CHECK (length(id) = 16),
	account     TEXT    NOT NULL CHECK (account <> ''),
	openid      TEXT    NOT NULL CHECK (openid <> ''),
	msgtype     TEXT    NOT NULL,
	body        TEXT    NOT NULL,
	accepted_at INTEGER NOT NULL,
	not_before  INTEGER,
	expires_at  INTEGER NOT NULL,
	when_closed TEXT    NOT NULL CHECK (when_closed IN ('park', 'fail', 'try')),
	on_unknown  TEXT    NOT NULL CHECK (on_unknown IN ('hold', 'resend')),
	priority    TEXT    NOT NULL CHECK (priority IN ('human', 'normal', 'bulk')),
	source      TEXT    NOT NULL,
	retry_of    BLOB,
	metadata    TEXT,
	warnings    TEXT
) STRICT;
CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE INDEX messages_retry_of ON messages (retry_of) WHERE retry_of IS NOT NULL;

-- The log. A message is what its latest line says. Lines about something else
-- have no seq and their own data; a message's data is its outcome.
CREATE TABLE feed (
	cursor    INTEGER PRIMARY KEY,
	at        INTEGER NOT NULL,
	account   TEXT    NOT NULL,
	openid    TEXT,
	type      TEXT    NOT NULL,
	seq       INTEGER,
	number    INTEGER, -- place in the lane; 0: in none yet
	attempts  INTEGER,
	duplicate INTEGER, -- possible_duplicate
	resent    INTEGER,
	errcode   INTEGER,
	retry_at  INTEGER,
	data      TEXT,
	attempt   TEXT,    -- the attempt that ended here
	CHECK (seq IS NULL OR type IN ('message.accepted', 'message.queued', 'message.parked', 'message.sending',
		'message.sent', 'message.failed', 'message.unknown', 'message.expired', 'message.canceled'))
) STRICT;
CREATE INDEX feed_seq ON feed (seq) WHERE seq IS NOT NULL;

CREATE TABLE idempotency (
	seq         INTEGER PRIMARY KEY,
	account     TEXT    NOT NULL,
	key         TEXT    NOT NULL CHECK (length(key) <= 255),
	fingerprint BLOB    NOT NULL,
	at          INTEGER NOT NULL,
	UNIQUE (account, key)
) STRICT;

CREATE TABLE callbacks_seen (
	cursor  INTEGER PRIMARY KEY,
	account TEXT    NOT NULL,
	key     TEXT    NOT NULL,
	at      INTEGER NOT NULL,
	UNIQUE (account, key)
) STRICT;

-- A follower. The ledger changes in the commit that changes it; last_cursor, the
-- latest line said by either side, is a view.
CREATE TABLE conversations (
	id          INTEGER PRIMARY KEY,
	openid      TEXT    NOT NULL,
	account     TEXT    NOT NULL,
	ledger      TEXT,
	last_cursor INTEGER NOT NULL DEFAULT 0,
	UNIQUE (openid, account)
) STRICT;
CREATE INDEX conversations_last ON conversations (last_cursor);

-- Views: written by the reader of the feed, up to head.viewed.
CREATE TABLE listing (
	seq     INTEGER PRIMARY KEY,
	account TEXT    NOT NULL,
	number  INTEGER NOT NULL,
	state   TEXT    NOT NULL,
	errcode INTEGER NOT NULL
) STRICT;
CREATE INDEX listing_account ON listing (account);
CREATE INDEX listing_state ON listing (state) WHERE state <> 'sent';
CREATE INDEX listing_errcode ON listing (errcode) WHERE errcode <> 0;
CREATE INDEX listing_unfinished ON listing (number) WHERE state IN ('queued', 'parked', 'sending', 'unknown');

CREATE TABLE said (
	conversation INTEGER NOT NULL,
	cursor       INTEGER NOT NULL,
	PRIMARY KEY (conversation, cursor)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
	appid    TEXT PRIMARY KEY,
	settings TEXT NOT NULL,
	secret   BLOB, -- sealed, like all that follow
	token    BLOB,
	aes_key  BLOB
) STRICT;

CREATE TABLE keys (
	id         TEXT    PRIMARY KEY,
	hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
	name       TEXT    NOT NULL,
	role       TEXT    NOT NULL CHECK (role IN ('admin', 'send', 'read', 'door')),
	accounts   TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	revoked_at INTEGER
) STRICT;

CREATE TABLE tokens (
	appid  TEXT PRIMARY KEY,
	token  BLOB NOT NULL,
	expiry INTEGER
) STRICT;

-- One row: a known text, sealed; tells whether a key is the right one.
CREATE TABLE seal (
	id     INTEGER PRIMARY KEY CHECK (id = 1),
	sealed BLOB NOT NULL
) STRICT;
