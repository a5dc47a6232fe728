-- A record id is kept as its JSON text, so that 1 and "1" are two ids; text compares byte by byte (binary collation).

CREATE TABLE store (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  epoch TEXT NOT NULL,
  pruned_through INTEGER NOT NULL,
  forgotten_through INTEGER NOT NULL,
  published TEXT NOT NULL
) STRICT;

INSERT INTO store VALUES (1, lower(hex(randomblob(8))), 0, 0, '[]');

-- AUTOINCREMENT: a position is never used twice, also when the last rows are pruned. It is the version the change makes.
CREATE TABLE changes (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  object TEXT NOT NULL,
  id TEXT NOT NULL,
  operation TEXT NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
  data TEXT CHECK ((data IS NULL) = (operation = 'delete')),
  timestamp INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL
) STRICT;

-- data and history are null in a tombstone.
CREATE TABLE records (
  object TEXT NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  client TEXT NOT NULL,
  data TEXT,
  history TEXT CHECK ((history IS NULL) = (data IS NULL)),
  PRIMARY KEY (object, id)
) STRICT;

-- A snapshot goes through the records in this order.
CREATE UNIQUE INDEX records_by_version ON records (version);

-- Pruning looks for tombstones only.
CREATE INDEX records_deleted ON records (version) WHERE data IS NULL;

CREATE TABLE verdicts (
  mutation BLOB PRIMARY KEY,
  client TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  -- The later of the server's time and the one in the mutation's id, so that a clock that runs ahead is not forgotten early.
  settled_at INTEGER NOT NULL,
  UNIQUE (client, sequence)
) STRICT;

CREATE INDEX verdicts_by_time ON verdicts (settled_at);
