-- The last day of a small team, on top of what there is: $exchanges times a follower
-- writes and is answered, at night seldom. office.yesterday runs it on the database of a
-- stopped gateway, which makes its views of it when it starts.

CREATE TEMP TABLE people AS
SELECT 0 AS f, 'oShYu5e2Lw9PzQeJ4uNs6aGyB1kQ' AS openid, '林小鱼（老客）' AS remark UNION ALL
SELECT 1, 'oShYu5tKqV0m3xWbZ8Rn2cT7D8F3', '' UNION ALL
SELECT 2, 'oShYu5xC7rTfMd0vKj3HbWnL5Eq9', 'Grace Chen' UNION ALL
SELECT 3, 'oShYu5a0ZsXvPi6yUe2OcRk8Jm4T', '' UNION ALL
SELECT 4, 'oShYu5bN1dGhQw7tLp5FyVaS3Ko6', '老周（茶友群）' UNION ALL
SELECT 5, 'oShYu5cR8eUjMi2xBn9ZkDqW0Yt1', '';

-- n is the exchange's first line in the feed, at when the follower writes, wait how long
-- they do until they are answered, ms.
CREATE TEMP TABLE exchanges AS
WITH RECURSIVE e(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM e WHERE i + 1 < $exchanges)
SELECT i, (i * 7 + i / 5) % 6 AS f, (SELECT cursor FROM head) + 1 + i * 4 AS n,
	$now - 86000000 + i * (86000000 / $exchanges) - (i % 4) * 60000 AS at,
	15000 + (i * 7919 % 97) * 1500 + CASE WHEN i % 11 = 0 THEN 180000 ELSE 0 END AS wait,
	CASE WHEN i % 37 = 20 THEN 'unknown' WHEN i % 17 = 9 THEN 'failed' WHEN i % 29 = 7 THEN 'expired' ELSE 'sent' END AS state,
	CASE WHEN i % 17 = 9 THEN CASE i % 3 WHEN 0 THEN 45047 WHEN 1 THEN 45015 ELSE 40007 END ELSE 0 END AS errcode
FROM e WHERE i % 5 < 2 OR i * 24 / $exchanges NOT BETWEEN 8 AND 15;

INSERT INTO conversations (openid, account, ledger)
SELECT openid, '$account', printf('{"ledger":{"b":[{"t":"user_message","g":1,"m":5,"u":%d,"o":"%s","e":"%s"}],"n":1,"h":"%s"}}', p.f % 4,
	strftime('%Y-%m-%dT%H:%M:%SZ', max(at)/1000, 'unixepoch'), strftime('%Y-%m-%dT%H:%M:%SZ', max(at)/1000 + CASE p.f WHEN 1 THEN 90000 WHEN 4 THEN 84000 ELSE 172800 END, 'unixepoch'),
	strftime('%Y-%m-%dT%H:%M:%SZ', max(at)/1000, 'unixepoch'))
FROM exchanges e JOIN people p ON p.f = e.f GROUP BY p.f;

INSERT INTO desk (openid, account, remark, tags) SELECT openid, '$account', remark, '[]' FROM people WHERE remark <> '';

INSERT INTO messages (seq, id, account, openid, msgtype, body, accepted_at, expires_at, when_closed, on_unknown, priority, source)
SELECT n + 1, CAST(printf('%016d', n) AS BLOB), '$account', openid, 'text',
	json_object('touser', openid, 'msgtype', 'text', 'text', json_object('content', CASE i % 4 WHEN 0 THEN '您好，包裹今天发出，运费我们包，杭州一般次日到。' WHEN 1 THEN '有的，今年的新茶。' WHEN 2 THEN 'Yes, we ship to Singapore by SF Express.' ELSE '先温杯，再低冲，第一泡 20 秒。' END)),
	at + wait, at + wait + 172800000, 'park', 'hold', 'human', CASE i % 3 WHEN 0 THEN 'api' ELSE 'console' END
FROM exchanges e JOIN people p ON p.f = e.f;

INSERT INTO feed (cursor, at, account, openid, type, data)
SELECT n, at, '$account', openid, 'follower.message', json_object('msgtype', 'text', 'trigger', 'user_message', 'push', json_object('ToUserName', 'gh_demo', 'FromUserName', openid,
	'CreateTime', at/1000, 'MsgType', 'text', 'Content', CASE i % 4 WHEN 0 THEN '请问我的订单发货了吗？' WHEN 1 THEN '白毫银针还有吗' WHEN 2 THEN 'Do you ship to Singapore?' ELSE '上次的茶好像泡苦了，水温多少合适？' END, 'MsgID', n))
FROM exchanges e JOIN people p ON p.f = e.f;

INSERT INTO feed (cursor, at, account, openid, type, seq, number, attempts, duplicate, resent, errcode, data, attempt)
SELECT n + 1 + line, at + wait + line * 60, '$account', openid, CASE line WHEN 0 THEN 'message.accepted' WHEN 1 THEN 'message.sending' ELSE 'message.' || state END,
	n + 1, n + 1, line > 0, 0, 0, CASE line WHEN 2 THEN errcode ELSE 0 END,
	CASE WHEN line = 2 AND errcode <> 0 THEN json_object('errcode', errcode, 'errmsg', 'response out of time limit rid: 6a1b2c3d-4e5f6a7b-8c9d0e1f') END,
	CASE WHEN line = 2 AND state <> 'expired' THEN json_object('n', 1, 'at', '2026-11-20T12:00:00Z', 'took_ms', 40 + i % 90, 'outcome', CASE state WHEN 'failed' THEN 'refused' ELSE state END, 'errcode', errcode, 'possible_duplicate', json('false'),
		'allowance', CASE WHEN state IN ('sent', 'unknown') THEN json_object('trigger', 'user_message', 'left', max(4 - i % 4 - (i % 7 = 0) * 3, 0), 'max', 5, 'remaining', max(4 - i % 4 - (i % 7 = 0) * 3, 0)) END) END
FROM exchanges e JOIN people p ON p.f = e.f CROSS JOIN (SELECT 0 AS line UNION SELECT 1 UNION SELECT 2);

UPDATE head SET cursor = (SELECT max(cursor) FROM feed), at = $now;

DROP TABLE exchanges;

DROP TABLE people;
