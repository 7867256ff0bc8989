-- A store with $finished finished messages and $waiting waiting ones, for the
-- 100,000 followers of one account: TestScale runs it on a new database.
-- Of the waiting ones four in five are parked, the others scheduled.

-- finished: each follower's stand together, three lines each
INSERT INTO messages (seq, id, account, openid, msgtype, body, accepted_at, expires_at, when_closed, on_unknown, priority, source)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $finished)
SELECT 3*i + 1, CAST(printf('%016d', 3*i + 1) AS BLOB), '$account', printf('oScaleFollower%010d', i*100000/$finished), 'text',
	'{"touser":"o","msgtype":"text","text":{"content":"您好，您的订单已发货，单号 ' || i || '，请留意查收"}}',
	$now - 864000000 + i/100, $now - 864000000 + i/100 + 172800000, 'park', 'hold', 'normal', 'api' FROM n;

INSERT INTO feed (cursor, at, account, openid, type, seq, number, attempts, duplicate, resent, errcode, attempt)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 3*$finished)
SELECT i + 1, $now - 864000000 + i/300, '$account', printf('oScaleFollower%010d', i/3*100000/$finished),
	CASE i%3 WHEN 0 THEN 'message.accepted' WHEN 1 THEN 'message.sending' ELSE 'message.sent' END,
	i/3*3 + 1, i/3*3 + 1, i%3 > 0, 0, 0, 0,
	CASE i%3 WHEN 2 THEN '{"n":1,"at":"2026-11-20T12:00:00Z","took_ms":40,"outcome":"sent","possible_duplicate":false}' END FROM n;

INSERT INTO listing (seq, account, number, state, errcode) SELECT seq, account, seq, 'sent', 0 FROM messages;

INSERT INTO conversations (id, openid, account, ledger, last_cursor)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 100000)
SELECT i + 1, printf('oScaleFollower%010d', i), '$account',
	'{"ledger":{"b":[{"t":"user_message","g":1,"m":5,"u":5,"o":"2026-11-01T12:00:00Z","e":"2026-11-03T12:00:00Z"}],"n":1,"h":"2026-11-01T12:00:00Z"}}', 0 FROM n;

INSERT INTO said (conversation, cursor) SELECT (seq - 1)/3*100000/$finished + 1, seq FROM messages;

-- waiting: the followers in turn, two lines for a parked one
INSERT INTO messages (seq, id, account, openid, msgtype, body, accepted_at, not_before, expires_at, when_closed, on_unknown, priority, source)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $waiting)
SELECT 3*$finished + 2*i + 1, CAST(printf('%016d', 3*$finished + 2*i + 1) AS BLOB), '$account', printf('oScaleFollower%010d', i%100000), 'text',
	'{"touser":"o","msgtype":"text","text":{"content":"您好，您的订单已发货，单号 ' || i || '，请留意查收"}}',
	$now, CASE WHEN i/100000%5 = 4 THEN $now + 86400000 + i END, $now + 259200000 + i, 'park', 'hold', CASE i%3 WHEN 0 THEN 'bulk' ELSE 'normal' END, 'api' FROM n;

INSERT INTO feed (cursor, at, account, openid, type, seq, number, attempts, duplicate, resent, errcode, data)
SELECT seq, accepted_at, account, openid, 'message.accepted', seq, CASE WHEN not_before IS NULL THEN seq ELSE 0 END, 0, 0, 0, 0, NULL
FROM messages WHERE seq > 3*$finished
UNION ALL
SELECT seq + 1, accepted_at, account, openid, 'message.parked', seq, seq, 0, 0, 0, 45015,
	'{"class":"window-closed","errcode":45015,"reason":"withheld: the window is closed"}'
FROM messages WHERE seq > 3*$finished AND not_before IS NULL ORDER BY 1;

INSERT INTO listing (seq, account, number, state, errcode)
SELECT seq, account, CASE WHEN not_before IS NULL THEN seq ELSE 0 END, CASE WHEN not_before IS NULL THEN 'parked' ELSE 'queued' END,
	CASE WHEN not_before IS NULL THEN 45015 ELSE 0 END FROM messages WHERE seq > 3*$finished;

INSERT INTO said (conversation, cursor)
SELECT c.id, m.seq FROM messages m JOIN conversations c ON c.openid = m.openid AND c.account = m.account WHERE m.seq > 3*$finished ORDER BY c.id, m.seq;

UPDATE conversations SET last_cursor = coalesce((SELECT max(cursor) FROM said WHERE conversation = conversations.id), 0);

UPDATE head SET cursor = 3*$finished + 2*$waiting, viewed = 3*$finished + 2*$waiting, at = $now;
