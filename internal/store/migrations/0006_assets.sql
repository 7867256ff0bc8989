-- Files by account and content: what senders brought, what URLs in messages led to,
-- what followers sent. The bytes stand in chunks, each committed by itself; the row
-- that makes an asset of them comes in the last commit.
CREATE TABLE assets (
	account    TEXT    NOT NULL,
	hash       BLOB    NOT NULL CHECK (length(hash) = 32),
	content    INTEGER NOT NULL UNIQUE, -- of its chunks
	bytes      INTEGER NOT NULL,
	facts      TEXT    NOT NULL,        -- format, kinds, size of a picture, length of a voice
	created_at INTEGER NOT NULL,
	given      INTEGER NOT NULL DEFAULT 0, -- a sender brought it; else only followers have
	PRIMARY KEY (account, hash)
) STRICT;

CREATE TABLE chunks (
	content INTEGER NOT NULL,
	n       INTEGER NOT NULL, -- from 0
	data    BLOB    NOT NULL,
	PRIMARY KEY (content, n)
) STRICT;

-- Contents that are no asset yet, or will never be.
CREATE TABLE unfinished_contents (
	content INTEGER PRIMARY KEY,
	at      INTEGER NOT NULL
) STRICT;
CREATE INDEX unfinished_contents_at ON unfinished_contents (at);

-- How many bytes of assets an account has.
CREATE TABLE asset_totals (
	account TEXT    PRIMARY KEY,
	bytes   INTEGER NOT NULL
) STRICT;

-- The media ids under which WeChat has, or had, an asset. kind "url" is an address
-- of uploadimg, which has no end.
CREATE TABLE media_ids (
	account  TEXT    NOT NULL,
	media_id TEXT    NOT NULL CHECK (length(media_id) <= 1024),
	hash     BLOB    NOT NULL,
	kind     TEXT    NOT NULL CHECK (kind IN ('image', 'voice', 'video', 'thumb', 'url')),
	at       INTEGER NOT NULL,
	dead     INTEGER NOT NULL DEFAULT 0, -- WeChat said that it does not know it
	PRIMARY KEY (account, media_id)
) STRICT;
CREATE INDEX media_ids_of ON media_ids (account, hash, kind, at);
CREATE INDEX media_ids_at ON media_ids (at) WHERE kind <> 'url';

-- What URLs in messages led to. url is the SHA-256 of the URL.
CREATE TABLE fetched_urls (
	account TEXT    NOT NULL,
	url     BLOB    NOT NULL,
	at      INTEGER NOT NULL,
	hash    BLOB    NOT NULL,
	PRIMARY KEY (account, url, at)
) STRICT;
CREATE INDEX fetched_urls_at ON fetched_urls (at);

-- What followers sent, to be fetched before WeChat forgets it. due is the time of the
-- next try; NULL: it is here, or given up (because).
CREATE TABLE inbound_media (
	cursor   INTEGER NOT NULL, -- of the follower's message
	n        INTEGER NOT NULL, -- place in it
	account  TEXT    NOT NULL,
	openid   TEXT    NOT NULL,
	media_id TEXT    NOT NULL CHECK (length(media_id) <= 1024),
	kind     TEXT    NOT NULL,
	at       INTEGER NOT NULL,
	tries    INTEGER NOT NULL,
	due      INTEGER,
	hash     BLOB,
	because  TEXT,
	PRIMARY KEY (cursor, n)
) STRICT;
CREATE INDEX inbound_media_due ON inbound_media (due) WHERE due IS NOT NULL;
