-- kind: append
SELECT
  id, -- '…' is a text
  split_part(note, '-', CAST(part AS INT)) AS part
FROM raw.notes
