-- Which of WeChat's paths a key of the role door may call; '' for the other roles.
ALTER TABLE keys ADD COLUMN paths TEXT NOT NULL DEFAULT '';
