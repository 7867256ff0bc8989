-- How an account stands with WeChat: a daily quota that is used up, a speed that
-- was too high, the posts of the day. What it says is dispatch's.
CREATE TABLE standings (
	appid    TEXT PRIMARY KEY,
	standing TEXT NOT NULL
) STRICT;
