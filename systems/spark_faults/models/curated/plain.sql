-- kind: append
-- engine: datafusion
SELECT id, note FROM raw.notes
