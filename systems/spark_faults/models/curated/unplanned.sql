-- kind: append
SELECT id,
  CASE WHEN note IS NOT NULL IS TRUE THEN note END AS note
FROM raw.notes
