-- The index of words, filled behind the writes: a write only notes what times it brought messages of.

-- Messages created in these spans may lack in the index, or be there as they were. A span is worked off from its end:
-- what lies behind (`until`, `until_id`) has been looked at.
CREATE TABLE search_pending (
    no INTEGER PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    until_id BLOB NOT NULL
);

-- Which messages are in the index, and as which version. An entry without a message is left over: its words go next.
CREATE TABLE search_entries (
    no INTEGER PRIMARY KEY,
    message_id BLOB UNIQUE,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);

-- Its words under the entry's number, with blanks between (`penstock.stores.search`). This tokenizer leaves all as it
-- is that is not ASCII, in every version of SQLite. With its own copy of the words, without which an entry could not be
-- removed once its message is replaced or gone.
CREATE VIRTUAL TABLE search_words USING fts5 (words, tokenize = 'ascii', columnsize = 0);

-- Whatever removes a message removes it from what is found. Removing its words here would take ten times as long.
CREATE TRIGGER search_forgets AFTER DELETE ON messages
BEGIN
    UPDATE search_entries SET message_id = NULL WHERE message_id = old.id;
END;

INSERT INTO search_pending (since, until, until_id)
SELECT min(created_at), max(created_at), x'ffffffffffffffffffffffffffffffff' FROM messages HAVING count(*) > 0;
