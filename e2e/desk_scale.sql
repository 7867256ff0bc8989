-- $followers conversations of five messages each, and one more of $long, on top of
-- what there is: TestDeskScale runs it on the database of a stopped gateway, which
-- makes its views of it when it starts.

-- One line for each message: i is the follower, k its place with them, n its first line
-- in the feed. Odd ones are ours and have three lines.
CREATE TEMP TABLE said_all AS
WITH RECURSIVE
	f(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM f WHERE i + 1 < $followers),
	k(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM k WHERE k < 4),
	l(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM l WHERE k + 1 < $long),
	every AS (SELECT -1 AS i, k FROM l UNION ALL SELECT i, k FROM f CROSS JOIN k)
SELECT i, k, k % 2 AS ours, CASE i WHEN -1 THEN 'oLong' ELSE printf('oFollower%06d', i) END AS openid,
	(SELECT cursor FROM head) + 1 + coalesce(sum(1 + 2 * (k % 2)) OVER (ORDER BY i, k ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS n,
	$now - ($followers - i) * 10000 + k * 1000 AS at
FROM every;

INSERT INTO conversations (openid, account, ledger)
SELECT openid, '$account', printf('{"ledger":{"b":[{"t":"user_message","g":1,"m":5,"u":1,"o":"%s","e":"%s"}],"n":1,"h":"%s"}}',
	strftime('%Y-%m-%dT%H:%M:%SZ', $now/1000 - 3600, 'unixepoch'), strftime('%Y-%m-%dT%H:%M:%SZ', $now/1000 + 600 + abs(i)*7919 % 165000, 'unixepoch'),
	strftime('%Y-%m-%dT%H:%M:%SZ', $now/1000 - 3600, 'unixepoch'))
FROM said_all WHERE k = 0;

INSERT INTO desk (openid, account, remark, tags)
SELECT openid, '$account', '茶友 ' || i, '["VIP","白茶"]' FROM said_all WHERE k = 0 AND i % 3 = 0;

INSERT INTO messages (seq, id, account, openid, msgtype, body, accepted_at, expires_at, when_closed, on_unknown, priority, source)
SELECT n, CAST(printf('%016d', n) AS BLOB), '$account', openid, 'text',
	'{"touser":"' || openid || '","msgtype":"text","text":{"content":"您好，您的订单 ' || n || ' 已发货，请留意查收"}}', at, at + 172800000, 'park', 'hold', 'human', 'console'
FROM said_all WHERE ours;

INSERT INTO feed (cursor, at, account, openid, type, seq, number, attempts, duplicate, resent, errcode, attempt)
SELECT n + line, at + line, '$account', openid, CASE line WHEN 0 THEN 'message.accepted' WHEN 1 THEN 'message.sending' ELSE 'message.sent' END,
	n, n, line > 0, 0, 0, 0, CASE line WHEN 2 THEN '{"n":1,"at":"2026-11-20T12:00:00Z","took_ms":40,"outcome":"sent","possible_duplicate":false}' END
FROM said_all CROSS JOIN (SELECT 0 AS line UNION SELECT 1 UNION SELECT 2) WHERE ours ORDER BY n, line;

INSERT INTO feed (cursor, at, account, openid, type, data)
SELECT n, at, '$account', openid, 'follower.message', printf('{"msgtype":"text","trigger":"user_message","push":{"ToUserName":"gh_demo","FromUserName":"%s","CreateTime":%d,"MsgType":"text","Content":"在吗？我想问一下订单 %d 到哪里了","MsgID":%d}}', openid, at/1000, n, n)
FROM said_all WHERE NOT ours;

UPDATE head SET cursor = (SELECT max(cursor) FROM feed), at = $now;

DROP TABLE said_all;
